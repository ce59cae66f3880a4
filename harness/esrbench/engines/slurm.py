"""Cells as jobs of Slurm, submitted by submitit as arrays; the login node needs no GPU.

One call of ``squeue`` gives the states of all jobs. It works without Slurm's accounting, but
forgets jobs some minutes after their end. No result is sent back: passes are files.
"""

from __future__ import annotations

import subprocess
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import submitit
from submitit.helpers import CommandFunction

from esrbench.errors import UsageError
from esrbench.runs.cells import CellState, cell_command, last_words

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from esrbench.engines.settings import EngineSettings
    from esrbench.runs.cells import Cell

BAD_AFTER: Final = 2
"""After this many failures on a node, its cells go to other nodes."""
SECONDS: Final = 60.0
"""Time limit for an answer of Slurm."""
WAITING: Final = frozenset({"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD"})
RUNNING: Final = frozenset(
    {"RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "RESIZING", "SIGNALING", "STAGE_OUT"}
)


class SlurmEngine:
    """Cells as jobs of Slurm.

    Args:
        settings: resources of a job.
    """

    pause: float = 5.0

    def __init__(self, settings: EngineSettings) -> None:
        self.width = settings.jobs
        self.tries = settings.tries
        self.device_class = settings.device_class
        self._settings = settings
        self._plan: Path | None = None
        self._jobs: dict[str, submitit.Job[Any]] = {}
        self._states: dict[str, CellState] = {}
        self._failures: Counter[str] = Counter()

    def submit(self, plan: Path, cells: Sequence[Cell]) -> None:
        """Submit cells as one array. A cell that comes again has failed on its node.

        Raises:
            UsageError: Slurm refuses the jobs.
        """
        if not cells:
            return
        if plan != self._plan:
            self._plan, self._jobs, self._states = plan, {}, {}
        before = [self._states.pop(cell.id, None) for cell in cells]
        self._failures.update(state.where for state in before if state and state.where)
        folder = plan.resolve().parents[2] / "slurm" / plan.parent.name
        executor = submitit.SlurmExecutor(folder=folder)
        executor.update_parameters(**self._parameters())
        try:
            jobs = executor.map_array(
                CommandFunction(cell_command(plan)), [cell.id for cell in cells]
            )
        except (subprocess.CalledProcessError, submitit.core.utils.FailedJobError) as error:
            if self._bad():
                # Perhaps no other node fits, so nodes that failed may try again.
                self._failures.clear()
                self.submit(plan, cells)
                return
            said = str(getattr(error, "output", "") or error).strip().splitlines()
            message = f"Slurm refused the jobs: {said[-1] if said else error}"
            raise UsageError(message, advice="Correct [engine], or --engine-option.") from error
        for cell, job in zip(cells, jobs, strict=True):
            self._jobs[cell.id] = job
            self._states[cell.id] = CellState("waiting")

    def poll(self) -> Mapping[str, CellState]:
        """Ask Slurm once for all jobs. If it does not answer, the last states stay."""
        known = self._queue()
        if known is None:
            return self._states
        for key, job in self._jobs.items():
            before = self._states[key]
            if before.state == "ended":
                continue
            state, node = known.get(job.job_id, ("", before.where))
            if state in WAITING:
                self._states[key] = CellState("waiting")
            elif state in RUNNING:
                self._states[key] = CellState("running", node)
            else:
                said = last_words(job.stderr() or "") or state
                self._states[key] = CellState("ended", node, said)
        return self._states

    def cancel(self, ids: Iterable[str]) -> None:
        """Cancel the jobs of cells."""
        jobs = [self._jobs[key].job_id for key in ids if key in self._jobs]
        if jobs:
            with suppress(OSError, subprocess.SubprocessError):
                _slurm("scancel", *jobs)

    def _bad(self) -> list[str]:
        """Nodes whose cells go elsewhere."""
        return sorted(node for node, count in self._failures.items() if count >= BAD_AFTER)

    def _parameters(self) -> dict[str, Any]:
        given = self._settings
        asked = {
            "partition": given.partition,
            "gres": given.gres,
            "constraint": given.constraint,
            "account": given.account,
            "cpus_per_task": given.cpus,
            "mem": given.memory,
            "exclusive": given.exclusive or None,
            "exclude": ",".join(self._bad()) or None,
        }
        return {
            "job_name": "esrbench",
            "time": given.minutes,
            "array_parallelism": given.jobs,
            # Otherwise Slurm would start a job again while its first copy may still run.
            "additional_parameters": {"no_requeue": True},
            **{name: value for name, value in asked.items() if value is not None},
        }

    def _queue(self) -> dict[str, tuple[str, str]] | None:
        """State and node of each job, by id, also of some that ended; None without an answer."""
        masters = {job.job_id.partition("_")[0] for job in self._jobs.values()}
        try:
            # A forgotten id is an error only if squeue knows none of the ids.
            text = _slurm(
                *("squeue", "--noheader", "--array", "--me", "--states=all"),
                "--format=%F_%K %T %N",
            )
        except (OSError, subprocess.SubprocessError):
            return None
        rows = (line.split(maxsplit=2) for line in text.splitlines())
        # A cell that was submitted alone is not an array, so it has no task number.
        return {
            row[0].removesuffix("_N/A"): (row[1], row[2] if len(row) > 2 else "")  # noqa: PLR2004 - a waiting one has none
            for row in rows
            if len(row) > 1 and row[0].partition("_")[0] in masters
        }


def _slurm(*command: str) -> str:
    return subprocess.run(  # noqa: S603 - a command of Slurm
        command, check=True, capture_output=True, text=True, timeout=SECONDS
    ).stdout

"""Cells as jobs of Slurm, submitted by submitit as arrays; the login node needs no GPU.

One call of ``squeue`` gives the states of all jobs. It works without Slurm's accounting, but
forgets jobs some minutes after their end. No result is sent back: passes are files.
"""

from __future__ import annotations

import re
import subprocess
import time
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
"""After this many failures on a node, its cells go to other nodes; after one if it was too slow."""
LATE_SECONDS: Final = 300.0
"""This long after the time limit of a job, its cell goes to another node in any case.

Slurm itself ends jobs at their limit. But it does not count the time for which a job is suspended,
and it waits for nodes that do not answer.
"""
SECONDS: Final = 60.0
"""Time limit for an answer of Slurm."""
UNAVAILABLE: Final = re.compile(r"UnavailableNodes:(\S+)")
ALL_DOWN: Final = "Nodes required for job are DOWN"
"""Slurm's reasons why a job waits. It gives the second one also if other jobs have the nodes."""
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
        self._began: dict[str, float] = {}

    def submit(self, plan: Path, cells: Sequence[Cell]) -> None:
        """Submit cells as one array. A cell that comes again has failed on its node.

        Raises:
            UsageError: Slurm refuses the jobs.
        """
        if not cells:
            return
        if plan != self._plan:
            self._plan, self._jobs, self._states, self._began = plan, {}, {}, {}
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
            self._began.pop(cell.id, None)

    def poll(self) -> Mapping[str, CellState]:
        """Ask Slurm once for all jobs. If it does not answer, the last states stay.

        A job that is far beyond its time limit is cancelled, and its cell has ended.
        """
        known = self._queue()
        if known is None:
            return self._states
        lacks = {reason: self._lacks(reason) for reason in {row[2] for row in known.values()}}
        for key, job in self._jobs.items():
            before = self._states[key]
            if before.state == "ended":
                continue
            state, node, reason = known.get(job.job_id, ("", before.where, ""))
            if state in WAITING:
                self._began.pop(key, None)  # Slurm took it back from a node
                self._states[key] = CellState("waiting", said=lacks[reason])
            elif state in RUNNING:
                self._states[key] = self._running(key, node)
            else:
                said = last_words(job.stderr() or "") or state
                self._end(key, node, said, slow=state == "TIMEOUT")
        self._let_failed_nodes_try_again()
        return self._states

    def cancel(self, ids: Iterable[str]) -> None:
        """Cancel the jobs of cells."""
        jobs = [self._jobs[key].job_id for key in ids if key in self._jobs]
        if jobs:
            with suppress(OSError, subprocess.SubprocessError):
                _slurm("scancel", *jobs)

    def _running(self, key: str, node: str) -> CellState:
        """The state of a cell whose job runs, is suspended or is about to end."""
        began = self._began.setdefault(key, time.monotonic())
        if time.monotonic() - began > 60.0 * self._settings.minutes + LATE_SECONDS:
            self.cancel([key])
            self._end(
                key, node, f"not at its end after {self._settings.minutes} minutes", slow=True
            )
            return self._states[key]
        return CellState("running", node)

    def _end(self, key: str, node: str, said: str, *, slow: bool) -> None:
        self._states[key] = CellState("ended", node, said)
        if slow and node:
            # Avoid the node at once. The next submission of the cell counts the last failure.
            self._failures[node] += BAD_AFTER - 1

    def _lacks(self, reason: str) -> str:
        """Which nodes a waiting job lacks because they are down; empty if it waits for its turn."""
        if found := UNAVAILABLE.search(reason):
            nodes = found[1]
        elif reason.startswith(ALL_DOWN):
            nodes, partition = "", self._settings.partition
            only = [f"--partition={partition}"] if partition else []
            with suppress(OSError, subprocess.SubprocessError):
                text = _slurm(
                    "sinfo", "--noheader", "--states=down,drain,fail", "--format=%N", *only
                )
                nodes = ",".join(sorted({*text.split()}))
        else:
            return ""
        return f"cells wait because these nodes of Slurm are down: {nodes}" if nodes else ""

    def _let_failed_nodes_try_again(self) -> None:
        """If the other nodes are down, let waiting cells have the nodes that failed."""
        waiting = [
            key for key, state in self._states.items() if state.said and state.state == "waiting"
        ]
        if waiting and self._bad():
            self._failures.clear()
            for key in waiting:
                with suppress(OSError, subprocess.SubprocessError):
                    _slurm("scontrol", "update", f"JobId={self._jobs[key].job_id}", "ExcNodeList=")

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

    def _queue(self) -> dict[str, tuple[str, str, str]] | None:
        """State and node of each job, and why it waits, by id; None without an answer.

        Some that have ended are among them.
        """
        masters = {job.job_id.partition("_")[0] for job in self._jobs.values()}
        try:
            # A forgotten id is an error only if squeue knows none of the ids.
            text = _slurm(
                *("squeue", "--noheader", "--array", "--me", "--states=all"),
                "--format=%F_%K|%T|%N|%r",
            )
        except (OSError, subprocess.SubprocessError):
            return None
        rows = (line.split("|", 3) for line in text.splitlines())
        # A cell that was submitted alone is not an array, so it has no task number.
        return {
            key.removesuffix("_N/A"): (state, node, reason)
            for key, state, node, reason in rows
            if key.partition("_")[0] in masters
        }


def _slurm(*command: str) -> str:
    return subprocess.run(  # noqa: S603 - a command of Slurm
        command, check=True, capture_output=True, text=True, timeout=SECONDS
    ).stdout

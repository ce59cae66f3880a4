"""Cells as tasks of a Ray cluster.

A task starts ``esrbench cell`` in a separate process. So the settings of Ray's workers (threads,
priority, signal handlers) do not affect a measurement. It reports its node, and at the end why the
cell failed. No result is sent back: passes are files.
"""

from __future__ import annotations

import logging
import os
import platform
import signal
import socket
import time
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import ray

from esrbench.engines.process import END_SECONDS, CellProcess
from esrbench.errors import MeasurementError, UsageError
from esrbench.plaintext import plural
from esrbench.runs.cells import CellState, cell_command

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from esrbench.engines.settings import EngineSettings
    from esrbench.protocol import Device
    from esrbench.runs.cells import Cell

BAD_AFTER: Final = 2
"""After this many failures on a node, its cells go to other nodes."""
SHARE: Final = 0.001
"""Amount of a custom resource that only marks a node, so that many cells may have it."""
CONNECT_SECONDS: Final = 10.0
NODE_SECONDS: Final = 600.0
"""Time limit for a suitable node to appear; a cluster may have to start it first."""


def make_cell(command: Sequence[str], seconds: float) -> Iterator[tuple[str, str]]:
    """Make a cell on the node where this runs; yield the node's id and name, then the failure."""
    node = ray.get_runtime_context().get_node_id()
    yield node, platform.node()
    # Ray sets it to the task's number of CPUs, which would change runtimes.
    variables = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    process = CellProcess(command, variables)
    with suppress(OSError):  # Ray lets all other work go first
        os.setpriority(os.PRIO_PROCESS, process.pid, 0)
    try:
        over = process.wait(seconds)
    except BaseException:  # it is cancelled
        process.end()
        raise
    if over:
        yield node, process.why()
    else:
        process.end()
        yield node, f"not at its end after {seconds / 60:g} minutes"


class RayEngine:
    """Cells as tasks of Ray; the cluster decides where.

    Args:
        settings: resources of a cell, and the address of the cluster.
        device: kind of the devices; a cell gets one of them.

    Raises:
        UsageError: there is no such cluster, or ``memory`` is not an amount.
    """

    pause: float = 1.0

    def __init__(self, settings: EngineSettings, device: Device) -> None:
        self.width = settings.jobs
        self.tries = settings.tries
        self.device_class = settings.device_class
        self._seconds = 60.0 * settings.minutes
        self._options = _options(settings, device)
        memory = settings.memory and f"{settings.memory} of memory"
        gpu = "1 GPU" if self._options["num_gpus"] else None
        asked = (plural(settings.cpus or 1, "CPU"), gpu, memory, settings.constraint)
        self._asked = ", ".join(filter(None, asked))
        self._plan: Path | None = None
        self._waiting: list[str] = []
        self._running: dict[str, Any] = {}
        self._states: dict[str, CellState] = {}
        self._nodes: dict[str, str] = {}
        self._failures: Counter[str] = Counter()
        self._fitted = time.monotonic()
        _connect(settings.address or os.environ.get("RAY_ADDRESS") or "auto")

    def submit(self, plan: Path, cells: Sequence[Cell]) -> None:
        """Queue cells; ``poll`` starts them. A cell that comes again has failed on its node."""
        if plan != self._plan:
            self._plan, self._states, self._nodes = plan, {}, {}
        self._failures.update(self._nodes.pop(cell.id) for cell in cells if cell.id in self._nodes)
        self._waiting += [cell.id for cell in cells]

    def poll(self) -> Mapping[str, CellState]:
        """Start cells, read the reports of tasks, and return all states.

        Raises:
            MeasurementError: for ``NODE_SECONDS``, no living node could make the waiting cells.
        """
        self._look_at_nodes()
        while self._waiting and len(self._running) < self.width:
            self._begin(self._waiting.pop(0))
        keys = {told: key for key, told in self._running.items()}
        ready, _ = ray.wait([*keys], num_returns=len(keys), timeout=0) if keys else ([], [])
        for told in ready:
            self._take(keys[told], told)
        return self._states

    def cancel(self, ids: Iterable[str]) -> None:
        """End cells, and wait until their workers have ended."""
        gone = set(ids)
        self._waiting = [key for key in self._waiting if key not in gone]
        ending = [self._running.pop(key) for key in gone & self._running.keys()]
        for told in ending:
            ray.cancel(told)
        ray.wait(ending, num_returns=len(ending), timeout=END_SECONDS) if ending else None

    def _look_at_nodes(self) -> None:
        """Find out whether living nodes can make the cells that have not started.

        Raises:
            MeasurementError: see ``poll``.
        """
        begun = [key for key in self._running if self._states[key].state == "waiting"]
        waiting = [*begun, *self._waiting]
        kinds = {"CPU": "num_cpus", "GPU": "num_gpus", "memory": "memory"}
        least = {kind: self._options[name] or 0 for kind, name in kinds.items()}
        least |= self._options["resources"]
        fitting = [
            node["NodeID"]
            for node in ray.nodes()
            if node["Alive"] and all(node["Resources"].get(k, 0) >= v for k, v in least.items())
        ]
        now = time.monotonic()
        if fitting or not waiting:
            self._fitted = now
        lacks = f"no living node of the Ray cluster has {self._asked}"
        if now - self._fitted > NODE_SECONDS:
            message = f"--engine ray: {lacks}, and none came in {NODE_SECONDS / 60:g} minutes"
            advice = "Start such a node (see `ray status`) or ask for less, then use --resume."
            raise MeasurementError(message, advice=advice)
        state = CellState("waiting", said="" if fitting else lacks)
        self._states.update(dict.fromkeys(waiting, state))
        if fitting and all(self._failures[node] >= BAD_AFTER for node in fitting):
            # Perhaps no other node fits, so nodes that failed may try again.
            self._failures.clear()
            for key in begun:
                ray.cancel(self._running.pop(key))
            self._waiting = waiting

    def _begin(self, key: str) -> None:
        assert self._plan is not None  # noqa: S101 - cells come with their plan
        bad = [node for node, count in self._failures.items() if count >= BAD_AFTER]
        elsewhere = {"label_selector": {"ray.io/node-id": f"!in({','.join(bad)})"}} if bad else {}
        task = ray.remote(make_cell).options(max_retries=0, **self._options, **elsewhere)
        self._running[key] = task.remote([*cell_command(self._plan), key], self._seconds)

    def _take(self, key: str, told: Any) -> None:
        """Read one report of a task."""
        try:
            node, said = ray.get(next(told))
        except (ray.exceptions.RayError, StopIteration) as error:
            node, said = self._nodes.get(key, ""), str(error).partition("\n")[0]
        if node and key not in self._nodes:  # it has begun, on the node of this name
            self._nodes[key] = node
            self._states[key] = CellState("running", said)
        else:
            del self._running[key]
            self._states[key] = CellState("ended", self._states[key].where, said)


def _options(settings: EngineSettings, device: Device) -> dict[str, Any]:
    """Resources that a task requests from Ray."""
    return {
        "num_cpus": settings.cpus or 1,
        "num_gpus": 0 if device == "cpu" else 1,
        "memory": settings.memory_bytes or None,
        "resources": {settings.constraint: SHARE} if settings.constraint else {},
    }


def _connect(address: str) -> None:
    """Connect to a cluster, and keep our signal handlers."""
    handler = signal.getsignal(signal.SIGTERM)
    try:
        if address != "auto":
            # Ray itself would try for many minutes.
            host, _, port = address.rpartition(":")
            socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
        ray.init(
            address, log_to_driver=False, logging_level=logging.ERROR, ignore_reinit_error=True
        )
    except (OSError, RuntimeError, ValueError) as error:
        said = str(error).partition("\n")[0]
        message = f"--engine ray: there is no cluster at {address}: {said}"
        advice = "Start one by `ray start --head`, or name its head node: address=HOST:6379."
        raise UsageError(message, advice=advice) from error
    finally:
        signal.signal(signal.SIGTERM, handler)  # Ray puts its own in place

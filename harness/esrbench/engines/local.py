"""Cells on this machine: one process for each device; the devices share the CPUs."""

from __future__ import annotations

import os
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from esrbench.devices import selection
from esrbench.engines.process import CellProcess
from esrbench.environment import available_cpus
from esrbench.runs.cells import CellState, cell_command

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from esrbench.engines.settings import EngineSettings
    from esrbench.protocol import Device
    from esrbench.runs.cells import Cell

BAD_AFTER: Final = 2
"""After this many failures, a device gets a cell only if no other device is free."""


@dataclass(frozen=True, slots=True)
class _Running:
    """A cell that is being made."""

    plan: Path
    cell: Cell
    device: int
    process: CellProcess
    since: float


class LocalEngine:
    """Cells on the devices of this machine.

    Args:
        settings: how long a cell may take, and how often it is tried.
        device: kind of the devices; all CPUs together are one device.
        gpus: numbers of the GPUs, if the devices are GPUs.
    """

    pause: float = 0.5

    def __init__(self, settings: EngineSettings, device: Device, gpus: Sequence[int] = ()) -> None:
        self.tries = settings.tries
        self.device_class = settings.device_class
        self._seconds = 60.0 * settings.minutes
        self._device = device
        self._devices = tuple(gpus) or (0,)
        self.width = len(self._devices)
        self._plan: Path | None = None
        self._waiting: list[tuple[Path, Cell]] = []
        self._running: dict[str, _Running] = {}
        self._states: dict[str, CellState] = {}
        self._failures: Counter[int] = Counter()
        self._last: dict[str, int] = {}

    def submit(self, plan: Path, cells: Sequence[Cell]) -> None:
        """Queue cells; ``poll`` starts them. A cell that comes again has failed on its device."""
        if plan != self._plan:
            self._plan, self._last, self._states = plan, {}, {}
        self._failures.update(self._last[cell.id] for cell in cells if cell.id in self._last)
        self._waiting += [(plan, cell) for cell in cells]
        self._states.update((cell.id, CellState("waiting")) for cell in cells)

    def poll(self) -> Mapping[str, CellState]:
        """End cells that ran too long, start cells on free devices, and return all states."""
        for key, running in tuple(self._running.items()):
            said = ""
            if not running.process.over:
                if time.monotonic() - running.since < self._seconds:
                    continue
                running.process.end()
                said = f"not at its end after {self._seconds / 60:g} minutes"
            del self._running[key]
            said = said or running.process.why()
            self._states[key] = CellState("ended", self._name(running.device), said)
        while self._waiting and (free := self._free(self._waiting[0][1])) is not None:
            self._begin(*self._waiting.pop(0), free)
        return self._states

    def cancel(self, ids: Iterable[str]) -> None:
        """End cells as Ctrl-C does: their workers end, and finished passes stay."""
        gone = set(ids)
        self._waiting = [each for each in self._waiting if each[1].id not in gone]
        ending = [self._running.pop(key) for key in gone & self._running.keys()]
        for running in ending:
            running.process.terminate()
        for running in ending:
            running.process.end()
            self._states[running.cell.id] = CellState("ended", self._name(running.device))

    def _free(self, cell: Cell) -> int | None:
        """A free device for a cell; one that did not fail, and where this cell did not fail."""
        busy = {running.device for running in self._running.values()}
        good = [each for each in self._devices if self._failures[each] < BAD_AFTER]
        free = [each for each in good or self._devices if each not in busy]
        free.sort(key=lambda each: (each == self._last.get(cell.id), self._failures[each]))
        return free[0] if free else None

    def _begin(self, plan: Path, cell: Cell, device: int) -> None:
        variables = {**os.environ, **selection(self._device, device, os.environ)}
        process = CellProcess([*cell_command(plan), cell.id], variables)
        cpus, number = available_cpus(), self._devices.index(device)
        share = [
            cpus[each] for each in range(len(cpus)) if each * self.width // len(cpus) == number
        ]
        if share:
            with suppress(OSError):
                os.sched_setaffinity(process.pid, share)
        now = time.monotonic()
        self._running[cell.id] = _Running(plan, cell, device, process, now)
        self._last[cell.id] = device
        self._states[cell.id] = CellState("running", self._name(device))

    def _name(self, device: int) -> str:
        return self._device if self._device == "cpu" else f"{self._device}:{device}"

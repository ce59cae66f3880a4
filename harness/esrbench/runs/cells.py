"""Cells of a suite, and the interface of an engine: it has cells made on some machine.

A cell is a part of a suite that one process makes on one device. It is either untimed passes of
some entries, or a block: one timed round of all entries. So every entry meets every device equally
often. The files of passes decide what has been made; what an engine reports is a hint.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, Protocol

from esrbench.protocol import Frozen
from esrbench.records import Count  # noqa: TC001 - pydantic reads annotations

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from esrbench.runs.plan import PlannedPass

CELLS_A_DEVICE: Final = 10
"""Number of cells of untimed passes for each device; several let all devices end at about the same
time."""


class Cell(Frozen):
    """A part of a suite on one data set.

    Attributes:
        id: name, unique in the suite.
        entries: names of the entries.
        replicate: number of the timed round, or None for untimed passes.
    """

    id: str
    entries: tuple[str, ...]
    replicate: Count | None = None


@dataclass(frozen=True, slots=True)
class CellState:
    """The state of a cell, as its engine knows it.

    Attributes:
        state: ``ended`` after success and after failure.
        where: device or node, if known.
        said: last message of a cell that failed, or why a waiting cell cannot be made now.
    """

    state: Literal["waiting", "running", "ended"]
    where: str = ""
    said: str = ""


class Engine(Protocol):
    """Has cells made: it runs ``esrbench cell PLAN ID`` or does the same.

    Attributes:
        width: number of cells that may be made at the same time.
        tries: how often a cell is submitted before the suite goes on without it.
        pause: seconds between two calls of ``poll``.
        device_class: name of the devices that may measure; None for any.
    """

    width: int
    tries: int
    pause: float
    device_class: str | None

    def submit(self, plan: Path, cells: Sequence[Cell]) -> None:
        """Have cells of a plan made; some may have been submitted before and have ended.

        Args:
            plan: file of the plan, in the folder of the suite.
            cells: cells of that plan.
        """

    def poll(self) -> Mapping[str, CellState]:
        """The states of all submitted cells, by id; cells of another plan count as ended."""

    def cancel(self, ids: Iterable[str]) -> None:
        """End those of these cells that have not ended."""


class InProcess:
    """Makes cells in this process, one pass at each poll."""

    width: int = 1
    tries: int = 1
    pause: float = 0.0
    device_class: str | None = None

    def __init__(self, make: Callable[[Cell], Iterator[None]]) -> None:
        self._make = make
        self._left: list[tuple[Cell, Iterator[None]]] = []
        self._states: dict[str, CellState] = {}

    def submit(self, plan: Path, cells: Sequence[Cell]) -> None:  # noqa: ARG002 - it is here
        """Have cells made, in this order."""
        self._left += [(cell, self._make(cell)) for cell in cells]
        self._states.update((cell.id, CellState("waiting")) for cell in cells)

    def poll(self) -> Mapping[str, CellState]:
        """Make one pass, and return the states of all cells."""
        while self._left:
            cell, passes = self._left[0]
            self._states[cell.id] = CellState("running")
            try:
                next(passes)
            except StopIteration:
                self._states[cell.id] = CellState("ended")
                self._left.pop(0)
            else:
                break
        return self._states

    def cancel(self, ids: Iterable[str]) -> None:
        """Make no more passes of these cells."""
        gone = set(ids)
        self._left = [each for each in self._left if each[0].id not in gone]


def cut(plan: Sequence[PlannedPass], width: int) -> list[Cell]:
    """The cells of a suite on a data set.

    Args:
        plan: all passes, in order.
        width: cells that may be made at the same time.

    Returns:
        First cells of untimed passes, to which entries are dealt in turn; then one block for each
        round.
    """
    names = [each.entry.descriptor.name for each in plan if each.index is None]
    parts = 1 if width == 1 else min(len(names), CELLS_A_DEVICE * width)
    untimed = [
        Cell(id=f"untimed-{part:04}", entries=tuple(names[part::parts])) for part in range(parts)
    ]
    rounds = sorted({each.index for each in plan if each.index is not None})
    timed = [
        Cell(id=f"timed-{index:04}", entries=tuple(names), replicate=index) for index in rounds
    ]
    return untimed + timed


def phases(cells: Sequence[Cell]) -> tuple[list[Cell], list[Cell]]:
    """Untimed cells, then timed cells, which need the untimed passes."""
    untimed = [cell for cell in cells if cell.replicate is None]
    return untimed, [cell for cell in cells if cell.replicate is not None]


def cell_command(plan: Path) -> list[str]:
    """The command that makes a cell; its id comes last."""
    return [sys.executable, "-m", "esrbench", "cell", str(plan.resolve())]


def last_words(text: str) -> str:
    """The line in the messages of a cell that says why it failed."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("error: ")]
    return (errors or lines or [""])[-1].removeprefix("error: ")[:300]

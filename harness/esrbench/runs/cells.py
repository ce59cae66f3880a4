"""Cells of a suite, and what an engine is: something that has cells made somewhere.

A cell is a part of a suite that one process makes on one device. It is either untimed passes of
some entries, or a block: one timed round of all entries. So every entry meets every device equally
often. Files of passes are the truth; what an engine says of its cells is advice.
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
"""Cells of untimed passes a device, so that devices come to their end at about the same time."""


class Cell(Frozen):
    """A part of a suite on one data set.

    Attributes:
        id: its name among them.
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
        state: ``ended`` however it ended.
        where: device or node, where it is known.
        said: the last that the cell said, where it failed; of a waiting one, why nothing can make
            it now.
    """

    state: Literal["waiting", "running", "ended"]
    where: str = ""
    said: str = ""


class Engine(Protocol):
    """Has cells made, each by ``esrbench cell PLAN ID`` or as it does.

    Attributes:
        width: cells that may be made at the same time.
        tries: how often a cell is submitted before the suite goes on without it.
        pause: seconds between two calls of ``poll``.
        device_class: name of the devices that may measure; None for any.
    """

    width: int
    tries: int
    pause: float
    device_class: str | None

    def submit(self, plan: Path, cells: Sequence[Cell]) -> None:
        """Have cells of a plan made, also some that were submitted before and have ended.

        Args:
            plan: its file, in the folder of the suite.
            cells: of it.
        """

    def poll(self) -> Mapping[str, CellState]:
        """The states of all cells that were submitted, by id; cells of another plan are over."""

    def cancel(self, ids: Iterable[str]) -> None:
        """End cells, if they have not ended."""


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
        """Make one pass, and tell the states of all cells."""
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
        """Make no more of these."""
        gone = set(ids)
        self._left = [each for each in self._left if each[0].id not in gone]


def cut(plan: Sequence[PlannedPass], width: int) -> list[Cell]:
    """The cells of a suite on a data set.

    Args:
        plan: all passes, in order.
        width: cells that may be made at the same time.

    Returns:
        Cells of untimed passes, entries dealt out in turn; then one block a round.
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
    """Cells in the order in which they can be made: timed ones need passes of the untimed ones."""
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

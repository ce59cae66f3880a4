"""Progress of a suite on a data set: passes, entries and cells, and the time left."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from statistics import fmean
from typing import TYPE_CHECKING, Final, Literal

from esrbench.runs.cells import phases

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from esrbench.runs.cells import Cell

Key = tuple[str, int | None]
"""Name of an entry and number of the round, or None for its untimed pass."""
State = Literal["done", "running", "interrupted", "failed", "waiting"]
SHOWN: Final[tuple[State, ...]] = ("running", "interrupted", "failed", "waiting")


@dataclass(frozen=True, slots=True)
class Took:
    """A pass that was made.

    Attributes:
        seconds: how long it took.
        failed: its entry has failed, so no further pass of it is made.
    """

    seconds: float
    failed: bool = False


@dataclass(frozen=True, slots=True)
class SuiteProgress:
    """Progress of a suite on a data set.

    Attributes:
        passes: numbers of passes that are made, and of all passes.
        entries: numbers of entries that are complete, and of all entries.
        cells: states of the cells, by id.
        seconds_left: estimated time until the suite ends, from the times of its passes and from the
            cells that are running; None if a kind of pass is missing that was never made.
        seconds_to_timing: estimated time until all entries are scored and counted, or None.
        entry: entry of the pass that begins here, or of the last pass that another process made.
    """

    passes: tuple[int, int]
    entries: tuple[int, int]
    cells: Mapping[str, State]
    seconds_left: float | None
    seconds_to_timing: float | None
    entry: str = ""

    def describe(self) -> str:
        """For example ``passes 31 of 84, entries 5 of 12, cells 2 of 9 (2 running), about ...``."""
        counts = Counter(self.cells.values())
        cells = f"cells {counts['done']} of {len(self.cells)}"
        others = ", ".join(f"{counts[state]} {state}" for state in SHOWN if counts[state])
        parts = [
            f"passes {self.passes[0]} of {self.passes[1]}",
            f"entries {self.entries[0]} of {self.entries[1]}",
            f"{cells} ({others})" if others else cells,
        ]
        if self.seconds_left:
            parts.append(f"about {timedelta(seconds=round(self.seconds_left))} left")
        elif self.seconds_to_timing and self.seconds_left is None:
            wait = timedelta(seconds=round(self.seconds_to_timing))
            parts.append(f"about {wait} until timing begins")
        return ", ".join(parts)


def progress_of(
    cells: Sequence[Cell],
    made: Mapping[Key, Took],
    states: Mapping[str, State],
    *,
    finished: int = 0,
    later: float = 0.0,
    entry: str = "",
) -> SuiteProgress:
    """Progress of a suite.

    A timed pass is expected to take the mean time of the timed passes of its entry. If there are
    none, the mean of all timed passes is used, and the mean of all untimed ones for an untimed
    pass.

    Args:
        cells: cells of the plan; together they hold all of its passes.
        made: passes that were made.
        states: known states of cells; ``made`` decides which are done.
        finished: number of entries of the suite that are not in the plan.
        later: number of images in later data sets, divided by the number in this one.
        entry: as in ``SuiteProgress``.
    """
    ended = {name for (name, _), took in made.items() if took.failed}
    left = {
        cell.id: [
            (name, cell.replicate)
            for name in cell.entries
            if name not in ended and (name, cell.replicate) not in made
        ]
        for cell in cells
    }
    known: dict[str, State] = {
        key: states.get(key, "waiting") if keys else "done" for key, keys in left.items()
    }
    width = max(1, Counter(known.values())["running"])
    seconds = _estimates(made)
    to_come = []
    for phase in phases(cells):
        costs = [sum(seconds(key) for key in left[cell.id]) for cell in phase]
        to_come.append(max([sum(costs) / width, *costs]))
    total = sum(to_come)
    if later:
        total += later * (total + sum(took.seconds for took in made.values()) / width)
    missing = [key for keys in left.values() for key in keys]
    names = {name for cell in cells for name in cell.entries}
    complete = len(names) - len({name for name, _ in missing})
    return SuiteProgress(
        passes=(len(made), len(made) + len(missing)),
        entries=(finished + complete, finished + len(names)),
        cells=known,
        seconds_left=_finite(total),
        seconds_to_timing=_finite(to_come[0]),
        entry=entry,
    )


def _estimates(made: Mapping[Key, Took]) -> Callable[[Key], float]:
    """Expected seconds of a pass; infinite if none of its kind was made."""
    took: dict[tuple[str, bool], list[float]] = {}
    of_kind: dict[bool, list[float]] = {}
    for (name, index), each in made.items():
        took.setdefault((name, index is not None), []).append(each.seconds)
        of_kind.setdefault(index is not None, []).append(each.seconds)
    means = {key: fmean(seconds) for key, seconds in took.items()}
    kinds = {timed: fmean(seconds) for timed, seconds in of_kind.items()}
    return lambda key: (
        means.get((key[0], key[1] is not None)) or kinds.get(key[1] is not None, math.inf)
    )


def _finite(seconds: float) -> float | None:
    return seconds if math.isfinite(seconds) else None

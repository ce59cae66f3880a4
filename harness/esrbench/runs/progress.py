"""How far a suite is: which entry of how many, and how long the rest will take."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from statistics import fmean
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

Key = tuple[str, bool]
"""Name of an entry, and whether its pass is timed."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What is about to be measured.

    Attributes:
        entry: its name.
        number: of the entry among all of the suite, from 1; those that are finished come first.
        count: of all entries.
        round: number of the timed round, from 1; 0 while entries are scored and counted.
        rounds: timed rounds in all.
        seconds_left: of the whole suite, by what its passes took so far; None where one of a kind
            that is still to come has not been made yet.
        seconds_to_timing: the same until all entries are scored and counted.
    """

    entry: str
    number: int
    count: int
    round: int
    rounds: int
    seconds_left: float | None
    seconds_to_timing: float | None

    @property
    def passes(self) -> tuple[int, int]:
        """Passes that came before on this data set, and all of them."""
        return self.round * self.count + self.number - 1, (self.rounds + 1) * self.count

    def describe(self) -> str:
        """In words: ``entry 22 of 42, round 1 of 5, about 1:23:45 left``."""
        parts = [f"entry {self.number} of {self.count}"]
        if self.round:
            parts.append(f"round {self.round} of {self.rounds}")
        if self.seconds_left is not None:
            parts.append(f"about {timedelta(seconds=round(self.seconds_left))} left")
        elif self.seconds_to_timing and not self.round:
            wait = timedelta(seconds=round(self.seconds_to_timing))
            parts.append(f"about {wait} until timing begins")
        return ", ".join(parts)


def seconds_left(
    left: Iterable[Key], took: Mapping[Key, Sequence[float]], ended: Collection[str] = ()
) -> float | None:
    """How long passes will take.

    A timed pass takes as long as those of its entry did in the mean; where there are none, and for
    all others, as long as those of its kind.

    Args:
        left: passes to be made.
        took: seconds of those that were made.
        ended: names of entries of which nothing more is asked.

    Returns:
        Seconds, or None where a pass is left of a kind that was never made.
    """
    kinds: dict[bool, list[float]] = {False: [], True: []}
    for (_, timed), seconds in took.items():
        kinds[timed] += seconds
    total = 0.0
    for key in left:
        if key[0] in ended:
            continue
        known = took.get(key) or kinds[key[1]]
        if not known:
            return None
        total += fmean(known)
    return total

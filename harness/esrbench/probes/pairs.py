"""Two networks timed against each other in one process, pair by pair.

Whatever slows a machine down lasts longer than two forwards, so it slows both forwards of a pair
and leaves their ratio as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from esrbench.probes.devices import Clock

    Forward = Callable[[], object]
    Verify = Callable[[Forward], object]

Pair = tuple[float, float]


def accept(_forward: Forward) -> None:
    """Verify nothing."""


@dataclass(frozen=True, slots=True)
class PairTimes:
    """Seconds of a batch of pairs, as in ``PairedBatch``."""

    pairs: tuple[Pair, ...]
    self_pairs: tuple[Pair, ...]


def time_pair(
    candidate: Forward,
    baseline: Forward,
    clock: Clock,
    *,
    candidate_first: bool,
    verify: Verify = accept,
) -> Pair:
    """Time both forwards in a row, in either order; returns (candidate, baseline) seconds.

    An output is freed before the next forward starts, so both find the same memory. Verification
    is not timed.
    """

    def seconds(forward: Forward) -> float:
        elapsed = clock.time(forward)[1]
        verify(forward)
        return elapsed

    if candidate_first:
        ours = seconds(candidate)
        return ours, seconds(baseline)
    theirs = seconds(baseline)
    return seconds(candidate), theirs


def time_pairs(
    candidate: Forward,
    baseline: Forward,
    clock: Clock,
    *,
    count: int,
    candidate_first: bool,
    verify: Verify = accept,
) -> tuple[Pair, ...]:
    """Time pairs whose order alternates.

    Args:
        candidate: runs its network once on the input that both share.
        baseline: likewise.
        clock: times each forward to its end.
        count: number of pairs.
        candidate_first: in the first pair.
        verify: called with each forward after it ran; raises where it broke the protocol.

    Returns:
        (candidate, baseline) seconds of each pair.
    """
    return tuple(
        time_pair(
            candidate,
            baseline,
            clock,
            candidate_first=candidate_first == (index % 2 == 0),
            verify=verify,
        )
        for index in range(count)
    )


def time_batch(
    candidate: Forward,
    baseline: Forward,
    copies: tuple[Forward, Forward],
    clock: Clock,
    *,
    count: int,
    self_count: int,
    candidate_first: bool,
    twin_first: bool,
    verify: Verify = accept,
) -> PairTimes:
    """Time pairs and, spread evenly among them, pairs of two copies of the baseline.

    Args:
        candidate: runs its network once on the input that all share.
        baseline: likewise.
        copies: likewise; two copies of the baseline, the one that is the numerator first.
        clock: times each forward to its end.
        count: number of pairs.
        self_count: number of self-check pairs.
        candidate_first: in the first pair; alternates.
        twin_first: the first copy, in the first self-check pair; alternates.
        verify: called with each forward after it ran; raises where it broke the protocol.
    """
    pairs: list[Pair] = []
    self_pairs: list[Pair] = []
    for index in range(count):
        first = candidate_first == (index % 2 == 0)
        pairs.append(time_pair(candidate, baseline, clock, candidate_first=first, verify=verify))
        while len(self_pairs) < (index + 1) * self_count // count:
            first = twin_first == (len(self_pairs) % 2 == 0)
            self_pairs.append(time_pair(*copies, clock, candidate_first=first, verify=verify))
    return PairTimes(tuple(pairs), tuple(self_pairs))

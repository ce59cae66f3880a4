"""Time two networks against each other in one process, in interleaved pairs.

A disturbance of the machine usually lasts longer than two forwards. So it slows both forwards of a
pair and leaves their ratio as it is.

Workers of other environments run this file too: it needs Python 3.8 and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Tuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from esrbench.probes.devices import Clock

    Forward = Callable[[], object]
    Verify = Callable[[Forward], object]

Pair = Tuple[float, float]


def accept(_forward: Forward) -> None:
    """Accept every forward."""


@dataclass(frozen=True)
class PairTimes:
    """Seconds of a batch of pairs, as in ``PairedBatch``."""

    pairs: tuple[Pair, ...]
    self_pairs: tuple[Pair, ...] = ()


def time_pairs(
    candidate: Forward,
    baseline: Forward,
    clock: Clock,
    *,
    count: int,
    candidate_first: bool,
    copies: tuple[Forward, Forward] | None = None,
    self_count: int = 0,
    twin_first: bool = True,
    verify: Verify = accept,
) -> PairTimes:
    """Time pairs and, spread evenly among them, pairs of two copies of the baseline.

    Args:
        candidate: runs its network once on the shared input.
        baseline: runs its network once on the same input.
        clock: times each forward to its end.
        count: number of pairs.
        candidate_first: whether the candidate begins the first pair; the order alternates.
        copies: two copies of the baseline, the numerator first; needed for self-check pairs.
        self_count: number of self-check pairs.
        twin_first: whether the first copy begins the first of these; the order alternates.
        verify: called with each forward after it ran; raises if the forward broke the protocol.
    """
    pairs: list[Pair] = []
    self_pairs: list[Pair] = []
    for index in range(count):
        first = candidate_first == (index % 2 == 0)
        pairs.append(_time_pair(candidate, baseline, clock, first=first, verify=verify))
        while copies and len(self_pairs) < (index + 1) * self_count // count:
            first = twin_first == (len(self_pairs) % 2 == 0)
            self_pairs.append(_time_pair(*copies, clock, first=first, verify=verify))
    return PairTimes(tuple(pairs), tuple(self_pairs))


def _time_pair(
    candidate: Forward, baseline: Forward, clock: Clock, *, first: bool, verify: Verify
) -> Pair:
    """Time both forwards in a row, the candidate first or last; (candidate, baseline) seconds.

    An output is freed before the next forward starts, so both find the same memory. Verification
    is not timed.
    """
    seconds = []
    for forward in (candidate, baseline) if first else (baseline, candidate):
        seconds.append(clock.time(forward)[1])
        verify(forward)
    return (seconds[0], seconds[1]) if first else (seconds[1], seconds[0])

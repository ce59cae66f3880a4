"""Decide when a warm-up ends and when enough rounds were timed; callers do the timing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from esrbench.statistics import CONFIDENCE, median_value

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from esrbench.protocol import LatencyDesign
    from esrbench.records.timing import StoppedBy


@dataclass(frozen=True, slots=True)
class WarmUp:
    """Untimed forwards before the rounds.

    Attributes:
        seconds: seconds of each forward, in order.
        steady: whether it ended because forwards no longer became faster; false if it reached a
            limit of the design, or if there was no warm-up.
    """

    seconds: tuple[float, ...]
    steady: bool


@dataclass(frozen=True, slots=True)
class RoundTimes:
    """Timed rounds.

    Attributes:
        seconds: seconds of each round, in order.
        stopped_by: why the rounds ended.
    """

    seconds: tuple[float, ...]
    stopped_by: StoppedBy


def steady(seconds: Sequence[float], rounds: int, tolerance: float) -> bool:
    """Whether a warm-up may end: the last forwards bring no improvement above the tolerance.

    Args:
        seconds: seconds of all forwards so far.
        rounds: number N of last forwards; N + 1 forwards are needed. With 0, it ends at once.
        tolerance: improvement over the fastest earlier forward, as a share of it.
    """
    if rounds == 0:
        return True
    before, last = seconds[:-rounds], seconds[-rounds:]
    return bool(before) and min(last) >= min(before) * (1 - tolerance)


def narrow(seconds: Sequence[float], target: float) -> bool:
    """Whether half of the median's 95 % interval is at most ``target`` of the median.

    Args:
        seconds: seconds of all timed forwards so far; fewer than six have no such interval.
        target: largest half-width as a share of the median; 0 for never.
    """
    value = median_value(seconds)
    interval = value.interval
    if not target or interval is None or interval.confidence < CONFIDENCE:
        return False
    return (interval.high - interval.low) / 2 <= target * value.value


def warm_up(forward: Callable[[], float], design: LatencyDesign) -> WarmUp:
    """Run forwards of one shape until they are ``steady`` or reach a limit.

    Args:
        forward: runs one forward and returns its seconds.
        design: smallest and largest number of forwards, and time budget.
    """
    seconds: list[float] = []
    if design.warmup_rounds == 0:
        return WarmUp((), steady=False)
    while len(seconds) < design.max_warmup_rounds:
        seconds.append(forward())
        if steady(seconds, design.warmup_rounds, design.steady_tolerance):
            return WarmUp(tuple(seconds), steady=True)
        if len(seconds) >= design.warmup_rounds and sum(seconds) >= design.budget_seconds:
            break
    return WarmUp(tuple(seconds), steady=False)


def time_rounds(forward: Callable[[int], float], design: LatencyDesign) -> RoundTimes:
    """Time forwards until the median is precise enough, or rounds or budget are used up.

    Because the interval is checked after each round, its actual coverage can be below 95 %. We
    simulated the default design with log-normal and exponential noise of 0.5 to 7 %. The interval
    contained the true median in 93 to 97 % of all runs. At 5 % noise, it did so in only 79 to 85 %
    of the runs that an interval ended.

    Args:
        forward: runs the round with the given number, from 0, and returns its seconds.
        design: smallest and largest number of rounds, target, and time budget.
    """
    seconds: list[float] = []
    stopped_by: StoppedBy | None = None
    while stopped_by is None:
        seconds.append(forward(len(seconds)))
        stopped_by = _stop(seconds, sum(seconds), design)
    return RoundTimes(tuple(seconds), stopped_by)


def _stop(seconds: Sequence[float], spent: float, design: LatencyDesign) -> StoppedBy | None:
    """The reason to end after these rounds, or None."""
    if len(seconds) < design.min_rounds:
        return None
    if narrow(seconds, design.target_half_width):
        return "interval"
    if len(seconds) >= design.max_rounds:
        return "max-rounds"
    return "budget" if spent >= design.budget_seconds else None

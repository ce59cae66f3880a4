"""When a warm-up is over and when enough rounds were timed, whatever times them."""

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
    """Forwards made before any counts.

    Attributes:
        seconds: of each, first one first.
        steady: it ended because forwards had become no faster; false at the design's bounds, and
            where there is no warm-up.
    """

    seconds: tuple[float, ...]
    steady: bool


@dataclass(frozen=True, slots=True)
class RoundTimes:
    """Forwards that count.

    Attributes:
        seconds: of each, in order.
        stopped_by: what ended them.
    """

    seconds: tuple[float, ...]
    stopped_by: StoppedBy


def steady(seconds: Sequence[float], rounds: int, tolerance: float) -> bool:
    """Forwards have become no faster: the rule by which a warm-up ends.

    Args:
        seconds: of all forwards so far.
        rounds: of the last forwards that must bring nothing new.
        tolerance: share by which one of them must be faster than each before them to be new.

    Returns:
        Whether the fastest of the last ``rounds`` forwards is not faster, by more than
        ``tolerance``, than the fastest before them. There must be one before them, so
        ``rounds`` + 1 forwards are the fewest; 0 rounds ask for nothing.
    """
    if rounds == 0:
        return True
    before, last = seconds[:-rounds], seconds[-rounds:]
    return bool(before) and min(last) >= min(before) * (1 - tolerance)


def narrow(seconds: Sequence[float], target: float) -> bool:
    """The median is known: its 95 % interval is narrow enough.

    Args:
        seconds: of all timed forwards so far.
        target: largest half-width as a share of the median; 0 for never.

    Returns:
        Whether half the width of the order-statistics interval is at most ``target`` of the
        median. Fewer than six samples have no 95 % interval.
    """
    value = median_value(seconds)
    interval = value.interval
    if not target or interval is None or interval.confidence < CONFIDENCE:
        return False
    return (interval.high - interval.low) / 2 <= target * value.value


def warm_up(forward: Callable[[], float], design: LatencyDesign) -> WarmUp:
    """Make forwards of one shape until they become no faster (``steady``), or a bound is reached.

    Args:
        forward: makes one, and gives its seconds.
        design: how many and when to stop.
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
    """Time forwards until their median is known.

    Rounds stop at the end of the first that leaves the median known well enough (``narrow``),
    that is the last allowed, or that uses up the budget, in this order, but not before
    ``min_rounds``. Looking after every round and stopping at the first narrow interval makes
    its 95 % nominal: in simulations of the default design with log-normal and exponential noise
    of 0.5 to 7 % the interval held the true median in 93 to 97 % of all runs, but at 5 % noise
    in only 79 to 85 % of those runs that an interval ended.

    Args:
        forward: makes the round of a number, from 0, and gives its seconds.
        design: rounds, target and budget.
    """
    seconds: list[float] = []
    stopped_by: StoppedBy | None = None
    while stopped_by is None:
        seconds.append(forward(len(seconds)))
        stopped_by = _stop(seconds, sum(seconds), design)
    return RoundTimes(tuple(seconds), stopped_by)


def _stop(seconds: Sequence[float], spent: float, design: LatencyDesign) -> StoppedBy | None:
    """What ends the rounds after these, or None."""
    if len(seconds) < design.min_rounds:
        return None
    if narrow(seconds, design.target_half_width):
        return "interval"
    if len(seconds) >= design.max_rounds:
        return "max-rounds"
    return "budget" if spent >= design.budget_seconds else None

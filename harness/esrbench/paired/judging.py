"""The sequential rule that decides a paired comparison."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from esrbench.records import Absent
from esrbench.statistics import estimate_ratio, half_width, log_ratios

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esrbench.protocol import PairDesign
    from esrbench.records import PairedEstimate, PairedProcess, RaceRecord, RaceVerdict

    Pair = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict on the pairs of a race; fields as in ``RaceRecord``."""

    verdict: RaceVerdict
    reason: str
    estimate: PairedEstimate | Absent
    self_check: PairedEstimate | Absent


@dataclass(frozen=True, slots=True)
class Balanced:
    """Pairs of a race in which the effect of the order of loading cancels.

    Attributes:
        pairs: (candidate, baseline) in seconds, with equal numbers for both orders of loading.
        self_pairs: (copy of the baseline, another copy) in seconds, also with equal numbers.
        judged: number of timed pairs that were not set aside.
        set_aside: number of pairs that were set aside.
    """

    pairs: tuple[Pair, ...]
    self_pairs: tuple[Pair, ...]
    judged: int
    set_aside: int


def balance(processes: Sequence[PairedProcess]) -> Balanced:
    """Cancel the effect of the order of loading on the ratios of a race.

    The network that is loaded first may be slower by about 1 %, so processes load in alternating
    order. The same number of pairs is used from each order. The ratios of one order are multiplied
    by a factor and those of the other divided by it, so that their medians are equal. The median of
    all is then the geometric mean of both medians, in which the effect of the order cancels.
    """
    first = [process for process in processes if process.loaded_first == "candidate"]
    second = [process for process in processes if process.loaded_first == "baseline"]
    judged = len(_judged(processes))
    return Balanced(
        pairs=_aligned(_judged(first), _judged(second)),
        self_pairs=_aligned(_judged(first, copies=True), _judged(second, copies=True)),
        judged=judged,
        set_aside=sum(len(b.pairs) for process in processes for b in process.batches) - judged,
    )


def _judged(processes: Sequence[PairedProcess], *, copies: bool = False) -> list[Pair]:
    """Pairs that were not set aside, in order."""
    return [
        pair
        for process in processes
        for batch in process.batches
        if batch.set_aside is None
        for pair in (batch.self_pairs if copies else batch.pairs)
    ]


def _aligned(ones: Sequence[Pair], others: Sequence[Pair]) -> tuple[Pair, ...]:
    """The same number of pairs from both, scaled so that their median ratios are equal."""
    count = min(len(ones), len(others))
    if not count:
        return ()
    ones, others = ones[:count], others[:count]
    apart = float(np.median(log_ratios(ones)) - np.median(log_ratios(others)))
    factor = math.exp(apart / 2)
    return (
        *((ours / factor, theirs) for ours, theirs in ones),
        *((ours * factor, theirs) for ours, theirs in others),
    )


def pairs_to_look(judged: int, design: PairDesign) -> int:
    """Pairs to time until the next look, at least 1."""
    if judged < design.first_look:
        return design.first_look - judged
    return design.look_every - (judged - design.first_look) % design.look_every


def judge_race(processes: Sequence[PairedProcess], design: PairDesign) -> Judgement | None:
    """Apply ``judge`` to the pairs of a race so far."""
    found = balance(processes)
    waiting = found.judged - len(found.pairs)
    return judge(found.pairs, found.self_pairs, design, set_aside=found.set_aside, waiting=waiting)


def judge(
    pairs: Sequence[Pair],
    self_pairs: Sequence[Pair],
    design: PairDesign,
    *,
    set_aside: int = 0,
    waiting: int = 0,
) -> Judgement | None:
    """The sequential rule of a race, from pairs.

    Let d be the design's decision. The candidate is slower if its interval lies above 1 + d, faster
    if below 1 / (1 + d), unchanged if between them. There is no verdict between looks, and none
    while the self-check forbids it.

    Args:
        pairs: (candidate, baseline) in seconds.
        self_pairs: (copy of the baseline, another copy) in seconds.
        design: when to look and where the lines are.
        set_aside: number of timed pairs that may not be judged.
        waiting: number of pairs that wait for pairs of the other order of loading.

    Returns:
        None to continue; ``inconclusive`` after all pairs of the design.

    Raises:
        MeasurementError: a pair's time is below the clock's resolution.
    """
    undisturbed = len(pairs) + waiting
    used_up = undisturbed + set_aside >= design.max_pairs
    look = (undisturbed - design.first_look) % design.look_every == 0
    if not used_up and (len(pairs) < design.first_look or not look):
        return None
    estimate = estimate_ratio(pairs, design.z)
    self_check = estimate_ratio(self_pairs, design.z)
    doubt = doubt_of(self_check, design)
    verdict, reason = _verdict(estimate, design)
    if doubt is None and verdict != "inconclusive":
        return Judgement(verdict, reason, estimate, self_check)
    if not used_up:
        return None
    reason = doubt or reason
    if set_aside:
        aside = f"{set_aside} of {undisturbed + set_aside} pairs were set aside"
        reason = f"{reason}; {aside}" if undisturbed else f"{aside}; `esrbench doctor` says why"
    return Judgement("inconclusive", reason, estimate, self_check)


def regressed(record: RaceRecord) -> bool | None:
    """Whether the candidate is slower than the design allows, for a gate.

    Returns:
        None if the self-check forbids a judgement or the interval contains the line.
    """
    if isinstance(record.estimate, Absent) or doubt_of(record.self_check, record.design):
        return None
    line = 1 + record.design.decision
    if record.estimate.interval.low > line:
        return True
    return False if record.estimate.interval.high < line else None


def _verdict(estimate: PairedEstimate | Absent, design: PairDesign) -> tuple[RaceVerdict, str]:
    if isinstance(estimate, Absent):
        return "inconclusive", estimate.reason
    low, high = estimate.interval.low, estimate.interval.high
    upper = 1 + design.decision
    lower = 1 / upper
    held = f"the interval {low:.4f} to {high:.4f} lies"
    if low > upper:
        return "slower", f"{held} above {upper:.4f}"
    if high < lower:
        return "faster", f"{held} below {lower:.4f}"
    if lower < low and high < upper:
        return "unchanged", f"{held} between {lower:.4f} and {upper:.4f}"
    line = upper if low <= upper <= high else lower
    return "inconclusive", f"the interval {low:.4f} to {high:.4f} contains {line:.4f}"


def doubt_of(self_check: PairedEstimate | Absent, design: PairDesign) -> str | None:
    """Say why the two copies of the baseline forbid a judgement, or None."""
    if isinstance(self_check, Absent):
        return f"the self-check has no interval: {self_check.reason}"
    interval = self_check.interval
    width = half_width(interval)
    if width > design.self_check_half_width:
        return (
            f"the machine is too noisy: the ratio of the baseline to its own copy is only known to "
            f"{width:.1%}, not to {design.self_check_half_width:.1%}; `esrbench doctor` says why"
        )
    allowed = 1 + design.self_check_bias
    if interval.low > allowed or interval.high < 1 / allowed:
        return (
            "the machine is unfair: the baseline against its own copy gives a ratio of "
            f"{interval.low:.4f} to {interval.high:.4f}; `esrbench doctor` says why"
        )
    return None

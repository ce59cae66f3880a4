"""Rank tests for equal times of repeated forwards, with known false-positive rates.

Rounds are seconds of the same forward in order. All inputs are tested as one family, so more inputs
do not mean more false positives. The rates come from simulations with independent normal noise,
which our tests repeat. Real rounds are correlated with their neighbours, which raises the rates. So
every rule also requires a change of practical size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esrbench.records import Value

FEWEST_ROUNDS = 6
"""With fewer rounds, neither a trend nor an outlier can be shown."""

OUTLIER_DEVIATIONS = 10.0
"""Distance of an outlier from the median in robust standard deviations, as in hyperfine."""
OUTLIER_LEAST_SHARE = 0.05
MAD_TO_DEVIATION = 1 / NormalDist().inv_cdf(0.75)
"""Ratio of standard deviation to median absolute deviation of a normal distribution: 1.4826."""

DRIFT_LEVEL = 0.01
"""False-positive rate of ``drift``."""
DRIFT_LEAST_SHARE = 0.02

PROCESSES_EXCESS = 1.5
"""Smallest distance of the extremes, divided by the sum of the half-widths of their 95 % intervals.
"""
PROCESSES_DEVIATION = 0.2
"""Standard deviation of the logarithms between processes of a quiet machine. Measured: 0.05 to 0.2,
largest if forwards use all CPUs."""


@dataclass(frozen=True, slots=True)
class Drift:
    """A trend over rounds.

    Attributes:
        alone: indices of inputs with a significant trend of their own; empty if only the sum over
            all inputs shows one.
        change: median of the second half of the rounds divided by that of the first half, minus 1:
            for the worst input in ``alone``, or the median over all inputs if that is empty.
        worst: index of the input that changed most in that direction.
    """

    alone: tuple[int, ...]
    change: float
    worst: int


def drift(inputs: Sequence[Sequence[float]]) -> Drift | None:
    """Test whether forwards became slower or faster from round to round.

    The two-sided Mann-Kendall test, by the normal approximation with continuity correction: once
    for each input, once for the sum over all. Each gets half of ``DRIFT_LEVEL``, and the inputs
    share theirs by Bonferroni. The median must also change by ``DRIFT_LEAST_SHARE`` between
    halves. Simulated false-positive rates, from 1 input of 6 rounds to 100 of 30: below 1 % for
    independent rounds, below 3 % if neighbours have a correlation of 0.6. A rise of 10 % over 30
    rounds with 2 % noise is always found.

    Args:
        inputs: rounds of each input; those with fewer than ``FEWEST_ROUNDS`` are ignored.
    """
    # Rounds that alternate score near 0. `timing.MOST_SHIFT` prevents a sum over many such inputs.
    ranked = [
        (index, *_kendall(rounds), half_change([rounds]))
        for index, rounds in enumerate(inputs)
        if len(rounds) >= FEWEST_ROUNDS
    ]
    if not ranked:
        return None
    inflation = _inflation([inputs[index] for index, _, _, _ in ranked])
    limit = _two_sided_quantile(DRIFT_LEVEL / 2 / len(ranked)) * inflation
    alone = {
        index: change
        for index, score, variance, change in ranked
        if abs(change) >= DRIFT_LEAST_SHARE and (abs(score) - 1) / math.sqrt(variance) > limit
    }
    if alone:
        worst = max(alone, key=lambda index: abs(alone[index]))
        return Drift(tuple(alone), alone[worst], worst)
    score = abs(sum(score for _, score, _, _ in ranked))
    variance = sum(variance for _, _, variance, _ in ranked)
    change = float(np.median([change for _, _, _, change in ranked]))
    limit = _two_sided_quantile(DRIFT_LEVEL / 2) * inflation
    if abs(change) < DRIFT_LEAST_SHARE or (score - 1) / math.sqrt(variance) <= limit:
        return None
    worst = max(ranked, key=lambda row: math.copysign(1, change) * row[3])[0]
    return Drift((), change, worst)


def _kendall(rounds: Sequence[float]) -> tuple[float, float]:
    """The Mann-Kendall statistic (rises minus falls over all pairs of rounds) and its variance."""
    values = np.asarray(rounds)
    n = len(values)
    score = float(np.sign(values[None, :] - values[:, None])[np.triu_indices(n, 1)].sum())
    return score, n * (n - 1) * (2 * n + 5) / 18


def _inflation(inputs: Sequence[Sequence[float]]) -> float:
    """Factor by which correlated neighbours widen the test statistic: sqrt((1 + r) / (1 - r)).

    r is the correlation of successive residuals from a straight line over all inputs, with its
    small-sample bias removed.
    """
    product = square = bias = 0.0
    for rounds in inputs:
        n = len(rounds)
        values = np.asarray(rounds) / (np.median(rounds) or 1.0)
        time = np.arange(n) - (n - 1) / 2
        rest = values - values.mean()
        rest -= time * (time @ rest) / (time @ time)
        product += float(rest[1:] @ rest[:-1])
        square += float(rest @ rest)
        bias += 2.0 / n / len(inputs)
    if not square:
        return 1.0
    # The residuals of a line fitted to n rounds have a correlation that is too low by about 2 / n.
    r = min(max(product / square + bias, 0.0), 0.9)
    return math.sqrt((1 + r) / (1 - r))


def _two_sided_quantile(level: float) -> float:
    return NormalDist().inv_cdf(1 - level / 2)


def half_change(inputs: Sequence[Sequence[float]]) -> float:
    """Relative change of the sum of medians between the first and the second half of the rounds.

    Args:
        inputs: rounds of each input; without any the change is 0.
    """
    halves = [(rounds[: len(rounds) // 2], rounds[-(len(rounds) // 2) :]) for rounds in inputs]
    halves = [(first, second) for first, second in halves if first]
    first = sum(float(np.median(half)) for half, _ in halves)
    second = sum(float(np.median(half)) for _, half in halves)
    return second / first - 1 if first else 0.0


@dataclass(frozen=True, slots=True)
class Outliers:
    """Forwards far from their input's median.

    Attributes:
        count: number of outliers.
        forwards: number of forwards that were judged.
        farthest: largest distance as a share of the median, by input index.
    """

    count: int
    forwards: int
    farthest: dict[int, float]


def outliers(inputs: Sequence[Sequence[float]]) -> Outliers:
    """Forwards more than ``OUTLIER_DEVIATIONS`` standard deviations from their input's median.

    They must also differ from the median by the share ``OUTLIER_LEAST_SHARE`` of it. The standard
    deviation is the input's own or that of all inputs, whichever is larger, because a few rounds
    may agree by chance. In simulations, six rounds of one input with 7 % noise have an outlier in
    1.2 % of cases.

    Args:
        inputs: rounds of each input; those with fewer than ``FEWEST_ROUNDS`` are ignored.
    """
    shares = {
        index: np.asarray(rounds) / median - 1
        for index, rounds in enumerate(inputs)
        if len(rounds) >= FEWEST_ROUNDS and (median := float(np.median(rounds)))
    }
    if not shares:
        return Outliers(0, 0, {})
    together = float(np.median(np.abs(np.concatenate(list(shares.values())))))
    count, farthest = 0, dict[int, float]()
    for index, off in shares.items():
        deviation = MAD_TO_DEVIATION * max(together, float(np.median(np.abs(off))))
        far = np.abs(off)[np.abs(off) > max(OUTLIER_DEVIATIONS * deviation, OUTLIER_LEAST_SHARE)]
        if len(far):
            count += len(far)
            farthest[index] = float(far.max())
    return Outliers(count, sum(map(len, shares.values())), farthest)


@dataclass(frozen=True, slots=True)
class Spread:
    """Distance between the extremes of several processes.

    Attributes:
        apart: slowest divided by fastest, minus 1.
        within: sum of the half-widths of both intervals, as a share of the fastest.
        usual: on a quiet machine, ``apart`` is at most this in 95 % of cases or more.
    """

    apart: float
    within: float
    usual: float

    @property
    def differs(self) -> bool:
        """Whether ``apart`` is unusual, and far larger than the intervals explain."""
        return self.apart > PROCESSES_EXCESS * self.within and self.apart > self.usual


def spread(values: Sequence[Value]) -> Spread | None:
    """Spread of one quantity over processes, or None if fewer than two have an interval.

    The usual spread is a Bonferroni bound over all pairs of normal logarithms with
    ``PROCESSES_DEVIATION``: 74 % for two processes, 121 % for five.

    Args:
        values: one positive value for each process, with the interval of its own rounds.
    """
    known = [
        (value.value, (value.interval.high - value.interval.low) / 2)
        for value in values
        if value.interval and value.value
    ]
    if len(known) < 2:  # noqa: PLR2004 - it takes two to differ
        return None
    (fast, fast_width), (slow, slow_width) = min(known), max(known)
    pairs = len(known) * (len(known) - 1) // 2
    quantile = math.sqrt(2) * _two_sided_quantile(0.05 / pairs)
    return Spread(
        apart=slow / fast - 1,
        within=(fast_width + slow_width) / fast,
        usual=math.expm1(PROCESSES_DEVIATION * quantile),
    )

"""Are repeated forwards alike? Rank tests on rounds, with false-alarm rates that are known.

Rounds are seconds of the same forward in order; a set of inputs is judged as one family, so
that more inputs do not mean more false alarms. The rates given are of simulations with
independent normal noise, repeated by the tests; real rounds depend on their neighbours, which
raises them, so every rule also asks for a change that is worth telling.
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
"""Below it neither a trend nor a spread can be told from chance."""

OUTLIER_DEVIATIONS = 10.0
"""Standard deviations off the median, by the median absolute deviation, as in hyperfine."""
OUTLIER_LEAST_SHARE = 0.05
MAD_TO_DEVIATION = 1 / NormalDist().inv_cdf(0.75)
"""A normal distribution's standard deviation in median absolute deviations: 1.4826."""

DRIFT_LEVEL = 0.01
"""Chance of a false alarm of ``drift``."""
DRIFT_LEAST_SHARE = 0.02

PROCESSES_EXCESS = 1.5
"""Distance of the extremes, in half-widths of both 95 % intervals together."""
PROCESSES_DEVIATION = 0.2
"""Standard deviation of the logarithms between processes of a quiet machine: 0.05 to 0.2 were
measured, the most of it where forwards take all CPUs."""


@dataclass(frozen=True, slots=True)
class Drift:
    """A trend over rounds.

    Attributes:
        alone: inputs that show it alone, by index; empty where only all together do.
        change: of the worst of these, or else the median over all: median of the second half
            of the rounds over that of the first, less 1.
        worst: index of the input that changed most in that direction.
    """

    alone: tuple[int, ...]
    change: float
    worst: int


def drift(inputs: Sequence[Sequence[float]]) -> Drift | None:
    """Forwards became slower or faster from round to round.

    Mann and Kendall's rank test, normal approximation with continuity correction, two-sided:
    once of each input, once of all together with their statistics and variances added up.
    ``DRIFT_LEVEL`` is halved between the two and the first half shared out by Bonferroni. The
    median must also change by ``DRIFT_LEAST_SHARE`` between halves. Simulated false alarms, from
    1 input of 6 rounds to 100 of 30: under 1 % where rounds are independent, under 3 % where
    neighbours correlate by 0.6. A rise of 10 % over 30 rounds with 2 % noise is always found.

    Args:
        inputs: rounds of each input; those with fewer than ``FEWEST_ROUNDS`` are passed over.
    """
    # Alternating rounds score near 0 alone; `timing.MOST_SHIFT` keeps many inputs from adding up.
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
    """Mann and Kendall's S, rises less falls over all pairs of rounds, and its variance."""
    values = np.asarray(rounds)
    n = len(values)
    score = float(np.sign(values[None, :] - values[:, None])[np.triu_indices(n, 1)].sum())
    return score, n * (n - 1) * (2 * n + 5) / 18


def _inflation(inputs: Sequence[Sequence[float]]) -> float:
    """By how much rounds that resemble their neighbours widen the test statistic.

    The square root of (1 + r) / (1 - r), where r is the correlation of successive residuals
    from a straight line, over all inputs, with its small-sample bias removed.
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
    # A line fitted to n rounds leaves residuals whose correlation is low by about 2 / n.
    r = min(max(product / square + bias, 0.0), 0.9)
    return math.sqrt((1 + r) / (1 - r))


def _two_sided_quantile(level: float) -> float:
    return NormalDist().inv_cdf(1 - level / 2)


def half_change(inputs: Sequence[Sequence[float]]) -> float:
    """Change of the sum of medians from the first half of the rounds to the second, as a share.

    Args:
        inputs: rounds of each input; 0 where there are none.
    """
    halves = [(rounds[: len(rounds) // 2], rounds[-(len(rounds) // 2) :]) for rounds in inputs]
    halves = [(first, second) for first, second in halves if first]
    first = sum(float(np.median(half)) for half, _ in halves)
    second = sum(float(np.median(half)) for _, half in halves)
    return second / first - 1 if first else 0.0


@dataclass(frozen=True, slots=True)
class Outliers:
    """Forwards far off their input's median.

    Attributes:
        count: of them.
        forwards: that were judged.
        farthest: by input index, the largest distance as a share of the median.
    """

    count: int
    forwards: int
    farthest: dict[int, float]


def outliers(inputs: Sequence[Sequence[float]]) -> Outliers:
    """Forwards more than ``OUTLIER_DEVIATIONS`` standard deviations off their input's median.

    They must also be off by ``OUTLIER_LEAST_SHARE`` of it. The standard deviation is the
    larger of the input's own and that of all inputs together, since a few rounds can agree by
    chance: simulated, six rounds of one input with 7 % noise have one in 1.2 % of cases.

    Args:
        inputs: rounds of each input; those with fewer than ``FEWEST_ROUNDS`` are passed over.
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
    """How far the extremes of several processes lie apart.

    Attributes:
        apart: slowest over fastest, less 1.
        within: half-widths of both intervals together, as a share of the fastest.
        usual: what ``apart`` rarely exceeds, 5 % of cases at most, on a quiet machine.
    """

    apart: float
    within: float
    usual: float

    @property
    def differs(self) -> bool:
        """More than is usual between processes, and far more than their intervals explain."""
        return self.apart > PROCESSES_EXCESS * self.within and self.apart > self.usual


def spread(values: Sequence[Value]) -> Spread | None:
    """Spread of one quantity over processes, or None where fewer than two have an interval.

    What is usual is a Bonferroni bound of all pairs of normal logarithms with
    ``PROCESSES_DEVIATION``: 74 % for two processes, 121 % for five.

    Args:
        values: positive, one a process, each with the interval of its own rounds.
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

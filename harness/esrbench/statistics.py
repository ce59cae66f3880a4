"""Summaries of noisy samples, with intervals whose coverage is stated."""

from __future__ import annotations

import math
from functools import cache
from statistics import median  # much faster than NumPy's for a few values
from typing import TYPE_CHECKING

import numpy as np

from esrbench.errors import MeasurementError
from esrbench.records import Absent, Interval, PairedEstimate, Value

if TYPE_CHECKING:
    from collections.abc import Sequence

    Pair = tuple[float, float]

CONFIDENCE = 0.95
RESAMPLES = 2000
BOOTSTRAP_ROUNDS = 5
STUDENT_SAMPLES = 3


def median_value(samples: Sequence[float], *, confidence: float = CONFIDENCE) -> Value:
    """Median with the distribution-free interval of order statistics.

    The interval between the k-th smallest and k-th largest of n independent samples covers
    the true median with probability 1 - 2 P(Binomial(n, 1/2) < k). The result is the narrowest one
    that reaches ``confidence``. Fewer than six samples cannot reach 95 %: their interval is the
    range, with its coverage. A single sample has no interval.

    Args:
        samples: at least one finite sample, any unit.
        confidence: requested coverage, in (0, 1).

    Raises:
        ValueError: no samples.
    """
    ordered = sorted(samples)
    if not ordered:
        raise ValueError("a median needs at least one sample")
    if len(ordered) == 1:
        return Value(value=ordered[0])
    n = len(ordered)
    tail, trimmed = 0.0, 0
    while trimmed + 1 <= n // 2:
        next_tail = tail + math.comb(n, trimmed) / 2**n
        if trimmed > 0 and 1 - 2 * next_tail < confidence:
            break
        tail = next_tail
        trimmed += 1
    low, high = ordered[trimmed - 1], ordered[n - trimmed]
    interval = Interval(low=low, high=high, confidence=1 - 2 * tail, method="order-statistics")
    return Value(value=float(median(ordered)), interval=interval)


def mean_of_medians(samples: Sequence[Sequence[float]], *, confidence: float = CONFIDENCE) -> Value:
    """Mean over images of per-image medians, with a percentile bootstrap over the rounds.

    Outliers have little effect on medians, and so on the interval. With ``BOOTSTRAP_ROUNDS`` rounds
    or more, the interval covered the true value in 91 to 98 % of simulations of normal noise,
    log-normal noise and noise with many outliers. With fewer rounds there is no interval. It does
    not hold for another process or machine, and it is too narrow if rounds drift.

    Args:
        samples: one sequence of at least one sample for every image, any unit.
        confidence: nominal coverage, in (0, 1).

    Returns:
        The mean; without an interval if an image has too few rounds.

    Raises:
        ValueError: no images, or an image without samples.
    """
    if not samples or not all(samples):
        raise ValueError("every image needs at least one sample")
    value = float(np.mean([np.median(image) for image in samples]))
    if min(len(image) for image in samples) < BOOTSTRAP_ROUNDS:
        return Value(value=value)
    rng = np.random.default_rng(0)
    total = np.zeros(RESAMPLES)
    for image in samples:
        values = np.asarray(image, dtype=np.float64)
        draws = rng.integers(0, len(values), size=(RESAMPLES, len(values)))
        total += np.median(values[draws], axis=1)
    low, high = np.quantile(total / len(samples), [(1 - confidence) / 2, (1 + confidence) / 2])
    return Value(
        value=value,
        interval=Interval(
            low=float(low), high=float(high), confidence=confidence, method="bootstrap"
        ),
    )


def geometric_mean(samples: Sequence[float], *, confidence: float = CONFIDENCE) -> Value:
    """Geometric mean with Student's interval of the logarithms.

    Meant for few times or ratios of independent processes, because their noise is relative.

    Args:
        samples: at least one positive sample, any unit.
        confidence: coverage, in (0, 1); exact for log-normal samples.

    Returns:
        The mean. It has no interval if all samples are equal. It has none with fewer than
        ``STUDENT_SAMPLES`` samples, because that interval would span orders of magnitude.

    Raises:
        ValueError: no samples.
    """
    n = len(samples)
    if not n:
        raise ValueError("a mean needs at least one sample")
    logs = np.log(samples)
    mean = float(logs.mean())
    if n < STUDENT_SAMPLES or max(samples) == min(samples):
        return Value(value=math.exp(mean))
    half = student_quantile(n - 1, 1 - confidence) * float(logs.std(ddof=1)) / math.sqrt(n)
    interval = Interval(
        low=math.exp(mean - half),
        high=math.exp(mean + half),
        confidence=confidence,
        method="student",
    )
    return Value(value=math.exp(mean), interval=interval)


@cache
def student_quantile(freedom: int, outside: float) -> float:
    """Half-width of Student's two-sided interval, in standard errors.

    For whole degrees of freedom, the probability inside is a finite sum of powers of the cosine of
    ``arctan(t / sqrt(freedom))`` (Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.3
    and 26.7.4). This sum is concave in the angle, so Newton's method from 0 never overshoots. SciPy
    has the same function, but importing it takes as long as ranking thousands of entries.

    Args:
        freedom: degrees of freedom, at least 1.
        outside: probability outside the interval, in (0, 1); from 1e-9 on, the relative error is
            below 1e-5.
    """
    odd = freedom % 2
    below = np.arange(odd + 2, freedom - 1, 2, dtype=np.float64)
    ratios = (below - 1) / below
    gamma_ratio = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2))
    angle, step = 0.0, math.inf
    while step > 1e-12 * angle:
        cosine = math.cos(angle)
        terms = 1 + float(np.cumprod(ratios * cosine**2).sum()) if freedom > 1 else 0.0
        inside = math.sin(angle) * cosine**odd * terms
        if odd:
            inside = 2 / math.pi * (angle + inside)
        slope = 2 / math.sqrt(math.pi) * gamma_ratio * cosine ** (freedom - 1)
        step = (1 - outside - inside) / slope
        angle += step
    return math.sqrt(freedom) * math.tan(angle)


def rank_interval(samples: Sequence[float], z: float) -> Interval | None:
    """Interval of the median between the ranks n/2 -+ z * sqrt(n)/2, rounded outwards.

    n/2 and sqrt(n)/2 are mean and standard deviation of the number of samples below the
    median. The stated coverage is exact for independent samples, and never below that of z
    standard deviations of a normal distribution.

    Args:
        samples: samples in any unit.
        z: half-width in standard deviations of the rank.

    Returns:
        None if there are too few samples for such ranks.
    """
    n = len(samples)
    rank = math.floor((n - z * math.sqrt(n)) / 2)
    if rank < 1:
        return None
    ordered = sorted(samples)
    below = sum(math.comb(n, k) for k in range(rank))
    return Interval(
        low=ordered[rank - 1],
        high=ordered[n - rank],
        confidence=1 - 2 * (below / 2**n),
        method="order-statistics",
    )


def log_ratios(pairs: Sequence[Pair]) -> list[float]:
    """Logarithms of numerator over denominator.

    Raises:
        MeasurementError: a time is below the clock's resolution.
    """
    if any(min(pair) <= 0 for pair in pairs):
        raise MeasurementError(
            "a forward was too short for the clock", advice="Raise the input size."
        )
    return [math.log(numerator / denominator) for numerator, denominator in pairs]


def estimate_ratio(pairs: Sequence[Pair], z: float) -> PairedEstimate | Absent:
    """Median of the log-ratios of pairs and its rank interval, both as ratios.

    Args:
        pairs: (numerator, denominator) in seconds.
        z: half-width of the interval in standard deviations of the rank.

    Raises:
        MeasurementError: a pair's time is below the clock's resolution.
    """
    ratios = log_ratios(pairs)
    interval = rank_interval(ratios, z)
    if interval is None:
        return Absent(kind="failed", reason=f"{len(pairs)} pairs are too few for an interval")
    bounds = {"low": math.exp(interval.low), "high": math.exp(interval.high)}
    return PairedEstimate(
        ratio=math.exp(float(np.median(ratios))),
        interval=interval.model_copy(update=bounds),
        pairs=len(pairs),
    )


def half_width(interval: Interval) -> float:
    """Half-width of a ratio's interval as a share: 0.01 is 1 % to either side."""
    return math.sqrt(interval.high / interval.low) - 1

"""Summaries of noisy samples, with intervals whose coverage is stated."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from harness.records import Interval, Value

if TYPE_CHECKING:
    from collections.abc import Sequence

CONFIDENCE = 0.95


def median_value(samples: Sequence[float], *, confidence: float = CONFIDENCE) -> Value:
    """Median with the distribution-free interval of order statistics.

    The interval between the k-th smallest and k-th largest of n independent samples covers
    the true median with probability 1 - 2 P(Binomial(n, 1/2) < k). The narrowest one that
    reaches ``confidence`` is taken; below six samples none reaches 95 %, so the range is given
    with the coverage it has. A single sample has no interval.

    Args:
        samples: at least one finite sample, any unit.
        confidence: coverage asked for, in (0, 1).

    Raises:
        ValueError: no samples.
    """
    ordered = sorted(samples)
    if not ordered:
        raise ValueError("the median of no samples is undefined")
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
    interval = Interval(low=low, high=high, confidence=1 - 2 * tail)
    return Value(value=float(np.median(ordered)), interval=interval)


def mean_of_medians(samples: Sequence[Sequence[float]], *, confidence: float = CONFIDENCE) -> Value:
    """Mean over images of per-image medians, with a Student interval over the rounds.

    The standard error of the median of n rounds is taken as sqrt(pi/2) s / sqrt(n) (s / sqrt(2)
    for two, whose median is their mean), pooled over images. In simulations of 1 to 14 images
    by 2 to 10 rounds of normal, log-normal and outlier-ridden noise it covers in 91 to 100 % of
    cases, where a bootstrap falls to 45 %. It speaks of rounds within one process only.

    Args:
        samples: one sequence of at least one sample for every image, any unit.
        confidence: coverage asked for, in (0, 1).

    Returns:
        The mean; without an interval where an image has fewer than two rounds.

    Raises:
        ValueError: no images, or an image without samples.
    """
    if not samples or not all(samples):
        raise ValueError("every image needs at least one sample")
    value = float(np.mean([np.median(image) for image in samples]))
    if min(len(image) for image in samples) < 2:  # noqa: PLR2004 - one round has no spread
        return Value(value=value)
    from scipy.special import stdtrit

    squared = [
        np.var(image, ddof=1) / len(image) * (1 if len(image) == 2 else math.pi / 2)  # noqa: PLR2004
        for image in samples
    ]
    standard_error = math.sqrt(sum(squared)) / len(samples)
    degrees = sum(len(image) - 1 for image in samples)
    half = float(stdtrit(degrees, (1 + confidence) / 2)) * standard_error
    return Value(
        value=value,
        interval=Interval(low=value - half, high=value + half, confidence=confidence),
    )

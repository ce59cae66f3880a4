"""Summaries of noisy samples, with intervals whose coverage is stated."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from harness.records import Interval, Value

if TYPE_CHECKING:
    from collections.abc import Sequence

CONFIDENCE = 0.95
RESAMPLES = 2000


def median_value(samples: Sequence[float], *, confidence: float = CONFIDENCE) -> Value:
    """Median with the distribution-free interval of order statistics.

    The interval between the k-th smallest and k-th largest of n independent samples covers
    the true median with probability 1 - 2 P(Binomial(n, 1/2) < k). The narrowest one that
    reaches ``confidence`` is taken; below six samples none reaches 95 %, so the range is given
    with the coverage it has.

    Args:
        samples: at least one finite sample, any unit.
        confidence: coverage asked for, in (0, 1).

    Raises:
        ValueError: no samples.
    """
    ordered = sorted(samples)
    if not ordered:
        raise ValueError("the median of no samples is undefined")
    n = len(ordered)
    tail, trimmed = 0.0, 0
    while trimmed + 1 <= n // 2:
        next_tail = tail + math.comb(n, trimmed) / 2**n
        if trimmed > 0 and 1 - 2 * next_tail < confidence:
            break
        tail = next_tail
        trimmed += 1
    low, high = (ordered[trimmed - 1], ordered[n - trimmed]) if trimmed else (ordered[0],) * 2
    interval = Interval(low=low, high=high, confidence=max(0.0, 1 - 2 * tail) if trimmed else 0.0)
    return Value(value=float(np.median(ordered)), interval=interval)


def mean_of_medians(
    samples: Sequence[Sequence[float]], *, seed: int, confidence: float = CONFIDENCE
) -> Value:
    """Mean over images of per-image medians, with a percentile bootstrap over the rounds.

    The interval speaks of rounds within this process only; it says nothing of what another
    process or machine would give.

    Args:
        samples: one sequence of at least one sample for every image, any unit.
        seed: of the resampling.
        confidence: coverage asked for, in (0, 1).

    Raises:
        ValueError: no images, or an image without samples.
    """
    if not samples or not all(samples):
        raise ValueError("every image needs at least one sample")
    rng = np.random.default_rng(seed)
    total = np.zeros(RESAMPLES)
    for image in samples:
        values = np.asarray(image, dtype=np.float64)
        draws = rng.integers(0, len(values), size=(RESAMPLES, len(values)))
        total += np.median(values[draws], axis=1)
    low, high = np.quantile(total / len(samples), [(1 - confidence) / 2, (1 + confidence) / 2])
    return Value(
        value=float(np.mean([np.median(image) for image in samples])),
        interval=Interval(low=float(low), high=float(high), confidence=confidence),
    )

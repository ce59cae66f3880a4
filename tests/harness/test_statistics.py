from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from harness.statistics import mean_of_medians, median_value

samples = st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=60)


@given(samples)
def test_median_interval_has_the_coverage_it_states(values: list[float]) -> None:
    result = median_value(values)
    ordered = sorted(values)
    assert result.value == np.median(values)
    assert result.interval is not None
    # The bounds are order statistics k and n+1-k for some k, and the stated coverage is theirs.
    coverages = {
        k: 1 - 2 * binom.cdf(k - 1, len(ordered), 0.5) for k in range(1, len(ordered) // 2 + 1)
    }
    matching = [
        coverage
        for k, coverage in coverages.items()
        if (ordered[k - 1], ordered[-k]) == (result.interval.low, result.interval.high)
    ]
    if len(ordered) == 1:
        assert result.interval.confidence == 0
    else:
        assert any(abs(result.interval.confidence - coverage) < 1e-12 for coverage in matching)


@pytest.mark.parametrize(
    ("n", "low", "high", "confidence"),
    [
        (3, 1, 3, 0.75),
        (5, 1, 5, 0.9375),
        (6, 1, 6, 0.96875),
        (10, 2, 9, 1 - 2 * (1 + 10) / 2**10),
        (20, 6, 15, 1 - 2 * sum((1, 20, 190, 1140, 4845, 15504)) / 2**20),
    ],
)
def test_median_interval_against_binomial_tables(
    n: int, low: float, high: float, confidence: float
) -> None:
    interval = median_value([float(i) for i in range(1, n + 1)]).interval
    assert interval is not None
    assert (interval.low, interval.high) == (low, high)
    assert interval.confidence == pytest.approx(confidence, abs=1e-12)


def test_median_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="no samples"):
        median_value([])


def test_mean_of_medians_is_the_mean_of_each_image_s_median() -> None:
    result = mean_of_medians([[1.0, 2.0, 9.0], [4.0, 4.0, 4.0]], seed=0)
    assert result.value == 3.0
    assert result.interval is not None
    # The first image's median lies in 1..9, the second's is 4.
    assert 2.5 <= result.interval.low <= 3.0 <= result.interval.high <= 6.5
    assert result == mean_of_medians([[1.0, 2.0, 9.0], [4.0, 4.0, 4.0]], seed=0)


def test_mean_of_medians_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    hits = 0
    for trial in range(200):
        images = rng.normal(10.0, 1.0, size=(8, 15))
        interval = mean_of_medians(images.tolist(), seed=trial).interval
        assert interval is not None
        hits += interval.low <= 10.0 <= interval.high
    # 95 % of 200 is 190; fewer than 176 has a probability below 1e-6.
    assert hits >= 176


def test_an_image_without_samples_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one sample"):
        mean_of_medians([[1.0], []], seed=0)

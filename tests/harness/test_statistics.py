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
    if len(ordered) == 1:
        assert result.interval is None
        return
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
    result = mean_of_medians([[1.0, 2.0, 9.0], [4.0, 4.0, 4.0]])
    assert result.value == 3.0
    assert result.interval is not None
    # s^2 of (1, 2, 9) is 19; of the constant image 0; t(0.975, 4) = 2.776445.
    half = 2.776445 * np.sqrt(np.pi / 2 * 19 / 3) / 2
    assert result.interval.low == pytest.approx(3.0 - half, abs=1e-5)
    assert result.interval.high == pytest.approx(3.0 + half, abs=1e-5)


def test_two_rounds_are_their_mean() -> None:
    interval = mean_of_medians([[1.0, 3.0]]).interval
    assert interval is not None
    # t(0.975, 1) = 12.7062 times s / sqrt(2) = 1.
    assert interval.high - interval.low == pytest.approx(2 * 12.7062, abs=1e-4)


def test_one_round_has_no_interval() -> None:
    assert mean_of_medians([[1.0, 2.0], [3.0]]).interval is None


@pytest.mark.parametrize(("images", "rounds"), [(1, 3), (4, 2), (8, 15)])
def test_mean_of_medians_covers_the_truth_as_often_as_it_says(images: int, rounds: int) -> None:
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(400):
        interval = mean_of_medians(rng.normal(10.0, 1.0, size=(images, rounds)).tolist()).interval
        assert interval is not None
        hits += interval.low <= 10.0 <= interval.high
    # 95 % of 400 is 380; fewer than 358 has a probability below 1e-6.
    assert hits >= 358


def test_an_image_without_samples_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one sample"):
        mean_of_medians([[1.0], []])

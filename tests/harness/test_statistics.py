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
    result = mean_of_medians([[1.0, 2.0, 9.0, 2.0, 2.0], [4.0] * 5])
    assert result.value == 3.0
    assert result.interval is not None
    # The first image's median lies in 1..9, the second's is 4.
    assert 2.5 <= result.interval.low <= 3.0 <= result.interval.high <= 6.5
    assert result == mean_of_medians([[1.0, 2.0, 9.0, 2.0, 2.0], [4.0] * 5])


def test_the_interval_stays_within_the_samples_whatever_the_outlier() -> None:
    image = [0.26, 0.25, 3.15, 0.26, 0.27, 0.25, 0.26]
    interval = mean_of_medians([image] * 4).interval
    assert interval is not None
    # A t interval of these samples would reach below zero.
    assert 0.25 <= interval.low <= 0.26 <= interval.high < 3.15 / 2


def test_too_few_rounds_have_no_interval() -> None:
    assert mean_of_medians([[1.0, 2.0, 3.0, 4.0, 5.0], [3.0] * 4]).interval is None


@pytest.mark.parametrize("noise", ["normal", "log-normal", "outliers"])
@pytest.mark.parametrize(("images", "rounds"), [(1, 6), (4, 6), (14, 10)])
def test_mean_of_medians_covers_the_truth_about_as_often_as_it_says(
    noise: str, images: int, rounds: int
) -> None:
    rng = np.random.default_rng(1)

    def draw(*shape: int) -> np.ndarray:
        if noise == "normal":
            return rng.normal(10.0, 1.0, shape)
        if noise == "log-normal":
            return 10 * np.exp(rng.normal(0.0, 0.3, shape))
        return rng.normal(10.0, 0.3, shape) + (rng.random(shape) < 0.1) * rng.exponential(10, shape)

    truth = np.median(draw(400_000))
    hits = 0
    for _ in range(300):
        interval = mean_of_medians(draw(images, rounds).tolist()).interval
        assert interval is not None
        hits += interval.low <= truth <= interval.high
    # At least the 91 % of the docstring, less three standard deviations of 300 trials.
    assert hits >= 258


def test_an_image_without_samples_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one sample"):
        mean_of_medians([[1.0], []])

import numpy as np
import pytest
from builders import noisy_pairs
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, norm, t

from esrbench.errors import MeasurementError
from esrbench.statistics import (
    estimate_ratio,
    half_width,
    mean_of_medians,
    median_value,
    rank_interval,
    student_quantile,
)

samples = st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=60)


@given(samples)
def test_median_interval_has_the_coverage_it_states(values):
    result = median_value(values)
    ordered = sorted(values)
    assert result.value == np.median(values)
    if len(ordered) == 1:
        assert result.interval is None
        return
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
def test_median_interval_against_binomial_tables(n, low, high, confidence):
    interval = median_value([float(i) for i in range(1, n + 1)]).interval
    assert (interval.low, interval.high) == (low, high)
    assert interval.confidence == pytest.approx(confidence, abs=1e-12)


def test_median_of_nothing_is_an_error():
    with pytest.raises(ValueError, match="at least one sample"):
        median_value([])


def test_mean_of_medians_is_the_mean_of_each_image_s_median():
    result = mean_of_medians([[1.0, 2.0, 9.0, 2.0, 2.0], [4.0] * 5])
    assert result.value == 3.0
    # The first image's median lies in 1..9, the second's is 4.
    assert 2.5 <= result.interval.low <= 3.0 <= result.interval.high <= 6.5
    assert result == mean_of_medians([[1.0, 2.0, 9.0, 2.0, 2.0], [4.0] * 5])


def test_the_interval_stays_within_the_samples_whatever_the_outlier():
    image = [0.26, 0.25, 3.15, 0.26, 0.27, 0.25, 0.26]
    interval = mean_of_medians([image] * 4).interval
    # A t interval of these samples would reach below zero.
    assert 0.25 <= interval.low <= 0.26 <= interval.high < 3.15 / 2


def test_too_few_rounds_have_no_interval():
    assert mean_of_medians([[1.0, 2.0, 3.0, 4.0, 5.0], [3.0] * 4]).interval is None


@pytest.mark.parametrize("noise", ["normal", "log-normal", "outliers"])
@pytest.mark.parametrize(
    ("images", "rounds"), [(1, 6), (4, 6), pytest.param(14, 10, marks=pytest.mark.slow)]
)
def test_mean_of_medians_covers_the_truth_about_as_often_as_it_says(noise, images, rounds):
    rng = np.random.default_rng(1)

    def draw(*shape):
        if noise == "normal":
            return rng.normal(10.0, 1.0, shape)
        if noise == "log-normal":
            return 10 * np.exp(rng.normal(0.0, 0.3, shape))
        return rng.normal(10.0, 0.3, shape) + (rng.random(shape) < 0.1) * rng.exponential(10, shape)

    truth = np.median(draw(400_000))
    hits = 0
    for _ in range(300):
        interval = mean_of_medians(draw(images, rounds).tolist()).interval
        hits += interval.low <= truth <= interval.high
    # At least the 91 % of the docstring, less three standard deviations of 300 trials.
    assert hits >= 258


def test_an_image_without_samples_is_an_error():
    with pytest.raises(ValueError, match="at least one sample"):
        mean_of_medians([[1.0], []])


@pytest.mark.parametrize(
    ("n", "z", "rank"),
    [
        (11, 2.6, 1),  # (11 - 8.62) / 2 = 1.19
        (20, 2.6, 4),  # (20 - 11.63) / 2 = 4.19
        (30, 2.6, 7),  # (30 - 14.24) / 2 = 7.88
        (100, 2.6, 37),  # (100 - 26) / 2, exactly
        (100, 2.0, 40),
    ],
)
def test_rank_interval_by_hand(n, z, rank):
    samples = [float(i) for i in range(1, n + 1)]
    interval = rank_interval(samples[::-1], z)
    assert (interval.low, interval.high) == (rank, n + 1 - rank)
    assert interval.confidence == pytest.approx(1 - 2 * binom.cdf(rank - 1, n, 0.5), abs=1e-12)


@pytest.mark.parametrize("n", [0, 1, 5, 10])
def test_too_few_pairs_have_no_rank_interval(n):
    assert rank_interval([1.0] * n, 2.6) is None
    estimate = estimate_ratio([(1.0, 1.0)] * n, 2.6)
    assert f"{n} pairs are too few" in estimate.reason


@given(st.integers(2, 700), st.floats(0.5, 4))
def test_a_rank_interval_covers_no_less_than_its_deviations_say(n, z):
    interval = rank_interval([float(i) for i in range(n)], z)
    assert interval is None or interval.confidence >= 2 * norm.cdf(z) - 1


def test_rank_intervals_cover_the_median_as_often_as_they_say():
    rng = np.random.default_rng(0)
    # Skewed noise whose median is 0.
    draws = np.exp(rng.normal(0.0, 0.5, (2000, 30))) - 1
    intervals = [rank_interval(row.tolist(), 1.6) for row in draws]
    hits = sum(i is not None and i.low <= 0 <= i.high for i in intervals)
    stated = intervals[0].confidence if intervals[0] else 0
    assert 0.85 < stated < 0.96
    assert abs(hits / 2000 - stated) < 3 * (stated * (1 - stated) / 2000) ** 0.5


def test_a_ratio_is_the_median_of_pair_ratios_not_the_ratio_of_medians():
    # The machine slows down threefold halfway; every pair says 2.
    pairs = [(2.0, 1.0)] * 10 + [(6.0, 3.0)] * 9 + [(6.0, 2.0)]
    estimate = estimate_ratio(pairs, 2.6)
    assert estimate.ratio == pytest.approx(2.0)
    assert (estimate.interval.low, estimate.interval.high) == pytest.approx((2.0, 2.0))
    assert estimate.pairs == 20


def test_the_reversed_race_has_the_reciprocal_ratio():
    rng = np.random.default_rng(3)
    pairs = noisy_pairs(rng, 60, ratio=1.05, noise=0.1)
    there, back = estimate_ratio(pairs, 2.6), estimate_ratio([(b, a) for a, b in pairs], 2.6)
    assert back.ratio == pytest.approx(1 / there.ratio)
    assert back.interval.low == pytest.approx(1 / there.interval.high)


def test_half_width_is_the_share_to_either_side():
    interval = estimate_ratio([(1.0, 1.02)] * 10 + [(1.02, 1.0)] * 10, 2.6)
    assert half_width(interval.interval) == pytest.approx(0.02)


def test_a_time_of_zero_is_an_error():
    with pytest.raises(MeasurementError, match="too short for the clock"):
        estimate_ratio([(0.0, 1.0)] * 20, 2.6)


@given(st.integers(1, 60) | st.integers(61, 50_000), st.floats(1e-9, 0.999))
def test_student_s_quantile_is_scipy_s(freedom, outside):
    assert student_quantile(freedom, outside) == pytest.approx(t.isf(outside / 2, freedom), 1e-5)


@pytest.mark.parametrize(
    ("freedom", "outside", "half_width"),
    [(1, 0.05, 12.706), (2, 0.05, 4.303), (4, 0.05, 2.776), (9, 0.01, 3.250), (120, 0.1, 1.658)],
)
def test_student_s_quantile_is_that_of_printed_tables(freedom, outside, half_width):
    assert student_quantile(freedom, outside) == pytest.approx(half_width, abs=5e-4)

import numpy as np
import pytest
from scipy import stats

from esrbench.records import Interval, Value
from esrbench.runs.steadiness import _kendall, drift, half_change, outliers, spread


def rounds(inputs, count, *, noise, seed, neighbours=0.0):
    """Seconds around 1 with normal noise; successive ones correlate by ``neighbours``."""
    draws = np.random.default_rng(seed).normal(size=(inputs, count))
    for index in range(1, count):
        fresh = np.sqrt(1 - neighbours**2) * draws[:, index]
        draws[:, index] = neighbours * draws[:, index - 1] + fresh
    return 1 + noise * draws


def test_the_trend_statistic_is_kendalls():
    seconds = rounds(1, 12, noise=0.1, seed=3)[0]
    score, variance = _kendall(seconds.tolist())
    tau = stats.kendalltau(np.arange(12), seconds)
    assert score == pytest.approx(tau.statistic * 12 * 11 / 2)
    # The asymptotic p-value has the same variance, without continuity correction.
    asymptotic = stats.kendalltau(np.arange(12), seconds, method="asymptotic")
    assert 2 * stats.norm.sf(abs(score) / variance**0.5) == pytest.approx(asymptotic.pvalue)


@pytest.mark.parametrize(("inputs", "count"), [(1, 6), (1, 10), (1, 30), (20, 6), (50, 10)])
@pytest.mark.parametrize("noise", [0.02, 0.07])
def test_independent_rounds_rarely_seem_to_drift(inputs, count, noise):
    draws = 600 if inputs == 1 else 60
    alarms = sum(
        drift(rounds(inputs, count, noise=noise, seed=seed).tolist()) is not None
        for seed in range(draws)
    )
    # 1 % and two standard deviations of the count at that rate
    assert alarms <= 0.01 * draws + 2 * (0.01 * draws) ** 0.5


def test_rounds_that_resemble_their_neighbours_rarely_seem_to_drift():
    draws = 400
    alarms = sum(
        drift(rounds(1, 30, noise=0.07, seed=seed, neighbours=0.6).tolist()) is not None
        for seed in range(draws)
    )
    assert alarms <= 0.03 * draws + 2 * (0.03 * draws) ** 0.5
    crowd = rounds(100, 30, noise=0.02, seed=0, neighbours=0.6)
    assert drift(crowd.tolist()) is None


def test_a_rise_of_a_tenth_over_thirty_rounds_is_found_and_named():
    for seed in range(20):
        seconds = rounds(5, 30, noise=0.02, seed=seed)
        seconds[3] *= np.linspace(1, 1.1, 30)
        seen = drift(seconds.tolist())
        assert (seen.alone, seen.worst) == ((3,), 3)
        assert seen.change == pytest.approx(0.05, abs=0.03)


def test_a_common_fall_is_found_where_no_input_shows_it_alone():
    seconds = rounds(100, 6, noise=0.02, seed=0) * np.linspace(1.06, 1, 6)
    seen = drift(seconds.tolist())
    assert seen.alone == ()
    assert seen.change == pytest.approx(-0.034, abs=0.01)


def test_a_trend_too_small_to_matter_is_not_told():
    assert drift([list(np.linspace(1, 1.03, 30))]) is None
    assert drift([list(np.linspace(1, 1.06, 30))]) is not None


def test_few_rounds_say_nothing():
    assert drift([[1.0, 2.0, 3.0, 4.0, 5.0]]) is None
    assert outliers([[1.0, 1.0, 9.0]]).forwards == 0


def test_an_outlier_is_ten_deviations_off_by_the_median_absolute_deviation():
    # Median 1, absolute deviations 0.01 (twice), 0.02 (twice), 0 and the last: MAD 0.01.
    regular = [0.98, 0.99, 1.0, 1.0, 1.01, 1.02]
    assert outliers([[*regular, 1.14]]).count == 0
    seen = outliers([[*regular, 1.16]])
    assert (seen.count, seen.forwards) == (1, 7)
    assert seen.farthest == {0: pytest.approx(0.16)}


def test_rounds_that_agree_by_chance_borrow_the_spread_of_the_others():
    agreeing = [1.0, 1.0, 1.0, 1.0, 1.0, 1.08]
    others = rounds(10, 6, noise=0.02, seed=0).tolist()
    assert outliers([agreeing]).count == 1
    assert outliers([agreeing, *others]).count == 0


def test_normal_noise_rarely_has_outliers():
    draws = 2000
    found = sum(
        outliers(rounds(1, 6, noise=0.07, seed=seed).tolist()).count > 0 for seed in range(draws)
    )
    assert found <= 0.012 * draws + 2 * (0.012 * draws) ** 0.5


def value(middle, half_width):
    return Value(
        value=middle,
        interval=Interval(
            low=middle - half_width,
            high=middle + half_width,
            confidence=0.95,
            method="order-statistics",
        ),
    )


def test_processes_differ_where_that_is_unusual_and_their_intervals_are_far_apart():
    seen = spread([value(1.0, 0.02), value(1.5, 0.02), value(2.1, 0.02)])
    assert (seen.apart, seen.within) == (pytest.approx(1.1), pytest.approx(0.04))
    assert seen.differs
    # A tenth between processes is what every machine has.
    usual = spread([value(1.0, 0.02), value(1.05, 0.02), value(1.1, 0.02)])
    assert not usual.differs
    unsure = spread([value(1.0, 0.5), value(2.1, 0.5)])
    assert not unsure.differs
    assert spread([value(1.0, 0.1), Value(value=2.0)]) is None


@pytest.mark.parametrize("processes", [2, 3, 5, 10])
def test_the_usual_spread_is_that_of_nineteen_in_twenty_quiet_machines(processes):
    times = [value(1.0 + index / 100, 0.001) for index in range(processes)]
    seen = spread(times)
    # By the range of normal variates; Bonferroni's bound is a little wider.
    exact = np.expm1(0.2 * stats.studentized_range.ppf(0.95, processes, np.inf))
    assert exact <= seen.usual * 1.001
    assert seen.usual <= 1.1 * exact


def test_the_change_between_halves_is_that_of_the_sum_over_inputs():
    # Medians 2 and 10, then 3 and 12: from 12 to 15. The middle round of five is in neither.
    inputs = [[2.0, 2.0, 9.0, 3.0, 3.0], [9.0, 11.0, 12.0, 12.0]]
    assert half_change(inputs) == pytest.approx(0.25)
    assert half_change([]) == 0.0
    assert half_change([[1.0]]) == 0.0

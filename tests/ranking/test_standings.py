"""Formulas, ranks, places and the Pareto front, by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata

from esrbench.ranking import standings
from esrbench.ranking.formulas import Exponential, RankSum, RealTime
from esrbench.ranking.rule import Track
from esrbench.ranking.standings import (
    Contestant,
    pareto_front,
    place_in_tracks,
    rank_metrics,
    shared_ranks,
)


def track(key, *metrics, ties_by=None):
    return Track(key=key, label=key, title=key, formula=RankSum(metrics=metrics), ties_by=ties_by)


def test_equal_values_share_the_smallest_rank():
    ranks = shared_ranks({"a": 2.0, "b": 1.0, "c": 1.0, "d": 3.0})
    assert ranks == {"b": 1, "c": 1, "a": 3, "d": 4}


@given(st.lists(st.integers(0, 5), min_size=1, max_size=12))
def test_shared_ranks_are_scipy_s_minimum_ranks(values):
    ranks = shared_ranks({str(index): value for index, value in enumerate(values)})
    assert list(ranks.values()) == rankdata(values, method="min").tolist()


def test_ranks_follow_a_metric_s_own_direction():
    contestants = [Contestant("a", {"psnr_rgb": 28.0}), Contestant("b", {"psnr_rgb": 29.0})]
    assert rank_metrics(contestants, ["psnr_rgb"]) == {"psnr_rgb": {"b": 1, "a": 2}}


def test_equal_sums_are_shared_or_keep_an_earlier_track_s_order():
    contestants = [
        Contestant("a", {"runtime_images": 3.0, "params": 1.0, "macs_aten": 2.0}),
        Contestant("b", {"runtime_images": 2.0, "params": 2.0, "macs_aten": 1.0}),
        Contestant("c", {"runtime_images": 1.0, "params": 3.0, "macs_aten": 3.0}),
    ]
    ranks = rank_metrics(contestants, ["runtime_images", "params", "macs_aten"])
    main = track("main", "runtime_images")
    shared = track("shared", "params", "macs_aten")
    chained = track("chained", "params", "macs_aten", ties_by="main")
    places = place_in_tracks(contestants, ranks, [main, shared, chained], {})
    assert {name: each.rank for name, each in places["shared"].items()} == {"a": 1, "b": 1, "c": 3}
    assert {name: each.rank for name, each in places["chained"].items()} == {
        "b": 1,
        "a": 2,
        "c": 3,
    }


def test_printed_ranks_separate_equal_figures():
    contestants = [
        Contestant("a", {"params": 0.317e6}, {"params": 12}),
        Contestant("b", {"params": 0.317e6}, {"params": 11}),
    ]
    assert rank_metrics(contestants, ["params"]) == {"params": {"b": 1, "a": 2}}


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=10),
)
def test_the_front_holds_all_that_nothing_dominates(points):
    contestants = [
        Contestant(str(index), {"params": float(x), "psnr_rgb": float(y)})
        for index, (x, y) in enumerate(points)
    ]
    front = pareto_front(contestants, ["params", "psnr_rgb"])
    for index, (x, y) in enumerate(points):
        beaten = any((a < x and b >= y) or (a <= x and b > y) for a, b in points)
        assert (str(index) in front) is not beaten
    assert front


EXPONENTIAL = Exponential(weights={"runtime_images": 0.7, "params": 0.3})


def test_a_sum_of_ranks_reads_ranks_only():
    total = RankSum(metrics=("params", "runtime_images")).total(
        {}, {"params": 3, "runtime_images": 4, "macs_aten": 9}, {}
    )
    assert (total.order, total.value, total.log) == (7, 7, None)


def test_exponentials_by_hand():
    # 0.7 exp(2 * 3/2) + 0.3 exp(2 * 1/4)
    total = EXPONENTIAL.total(
        {"runtime_images": 3.0, "params": 1.0}, {}, {"runtime_images": 2.0, "params": 4.0}
    )
    assert total.value == pytest.approx(14.0598758 + 0.49461638, abs=1e-6)
    assert total.log == pytest.approx(math.log(14.0598758 + 0.49461638), abs=1e-7)


def test_a_score_that_overflows_still_has_its_logarithm_and_order():
    reference = {"runtime_images": 1.0, "params": 1.0}
    slow = EXPONENTIAL.total({"runtime_images": 400.0, "params": 1.0}, {}, reference)
    slower = EXPONENTIAL.total({"runtime_images": 401.0, "params": 1.0}, {}, reference)
    assert slow.value is None
    assert slow.log == pytest.approx(800 + math.log(0.7), abs=1e-12)
    assert slow.order < slower.order
    below = EXPONENTIAL.total({"runtime_images": 354.0, "params": 1.0}, {}, reference)
    assert below.value == pytest.approx(0.7 * math.exp(708))


@pytest.mark.parametrize(
    ("psnr", "seconds", "score"),
    [(31.0, 4e-3, 20.0), (32.0, 1e-3, 80.0), (30.0, 1e-3, 0.0), (29.0, 1e-3, 0.0)],
)
def test_real_time_by_hand(psnr, seconds, score):
    # Over 30 dB: 20 * 2^1 / sqrt(4), 20 * 2^2 / 1, nothing gained, less than nothing.
    total = RealTime().total({"psnr_rgb": psnr, "runtime_images": seconds}, {}, {"psnr_rgb": 30.0})
    assert total.value == pytest.approx(score)
    assert total.log == (pytest.approx(math.log(score)) if score else None)
    assert total.order == (pytest.approx(-math.log(score)) if score else math.inf)


@pytest.mark.parametrize("seed", range(50))
def test_the_front_is_that_of_comparing_all_pairs(seed, monkeypatch):
    """Runtimes, with intervals, in the first coordinate."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 13))
    points = list(zip(*(rng.integers(0, top, count).tolist() for top in (6, 3, 6)), strict=True))
    contestants = [
        Contestant(str(index), {"runtime_images": time, "psnr_rgb": psnr})
        for index, (time, _, psnr) in enumerate(points)
    ]
    spans = {str(i): (time - half, time + half) for i, (time, half, _) in enumerate(points)}
    monkeypatch.setattr(standings, "RIVALS", int(rng.integers(1, 6)))
    front = pareto_front(contestants, ["runtime_images", "psnr_rgb"], {"runtime_images": spans})
    for index, (time, half, psnr) in enumerate(points):
        beaten = any(
            t - h <= time + half and p >= psnr and (t + h < time - half or p > psnr)
            for t, h, p in points
        )
        assert (str(index) in front) is not beaten

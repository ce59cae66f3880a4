from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata

from esrbench.ranking.formulas import RankSum
from esrbench.ranking.rule import Track
from esrbench.ranking.standings import (
    Contestant,
    pareto_front,
    place_in_tracks,
    rank_metrics,
    shared_ranks,
)


def track(key: str, *metrics: str, ties_by: str | None = None) -> Track:
    return Track(key=key, label=key, title=key, formula=RankSum(metrics=metrics), ties_by=ties_by)


def test_equal_values_share_the_smallest_rank() -> None:
    ranks = shared_ranks({"a": 2.0, "b": 1.0, "c": 1.0, "d": 3.0})
    assert ranks == {"b": 1, "c": 1, "a": 3, "d": 4}


@given(st.lists(st.integers(0, 5), min_size=1, max_size=12))
def test_shared_ranks_are_scipy_s_minimum_ranks(values: list[int]) -> None:
    ranks = shared_ranks({str(index): value for index, value in enumerate(values)})
    assert list(ranks.values()) == rankdata(values, method="min").tolist()


def test_ranks_follow_a_metric_s_own_direction() -> None:
    contestants = [Contestant("a", {"psnr_rgb": 28.0}), Contestant("b", {"psnr_rgb": 29.0})]
    assert rank_metrics(contestants, ["psnr_rgb"]) == {"psnr_rgb": {"b": 1, "a": 2}}


def test_equal_sums_are_shared_or_keep_an_earlier_track_s_order() -> None:
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


def test_printed_ranks_separate_equal_figures() -> None:
    contestants = [
        Contestant("a", {"params": 0.317e6}, {"params": 12}),
        Contestant("b", {"params": 0.317e6}, {"params": 11}),
    ]
    assert rank_metrics(contestants, ["params"]) == {"params": {"b": 1, "a": 2}}


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=10),
)
def test_the_front_holds_all_that_nothing_dominates(points: list[tuple[int, int]]) -> None:
    contestants = [
        Contestant(str(index), {"params": float(x), "psnr_rgb": float(y)})
        for index, (x, y) in enumerate(points)
    ]
    front = pareto_front(contestants, ["params", "psnr_rgb"])
    for index, (x, y) in enumerate(points):
        beaten = any((a < x and b >= y) or (a <= x and b > y) for a, b in points)
        assert (str(index) in front) is not beaten
    assert front

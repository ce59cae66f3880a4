"""Which ranks noise explains."""

import json
import re

import builders
import numpy as np
import pytest
from scipy import stats

from esrbench.ranking.published import official_leaderboard
from esrbench.ranking.rules import RULES, parse_rule
from esrbench.ranking.stability import _chained, _possible, across_processes
from esrbench.reports.formats import render
from esrbench.reports.leaderboard import leaderboard_table
from esrbench.statistics import geometric_mean

# a and b overlap; c, 50 % slower, is beyond both.
OVERLAPPING = {"a": [1.0, 1.01, 0.99], "b": [1.01, 1.0, 1.02], "c": [1.5, 1.51, 1.49]}
TIED = {"a": (1, 2), "b": (1, 2), "c": (3, 3)}


@pytest.fixture
def timed_board(rank, timed):
    """A board of entries by the times of their processes, and by their other values."""

    def build(processes, rule="ntire2022", **values):
        records = [timed(name, each, **values.get(name, {})) for name, each in processes.items()]
        return rank(*records, rule=rule)

    return build


def place(board, name, track="main"):
    return next(row.places[track] for row in board.ranked if row.entry == name)


def possible(board, track="main"):
    """Ranks that noise leaves possible, by entry."""
    held = {row.entry: row.places[track].stability for row in board.ranked}
    return {name: (each.low, each.high) for name, each in held.items() if each is not None}


def test_ranks_far_apart_are_stable(timed_board):
    board = timed_board({"a": [1.0, 1.02, 0.99], "b": [2.0, 2.02, 1.99]})
    assert possible(board) == {"a": (1, 1), "b": (2, 2)}
    assert board.stability is None
    assert not place(board, "a").provisional
    assert not any("is a tie" in note for note in board.notes)


def test_ranks_whose_intervals_overlap_are_ties(timed_board, columns):
    board = timed_board(OVERLAPPING)
    assert possible(board) == TIED
    shown = columns(board)
    assert shown["Main"] == ["1-2", "1-2", "3"]
    assert any("is a tie within the noise" in note for note in board.notes)
    assert all(row.values["runtime_images"].interval for row in board.ranked)
    # Copies that differ by noise share the Pareto front.
    assert {row.entry: row.pareto for row in board.ranked} == {"a": True, "b": True, "c": False}
    assert shown["Pareto"] == ["\N{BULLET}", "\N{BULLET}", ""]


def test_intervals_are_the_wider_of_their_own_and_of_the_spread_of_all(timed):
    # Of logarithms: variances 0.01 and 0.0001 with 2 degrees of freedom each.
    wide, narrow = np.exp([-0.1, 0.0, 0.1]), np.exp([-0.01, 0.0, 0.01])
    found = across_processes(
        [timed("a", wide.tolist()), timed("b", narrow.tolist())], "runtime_images"
    )
    pooled = np.sqrt((0.01 + 0.0001) / 2)
    own = stats.t.ppf(0.975, 2) * 0.1 / np.sqrt(3)
    shared = stats.t.ppf(0.975, 4) * pooled / np.sqrt(3)
    assert own > shared > stats.t.ppf(0.975, 2) * 0.01 / np.sqrt(3)
    for value, half in zip(found, (own, shared), strict=True):
        assert np.log(value.interval.high) == pytest.approx(half)
        assert np.log(value.interval.low) == pytest.approx(-half)
        assert value.value == pytest.approx(1.0)


@pytest.mark.parametrize(("entries", "processes"), [(4, 3), (4, 5), (12, 3)])
def test_copies_of_one_network_are_rarely_told_apart(timed, entries, processes):
    """With 10 % between processes; at most 5 % of suites and two standard deviations of that."""
    template = timed("a", [1.0] * processes)
    rng = np.random.default_rng(entries + processes)
    draws, apart = 300, 0
    for _ in range(draws):
        times = np.exp(rng.normal(0, 0.1, (entries, processes)))
        suite = [
            template.model_copy(update={"values": {"runtime_images": geometric_mean(row.tolist())}})
            for row in times
        ]
        known = [value.interval for value in across_processes(suite, "runtime_images")]
        apart += max(each.low for each in known) > min(each.high for each in known)
    assert apart <= 0.05 * draws + 2 * (0.05 * draws) ** 0.5


def test_processes_that_agree_by_chance_are_not_believed(timed_board):
    # A machine whose processes are either fast or slow: a is never slow, b always.
    board = timed_board(
        {
            "a": [0.040, 0.041, 0.040],
            "b": [0.141, 0.140, 0.141],
            "c": [0.040, 0.141, 0.141],
            "d": [0.141, 0.040, 0.040],
        }
    )
    assert set(possible(board).values()) == {(1, 4)}


@pytest.mark.parametrize("processes", [1, 2])
def test_with_fewer_than_three_processes_ranks_are_provisional(rank, timed, columns, processes):
    # Two copies of one network, as they were once ranked 1 and 2.
    # A process alone knows its rounds.
    rounds = {"runtime_images": builders.value(0.04012, 0.0206, 0.121, "bootstrap")}
    first = timed("a", [0.04012] * processes, **rounds)
    board = rank(first, timed("b", [0.1414] * processes))
    assert [row.provisional_ranks for row in board.ranked] == [("runtime_images",)] * 2
    assert place(board, "a").provisional
    assert place(board, "a").stability is None
    assert not place(board, "a", "sub1").provisional
    assert "--processes 3" in board.stability.advice
    shown = columns(board)
    assert shown["Main"] == ["1?", "2?"]
    assert shown["Runtime [ms]"] == ["40.12₁?", "141.40₂?"]
    assert shown["Params [M]"] == ["0.300₁", "0.300₁"]
    assert shown["Pareto"] == ["\N{BULLET}?", ""]
    assert "| 1? | " in re.sub(" +", " ", str(render(leaderboard_table(board), "markdown")))
    rows = builders.csv_rows(leaderboard_table(board))
    assert [row["main_rank_provisional"] for row in rows] == ["True", "True"]
    assert [row["runtime_images_rank_provisional"] for row in rows] == ["True", "True"]
    assert [row["runtime_images_low"] for row in rows] == ["", ""]
    document = json.loads(board.model_dump_json())
    assert document["ranked"][0]["places"]["main"]["provisional"] is True
    assert document["ranked"][0]["values"]["runtime_images"]["interval"] is None
    assert any(note.startswith("? A provisional rank: ") for note in board.notes)


def test_without_samples_ranks_are_provisional(rank, imdn):
    board = rank(*((name, imdn | {"runtime_images": 1.0}) for name in "ab"))
    assert place(board, "a").provisional


def test_without_ranks_nothing_is_provisional(rank):
    board = rank(("a", {}, {"status": "crash"}))
    assert board.ranked == ()
    assert board.stability is None
    assert not any("provisional" in note for note in board.notes)


def test_published_ranks_are_not_provisional():
    board = official_leaderboard(RULES["ntire2022"])
    assert not any(row.provisional_ranks for row in board.ranked)
    assert not any(place.provisional for row in board.ranked for place in row.places.values())


def test_without_a_track_the_rank_in_runtime_is_a_tie_within_noise(timed_board, columns):
    board = timed_board(OVERLAPPING | {"c": [10.0, 10.0, 10.0]}, rule="aim2020")
    assert board.tracks == ()
    held = {row.entry: row.rank_stability["runtime_images"] for row in board.ranked}
    assert {name: (each.low, each.high) for name, each in held.items()} == TIED
    shown = columns(board)
    cells = dict(zip(shown["Entry"], shown["Runtime [ms]"], strict=True))
    assert "₁₋₂ [" in cells["a"]
    assert "₃ [" in cells["c"]


def test_sums_of_ranks_take_over_the_ties_of_runtime(timed_board):
    # a and b tie in runtime; b has fewer parameters, c is last in both.
    params = {"a": {"params": 2e5}, "b": {"params": 1e5}, "c": {"params": 3e5}}
    board = timed_board(OVERLAPPING, **params)
    assert possible(board) == TIED
    # Sums of runtime and parameters: a 3 to 4, b 2 to 3, c 6; the other metrics are equal.
    assert possible(board, "sub2") == TIED
    # No runtime is in it.
    assert possible(board, "sub1") == {"a": (2, 2), "b": (1, 1), "c": (3, 3)}


def test_equal_totals_that_runtime_separates_are_tied_with_it(timed_board):
    # In 2023 entries of equal complexity keep the order of runtime.
    board = timed_board({"a": [1.0], "b": [1.1]}, rule="ntire2023")
    keys = [track.key for track in board.tracks]
    assert all(place(board, "a", key).provisional for key in keys)
    board = timed_board(OVERLAPPING, rule="ntire2023")
    assert all(possible(board, key) == TIED for key in keys)


def test_a_rank_in_another_runtime_is_a_tie_likewise(rank, timed):
    rule = parse_rule(
        """
        name = "fixed"
        title = "Fixed input"
        source = "a test"
        ties = "shared"
        columns = ["runtime_fixed"]
        [[tracks]]
        key = "main"
        label = "Main"
        title = "Main"
        formula = { kind = "rank-sum", metrics = ["runtime_fixed"] }
        """,
        "rule.toml",
    )
    records = []
    for name in "ab":
        fixed = {"runtime_fixed": geometric_mean(OVERLAPPING[name])}
        records.append(timed(name, OVERLAPPING[name], **fixed))
    assert possible(rank(*records, rule=rule)) == {"a": (1, 2), "b": (1, 2)}


def test_scores_are_tied_where_runtimes_are(timed_board):
    rlfn, b, c = OVERLAPPING.values()
    board = timed_board({"rlfn": rlfn, "b": b, "c": c}, rule="ntire2024")
    assert possible(board) == {"rlfn": (1, 2), "b": (1, 2), "c": (3, 3)}
    # Far fewer parameters and FLOPs decide whatever the runtimes are.
    light = {"params": 1e4, "macs_fvcore": 1e8}
    board = timed_board({"rlfn": rlfn, "b": b}, rule="ntire2024", b=light)
    assert possible(board) == {"b": (1, 1), "rlfn": (2, 2)}


NAMES = "abcde"


def drawn_cases(rng, count):
    """Best and worst of five entries, of few values so that many are equal."""
    best, more = rng.integers(0, 4, (count, 5)), rng.integers(0, 3, (count, 5))
    return [
        {n: ((b,), (b + m,)) for n, b, m in zip(NAMES, *of_case, strict=True)}
        for of_case in zip(best.tolist(), more.tolist(), strict=True)
    ]


@pytest.mark.parametrize("seed", range(50))
def test_possible_ranks_are_those_of_comparing_all_pairs(seed):
    """Against the definition: pair by pair, where equal totals are separated by another track."""
    rng = np.random.default_rng(seed)
    own, before = (drawn_cases(rng, count) for count in rng.integers(1, 4, 2))

    def ahead(one, other, tracks):
        if not tracks:
            return False
        first, *rest = tracks
        return all(
            case[one][1] < case[other][0]
            or (case[one][1] == case[other][0] and ahead(one, other, rest))
            for case in first
        )

    for tracks, ends in (([own], own), ([own, before], _chained(own, before))):
        printed = dict(zip(NAMES, rng.permutation(5).tolist(), strict=True))
        for name, held in _possible(ends, printed).items():
            better = sum(ahead(other, name, tracks) for other in NAMES)
            worse = sum(ahead(name, other, tracks) for other in NAMES)
            assert held.low == min(1 + better, printed[name])
            assert held.high == max(len(NAMES) - worse, printed[name])

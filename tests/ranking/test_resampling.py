"""How often ranks hold when processes are drawn again."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from esrbench.ranking.resampling import DRAWS, drawn_runtimes

ENTRIES = {"a": [1.0, 1.02, 0.98], "b": [1.01, 1.03, 0.99], "c": [2.0, 2.04, 1.96]}
FOUR_ERRORS = 4 * np.sqrt(0.25 / DRAWS)
"""Of a share, at most."""


def shares(board):
    return {row.entry: row.rank_stability["runtime_images"].held for row in board.ranked}


@pytest.fixture
def board(rank, timed):
    def build(entries=ENTRIES, **options):
        return rank(*(timed(name, each) for name, each in entries.items()), **options)

    return build


def test_shares_are_those_of_normal_noise(board):
    # Three processes deviate by 2 % in the standard deviation, so means by 2 % / sqrt(3).
    error = np.sqrt(2) * np.std(np.log(ENTRIES["a"]), ddof=1) / np.sqrt(3)
    expected = stats.norm.cdf(np.log(1.01) / error)
    held = shares(board(resample=True))
    assert held["a"] == pytest.approx(expected, abs=FOUR_ERRORS + 0.02)
    # Both hold their ranks in the same draws.
    assert (held["b"], held["c"]) == (held["a"], 1.0)


def test_ranks_in_tracks_have_shares_too(board):
    places = {row.entry: row.places["main"].stability for row in board(resample=True).ranked}
    # All else is equal, so the runtime decides.
    assert {name: each.held for name, each in places.items()} == shares(board(resample=True))
    assert all(each.low <= each.high for each in places.values())


def test_possible_ranks_are_those_without_shares(board):
    def bounds(found):
        return {
            row.entry: {
                key: replace(place.stability, held=None) for key, place in row.places.items()
            }
            for row in found.ranked
        }

    assert bounds(board(resample=True)) == bounds(board())
    assert set(shares(board()).values()) == {None}


def test_no_shares_of_large_boards_and_of_too_few_processes(board, monkeypatch):
    few = board({"a": [1.0, 1.1], "b": [2.0, 2.1]}, resample=True)
    assert all(not row.rank_stability for row in few.ranked)
    monkeypatch.setattr("esrbench.ranking.leaderboard.MOST_ENTRIES", 2)
    assert set(shares(board(resample=True)).values()) == {None}


def test_a_baseline_moves_with_its_entry(rank, timed):
    """In relation to itself its score is fixed, whatever is drawn."""
    names = {"imdn": ENTRIES["a"], "b": ENTRIES["b"]}
    records = [timed(name, each) for name, each in names.items()]
    found = rank(*records, rule="ntire2024", relative_to="imdn", resample=True)
    places = {row.entry: row.places[found.tracks[0].key].stability for row in found.ranked}
    in_time = shares(found)
    assert {name: each.held for name, each in places.items()} == in_time


def test_equal_processes_leave_nothing_to_draw(timed):
    drawn = drawn_runtimes(
        [timed("a", [1.0, 1.0, 1.0]), timed("b", [2.0, 2.0, 2.0])], "runtime_images"
    )
    assert {name: set(seconds.round(9)) for name, seconds in drawn.items()} == {
        "a": {1.0},
        "b": {2.0},
    }

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from esrbench.errors import UsageError
from esrbench.protocol import Protocol
from esrbench.ranking.leaderboard import build_leaderboard
from esrbench.ranking.rules import RULES
from esrbench.records import Absent

if TYPE_CHECKING:
    from collections.abc import Callable

    from esrbench.ranking.board import Leaderboard
    from esrbench.records import RunRecord

    MakeRecord = Callable[..., RunRecord]

RLFN = {"runtime_images": 0.5, "params": 317_000, "macs_fvcore": 19.67e9, "psnr_rgb": 29.0}


def scores(board: Leaderboard) -> dict[str, float]:
    return {
        row.entry: score
        for row in board.ranked
        if isinstance(score := row.places["main"].score, float)
    }


def test_runtime_is_relative_to_the_baseline_measured_beside(make_record: MakeRecord) -> None:
    other = {**RLFN, "runtime_images": 1.0, "params": 634_000}
    board = build_leaderboard(
        [make_record("rlfn", RLFN), make_record("b", other)], RULES["ntire2024"]
    )
    # 0.7 exp(4) + 0.15 exp(2) + 0.15 exp(4), whatever the device.
    assert scores(board) == pytest.approx(
        {"rlfn": math.e**2, "b": 0.85 * math.e**4 + 0.15 * math.e**2}
    )
    assert [row.entry for row in board.ranked] == ["rlfn", "b"]


def test_without_its_baseline_a_score_is_absent_and_says_what_to_run(
    make_record: MakeRecord,
) -> None:
    board = build_leaderboard([make_record("b", RLFN)], RULES["ntire2024"])
    assert board.tracks == ()
    assert board.notes[0].startswith(
        "Main (score) is not ranked. Scores are relative to the Runtime of rlfn: run it beside"
    )
    assert [row.entry for row in board.ranked] == ["b"]


def test_another_entry_or_the_published_runtime_can_be_asked_for(make_record: MakeRecord) -> None:
    records = [make_record("a", RLFN), make_record("b", {**RLFN, "runtime_images": 13.54e-3})]
    by_a = build_leaderboard(records, RULES["ntire2024"], relative_to="a")
    assert scores(by_a)["a"] == pytest.approx(math.e**2)
    assert any("of a in place of RLFN's" in note for note in by_a.notes)
    published = build_leaderboard(records, RULES["ntire2024"], relative_to="published")
    assert scores(published)["b"] == pytest.approx(math.e**2)
    assert any("on that device only" in note for note in published.notes)
    with pytest.raises(UsageError, match="--relative-to c: no such entry"):
        build_leaderboard(records, RULES["ntire2024"], relative_to="c")


def test_a_baseline_that_is_no_network_here_is_named(make_record: MakeRecord) -> None:
    board = build_leaderboard([make_record("a", RLFN)], RULES["ntire2025"])
    assert "EFDN, which is not among the networks here" in board.notes[0]


def test_counts_at_another_size_make_no_score(make_record: MakeRecord) -> None:
    record = make_record("rlfn", RLFN, protocol=Protocol(counted_input=(64, 64)))
    board = build_leaderboard([record], RULES["ntire2024"])
    assert board.tracks == ()
    assert "Its counts are at LR 256x256, these at LR 64x64" in board.notes[0]


def test_a_score_beyond_floats_is_absent_beside_its_logarithm(make_record: MakeRecord) -> None:
    slow = {**RLFN, "runtime_images": 200.0}
    board = build_leaderboard(
        [make_record("rlfn", RLFN), make_record("b", slow)], RULES["ntire2024"]
    )
    place = board.ranked[1].places["main"]
    assert isinstance(place.score, Absent)
    assert place.log_score == pytest.approx(800 + math.log(0.7))


def test_a_baseline_that_is_suspect_is_no_reference(make_record: MakeRecord) -> None:
    suspect = make_record("rlfn", RLFN, status="suspect-caching", cause="it differs")
    board = build_leaderboard([suspect, make_record("b", RLFN)], RULES["ntire2024"])
    assert board.tracks == ()
    assert "runtime of rlfn, whose run ended as suspect-caching: run it again" in board.notes[0]


def test_a_rule_of_ranks_is_relative_to_nothing(make_record: MakeRecord) -> None:
    with pytest.raises(UsageError, match="--relative-to a: nothing in ntire2022 is relative"):
        build_leaderboard([make_record("a", RLFN)], RULES["ntire2022"], relative_to="a")


def test_what_scores_are_relative_to_is_said_once(make_record: MakeRecord) -> None:
    records = [make_record("rlfn", RLFN), make_record("b", RLFN)]
    for relative_to, said in (
        (None, "relative to the baseline measured beside it"),
        ("b", "relative to the runtime of b"),
        ("published", "relative to the published runtime"),
    ):
        board = build_leaderboard(records, RULES["ntire2024"], relative_to=relative_to)
        (note,) = [note for note in board.notes if "relative to" in note]
        assert said in note

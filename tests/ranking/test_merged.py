from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from esrbench.errors import UsageError
from esrbench.protocol import Protocol
from esrbench.ranking.merged import merged_leaderboard
from esrbench.ranking.rules import RULES
from esrbench.records import Absent

if TYPE_CHECKING:
    from collections.abc import Callable

    from esrbench.ranking.board import Leaderboard, LeaderboardEntry
    from esrbench.records import RunRecord

    MakeRecord = Callable[..., RunRecord]

# The AIDN team's entry, counted; HiImageTeam is its published row.
ARFDN = {
    "psnr_rgb": 29.004,
    "runtime_images": 0.5,
    "params": 241_548,
    "macs_ntire2022": 14_506_603_360,
    "macs_fvcore": 14_500_000_000,
    "activations_ntire2022": 151_355_840,
    "conv_calls_ntire2022": 100,
}


def row_of(board: Leaderboard, entry: str) -> LeaderboardEntry:
    return next(row for row in (*board.ranked, *board.unranked) if row.entry == entry)


def test_a_published_entry_run_here_shares_its_own_ranks(make_record: MakeRecord) -> None:
    record = make_record("aidn-challenge", ARFDN, data="div2k-valid", verified=True)
    board = merged_leaderboard([record], RULES["ntire2022"])
    ours, theirs = row_of(board, "aidn-challenge"), row_of(board, "HiImageTeam")
    assert (
        ours.ranks
        == theirs.ranks
        == {
            "params": 3,
            "macs_ntire2022": 4,
            "activations_ntire2022": 23,
        }
    )
    # Of the three tracks only that of parameters and FLOPs asks nothing of the device.
    assert [track.key for track in board.tracks] == ["sub1"]
    assert ours.places["sub1"].rank_sum == 7
    assert ours.places["sub1"].rank == theirs.places["sub1"].rank == 3
    assert len(board.ranked) == 36
    assert {row.run_id for row in board.ranked} == {None, record.run_id}
    assert not isinstance(ours.values["psnr_rgb"], Absent)


def test_runtime_and_memory_of_another_device_are_left_out(make_record: MakeRecord) -> None:
    board = merged_leaderboard([make_record("a", ARFDN)], RULES["ntire2022"])
    assert not {"runtime_images", "pass_peak_bytes"} & set(board.columns)
    assert board.notes[0].startswith("Runtime and GPU Mem. of the whole pass are left out")
    assert "Titan Xp" in board.notes[0]
    assert "Main (runtime), Sub-track 2 (overall)" in board.notes[1]


def test_psnr_on_other_images_is_not_compared(make_record: MakeRecord) -> None:
    board = merged_leaderboard([make_record("a", ARFDN)], RULES["ntire2022"])
    assert isinstance(row_of(board, "a").values["psnr_rgb"], Absent)
    assert not isinstance(row_of(board, "ByteESR").values["psnr_rgb"], Absent)
    assert "PSNR of runs is not compared: published PSNR is on DIV2K validation, this is demo." in (
        board.notes
    )


def test_counts_at_another_size_are_not_compared(make_record: MakeRecord) -> None:
    record = make_record("a", ARFDN, protocol=Protocol(counted_input=(64, 64)))
    board = merged_leaderboard([record], RULES["ntire2022"])
    assert board.tracks == ()
    assert set(row_of(board, "a").ranks) == {"params"}
    assert any("published counts are at LR 256x256, these at LR 64x64" in n for n in board.notes)


def test_scores_that_need_runtime_are_not_made(make_record: MakeRecord) -> None:
    board = merged_leaderboard([make_record("a", ARFDN)], RULES["ntire2026"])
    assert board.tracks == ()
    assert set(row_of(board, "a").ranks) == {"params", "macs_fvcore"}
    # Fewer parameters have 04_ZenoSR, 11_VSCINet and eight more of the 13 eligible.
    fewer = [
        row for row in board.ranked if row.ranks["params"] < row_of(board, "a").ranks["params"]
    ]
    assert len(fewer) == 9


def test_a_run_of_a_published_name_leaves_the_published_entry_in(make_record: MakeRecord) -> None:
    record = make_record("HiImageTeam", ARFDN)
    board = merged_leaderboard([record], RULES["ntire2022"])
    assert len(board.ranked) == 36
    assert row_of(board, "HiImageTeam").run_id == record.run_id
    theirs = row_of(board, "HiImageTeam (published)")
    assert theirs.run_id is None
    assert theirs.places == row_of(board, "HiImageTeam").places


def test_images_of_the_right_name_without_proof_are_not_compared(make_record: MakeRecord) -> None:
    board = merged_leaderboard([make_record("a", ARFDN, data="div2k-valid")], RULES["ntire2022"])
    assert isinstance(row_of(board, "a").values["psnr_rgb"], Absent)
    assert any("these images are not proven to be it" in note for note in board.notes)


def test_another_scale_is_refused(make_record: MakeRecord) -> None:
    record = make_record("a", ARFDN)
    double = record.model_copy(update={"entry": record.entry.model_copy(update={"scale": 2})})
    with pytest.raises(UsageError, match="these runs are at x2, published entries"):
        merged_leaderboard([double], RULES["ntire2022"])

"""Runs among the published entries."""

import builders
import pytest

from esrbench.errors import UsageError
from esrbench.protocol import Protocol
from esrbench.ranking.merged import merged_leaderboard
from esrbench.ranking.rules import RULES
from esrbench.records import Absent


@pytest.fixture
def merge(make_record, arfdn):
    """A run of the AIDN team's entry among the published ones."""

    def build(name="a", rule="ntire2022", **fields):
        record = make_record(name, arfdn | {"psnr_rgb": 29.004}, **fields)
        return merged_leaderboard([record], RULES[rule])

    return build


def row_of(board, entry):
    return next(row for row in (*board.ranked, *board.unranked) if row.entry == entry)


def test_a_published_entry_run_here_shares_its_own_ranks(merge):
    board = merge("aidn-challenge", data="div2k-valid", verified=True)
    ours, theirs = row_of(board, "aidn-challenge"), row_of(board, "HiImageTeam")
    shared = {"params": 3, "macs_ntire2022": 4, "activations_ntire2022": 23}
    assert ours.ranks == theirs.ranks == shared
    # Of the three tracks only that of parameters and FLOPs asks nothing of the device.
    assert [track.key for track in board.tracks] == ["sub1"]
    assert ours.places["sub1"].rank_sum == 7
    assert ours.places["sub1"].rank == theirs.places["sub1"].rank == 3
    assert len(board.ranked) == 36
    assert {row.run_id for row in board.ranked} == {None, ours.run_id}
    assert not isinstance(ours.values["psnr_rgb"], Absent)


def test_runtime_and_memory_of_another_device_are_left_out(merge):
    board = merge(latency=builders.latency())
    assert not {"runtime_images", "pass_peak_bytes"} & set(board.columns)
    assert board.notes[0].startswith("Runtime and GPU Mem. of the whole pass are left out")
    assert "Titan Xp" in board.notes[0]
    assert "Main (runtime), Sub-track 2 (overall)" in board.notes[1]
    assert not any("Runtimes are" in note for note in board.notes)


@pytest.mark.parametrize(
    ("data", "said"),
    [("demo", "this is demo"), ("div2k-valid", "these images are not proven to be it")],
)
def test_psnr_on_other_or_unproven_images_is_not_compared(merge, data, said):
    board = merge(data=data)
    assert isinstance(row_of(board, "a").values["psnr_rgb"], Absent)
    assert not isinstance(row_of(board, "ByteESR").values["psnr_rgb"], Absent)
    note = f"PSNR of runs is not compared: published PSNR is on DIV2K validation, {said}."
    assert note in board.notes


def test_counts_at_another_size_are_not_compared(merge):
    board = merge(protocol=Protocol(counted_input=(64, 64)))
    assert board.tracks == ()
    assert set(row_of(board, "a").ranks) == {"params"}
    assert any("published counts are at LR 256x256, these at LR 64x64" in n for n in board.notes)


def test_scores_that_need_runtime_are_not_made(merge):
    board = merge(rule="ntire2026")
    assert board.tracks == ()
    ours = row_of(board, "a").ranks
    assert set(ours) == {"params", "macs_fvcore"}
    # Fewer parameters have 04_ZenoSR, 11_VSCINet and eight more of the 13 eligible.
    assert sum(row.ranks["params"] < ours["params"] for row in board.ranked) == 9


def test_a_run_of_a_published_name_leaves_the_published_entry_in(merge):
    board = merge("HiImageTeam")
    assert len(board.ranked) == 36
    ours, theirs = row_of(board, "HiImageTeam"), row_of(board, "HiImageTeam (published)")
    assert ours.run_id is not None
    assert theirs.run_id is None
    assert theirs.places == ours.places


def test_another_scale_is_refused(make_record, arfdn):
    double = make_record("a", arfdn, scale=2)
    with pytest.raises(UsageError, match="these runs are at x2, published entries"):
        merged_leaderboard([double], RULES["ntire2022"])

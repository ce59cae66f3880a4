from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import pytest

from harness.errors import UsageError
from harness.protocol import ForwardPolicy, Protocol
from harness.ranking.leaderboard import build_leaderboard, rank_tracks, shared_ranks
from harness.ranking.rules import NTIRE2022, Track
from harness.records import Absent

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from harness.records import RunRecord

    MakeRecord = Callable[..., RunRecord]

# Column of the published table, its rank column, and the metric it is.
PUBLISHED = {
    "runtime_images": ("ave_time_ms", "time_rank"),
    "params": ("params_M", "params_rank"),
    "macs_ntire2022": ("flops_G", "flops_rank"),
    "activations_ntire2022": ("acts_M", "acts_rank"),
    "peak_bytes": ("gpu_mem_M", "mem_rank"),
}

IMDN = {
    "psnr_rgb": 29.13,
    "runtime_images": 0.05086,
    "params": 893_936,
    "macs_ntire2022": 58_531_512_320,
    "activations_ntire2022": 154_140_672,
    "peak_bytes": 471.76 * 2**20,
    "conv_calls_ntire2022": 43,
}
ARFDN = {
    "psnr_rgb": 29.00,
    "runtime_images": 0.04775,
    "params": 241_548,
    "macs_ntire2022": 14_506_603_360,
    "activations_ntire2022": 151_355_840,
    "peak_bytes": 861.84 * 2**20,
    "conv_calls_ntire2022": 100,
}


def test_equal_values_share_the_smallest_rank() -> None:
    ranks = shared_ranks({"a": 2.0, "b": 1.0, "c": 1.0, "d": 3.0})
    assert ranks == {"b": 1, "c": 1, "a": 3, "d": 4}


@pytest.fixture(scope="module")
def published(shared: Path) -> dict[str, dict[str, str]]:
    with (shared / "facts" / "ntire2022.csv").open() as file:
        return {row["team"]: row for row in csv.DictReader(file) if row["status"] == "ranked"}


def test_the_rule_reproduces_the_published_tracks(published: dict[str, dict[str, str]]) -> None:
    # Printed figures are rounded, ranks are of unrounded ones: a published rank breaks ties.
    values = {
        team: {
            metric: float(row[column]) + 1e-9 * int(row[rank])
            for metric, (column, rank) in PUBLISHED.items()
        }
        for team, row in published.items()
    }
    ranks, places = rank_tracks(values, NTIRE2022.tracks)
    assert len(values) == 35
    for team, row in published.items():
        for metric, (_, rank) in PUBLISHED.items():
            assert ranks[metric][team] == int(row[rank])
        assert places["main"][team].rank == int(row["main_track_rank"])
        assert places["sub1"][team].rank_sum == int(row["sub1_rank_sum"])
        assert places["sub2"][team].rank_sum == int(row["sub2_rank_sum"])
        assert places["sub2"][team].rank == int(row["sub2_rank"])
    disagreeing = {
        team: (places["sub1"][team].rank, int(row["sub1_rank"]))
        for team, row in published.items()
        if places["sub1"][team].rank != int(row["sub1_rank"])
    }
    # Alpan and MegSR both sum to 18; the publication prints 10 and 9, its one unshared tie.
    assert disagreeing == {"Alpan Team": (9, 10)}


def test_gate_ranks_and_tracks_on_div2k(make_record: MakeRecord) -> None:
    board = build_leaderboard(
        [
            make_record("imdn-challenge", IMDN, data="div2k-valid", verified=True),
            make_record("aidn-challenge", ARFDN, data="div2k-valid", verified=True),
            make_record("blurry", {**ARFDN, "psnr_rgb": 28.99}, data="div2k-valid", verified=True),
            make_record(
                "bicubic", {**ARFDN, "params": 0}, data="div2k-valid", verified=True, role="floor"
            ),
        ],
        NTIRE2022,
    )
    assert board.gate.startswith("Gate: PSNR >= 29.00 dB on div2k-valid")
    assert [track.key for track in board.tracks] == ["main", "sub1", "sub2"]
    assert [row.entry for row in board.ranked] == ["aidn-challenge", "imdn-challenge"]
    first, second = board.ranked
    # Only GPU memory is better in IMDN: 1+1+1+1+2 against 2+2+2+2+1.
    assert first.places["sub2"].rank_sum == 6
    assert second.places["sub2"].rank_sum == 9
    assert first.ranks["peak_bytes"] == 2
    assert "psnr_rgb" not in first.ranks
    reasons = {row.entry: row.unranked_because for row in board.unranked}
    assert reasons == {
        "blurry": "PSNR 28.9900 dB is below 29.00 dB",
        "bicubic": "interpolation, shown as the floor",
    }


def test_a_folder_called_div2k_valid_claims_no_gate(make_record: MakeRecord) -> None:
    record = make_record("low", {**ARFDN, "psnr_rgb": 20.0}, data="div2k-valid")
    board = build_leaderboard([record], NTIRE2022)
    assert board.gate.startswith("No gate is claimed: these images were given as a folder")
    assert [row.entry for row in board.ranked] == ["low"]


def test_other_data_claims_no_gate(make_record: MakeRecord) -> None:
    board = build_leaderboard([make_record("low", {**ARFDN, "psnr_rgb": 20.0})], NTIRE2022)
    assert board.gate.startswith("No gate is claimed")
    assert [row.entry for row in board.ranked] == ["low"]


def test_without_gpu_memory_sub_track_2_is_not_ranked_and_says_why(
    make_record: MakeRecord,
) -> None:
    on_cpu = {"peak_bytes": "GPU memory is not measured on CPU"}
    board = build_leaderboard(
        [make_record("a", {**IMDN, **on_cpu}), make_record("b", {**ARFDN, **on_cpu})], NTIRE2022
    )
    assert [track.key for track in board.tracks] == ["main", "sub1"]
    assert any(
        "Sub-track 2" in note and "GPU memory is not measured on CPU" in note
        for note in board.notes
    )
    assert isinstance(board.ranked[0].values["peak_bytes"], Absent)


def test_an_entry_that_lacks_a_needed_metric_is_unranked_with_the_reason(
    make_record: MakeRecord,
) -> None:
    records = [
        make_record("a", IMDN),
        make_record("b", {**ARFDN, "params": "the counter fell over"}),
        make_record("c", ARFDN),
    ]
    board = build_leaderboard(records, NTIRE2022)
    assert [row.entry for row in board.ranked] == ["c", "a"]
    assert board.unranked[0].unranked_because == "Params is missing: the counter fell over"


def test_a_failed_entry_is_unranked_with_its_cause(make_record: MakeRecord) -> None:
    failure = Absent(kind="failed", reason="crash: the worker was killed by SIGSEGV")
    board = build_leaderboard(
        [
            make_record("a", IMDN),
            make_record("b", ARFDN, status="failed", latency=failure, threads=7),
        ],
        NTIRE2022,
    )
    assert board.unranked[0].unranked_because == failure.reason
    assert board.notices == ()


def test_the_newest_record_of_an_entry_counts(make_record: MakeRecord) -> None:
    old, new = make_record("a", IMDN), make_record("a", ARFDN)
    board = build_leaderboard([new, old], NTIRE2022)
    assert [row.run_id for row in board.ranked] == [new.run_id]


@pytest.mark.parametrize(
    ("fields", "named"),
    [({"protocol": Protocol(seed=5)}, "protocol"), ({"threads": 64}, "environment")],
)
def test_records_measured_otherwise_are_left_out_by_name(
    make_record: MakeRecord, fields: dict[str, object], named: str
) -> None:
    other, reference = make_record("other", IMDN, **fields), make_record("a", ARFDN)
    board = build_leaderboard([other, reference], NTIRE2022)
    assert [row.entry for row in board.ranked] == ["a"]
    assert [notice.code for notice in board.notices] == ["incomparable"]
    assert f"other: a run differs in {named}" in board.notices[0].message


def test_random_weights_are_noted(make_record: MakeRecord) -> None:
    record = make_record("a", {**ARFDN, "psnr_rgb": "random weights"}, weights="random")
    board = build_leaderboard([record], NTIRE2022)
    assert "Random weights, hence no PSNR: a." in board.notes


def test_nothing_to_rank_is_an_error() -> None:
    with pytest.raises(UsageError, match="no records"):
        build_leaderboard([], NTIRE2022)


def test_other_images_of_the_same_name_are_left_out_by_name(make_record: MakeRecord) -> None:
    records = [
        make_record("a", IMDN, digest="1" * 64),
        make_record("a", ARFDN),
        make_record("b", ARFDN),
    ]
    board = build_leaderboard(records, NTIRE2022)
    assert {row.run_id for row in board.ranked} == {record.run_id for record in records[1:]}
    assert [notice.message for notice in board.notices] == [
        "a: a run differs in other images called demo and is left out"
    ]


def test_records_on_another_data_set_are_no_matter_of_this_table(make_record: MakeRecord) -> None:
    records = [make_record("a", IMDN, data="set5", digest="1" * 64), make_record("a", ARFDN)]
    board = build_leaderboard(records, NTIRE2022)
    assert [row.run_id for row in board.ranked] == [records[1].run_id]
    assert board.notices == ()


def test_the_device_is_that_of_a_run_that_went_well(make_record: MakeRecord) -> None:
    failure = Absent(kind="failed", reason="load-error: gone")
    good = make_record("a", IMDN, threads=3)
    failed = make_record("b", ARFDN, status="failed", latency=failure, threads=7)
    assert "3 threads" in build_leaderboard([good, failed], NTIRE2022).device


def test_ranks_follow_a_metric_s_own_direction() -> None:
    track = Track(key="psnr", label="P", title="PSNR", metrics=("psnr_rgb",))
    ranks, places = rank_tracks({"a": {"psnr_rgb": 28.0}, "b": {"psnr_rgb": 29.0}}, [track])
    assert ranks == {"psnr_rgb": {"b": 1, "a": 2}}
    assert places["psnr"]["b"].rank == 1


HALF = Protocol(forward=ForwardPolicy(precision="fp16", channels_last=True))


def test_each_class_has_a_table_of_its_own(make_record: MakeRecord) -> None:
    records = [
        make_record("a", IMDN, protocol=HALF),
        make_record("b", ARFDN, protocol=HALF),
        make_record("a", IMDN),
    ]
    newest = build_leaderboard(records, NTIRE2022)
    assert newest.forward_class == "fp32"
    assert [row.entry for row in newest.ranked] == ["a"]
    (notice,) = newest.notices
    assert notice.message == (
        "b: a run differs in class (fp16, channels_last, not fp32) and is left out"
    )
    assert "--class" in notice.advice
    half = build_leaderboard(records, NTIRE2022, forward_class="fp16, channels_last")
    assert [row.entry for row in half.ranked] == ["b", "a"]
    assert half.notices == ()
    with pytest.raises(UsageError, match="no record is of class 'bf16'") as caught:
        build_leaderboard(records, NTIRE2022, forward_class="bf16")
    assert caught.value.advice == "Stored are: fp16, channels_last; fp32."


def test_prediction_and_ratio_stand_beside_what_they_belong_to(make_record: MakeRecord) -> None:
    values = {**IMDN, "predicted_peak_bytes": 466.78 * 2**20, "runtime_ratio": 1.2}
    measured = build_leaderboard([make_record("a", values)], NTIRE2022)
    # Where memory was measured, nothing predicted is shown.
    assert "predicted_peak_bytes" not in measured.columns
    place = measured.columns.index("runtime_images")
    assert measured.columns[place + 1] == "runtime_ratio"
    del values["peak_bytes"], values["runtime_ratio"]
    predicted = build_leaderboard([make_record("a", values)], NTIRE2022)
    assert "runtime_ratio" not in predicted.columns
    place = predicted.columns.index("peak_bytes")
    assert predicted.columns[place + 1] == "predicted_peak_bytes"
    # A prediction ranks nothing.
    assert [track.key for track in predicted.tracks] == ["main", "sub1"]


def test_an_interrupted_entry_is_unranked(make_record: MakeRecord) -> None:
    records = [make_record("a", IMDN), make_record("b", ARFDN, status="interrupted")]
    board = build_leaderboard(records, NTIRE2022)
    assert board.unranked[0].unranked_because == "interrupted before all processes had timed it"


def test_a_prepared_form_is_named(make_record: MakeRecord) -> None:
    board = build_leaderboard([make_record("a", IMDN, prepare="models.rfdn:fold")], NTIRE2022)
    assert "Counted and timed in prepared form: a by models.rfdn:fold." in board.notes

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from esrbench.errors import UsageError
from esrbench.protocol import ForwardPolicy, Protocol
from esrbench.ranking.leaderboard import build_leaderboard
from esrbench.ranking.rules import RULES
from esrbench.records import Absent

if TYPE_CHECKING:
    from collections.abc import Callable

    from esrbench.records import RunRecord

    MakeRecord = Callable[..., RunRecord]

IMDN = {
    "psnr_rgb": 29.13,
    "runtime_images": 0.05086,
    "params": 893_936,
    "macs_ntire2022": 58_531_512_320,
    "activations_ntire2022": 154_140_672,
    "pass_peak_bytes": 471.76 * 2**20,
    "conv_calls_ntire2022": 43,
}
ARFDN = {
    "psnr_rgb": 29.00,
    "runtime_images": 0.04775,
    "params": 241_548,
    "macs_ntire2022": 14_506_603_360,
    "activations_ntire2022": 151_355_840,
    "pass_peak_bytes": 861.84 * 2**20,
    "conv_calls_ntire2022": 100,
}


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
        RULES["ntire2022"],
    )
    assert board.gate.startswith("Gate: PSNR >= 29.00 dB on DIV2K validation")
    assert [track.key for track in board.tracks] == ["main", "sub1", "sub2"]
    assert [row.entry for row in board.ranked] == ["aidn-challenge", "imdn-challenge"]
    first, second = board.ranked
    # Only GPU memory is better in IMDN: 1+1+1+1+2 against 2+2+2+2+1.
    assert first.places["sub2"].rank_sum == 6
    assert second.places["sub2"].rank_sum == 9
    assert first.ranks["pass_peak_bytes"] == 2
    assert "psnr_rgb" not in first.ranks
    reasons = {row.entry: row.unranked_because for row in board.unranked}
    assert reasons == {
        "blurry": "PSNR 28.9900 dB is below 29.00 dB",
        "bicubic": "interpolation baseline, shown beside the ranking",
    }


def test_a_folder_called_div2k_valid_claims_no_gate(make_record: MakeRecord) -> None:
    record = make_record("low", {**ARFDN, "psnr_rgb": 20.0}, data="div2k-valid")
    board = build_leaderboard([record], RULES["ntire2022"])
    assert board.gate.startswith("No gate is claimed: these images were given as a folder")
    assert [row.entry for row in board.ranked] == ["low"]


def test_other_data_claims_no_gate(make_record: MakeRecord) -> None:
    board = build_leaderboard([make_record("low", {**ARFDN, "psnr_rgb": 20.0})], RULES["ntire2022"])
    assert board.gate.startswith("No gate is claimed")
    assert [row.entry for row in board.ranked] == ["low"]


def test_without_gpu_memory_sub_track_2_is_not_ranked_and_says_why(
    make_record: MakeRecord,
) -> None:
    on_cpu = {"pass_peak_bytes": "GPU memory is not measured on CPU"}
    board = build_leaderboard(
        [make_record("a", {**IMDN, **on_cpu}), make_record("b", {**ARFDN, **on_cpu})],
        RULES["ntire2022"],
    )
    assert [track.key for track in board.tracks] == ["main", "sub1"]
    assert any(
        "Sub-track 2" in note and "GPU memory is not measured on CPU" in note
        for note in board.notes
    )
    assert isinstance(board.ranked[0].values["pass_peak_bytes"], Absent)


def test_an_entry_that_lacks_a_needed_metric_is_unranked_with_the_reason(
    make_record: MakeRecord,
) -> None:
    records = [
        make_record("a", IMDN),
        make_record("b", {**ARFDN, "params": "the counter fell over"}),
        make_record("c", ARFDN),
    ]
    board = build_leaderboard(records, RULES["ntire2022"])
    assert [row.entry for row in board.ranked] == ["c", "a"]
    assert board.unranked[0].unranked_because == "Params is missing: the counter fell over"


def test_a_failed_entry_is_unranked_with_its_cause(make_record: MakeRecord) -> None:
    failure = Absent(kind="failed", reason="the worker was killed by SIGSEGV", failure="crash")
    board = build_leaderboard(
        [
            make_record("a", IMDN),
            make_record("b", ARFDN, status="crash", latency=failure, threads=7),
        ],
        RULES["ntire2022"],
    )
    assert board.unranked[0].unranked_because == "crash: the worker was killed by SIGSEGV"
    assert board.notices == ()


def test_the_newest_record_of_an_entry_counts(make_record: MakeRecord) -> None:
    old, new = make_record("a", IMDN), make_record("a", ARFDN)
    board = build_leaderboard([new, old], RULES["ntire2022"])
    assert [row.run_id for row in board.ranked] == [new.run_id]


@pytest.mark.parametrize(
    ("fields", "named"),
    [({"protocol": Protocol(seed=5)}, "protocol"), ({"threads": 64}, "environment")],
)
def test_records_measured_otherwise_are_left_out_by_name(
    make_record: MakeRecord, fields: dict[str, object], named: str
) -> None:
    other, reference = make_record("other", IMDN, **fields), make_record("a", ARFDN)
    board = build_leaderboard([other, reference], RULES["ntire2022"])
    assert [row.entry for row in board.ranked] == ["a"]
    assert [notice.code for notice in board.notices] == ["incomparable"]
    assert f"other: a run differs in {named}" in board.notices[0].message


def test_random_weights_are_noted(make_record: MakeRecord) -> None:
    record = make_record("a", {**ARFDN, "psnr_rgb": "random weights"}, weights="random")
    board = build_leaderboard([record], RULES["ntire2022"])
    assert "Random weights, hence no PSNR: a." in board.notes


def test_nothing_to_rank_is_an_error() -> None:
    with pytest.raises(UsageError, match="no records"):
        build_leaderboard([], RULES["ntire2022"])


def test_other_images_of_the_same_name_are_left_out_by_name(make_record: MakeRecord) -> None:
    records = [
        make_record("a", IMDN, digest="1" * 64),
        make_record("a", ARFDN),
        make_record("b", ARFDN),
    ]
    board = build_leaderboard(records, RULES["ntire2022"])
    assert {row.run_id for row in board.ranked} == {record.run_id for record in records[1:]}
    assert [notice.message for notice in board.notices] == [
        "a: a run differs in other images called demo and is left out"
    ]


def test_records_on_another_data_set_are_no_matter_of_this_table(make_record: MakeRecord) -> None:
    records = [make_record("a", IMDN, data="set5", digest="1" * 64), make_record("a", ARFDN)]
    board = build_leaderboard(records, RULES["ntire2022"])
    assert [row.run_id for row in board.ranked] == [records[1].run_id]
    assert board.notices == ()


def test_the_device_is_that_of_a_run_that_went_well(make_record: MakeRecord) -> None:
    failure = Absent(kind="failed", reason="load-error: gone")
    good = make_record("a", IMDN, threads=3)
    failed = make_record("b", ARFDN, status="load-error", latency=failure, threads=7)
    assert "3 threads" in build_leaderboard([good, failed], RULES["ntire2022"]).device


HALF = Protocol(forward=ForwardPolicy(precision="fp16", channels_last=True))


def test_each_class_has_a_table_of_its_own(make_record: MakeRecord) -> None:
    records = [
        make_record("a", IMDN, protocol=HALF),
        make_record("b", ARFDN, protocol=HALF),
        make_record("a", IMDN),
    ]
    newest = build_leaderboard(records, RULES["ntire2022"])
    assert newest.forward_class == "fp32"
    assert [row.entry for row in newest.ranked] == ["a"]
    (notice,) = newest.notices
    assert notice.message == (
        "b: a run differs in class (fp16, channels_last, not fp32) and is left out"
    )
    assert "--class" in notice.advice
    half = build_leaderboard(records, RULES["ntire2022"], forward_class="fp16, channels_last")
    assert [row.entry for row in half.ranked] == ["b", "a"]
    assert half.notices == ()
    with pytest.raises(UsageError, match="no record is of class 'bf16'") as caught:
        build_leaderboard(records, RULES["ntire2022"], forward_class="bf16")
    assert caught.value.advice == "Stored are: fp16, channels_last; fp32."


def test_prediction_and_ratio_stand_beside_what_they_belong_to(make_record: MakeRecord) -> None:
    values = {**IMDN, "predicted_peak_bytes": 466.78 * 2**20, "runtime_ratio": 1.2}
    measured = build_leaderboard([make_record("a", values)], RULES["ntire2022"])
    # Where memory was measured, nothing predicted is shown.
    assert "predicted_peak_bytes" not in measured.columns
    place = measured.columns.index("runtime_images")
    assert measured.columns[place + 1] == "runtime_ratio"
    del values["pass_peak_bytes"], values["runtime_ratio"]
    predicted = build_leaderboard([make_record("a", values)], RULES["ntire2022"])
    assert "runtime_ratio" not in predicted.columns
    place = predicted.columns.index("pass_peak_bytes")
    assert predicted.columns[place + 1] == "predicted_peak_bytes"
    # A prediction ranks nothing.
    assert [track.key for track in predicted.tracks] == ["main", "sub1"]


def test_an_interrupted_entry_is_unranked(make_record: MakeRecord) -> None:
    records = [make_record("a", IMDN), make_record("b", ARFDN, status="interrupted")]
    board = build_leaderboard(records, RULES["ntire2022"])
    assert board.unranked[0].unranked_because == ("interrupted: not all processes had timed it")


def test_a_prepared_form_is_named(make_record: MakeRecord) -> None:
    board = build_leaderboard(
        [make_record("a", IMDN, prepare="esrbench_models.rfdn:fold")], RULES["ntire2022"]
    )
    assert "Counted and timed in prepared form: a by esrbench_models.rfdn:fold." in board.notes


@pytest.mark.parametrize(
    "status", ["suspect-caching", "suspect-memorising", "suspect-hidden-work", "infra-error"]
)
def test_suspects_are_shown_below_with_their_cause(make_record: MakeRecord, status: str) -> None:
    suspect = make_record("b", ARFDN, status=status, cause="inputs shown again took 0.21 of it.")
    board = build_leaderboard([make_record("a", IMDN), suspect], RULES["ntire2022"])
    assert [row.entry for row in board.ranked] == ["a"]
    (row,) = board.unranked
    assert row.unranked_because == f"{status}: inputs shown again took 0.21 of it"
    assert row.status == status


def test_disputed_timing_is_ranked_and_noted(make_record: MakeRecord) -> None:
    disputed = make_record("b", ARFDN, status="timing-disputed", cause="claims differ")
    board = build_leaderboard([make_record("a", IMDN), disputed], RULES["ntire2022"])
    assert [(row.entry, row.status) for row in board.ranked] == [
        ("b", "timing-disputed"),
        ("a", "ok"),
    ]
    assert any("the runtime is the larger of both: b." in note for note in board.notes)


def test_an_older_run_that_is_ranked_is_shown_with_a_notice(make_record: MakeRecord) -> None:
    old = make_record("a", IMDN, status="timing-disputed", cause="claims differ")
    new = make_record("a", ARFDN, status="oom", cause="out of memory")
    board = build_leaderboard([old, new], RULES["ntire2022"])
    assert [row.run_id for row in board.ranked] == [old.run_id]
    (notice,) = board.notices
    assert notice.code == "older-run"
    assert "a newer run ended as oom" in notice.message


def test_a_run_on_a_busy_machine_is_not_ranked_by_runtime_and_the_table_says_so(
    make_record: MakeRecord,
) -> None:
    busy = make_record("b", ARFDN, status="busy-machine", cause="others took 70% of the CPUs")
    absent = Absent(kind="unavailable", reason=f"busy-machine: {busy.cause}")
    values = busy.values | {"runtime_images": absent}
    board = build_leaderboard(
        [make_record("a", IMDN), busy.model_copy(update={"values": values})], RULES["ntire2022"]
    )
    assert [row.entry for row in board.ranked] == ["a"]
    (row,) = board.unranked
    assert row.unranked_because is not None
    assert "busy-machine: others took 70% of the CPUs" in row.unranked_because


def test_an_older_run_with_a_runtime_is_shown_instead_of_one_on_a_busy_machine(
    make_record: MakeRecord,
) -> None:
    old = make_record("a", IMDN)
    new = make_record("a", ARFDN, status="busy-machine", cause="others took 70% of the CPUs")
    board = build_leaderboard([old, new], RULES["ntire2022"])
    assert [row.run_id for row in board.ranked] == [old.run_id]
    assert "a newer run ended as busy-machine" in board.notices[0].message


@pytest.mark.parametrize(("tier", "weak"), [("landlock", True), ("bubblewrap", False)])
def test_a_weak_sandbox_is_said_in_front(make_record: MakeRecord, tier: str, *, weak: bool) -> None:
    record = make_record("a", IMDN)
    environment = record.environment.model_copy(update={"isolation": tier})
    board = build_leaderboard(
        [record.model_copy(update={"environment": environment})], RULES["ntire2022"]
    )
    assert board.device.endswith(tier)
    assert (board.banner is not None) is weak
    if board.banner is not None:
        assert "landlock instead of bubblewrap" in board.banner


def test_the_gate_knows_rounded_from_strict(make_record: MakeRecord) -> None:
    record = make_record("a", {**ARFDN, "psnr_rgb": 28.996}, data="div2k-valid", verified=True)
    (row,) = build_leaderboard([record], RULES["ntire2022"]).ranked
    (check,) = row.gates
    assert (check.rounded, check.strict) == (True, False)
    assert check.margin == pytest.approx(-0.004)


def test_the_pareto_front_is_of_the_ranked_metrics(make_record: MakeRecord) -> None:
    worse = {key: 2 * value for key, value in ARFDN.items()}
    records = [make_record(n, v) for n, v in (("a", IMDN), ("b", ARFDN), ("c", worse))]
    board = build_leaderboard(records, RULES["ntire2022"])
    # IMDN is on it by its memory alone.
    assert {row.entry: row.pareto for row in board.ranked} == {"a": True, "b": True, "c": False}
    assert set(board.pareto_metrics) == set(RULES["ntire2022"].ranked_metrics)


def test_an_edition_without_a_total_orders_by_runtime(make_record: MakeRecord) -> None:
    values = {"peak_bytes": 1.0}
    board = build_leaderboard(
        [make_record("a", {**IMDN, **values}), make_record("b", {**ARFDN, **values})],
        RULES["aim2020"],
    )
    assert board.tracks == ()
    assert [(row.entry, row.ranks["runtime_images"]) for row in board.ranked] == [
        ("b", 1),
        ("a", 2),
    ]
    assert board.notes[0].startswith("There is no total")


def test_real_time_scores_take_bicubic_on_the_same_images(make_record: MakeRecord) -> None:
    # ALONG's printed figures: 34.63 dB and 1.91 ms over 33.92 dB, recomputed 23.67.
    fast = make_record("along", {"psnr_rgb": 34.63, "runtime_images": 1.91e-3, "params": 1})
    low = make_record("low", {"psnr_rgb": 33.9, "runtime_images": 1e-3, "params": 1})
    equal = make_record("equal", {"psnr_rgb": 33.924, "runtime_images": 1e-3, "params": 1})
    floor = make_record("bicubic", {"psnr_rgb": 33.92}, role="floor", weights="none")
    records = [
        record.model_copy(update={"entry": record.entry.model_copy(update={"scale": 2})})
        for record in (fast, low, equal, floor)
    ]
    board = build_leaderboard(records, RULES["rtsr2023"])
    (row,) = board.ranked
    score = row.places["main"].score
    assert isinstance(score, float)
    assert score == pytest.approx(23.67, abs=0.005)
    reasons = {row.entry: row.unranked_because for row in board.unranked}
    assert reasons["low"] == "PSNR 33.9000 dB is not above the 33.92 dB of bicubic"
    assert reasons["equal"] == (
        "PSNR 33.9240 dB is not above the 33.92 dB of bicubic, as both are rounded"
    )
    assert any("The edition runs in fp16; this table is fp32." in note for note in board.notes)
    alone = build_leaderboard(records[:1], RULES["rtsr2023"])
    assert alone.tracks == ()
    assert "bicubic, and no interpolation of that name" in alone.gate

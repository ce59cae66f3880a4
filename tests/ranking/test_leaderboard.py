"""Boards of records: gates, ranks, tracks, and who is not ranked for which reason."""

import builders
import pytest

from esrbench.metrics import METRICS, Metric
from esrbench.ranking.rules import RULES
from esrbench.records import Absent, Notice

ON_DIV2K = {"data": "div2k-valid", "verified": True}


def tracks(board):
    return [track.key for track in board.tracks]


def test_gate_ranks_and_tracks_on_div2k(rank, imdn, arfdn):
    board = rank(
        ("imdn-challenge", imdn, ON_DIV2K),
        ("aidn-challenge", arfdn, ON_DIV2K),
        ("blurry", arfdn | {"psnr_rgb": 28.99}, ON_DIV2K),
        ("bicubic", arfdn | {"params": 0}, ON_DIV2K | {"role": "floor"}),
    )
    assert board.gate.startswith("Gate: PSNR >= 29.00 dB on DIV2K validation")
    assert tracks(board) == ["main", "sub1", "sub2"]
    assert builders.names(board.ranked) == ["aidn-challenge", "imdn-challenge"]
    first, second = board.ranked
    # Only GPU memory is better in IMDN: 1+1+1+1+2 against 2+2+2+2+1.
    assert first.places["sub2"].rank_sum == 6
    assert second.places["sub2"].rank_sum == 9
    assert first.ranks["pass_peak_bytes"] == 2
    assert "psnr_rgb" not in first.ranks
    assert builders.reasons(board) == {
        "blurry": "PSNR 28.9900 dB is below 29.00 dB",
        "bicubic": "interpolation baseline, shown beside the ranking",
    }


def test_without_gpu_memory_sub_track_2_is_not_ranked_and_says_why(rank, imdn, arfdn):
    on_cpu = {"pass_peak_bytes": "GPU memory is not measured on CPU"}
    board = rank(("a", imdn | on_cpu), ("b", arfdn | on_cpu))
    assert tracks(board) == ["main", "sub1"]
    (note,) = [note for note in board.notes if "Sub-track 2" in note]
    assert "GPU memory is not measured on CPU" in note
    assert isinstance(board.ranked[0].values["pass_peak_bytes"], Absent)


CRASH = Absent(kind="failed", reason="the worker was killed by SIGSEGV", failure="crash")


@pytest.mark.parametrize(
    ("values", "fields", "reason"),
    [
        ({"params": "the counter fell over"}, {}, "Params is missing: the counter fell over"),
        (
            {},
            {"status": "crash", "latency": CRASH, "threads": 7},
            "crash: the worker was killed by SIGSEGV",
        ),
        (
            {},
            {"status": "interrupted"},
            "interrupted: the run ended before all processes had timed it",
        ),
        (
            {"runtime_images": "busy-machine: others took 70% of the CPUs"},
            {"status": "busy-machine", "cause": "others took 70% of the CPUs"},
            "Runtime is missing: busy-machine: others took 70% of the CPUs",
        ),
        *(
            (
                {},
                {"status": status, "cause": "inputs shown again took 0.21 of it."},
                f"{status}: inputs shown again took 0.21 of it",
            )
            for status in (
                "suspect-caching",
                "suspect-memorising",
                "suspect-hidden-work",
                "infra-error",
            )
        ),
    ],
)
def test_who_is_not_ranked_stands_below_with_the_reason(rank, imdn, arfdn, values, fields, reason):
    board = rank(("b", arfdn | values, fields), ("a", imdn), ("c", arfdn))
    assert builders.names(board.ranked) == ["c", "a"]
    assert builders.reasons(board) == {"b": reason}
    assert board.unranked[0].status == fields.get("status", "ok")
    assert board.notices == ()


def test_the_device_is_that_of_a_run_that_went_well(rank, imdn, arfdn):
    failed = {"status": "load-error", "latency": CRASH, "threads": 7}
    assert "3 threads" in rank(("a", imdn, {"threads": 3}), ("b", arfdn, failed)).device


def test_prediction_and_ratio_stand_beside_what_they_belong_to(rank, imdn):
    values = imdn | {"predicted_peak_bytes": 466.78 * 2**20, "runtime_ratio": 1.2}
    measured = rank(("a", values))
    # Where memory was measured, nothing predicted is shown.
    assert "predicted_peak_bytes" not in measured.columns
    place = measured.columns.index("runtime_images")
    assert measured.columns[place + 1] == "runtime_ratio"
    del values["pass_peak_bytes"], values["runtime_ratio"]
    predicted = rank(("a", values))
    assert "runtime_ratio" not in predicted.columns
    place = predicted.columns.index("pass_peak_bytes")
    assert predicted.columns[place + 1] == "predicted_peak_bytes"
    # A prediction ranks nothing.
    assert tracks(predicted) == ["main", "sub1"]


@pytest.mark.parametrize(
    ("fields", "note"),
    [
        ({"weights": "random"}, "Random weights, so no scores: a."),
        (
            {"prepare": "esrbench_models.rfdn:fold"},
            "Counted and timed in prepared form: a by esrbench_models.rfdn:fold.",
        ),
        ({"status": "timing-disputed"}, "the runtime is the larger of both: a."),
    ],
)
def test_what_a_reader_must_know_of_a_ranked_entry_is_noted(rank, imdn, arfdn, fields, note):
    board = rank(("a", arfdn | {"psnr_rgb": "not scored"}, fields), ("b", imdn))
    assert builders.names(board.ranked) == ["a", "b"]
    assert any(said.endswith(note) for said in (*board.notes, *board.details))


def test_notes_are_on_the_figures_that_are_shown(rank, arfdn):
    rule = RULES["ntire2022"]
    values = arfdn | {"predicted_peak_bytes": 2.0**20}
    lacking = {key: each for key, each in values.items() if key != "pass_peak_bytes"}
    untimed = {"columns": ("params", "macs_ntire2022"), "tracks": (rule.tracks[1],)}
    untimed = rule.model_copy(update=untimed | {"ranked_alone": ()})
    fields = {"latency": builders.latency()}
    for given, of_rule, timing, prediction in (
        (values, rule, True, False),
        (lacking, rule, True, True),
        (lacking, untimed, False, False),
    ):
        said = "\n".join(rank(("a", given, fields), rule=of_rule).details)
        assert ("Runtimes are of one process each" in said) is timing
        assert ("Predicted GPU memory is at LR" in said) is prediction


@pytest.mark.parametrize(("tier", "weak"), [("landlock", True), ("bubblewrap", False)])
def test_a_weak_sandbox_is_said_in_front(rank, make_record, imdn, tier, weak):
    record = make_record("a", imdn)
    environment = record.environment.model_copy(update={"isolation": tier})
    board = rank(record.model_copy(update={"environment": environment}))
    assert f", {tier}, " in board.device
    assert (board.banner is not None) is weak
    assert not weak or "landlock instead of bubblewrap" in board.banner


def test_the_pareto_front_is_of_the_ranked_metrics(rank, imdn, arfdn):
    worse = {key: 2 * value for key, value in arfdn.items()}
    board = rank(("a", imdn), ("b", arfdn), ("c", worse))
    # IMDN is on it by its memory alone.
    assert {row.entry: row.pareto for row in board.ranked} == {"a": True, "b": True, "c": False}
    assert set(board.pareto_metrics) == set(RULES["ntire2022"].ranked_metrics)


def test_an_edition_without_a_total_orders_by_runtime(rank, imdn, arfdn):
    values = {"peak_bytes": 1.0}
    board = rank(("a", imdn | values), ("b", arfdn | values), rule="aim2020")
    assert board.tracks == ()
    assert {row.entry: row.ranks["runtime_images"] for row in board.ranked} == {"b": 1, "a": 2}
    assert builders.names(board.ranked) == ["b", "a"]
    assert board.notes[0].startswith("There is no total")


def test_real_time_scores_take_bicubic_on_the_same_images(rank):
    # ALONG's printed figures: 34.63 dB and 1.91 ms over 33.92 dB, recomputed 23.67.
    at_x2 = {"scale": 2}
    along = ("along", {"psnr_rgb": 34.63, "runtime_images": 1.91e-3, "params": 1}, at_x2)
    board = rank(
        along,
        ("low", {"psnr_rgb": 33.9, "runtime_images": 1e-3, "params": 1}, at_x2),
        ("equal", {"psnr_rgb": 33.924, "runtime_images": 1e-3, "params": 1}, at_x2),
        ("bicubic", {"psnr_rgb": 33.92}, at_x2 | {"role": "floor", "weights": "none"}),
        rule="rtsr2023",
    )
    (row,) = board.ranked
    assert row.places["main"].score == pytest.approx(23.67, abs=0.005)
    said = builders.reasons(board)
    assert said["low"] == "PSNR 33.9000 dB is not above the 33.92 dB of bicubic"
    assert said["equal"] == (
        "PSNR 33.9240 dB is not above the 33.92 dB of bicubic, as both are rounded"
    )
    assert any("The edition runs in fp16; this table is fp32." in note for note in board.notes)
    alone = rank(along, rule="rtsr2023")
    assert alone.tracks == ()
    assert "bicubic, and no interpolation of that name was measured" in alone.gate


RLFN = {"runtime_images": 0.5, "params": 317_000, "macs_fvcore": 19.67e9, "psnr_rgb": 29.0}


def test_a_new_metric_is_a_column_by_its_row_alone(rank, monkeypatch, columns):
    metric = Metric("bias_params", "Biases", "complexity", int, unit="k", divisor=1e3, digits=1)
    monkeypatch.setitem(METRICS, metric.key, metric)
    rule = RULES["ntire2024"].model_copy(update={"columns": ("params", metric.key), "tracks": ()})
    shown = columns(rank(("a", RLFN | {metric.key: 345}), rule=rule))
    assert shown["Biases [k]"] == ["0.3"]


def test_a_record_that_is_older_than_a_metric_lacks_it(rank, make_record):
    record = make_record("a", RLFN)
    values = {key: value for key, value in record.values.items() if key != "macs_fvcore"}
    (row,) = rank(record.model_copy(update={"values": values}), rule="ntire2024").ranked
    assert row.values["macs_fvcore"].reason == "the run has no such metric"


def test_entries_that_ran_with_the_same_weights_are_named(make_record, rank, imdn):
    def entry(name, origin, **weights):
        record = make_record(name, imdn)
        held = record.entry.weights.model_copy(update=weights)
        of = record.entry.model_copy(update={"origin": origin, "weights": held})
        return record.model_copy(update={"entry": of})

    same = {"parameters_sha256": "1" * 64}
    records = [
        entry("a", "submissions/a", sha256="2" * 64, **same),
        entry("b", "submissions/b", sha256="3" * 64, **same),
        entry("c", "esrbench", sha256="4" * 64),
        entry("d", "esrbench", sha256="4" * 64),
        entry("e", "submissions/e"),
    ]
    (notice,) = rank(*records).notices
    assert (notice.code, notice.message) == ("same-weights", "a and b have the same weights")


def test_a_ratio_across_classes_has_a_footnote(make_record, rank, imdn):
    across = Notice(code="across-classes", message="fp16 and fp32", advice="")
    records = [make_record("a", imdn), make_record("b", imdn)]
    assert not any("Their baseline" in each for each in rank(*records).details)
    records[1] = records[1].model_copy(update={"notices": (across,)})
    (note,) = (each for each in rank(*records).details if "Their baseline" in each)
    assert note.endswith("does not compare the networks alone: b.")

"""Boards of records: gates, ranks, tracks, and who is not ranked for which reason."""

import math

import builders
import pytest

from esrbench.errors import UsageError
from esrbench.metrics import METRICS, Metric
from esrbench.protocol import ForwardPolicy, Protocol, QualityDefinition
from esrbench.ranking.rules import RULES
from esrbench.records import Absent, BaselineTimes, Notice, Software

ON_DIV2K = {"data": "div2k-valid", "verified": True}


def names(rows):
    return [row.entry for row in rows]


def reasons(board):
    return {row.entry: row.unranked_because for row in board.unranked}


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
    assert names(board.ranked) == ["aidn-challenge", "imdn-challenge"]
    first, second = board.ranked
    # Only GPU memory is better in IMDN: 1+1+1+1+2 against 2+2+2+2+1.
    assert first.places["sub2"].rank_sum == 6
    assert second.places["sub2"].rank_sum == 9
    assert first.ranks["pass_peak_bytes"] == 2
    assert "psnr_rgb" not in first.ranks
    assert reasons(board) == {
        "blurry": "PSNR 28.9900 dB is below 29.00 dB",
        "bicubic": "interpolation baseline, shown beside the ranking",
    }


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("div2k-valid", "No gate is claimed: these images were given as a folder"),
        ("demo", "No gate is claimed"),
    ],
)
def test_images_that_are_not_proven_claim_no_gate(rank, arfdn, data, said):
    board = rank(("low", arfdn | {"psnr_rgb": 20.0}, {"data": data}))
    assert board.gate.startswith(said)
    assert names(board.ranked) == ["low"]


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
        ({}, {"status": "interrupted"}, "interrupted: not all processes had timed it"),
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
    assert names(board.ranked) == ["c", "a"]
    assert reasons(board) == {"b": reason}
    assert board.unranked[0].status == fields.get("status", "ok")
    assert board.notices == ()


def test_the_newest_record_of_an_entry_counts(rank, make_record, imdn, arfdn):
    old, new = make_record("a", imdn), make_record("a", arfdn)
    assert [row.run_id for row in rank(new, old).ranked] == [new.run_id]


@pytest.mark.parametrize(
    ("old", "new"), [("timing-disputed", "oom"), ("ok", "busy-machine"), ("busy-machine", "crash")]
)
def test_an_older_run_that_is_worth_more_is_shown_with_a_notice(
    rank, make_record, imdn, arfdn, old, new
):
    first = make_record("a", imdn, status=old)
    board = rank(first, ("a", arfdn, {"status": new}))
    assert [row.run_id for row in board.ranked] == [first.run_id]
    (notice,) = board.notices
    assert notice.code == "older-run"
    assert f"a newer run ended as {new}" in notice.message
    # Nothing is said once a run that is as good follows.
    again = rank(first, ("a", arfdn, {"status": new}), ("a", arfdn, {"status": old}))
    assert again.ranked[0].run_id != first.run_id
    assert "older-run" not in {notice.code for notice in again.notices}


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"protocol": Protocol(seed=5)}, "protocol"),
        ({"threads": 64}, "environment (threads 64, not 2)"),
        ({"digest": "1" * 64}, "other images called demo"),
    ],
)
def test_records_measured_otherwise_are_left_out_by_name(rank, imdn, arfdn, fields, named):
    board = rank(("other", imdn, fields), ("a", arfdn))
    assert names(board.ranked) == ["a"]
    (notice,) = board.notices
    assert notice.code == "incomparable"
    assert notice.message == f"other: a run differs in {named} and is left out"


def test_other_images_are_named_even_of_an_entry_that_is_shown(rank, imdn, arfdn):
    board = rank(("a", imdn, {"digest": "1" * 64}), ("a", arfdn), ("b", arfdn))
    assert names(board.ranked) == ["a", "b"]
    (notice,) = board.notices
    assert notice.message == "a: a run differs in other images called demo and is left out"


def test_records_on_another_data_set_are_no_matter_of_this_table(rank, make_record, imdn, arfdn):
    elsewhere = make_record("a", imdn, data="set5", digest="1" * 64)
    here = make_record("a", arfdn)
    board = rank(elsewhere, here)
    assert [row.run_id for row in board.ranked] == [here.run_id]
    assert board.notices == ()


def test_nothing_to_rank_is_an_error(rank):
    with pytest.raises(UsageError, match="no records"):
        rank()


def test_the_device_is_that_of_a_run_that_went_well(rank, imdn, arfdn):
    failed = {"status": "load-error", "latency": CRASH, "threads": 7}
    assert "3 threads" in rank(("a", imdn, {"threads": 3}), ("b", arfdn, failed)).device


def test_each_class_has_a_table_of_its_own(rank, imdn, arfdn):
    half = {"protocol": Protocol(forward=ForwardPolicy(precision="fp16", channels_last=True))}
    entries = [("a", imdn, half), ("b", arfdn, half), ("a", imdn)]
    newest = rank(*entries)
    assert newest.forward_class == "fp32"
    assert names(newest.ranked) == ["a"]
    (notice,) = newest.notices
    assert notice.message == (
        "b: a run differs in class (fp16, channels_last, not fp32) and is left out"
    )
    assert "--class" in notice.advice
    of_class = rank(*entries, forward_class="fp16, channels_last")
    assert names(of_class.ranked) == ["b", "a"]
    assert of_class.notices == ()
    with pytest.raises(UsageError, match="no record is of class 'bf16'") as caught:
        rank(*entries, forward_class="bf16")
    assert caught.value.advice == "Stored are: fp16, channels_last; fp32."


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
        ({"weights": "random"}, "Random weights, hence no scores: a."),
        (
            {"prepare": "esrbench_models.rfdn:fold"},
            "Counted and timed in prepared form: a by esrbench_models.rfdn:fold.",
        ),
        ({"status": "timing-disputed"}, "the runtime is the larger of both: a."),
    ],
)
def test_what_a_reader_must_know_of_a_ranked_entry_is_noted(rank, imdn, arfdn, fields, note):
    board = rank(("a", arfdn | {"psnr_rgb": "not scored"}, fields), ("b", imdn))
    assert names(board.ranked) == ["a", "b"]
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


def test_the_gate_knows_rounded_from_strict(rank, arfdn):
    (row,) = rank(("a", arfdn | {"psnr_rgb": 28.996}, ON_DIV2K)).ranked
    (check,) = row.gates
    assert (check.rounded, check.strict) == (True, False)
    assert check.margin == pytest.approx(-0.004)


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
    assert names(board.ranked) == ["b", "a"]
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
    said = reasons(board)
    assert said["low"] == "PSNR 33.9000 dB is not above the 33.92 dB of bicubic"
    assert said["equal"] == (
        "PSNR 33.9240 dB is not above the 33.92 dB of bicubic, as both are rounded"
    )
    assert any("The edition runs in fp16; this table is fp32." in note for note in board.notes)
    alone = rank(along, rule="rtsr2023")
    assert alone.tracks == ()
    assert "bicubic, and no interpolation of that name" in alone.gate


# What scores are relative to.

RLFN = {"runtime_images": 0.5, "params": 317_000, "macs_fvcore": 19.67e9, "psnr_rgb": 29.0}


def scores(board):
    return {row.entry: row.places["main"].score for row in board.ranked}


def test_runtime_is_relative_to_the_baseline_measured_beside(rank):
    other = RLFN | {"runtime_images": 1.0, "params": 634_000}
    board = rank(("rlfn", RLFN), ("b", other), rule="ntire2024")
    # 0.7 exp(4) + 0.15 exp(2) + 0.15 exp(4), whatever the device.
    assert scores(board) == pytest.approx(
        {"rlfn": math.e**2, "b": 0.85 * math.e**4 + 0.15 * math.e**2}
    )
    assert names(board.ranked) == ["rlfn", "b"]


def timed_in(session, beside):
    """Times of two rounds, and what the baseline took in them; its claims in the second are low."""
    times = (beside, beside / 4)
    baseline = BaselineTimes(
        name="rlfn", images_seconds=times, trusted_seconds=(beside, beside), fixed_seconds=times
    )
    replicates = (builders.replicate(), builders.replicate(index=1))
    return {"latency": builders.latency(*replicates, session=session, baseline=baseline)}


def test_a_late_entry_and_early_ones_are_relative_to_the_baseline_of_their_own_rounds(rank):
    # The machine takes twice as long when the late entry comes.
    slow = RLFN | {"runtime_images": 1.0}
    board = rank(
        ("rlfn", RLFN, timed_in("one", 0.5)),
        ("early", RLFN, timed_in("one", 0.5)),
        ("alone", slow, {"latency": builders.latency(session="none")}),
        ("rlfn", slow, timed_in("two", 1.0)),
        ("late", slow, timed_in("two", 1.0)),
        rule="ntire2024",
    )
    assert scores(board) == pytest.approx(
        dict.fromkeys(("rlfn", "early", "late", "alone"), math.e**2)
    )
    told = [note for note in board.notes if "an earlier or later run of the baseline" in note]
    assert [note.partition(" of these")[0] for note in told] == ["Scores of 1"]


@pytest.mark.parametrize(
    ("rule", "fields", "said"),
    [
        (
            "ntire2024",
            None,
            "Main (score) is not ranked. Scores are relative to the Runtime of rlfn: run it beside",
        ),
        ("ntire2025", {}, "EFDN, which is not among the networks here"),
        (
            "ntire2024",
            {"protocol": Protocol(counted_input=(64, 64))},
            "Its counts are at LR 256x256, these at LR 64x64",
        ),
        (
            "ntire2024",
            {"status": "suspect-caching", "cause": "it differs"},
            "runtime of rlfn, whose run ended as suspect-caching: run it again",
        ),
    ],
)
def test_without_its_baseline_a_score_is_absent_and_says_why(rank, rule, fields, said):
    """``fields`` are those of the baseline's record; None for none."""
    protocol = {"protocol": fields["protocol"]} if fields and "protocol" in fields else {}
    baseline = [] if fields is None else [("rlfn", RLFN, fields)]
    board = rank(*baseline, ("b", RLFN, protocol), rule=rule)
    assert board.tracks == ()
    assert said in board.notes[0]
    assert ("; `esrbench leaderboard --relative-to NAME` takes" in board.notes[0]) == (not protocol)
    assert "b" in names(board.ranked)


@pytest.mark.parametrize(
    ("relative_to", "scored", "said"),
    [
        (None, "rlfn", "relative to the baseline measured beside it"),
        ("a", "a", "relative to the runtime of a in place of RLFN's"),
        ("published", "fast", "relative to the published runtime"),
    ],
)
def test_another_entry_or_the_published_runtime_can_be_asked_for(rank, relative_to, scored, said):
    entries = [("rlfn", RLFN), ("a", RLFN), ("fast", RLFN | {"runtime_images": 13.54e-3})]
    board = rank(*entries, rule="ntire2024", relative_to=relative_to)
    assert scores(board)[scored] == pytest.approx(math.e**2)
    (note,) = [note for note in board.notes if "relative to" in note]
    assert said in note
    assert ("on that device only" in note) is (relative_to == "published")


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("ntire2024", "--relative-to c: no such entry"),
        ("ntire2022", "--relative-to c: nothing in ntire2022 is relative"),
    ],
)
def test_what_nothing_can_be_relative_to_is_refused(rank, rule, message):
    with pytest.raises(UsageError, match=message):
        rank(("a", RLFN), rule=rule, relative_to="c")


def test_a_score_beyond_floats_is_absent_beside_its_logarithm(rank):
    board = rank(("rlfn", RLFN), ("b", RLFN | {"runtime_images": 200.0}), rule="ntire2024")
    place = board.ranked[1].places["main"]
    assert isinstance(place.score, Absent)
    assert place.log_score == pytest.approx(800 + math.log(0.7))


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


IMAGES = "only SR images were given, not their network"


@pytest.fixture
def images(make_record):
    """SR images without their network: a PSNR, and nothing else."""

    def build(name="images", psnr=29.5, **fields):
        values = dict.fromkeys(METRICS, IMAGES) | {"psnr_rgb": psnr}
        protocol = Protocol(latency=None, counters=())
        return make_record(
            name, values, role="images", protocol=protocol, threads=7, weights="none", **fields
        )

    return build


def test_images_stand_beside_networks_and_are_not_ranked_by_what_nobody_measured(
    rank, images, imdn, arfdn
):
    alone = rank(("imdn", imdn), ("arfdn", arfdn))
    board = rank(("imdn", imdn), images(), ("arfdn", arfdn), images("newest"))
    assert [row.entry for row in board.ranked] == [row.entry for row in alone.ranked]
    assert [row.ranks for row in board.ranked] == [row.ranks for row in alone.ranked]
    assert [(row.entry, row.unranked_because) for row in board.unranked] == [
        (name, f"Runtime is missing: {IMAGES}") for name in ("images", "newest")
    ]
    assert board.unranked[0].values["psnr_rgb"].value == 29.5
    assert (board.device, board.banner) == (alone.device, alone.banner)
    assert board.notices == ()
    assert "SR images that were made elsewhere, scored without their network: images, newest." in (
        board.notes
    )


def test_images_are_of_every_class_but_not_of_other_data(rank, images, imdn):
    fp16 = Protocol(forward=ForwardPolicy(precision="fp16"))
    board = rank(images(), ("imdn", imdn, {"protocol": fp16}), forward_class="fp16")
    assert [row.entry for row in (*board.ranked, *board.unranked)] == ["imdn", "images"]
    with pytest.raises(UsageError, match="no record is of class 'bf16'"):
        rank(images(), ("imdn", imdn), forward_class="bf16")
    board = rank(("imdn", imdn), images(digest="1" * 64))
    assert [row.entry for row in (*board.ranked, *board.unranked)] == ["imdn"]
    assert "other images called demo" in board.notices[0].message


def test_images_alone_make_a_table_of_scores(rank, images):
    board = rank(images("a", 29.0), images("b", 30.0))
    assert board.tracks == ()
    assert board.device == "SR images that were made elsewhere"
    assert any(f"Runtime: {IMAGES}" in note for note in board.notes)


def test_a_network_takes_the_place_of_its_team_s_images(rank, images, imdn):
    board = rank(images("imdn"), ("imdn", imdn), images("imdn"))
    assert [row.entry for row in board.ranked] == ["imdn"]
    assert board.unranked == ()
    assert board.notices == ()


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
    assert note.endswith("not that of the networks alone: b.")


OLD = Software(python="3.9.18", torch="1.13.1", numpy="1.26.4")
ENTRIES_OF_TWO = [
    ("old-a", {"runtime_images": 0.010}, {"ran_with": OLD}),
    ("old-b", {"runtime_images": 0.015}, {"ran_with": OLD}),
    ("ours-a", {"runtime_images": 0.020}, {}),
    ("ours-b", {"runtime_images": 0.012}, {}),
]


def of_two(imdn):
    return [(name, imdn | values, fields) for name, values, fields in ENTRIES_OF_TWO]


def test_entries_of_another_torch_are_marked_and_a_class_of_their_own(rank, imdn, columns):
    board = rank(*of_two(imdn))
    assert board.forward_class == "fp32"
    assert {row.entry: row.ranks["runtime_images"] for row in board.ranked} == {
        "ours-b": 1,
        "ours-a": 2,
    }
    apart = "a class of its own: fp32, Python 3.9.18, torch 1.13.1"
    assert reasons(board) == {"old-a": apart, "old-b": apart}
    assert board.notices == ()
    note = "\N{DOUBLE DAGGER} Ran with Python 3.9.18, torch 1.13.1: old-a, old-b."
    assert note in board.notes
    assert "old-a\N{DOUBLE DAGGER}" in columns(board)["Entry"]


def test_their_class_has_a_table_of_its_own(rank, imdn):
    label = "fp32, Python 3.9.18, torch 1.13.1"
    board = rank(*of_two(imdn), forward_class=label)
    assert board.forward_class == label
    assert "Python 3.9.18, torch 1.13.1" in board.device
    assert {row.entry: row.ranks["runtime_images"] for row in board.ranked} == {
        "old-a": 1,
        "old-b": 2,
    }
    assert reasons(board) == dict.fromkeys(("ours-a", "ours-b"), "a class of its own: fp32")


def test_they_are_ranked_with_the_others_if_told_so(rank, imdn):
    board = rank(*of_two(imdn), mixed=True)
    assert {row.entry: row.ranks["runtime_images"] for row in board.ranked} == {
        "old-a": 1,
        "ours-b": 2,
        "old-b": 3,
        "ours-a": 4,
    }
    assert board.unranked == ()


def test_an_entry_that_ran_in_both_is_shown_once(rank, imdn):
    board = rank(("net", imdn, {"ran_with": OLD}), ("net", imdn))
    assert names(board.ranked) == ["net"]
    assert board.unranked == ()


def test_a_speedup_is_over_the_entry_that_is_named(rank):
    """2^4.0334 * 113.85^0.2 and 2^4.3522, as the mobile track of 2026 prints them."""
    at = {"protocol": Protocol(counted_input=(128, 128))}
    entries = [
        ("vipsl", {"perceptual_score": 4.0334, "runtime_fixed": 1 / 113.85}, at),
        ("todsr", {"perceptual_score": 4.3522, "runtime_fixed": 1.0}, at),
    ]
    board = rank(*entries, rule="ntire2026-mobile", relative_to="todsr")
    scores = {row.entry: row.places["main"].score for row in board.ranked}
    assert scores == pytest.approx({"vipsl": 42.2125, "todsr": 20.4241}, abs=1e-3)
    for relative_to, said in (
        (None, "Scores are relative to OSEDiff, which is not among the networks here"),
        ("published", "No Runtime at fixed input of the baseline was published"),
    ):
        board = rank(*entries, rule="ntire2026-mobile", relative_to=relative_to)
        assert board.ranked[0].places == {}
        assert said in board.notes[0]


def test_scores_that_were_asked_for_alter_no_comparison_of_images(rank, imdn):
    asked = Protocol(quality=QualityDefinition(metrics=("ssim_rgb",)))
    images = ("team", {"psnr_rgb": 29.5, "ssim_rgb": 0.8}, {"role": "images", "protocol": asked})
    board = rank(images, ("imdn", imdn))
    assert [row.entry for row in board.unranked] == ["team"]
    assert board.columns[-1] == "ssim_rgb"
    assert not board.notices

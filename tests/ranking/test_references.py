"""What scores are relative to, and what is said where it is not there."""

import math

import builders
import pytest

from esrbench.errors import UsageError
from esrbench.protocol import Protocol
from esrbench.records import Absent, BaselineTimes

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
    assert builders.names(board.ranked) == ["rlfn", "b"]


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
        ("ntire2025", {}, "EFDN, which was not measured here"),
        (
            "ntire2024",
            {"protocol": Protocol(counted_input=(64, 64))},
            "The rule counts at LR 256x256, these records at LR 64x64",
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
    assert ("; `esrbench leaderboard --relative-to NAME` uses" in board.notes[0]) == (not protocol)
    assert "b" in builders.names(board.ranked)


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
    assert ("only on that device" in note) is (relative_to == "published")


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
        (None, "Scores are relative to OSEDiff, which was not measured here"),
        ("published", "No Runtime at fixed input of the baseline was published"),
    ):
        board = rank(*entries, rule="ntire2026-mobile", relative_to=relative_to)
        assert board.ranked[0].places == {}
        assert said in board.notes[0]

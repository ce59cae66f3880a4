from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
import pytest

from harness.ranking.custom import parse_rule
from harness.ranking.leaderboard import build_leaderboard
from harness.ranking.rules import AIM2020, NTIRE2022, NTIRE2024
from harness.ranking.stability import RESAMPLES, draw_runtimes
from harness.records import Absent, Latency, LatencySamples, Replicate
from harness.reports.tables import leaderboard_frame

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from harness.ranking.board import Leaderboard, Place
    from harness.records import RunRecord

    MakeRecord = Callable[..., RunRecord]

COUNTS = {
    "params": 3e5,
    "macs_ntire2022": 2e10,
    "macs_fvcore": 2e10,
    "activations_ntire2022": 1e8,
    "pass_peak_bytes": 1e8,
    "psnr_rgb": 29.0,
}


def samples(name: str, seconds: Sequence[float], delivered: Sequence[float] = ()) -> LatencySamples:
    return LatencySamples(
        input_name=name,
        lr_size=(8, 8),
        clock="monotonic",
        first_seconds=1.0,
        warmup_seconds=(),
        steady=True,
        seconds=tuple(seconds),
        delivered_seconds=tuple(delivered),
        stopped_by="max-rounds",
    )


def timed(processes: Sequence[Sequence[float]], delivered: Sequence[float] = ()) -> Latency:
    """One image, its rounds by process."""
    replicates = tuple(
        Replicate(
            index=index,
            position=0,
            started=datetime(2026, 1, 1, tzinfo=UTC),
            cpus=(),
            cold_start_seconds=None,
            fixed=samples("fixed", seconds),
            images=(samples("image", seconds, delivered),),
        )
        for index, seconds in enumerate(processes)
    )
    return Latency(
        session="one", order_seed=0, entries=("a", "b"), variant_seed=0, replicates=replicates
    )


def entry(make: MakeRecord, name: str, latency: Latency, **fields: object) -> RunRecord:
    seconds = [
        float(np.median(replicate.images[0].seconds))
        for replicate in latency.replicates
        if not isinstance(replicate.images, Absent)
    ]
    runtime = float(np.exp(np.mean(np.log(seconds))))
    return make(name, {**COUNTS, "runtime_images": runtime}, latency=latency, **fields)


def place(board: Leaderboard, name: str, track: str = "main") -> Place:
    return next(row.places[track] for row in board.ranked if row.entry == name)


def test_ranks_far_apart_hold_always(make_record: MakeRecord) -> None:
    board = build_leaderboard(
        [
            entry(make_record, "a", timed([[1.0, 1.01], [1.02, 1.0], [0.99, 1.0]])),
            entry(make_record, "b", timed([[2.0, 2.01], [2.02, 2.0], [1.99, 2.0]])),
        ],
        NTIRE2022,
    )
    stability = place(board, "a").stability
    assert stability is not None
    assert (stability.low, stability.high, stability.held) == (1, 1, 1.0)
    assert board.stability is None
    assert not any("tie within the noise" in note for note in board.notes)


def test_a_rank_within_noise_is_a_tie(make_record: MakeRecord) -> None:
    # Processes 1.00, 1.04, 1.08 and 1.03, 1.05, 1.07, drawn alike: rounds 0 favour a, 2 b.
    board = build_leaderboard(
        [
            entry(make_record, "a", timed([[1.0], [1.04], [1.08]])),
            entry(make_record, "b", timed([[1.03], [1.05], [1.07]])),
        ],
        NTIRE2022,
    )
    a, b = place(board, "a").stability, place(board, "b").stability
    assert a is not None
    assert b is not None
    assert ((a.low, a.high), (b.low, b.high)) == ((1, 2), (1, 2))
    # a loses where the drawn index sums to 5 or 6 of 6: 4 of 27 draws, held in 23 of 27.
    assert a.held == pytest.approx(23 / 27, abs=0.04)
    assert a.held == b.held
    assert any("a rank such as 1-2 is a tie" in note and "a 8" in note for note in board.notes)


def test_noise_that_entries_share_moves_no_rank(make_record: MakeRecord) -> None:
    slow = [1.0, 1.5, 0.7, 1.2]
    board = build_leaderboard(
        [
            entry(make_record, "a", timed([[each] for each in slow])),
            entry(make_record, "b", timed([[each * 1.01] for each in slow])),
        ],
        NTIRE2022,
    )
    stability = place(board, "b").stability
    assert stability is not None
    assert (stability.low, stability.high) == (2, 2)


def test_draws_have_the_spread_of_the_samples(make_record: MakeRecord) -> None:
    rng = np.random.default_rng(1)
    logs = rng.normal(0, 0.1, 8)
    record = entry(make_record, "a", timed([[each] for each in np.exp(logs)]))
    draws = draw_runtimes([record])
    assert not isinstance(draws, Absent)
    assert draws["a"].shape == (RESAMPLES,)
    # Standard error of a mean of 8 by the unbiased standard deviation.
    assert np.log(draws["a"]).std() == pytest.approx(logs.std(ddof=1) / np.sqrt(8), rel=0.08)
    again = draw_runtimes([record])
    assert not isinstance(again, Absent)
    assert (again["a"] == draws["a"]).all()


def test_one_process_is_drawn_by_its_rounds(make_record: MakeRecord) -> None:
    rounds = [1.0, 1.1, 1.2, 1.3, 1.4]
    draws = draw_runtimes([entry(make_record, "a", timed([rounds]))])
    assert not isinstance(draws, Absent)
    assert set(np.round(draws["a"] * 1.2, 9)) == set(rounds)
    few = draw_runtimes([entry(make_record, "a", timed([rounds[:4]]))])
    assert isinstance(few, Absent)
    assert few.reason == "a has fewer than 5 rounds of an image, in one process"


def test_disputed_timing_is_drawn_from_the_evaluator_s_times(make_record: MakeRecord) -> None:
    latency = timed([[1.0] * 5], delivered=[2.0, 2.0, 3.0, 4.0, 4.0])
    draws = draw_runtimes([entry(make_record, "a", latency, status="timing-disputed")])
    assert not isinstance(draws, Absent)
    assert set(np.round(draws["a"] * 3, 9)) == {2.0, 3.0, 4.0}


def test_without_samples_the_board_says_why(make_record: MakeRecord) -> None:
    records = [make_record(name, {**COUNTS, "runtime_images": 1.0}) for name in "ab"]
    board = build_leaderboard(records, NTIRE2022)
    assert board.stability is not None
    assert board.stability.reason == "a has no samples of runtime"
    assert place(board, "a").stability is None


def test_without_a_track_the_rank_in_runtime_is_a_tie_within_noise(
    make_record: MakeRecord,
) -> None:
    # The two spread alike around 1.0 and 1.001 in three processes; c is ten times slower.
    records = [
        entry(make_record, "a", timed([[0.9], [1.0], [1.1]])),
        entry(make_record, "b", timed([[1.101], [1.001], [0.901]])),
        entry(make_record, "c", timed([[10.0], [10.0], [10.0]])),
    ]
    board = build_leaderboard(records, AIM2020)
    assert board.tracks == ()
    held = {row.entry: row.runtime_rank for row in board.ranked}
    assert {name: (each.low, each.high) for name, each in held.items() if each} == {
        "a": (1, 2),
        "b": (1, 2),
        "c": (3, 3),
    }
    assert any("rank in runtime such as 1-2 is a tie" in note for note in board.notes)
    frame = leaderboard_frame(board, str)
    cells = dict(zip(frame["Entry"], frame["Runtime [ms]"], strict=True))
    assert cells["a"].endswith("1-2")
    assert cells["c"].endswith("3")


def test_runtimes_that_are_not_drawn_are_not_called_firm(make_record: MakeRecord) -> None:
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
    records = [make_record(name, {"runtime_fixed": value}) for name, value in (("a", 1), ("b", 2))]
    board = build_leaderboard(records, rule)
    assert board.stability is not None
    assert "Runtime at fixed input, which is not drawn anew" in board.stability.reason
    assert any(board.stability.reason in note for note in board.notes)


def test_scores_are_drawn_with_their_baseline(make_record: MakeRecord) -> None:
    shared = [1.0, 1.3, 0.8]
    board = build_leaderboard(
        [
            entry(make_record, "rlfn", timed([[each] for each in shared])),
            entry(make_record, "b", timed([[each * 1.001] for each in shared])),
        ],
        NTIRE2024,
    )
    stability = place(board, "b").stability
    assert stability is not None
    assert (stability.low, stability.high) == (2, 2)

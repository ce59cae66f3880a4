from __future__ import annotations

import csv
import io
import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import stats

from esrbench.ranking.leaderboard import build_leaderboard
from esrbench.ranking.published import official_leaderboard
from esrbench.ranking.rules import RULES, parse_rule
from esrbench.ranking.stability import across_processes
from esrbench.records import Interval, Latency, LatencySamples, Replicate, Value
from esrbench.reports.formats import render
from esrbench.reports.leaderboard import leaderboard_table
from esrbench.statistics import geometric_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from esrbench.ranking.board import Leaderboard, Place
    from esrbench.records import RunRecord

    MakeRecord = Callable[..., RunRecord]
    Columns = Callable[..., dict[str, list[str]]]

COUNTS = {
    "params": 3e5,
    "macs_ntire2022": 2e10,
    "macs_fvcore": 2e10,
    "activations_ntire2022": 1e8,
    "pass_peak_bytes": 1e8,
    "psnr_rgb": 29.0,
}


def samples(name: str, seconds: Sequence[float]) -> LatencySamples:
    return LatencySamples(
        input_name=name,
        lr_size=(8, 8),
        clock="monotonic",
        first_seconds=1.0,
        warmup_seconds=(),
        steady=True,
        seconds=tuple(seconds),
        stopped_by="max-rounds",
    )


def timed(processes: Sequence[float]) -> Latency:
    """One image, what it took in each process."""
    replicates = tuple(
        Replicate(
            index=index,
            position=0,
            started=datetime(2026, 1, 1, tzinfo=UTC),
            cpus=(),
            cold_start_seconds=None,
            fixed=samples("fixed", [seconds]),
            images=(samples("image", [seconds]),),
        )
        for index, seconds in enumerate(processes)
    )
    return Latency(
        session="one", order_seed=0, entries=("a", "b"), variant_seed=0, replicates=replicates
    )


def entry(make: MakeRecord, name: str, processes: Sequence[float], **values: float) -> RunRecord:
    """A record whose runtime is the geometric mean over its processes."""
    record = make(name, {**COUNTS, **values}, latency=timed(processes))
    runtime = {"runtime_images": geometric_mean(processes)}
    return record.model_copy(update={"values": {**record.values, **runtime}})


def place(board: Leaderboard, name: str, track: str = "main") -> Place:
    return next(row.places[track] for row in board.ranked if row.entry == name)


def possible(board: Leaderboard, track: str = "main") -> dict[str, tuple[int, int]]:
    """Ranks that noise leaves possible, by entry."""
    return {
        row.entry: (held.low, held.high)
        for row in board.ranked
        if (held := row.places[track].stability) is not None
    }


def test_ranks_far_apart_are_firm(make_record: MakeRecord) -> None:
    board = build_leaderboard(
        [
            entry(make_record, "a", [1.0, 1.02, 0.99]),
            entry(make_record, "b", [2.0, 2.02, 1.99]),
        ],
        RULES["ntire2022"],
    )
    assert possible(board) == {"a": (1, 1), "b": (2, 2)}
    assert board.stability is None
    assert not place(board, "a").provisional
    assert not any("is a tie" in note for note in board.notes)


def test_ranks_whose_intervals_overlap_are_ties(make_record: MakeRecord, columns: Columns) -> None:
    # c, 30 % off, is beyond the intervals of a and b, which overlap.
    board = build_leaderboard(
        [
            entry(make_record, "a", [1.0, 1.01, 0.99]),
            entry(make_record, "b", [1.02, 1.01, 1.03]),
            entry(make_record, "c", [1.30, 1.31, 1.32]),
        ],
        RULES["ntire2022"],
    )
    assert possible(board) == {"a": (1, 2), "b": (1, 2), "c": (3, 3)}
    shown = columns(board)
    assert shown["Main"] == ["1-2", "1-2", "3"]
    assert any("is a tie that noise explains" in note for note in board.notes)
    for row in board.ranked:
        runtime = row.values["runtime_images"]
        assert isinstance(runtime, Value)
        assert runtime.interval is not None


def test_intervals_are_the_wider_of_their_own_and_of_the_spread_of_all(
    make_record: MakeRecord,
) -> None:
    # Of logarithms: variances 0.01 and 0.0001 with 2 degrees of freedom each.
    wide, narrow = np.exp([-0.1, 0.0, 0.1]), np.exp([-0.01, 0.0, 0.01])
    found = across_processes(
        [entry(make_record, "a", wide.tolist()), entry(make_record, "b", narrow.tolist())],
        "runtime_images",
    )
    pooled = np.sqrt((0.01 + 0.0001) / 2)
    own = stats.t.ppf(0.975, 2) * 0.1 / np.sqrt(3)
    shared = stats.t.ppf(0.975, 4) * pooled / np.sqrt(3)
    assert own > shared > stats.t.ppf(0.975, 2) * 0.01 / np.sqrt(3)
    for value, half in zip(found, (own, shared), strict=True):
        assert isinstance(value, Value)
        assert value.interval is not None
        assert np.log(value.interval.high) == pytest.approx(half)
        assert np.log(value.interval.low) == pytest.approx(-half)
        assert value.value == pytest.approx(1.0)


@pytest.mark.parametrize(("entries", "processes"), [(4, 3), (4, 5), (12, 3)])
def test_copies_of_one_network_are_rarely_told_apart(
    make_record: MakeRecord, entries: int, processes: int
) -> None:
    """With 10 % between processes; at most 5 % of suites and two standard deviations of that."""
    template = entry(make_record, "a", [1.0] * processes)
    rng = np.random.default_rng(entries + processes)
    draws, apart = 300, 0
    for _ in range(draws):
        times = np.exp(rng.normal(0, 0.1, (entries, processes)))
        suite = [
            template.model_copy(update={"values": {"runtime_images": geometric_mean(row.tolist())}})
            for row in times
        ]
        intervals = [
            value.interval
            for value in across_processes(suite, "runtime_images")
            if isinstance(value, Value)
        ]
        known = [interval for interval in intervals if interval is not None]
        apart += max(each.low for each in known) > min(each.high for each in known)
    assert apart <= 0.05 * draws + 2 * (0.05 * draws) ** 0.5


def test_processes_that_agree_by_chance_are_not_believed(make_record: MakeRecord) -> None:
    # A machine whose processes are either fast or slow: a is never slow, b always.
    board = build_leaderboard(
        [
            entry(make_record, "a", [0.040, 0.041, 0.040]),
            entry(make_record, "b", [0.141, 0.140, 0.141]),
            entry(make_record, "c", [0.040, 0.141, 0.141]),
            entry(make_record, "d", [0.141, 0.040, 0.040]),
        ],
        RULES["ntire2022"],
    )
    assert set(possible(board).values()) == {(1, 4)}


@pytest.mark.parametrize("processes", [1, 2])
def test_with_fewer_than_three_processes_ranks_are_provisional(
    make_record: MakeRecord, columns: Columns, processes: int
) -> None:
    # Two copies of one network, as they were once ranked 1 and 2.
    records = [
        entry(make_record, "a", [0.04012] * processes),
        entry(make_record, "b", [0.14140] * processes),
    ]
    # A process alone knows its rounds.
    interval = Interval(low=0.0206, high=0.121, confidence=0.95, method="bootstrap")
    rounds = {"runtime_images": Value(value=0.04012, interval=interval)}
    records[0] = records[0].model_copy(update={"values": {**records[0].values, **rounds}})
    board = build_leaderboard(records, RULES["ntire2022"])
    assert [row.provisional_ranks for row in board.ranked] == [("runtime_images",)] * 2
    assert place(board, "a").provisional
    assert place(board, "a").stability is None
    assert not place(board, "a", "sub1").provisional
    assert board.stability is not None
    assert board.stability.advice is not None
    assert "--processes 3" in board.stability.advice
    shown = columns(board)
    assert shown["Main"] == ["1?", "2?"]
    assert shown["Runtime [ms]"] == ["40.121?", "141.402?"]
    assert shown["Params [M]"] == ["0.3001", "0.3001"]
    assert "| 1? | " in re.sub(" +", " ", str(render(leaderboard_table(board), "markdown")))
    rows = list(csv.DictReader(io.StringIO(str(render(leaderboard_table(board), "csv")))))
    assert [row["main_rank_provisional"] for row in rows] == ["True", "True"]
    assert [row["runtime_images_rank_provisional"] for row in rows] == ["True", "True"]
    assert [row["runtime_images_low"] for row in rows] == ["", ""]
    document = json.loads(board.model_dump_json())
    assert document["ranked"][0]["places"]["main"]["provisional"] is True
    assert document["ranked"][0]["values"]["runtime_images"]["interval"] is None
    assert any(note.startswith("? A provisional rank: ") for note in board.notes)


def test_without_samples_ranks_are_provisional(make_record: MakeRecord) -> None:
    records = [make_record(name, {**COUNTS, "runtime_images": 1.0}) for name in "ab"]
    board = build_leaderboard(records, RULES["ntire2022"])
    assert place(board, "a").provisional


def test_without_ranks_nothing_is_provisional(make_record: MakeRecord) -> None:
    board = build_leaderboard([make_record("a", {}, status="crash")], RULES["ntire2022"])
    assert board.ranked == ()
    assert board.stability is None
    assert not any("provisional" in note for note in board.notes)


def test_published_ranks_are_not_provisional() -> None:
    board = official_leaderboard(RULES["ntire2022"])
    assert not any(row.provisional_ranks for row in board.ranked)
    assert not any(place.provisional for row in board.ranked for place in row.places.values())


def test_without_a_track_the_rank_in_runtime_is_a_tie_within_noise(
    make_record: MakeRecord, columns: Columns
) -> None:
    records = [
        entry(make_record, "a", [0.9, 1.0, 1.1]),
        entry(make_record, "b", [1.101, 1.001, 0.901]),
        entry(make_record, "c", [10.0, 10.0, 10.0]),
    ]
    board = build_leaderboard(records, RULES["aim2020"])
    assert board.tracks == ()
    held = {row.entry: row.rank_stability["runtime_images"] for row in board.ranked}
    assert {name: (each.low, each.high) for name, each in held.items()} == {
        "a": (1, 2),
        "b": (1, 2),
        "c": (3, 3),
    }
    shown = columns(board)
    cells = dict(zip(shown["Entry"], shown["Runtime [ms]"], strict=True))
    assert "1-2 [" in cells["a"]
    assert "3 [" in cells["c"]


def test_sums_of_ranks_take_over_the_ties_of_runtime(make_record: MakeRecord) -> None:
    # a and b tie in runtime; b has fewer parameters, c is last in both.
    board = build_leaderboard(
        [
            entry(make_record, "a", [1.00, 1.01, 0.99], params=2e5),
            entry(make_record, "b", [1.01, 1.00, 1.02], params=1e5),
            entry(make_record, "c", [1.50, 1.49, 1.51], params=3e5),
        ],
        RULES["ntire2022"],
    )
    assert possible(board) == {"a": (1, 2), "b": (1, 2), "c": (3, 3)}
    # Sums of runtime and parameters: a 3 to 4, b 2 to 3, c 6; the other metrics are equal.
    assert possible(board, "sub2") == {"a": (1, 2), "b": (1, 2), "c": (3, 3)}
    # No runtime is in it.
    assert possible(board, "sub1") == {"a": (2, 2), "b": (1, 1), "c": (3, 3)}


def test_equal_totals_that_runtime_separates_are_tied_with_it(make_record: MakeRecord) -> None:
    # In 2023 entries of equal complexity keep the order of runtime.
    few = {name: [value] for name, value in (("a", 1.0), ("b", 1.1))}
    board = build_leaderboard(
        [entry(make_record, *each) for each in few.items()], RULES["ntire2023"]
    )
    keys = [track.key for track in board.tracks]
    assert all(place(board, "a", key).provisional for key in keys)
    many = {"a": [1.0, 1.01, 0.99], "b": [1.01, 1.0, 1.02], "c": [2.0, 2.01, 1.99]}
    board = build_leaderboard(
        [entry(make_record, *each) for each in many.items()], RULES["ntire2023"]
    )
    for key in keys:
        assert possible(board, key) == {"a": (1, 2), "b": (1, 2), "c": (3, 3)}


def test_a_rank_in_another_runtime_is_a_tie_likewise(make_record: MakeRecord) -> None:
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
    records = []
    for name, processes in (("a", [1.0, 1.01, 0.99]), ("b", [1.01, 1.0, 1.02])):
        record = entry(make_record, name, processes)
        fixed = {"runtime_fixed": record.values["runtime_images"]}
        records.append(record.model_copy(update={"values": {**record.values, **fixed}}))
    assert possible(build_leaderboard(records, rule)) == {"a": (1, 2), "b": (1, 2)}


def test_scores_are_tied_where_runtimes_are(make_record: MakeRecord) -> None:
    board = build_leaderboard(
        [
            entry(make_record, "rlfn", [1.0, 1.01, 0.99]),
            entry(make_record, "b", [1.01, 1.0, 1.02]),
            entry(make_record, "c", [1.5, 1.51, 1.52]),
        ],
        RULES["ntire2024"],
    )
    assert possible(board) == {"rlfn": (1, 2), "b": (1, 2), "c": (3, 3)}
    # Far fewer parameters and FLOPs decide whatever the runtimes are.
    light = {"params": 1e4, "macs_fvcore": 1e8}
    board = build_leaderboard(
        [
            entry(make_record, "rlfn", [1.0, 1.01, 0.99]),
            entry(make_record, "b", [1.01, 1.0, 1.02], **light),
        ],
        RULES["ntire2024"],
    )
    assert possible(board) == {"b": (1, 1), "rlfn": (2, 2)}


def test_copies_that_differ_by_noise_share_the_pareto_front(
    make_record: MakeRecord, columns: Columns
) -> None:
    board = build_leaderboard(
        [
            entry(make_record, "a", [1.00, 1.01, 0.99]),
            entry(make_record, "b", [1.01, 1.00, 1.02]),
            entry(make_record, "c", [1.50, 1.49, 1.51]),
        ],
        RULES["ntire2022"],
    )
    assert {row.entry: row.pareto for row in board.ranked} == {"a": True, "b": True, "c": False}
    shown = columns(board)
    assert shown["Pareto"] == ["\N{BULLET}", "\N{BULLET}", ""]


def test_the_pareto_front_of_single_processes_is_provisional(
    make_record: MakeRecord, columns: Columns
) -> None:
    board = build_leaderboard(
        [entry(make_record, "a", [1.0]), entry(make_record, "b", [2.0])], RULES["ntire2022"]
    )
    assert columns(board)["Pareto"] == ["\N{BULLET}?", ""]

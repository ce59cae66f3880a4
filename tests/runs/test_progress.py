"""How far a suite is, by passes whose times are known."""

from __future__ import annotations

from pathlib import Path

import pytest

from esrbench.runs.progress import Progress, seconds_left
from esrbench.runs.suite import run_suite

TOOK = {("a", False): [10.0], ("b", False): [30.0], ("a", True): [2.0, 4.0]}


@pytest.mark.parametrize(
    ("left", "ended", "expected"),
    [
        ([], [], 0.0),
        ([("c", False)], [], 20.0),  # the mean of its kind
        ([("a", True), ("b", True)], [], 6.0),  # its own mean; the kind's
        ([("a", True), ("b", True)], ["b"], 3.0),
    ],
)
def test_what_is_left_takes_as_long_as_what_was(left, ended, expected):
    assert seconds_left(left, TOOK, ended) == expected


def test_what_was_never_made_cannot_be_told():
    assert seconds_left([("a", True)], {("a", False): [1.0], ("a", True): []}) is None


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"round": 0}, "entry 22 of 42"),
        (
            {"round": 0, "seconds_to_timing": 61.0},
            "entry 22 of 42, about 0:01:01 until timing begins",
        ),
        (
            {"round": 2, "seconds_left": 5025.4, "seconds_to_timing": 0.0},
            "entry 22 of 42, round 2 of 5, about 1:23:45 left",
        ),
    ],
)
def test_progress_is_said_in_a_line(fields, said):
    known = {"seconds_left": None, "seconds_to_timing": None}
    assert Progress("a", 22, 42, rounds=5, **(known | fields)).describe() == said


@pytest.mark.usefixtures("workers")
def test_entries_are_numbered_in_every_round(trio, store):
    told = []
    list(run_suite(trio(), store, on_progress=told.append))
    assert [(each.number, each.count, each.round, each.rounds) for each in told] == [
        (number, 3, index, 2) for index in range(3) for number in (1, 2, 3)
    ]
    assert [each.passes for each in told] == [(index, 9) for index in range(9)]
    assert [each.entry for each in told[:3]] == ["one", "two", "three"]
    assert [each.seconds_left is None for each in told] == [True] * 4 + [False] * 5
    assert [each.seconds_to_timing is None for each in told] == [True] + [False] * 8


def test_finished_entries_count_when_a_suite_is_resumed(trio, store, workers):
    workers.at = {5: KeyboardInterrupt()}  # three untimed, the null network, the first timed
    with pytest.raises(KeyboardInterrupt):
        list(run_suite(trio(), store))
    told = []
    list(run_suite(trio(), store, resume=True, on_progress=told.append))
    assert (told[0].number, told[0].round) == (1, 1)
    assert len(told) == 6
    # Of a suite that ended, only what has changed is measured again.
    told.clear()
    planned = trio()
    changed = Path(planned.entries[1].descriptor.factory.partition(":")[0])
    changed.write_text("class Net: changed = True\n")
    list(run_suite(planned, store, resume=True, on_progress=told.append))
    assert {each.entry for each in told} == {"two"}
    assert {(each.number, each.count) for each in told} == {(3, 3)}

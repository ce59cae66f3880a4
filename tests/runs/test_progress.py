"""How far a suite is, by passes whose times are known."""

from __future__ import annotations

import pytest

from esrbench.runs.cells import Cell
from esrbench.runs.events import SuiteEvents
from esrbench.runs.progress import SuiteProgress, Took, progress_of
from esrbench.runs.suite import run_suite

CELLS = (
    Cell(id="untimed-0000", entries=("a", "c")),
    Cell(id="untimed-0001", entries=("b",)),
    Cell(id="timed-0000", entries=("a", "b", "c"), replicate=0),
    Cell(id="timed-0001", entries=("a", "b", "c"), replicate=1),
)
MADE = {("a", None): Took(10.0), ("b", None): Took(30.0), ("a", 0): Took(2.0), ("b", 0): Took(4.0)}
"""Left are one untimed pass, which takes 20 s, and passes of 3 s, and of 2 s, 4 s and 3 s."""
BOTH = {"timed-0000": "running", "timed-0001": "running"}


@pytest.mark.parametrize(
    ("states", "later", "seconds", "to_timing"),
    [
        ({}, 0.0, 20.0 + 3.0 + 9.0, 20.0),
        # 12 s on two devices, of which one has 9 s to do; what is later takes twice all seconds.
        (BOTH, 0.0, 20.0 + 9.0, 20.0),
        (BOTH, 2.0, 29.0 + 2 * (29.0 + 46.0 / 2), 20.0),
    ],
)
def test_what_is_left_takes_as_long_as_what_was(states, later, seconds, to_timing):
    found = progress_of(CELLS, MADE, states, later=later)
    assert found.passes == (4, 9)
    assert (found.seconds_left, found.seconds_to_timing) == (seconds, to_timing)
    assert (
        found.cells
        == {
            "untimed-0000": "waiting",
            "untimed-0001": "done",
            "timed-0000": "waiting",
            "timed-0001": "waiting",
        }
        | states
    )


def test_nothing_is_asked_of_an_entry_that_failed():
    found = progress_of(CELLS, MADE | {("c", None): Took(1.0, failed=True)}, {}, finished=2)
    assert found.passes == (5, 7)
    assert found.entries == (3, 5)
    assert found.seconds_left == 2.0 + 4.0


def test_what_was_never_made_cannot_be_told():
    found = progress_of(CELLS, {("a", None): Took(10.0)}, {"untimed-0001": "failed"})
    assert (found.seconds_left, found.seconds_to_timing) == (None, 20.0)
    assert progress_of(CELLS, {}, {}, later=1.0).seconds_to_timing is None


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "cells 1 of 3 (1 running, 1 failed)"),
        (
            {"seconds_to_timing": 61.0, "cells": {}},
            "cells 0 of 0, about 0:01:01 until timing begins",
        ),
        (
            {"seconds_left": 5025.4, "seconds_to_timing": 0.0, "cells": {"a": "done"}},
            "cells 1 of 1, about 1:23:45 left",
        ),
    ],
)
def test_progress_is_said_in_a_line(fields, said):
    known = {"cells": {"a": "done", "b": "running", "c": "failed"}, "seconds_left": None}
    known |= {"passes": (31, 84), "entries": (5, 12), "seconds_to_timing": None}
    told = SuiteProgress(**(known | fields)).describe()
    assert told == f"passes 31 of 84, entries 5 of 12, {said}"


@pytest.mark.usefixtures("workers")
def test_progress_is_told_as_each_pass_begins(trio, store):
    told = []
    list(run_suite(trio(), store, events=SuiteEvents(on_progress=told.append)))
    assert [each.passes for each in told] == [(index, 9) for index in range(9)]
    assert [each.entries for each in told] == [(0, 3)] * 7 + [(1, 3), (2, 3)]
    assert [each.entry for each in told[:3]] == ["one", "two", "three"]
    assert [each.seconds_left is None for each in told] == [True] * 4 + [False] * 5
    assert list(told[4].cells.values()) == ["done", "running", "waiting"]

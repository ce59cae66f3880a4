from __future__ import annotations

import gc
import weakref
from typing import TypeVar

import pytest

from esrbench.probes.devices import HostClock
from esrbench.probes.pairs import time_batch, time_pairs

T = TypeVar("T")


class Recorder:
    """A clock that says who ran: one second for each letter of the alphabet up to it."""

    def __init__(self):
        self.ran = []

    def time(self, forward):
        result = forward()
        self.ran.append(str(result))
        return result, float(ord(str(result)) - ord("A") + 1)


@pytest.mark.parametrize(("first", "order"), [(True, "ABBAABBA"), (False, "BAABBAAB")])
def test_the_order_alternates_and_the_columns_do_not(first, order):
    clock = Recorder()
    pairs = time_pairs(lambda: "A", lambda: "B", clock, count=4, candidate_first=first)
    assert "".join(clock.ran) == order
    assert pairs == ((1.0, 2.0),) * 4


@pytest.mark.parametrize(
    ("count", "self_count", "order"),
    [
        # Spread evenly, and alternating by themselves.
        (4, 2, "AB BA CD AB BA DC"),
        (3, 3, "AB CD BA DC AB CD"),
        (4, 1, "AB BA AB BA CD"),
        (2, 0, "AB BA"),
        (2, 4, "AB CD DC BA CD DC"),
    ],
)
def test_self_pairs_are_interleaved(count, self_count, order):
    clock = Recorder()
    times = time_batch(
        lambda: "A",
        lambda: "B",
        (lambda: "C", lambda: "D"),
        clock,
        count=count,
        self_count=self_count,
        candidate_first=True,
        twin_first=True,
    )
    assert "".join(clock.ran) == order.replace(" ", "")
    assert times.pairs == ((1.0, 2.0),) * count
    assert times.self_pairs == ((3.0, 4.0),) * self_count


def test_a_batch_goes_on_where_the_last_one_stopped():
    clock = Recorder()
    time_batch(
        lambda: "A",
        lambda: "B",
        (lambda: "C", lambda: "D"),
        clock,
        count=2,
        self_count=1,
        candidate_first=False,
        twin_first=False,
    )
    assert "".join(clock.ran) == "BAABDC"


class Output:
    """Something that can be seen to be gone."""


def test_no_output_outlives_its_forward():
    alive = []

    def forward():
        assert all(output() is None for output in alive)
        output = Output()
        alive.append(weakref.ref(output))
        return output

    gc.disable()  # freed by counting references, as tensors are
    try:
        time_pairs(forward, forward, HostClock(), count=3, candidate_first=True)
    finally:
        gc.enable()
    assert len(alive) == 6

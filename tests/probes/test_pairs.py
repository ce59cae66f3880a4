import gc
import weakref
from typing import TypeVar

import pytest

from esrbench.probes.devices import HostClock
from esrbench.probes.pairs import time_pairs

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
    pairs = time_pairs(lambda: "A", lambda: "B", clock, count=4, candidate_first=first).pairs
    assert "".join(clock.ran) == order
    assert pairs == ((1.0, 2.0),) * 4


@pytest.mark.parametrize(
    ("count", "self_count", "first", "order"),
    [
        # Spread evenly, and alternating by themselves.
        (4, 2, True, "AB BA CD AB BA DC"),
        (3, 3, True, "AB CD BA DC AB CD"),
        (4, 1, True, "AB BA AB BA CD"),
        (2, 0, True, "AB BA"),
        (2, 4, True, "AB CD DC BA CD DC"),
        # A batch goes on where the last one stopped.
        (2, 1, False, "BA AB DC"),
    ],
)
def test_self_pairs_are_interleaved(count, self_count, first, order):
    clock = Recorder()
    times = time_pairs(
        lambda: "A",
        lambda: "B",
        clock,
        count=count,
        candidate_first=first,
        copies=(lambda: "C", lambda: "D"),
        self_count=self_count,
        twin_first=first,
    )
    assert "".join(clock.ran) == order.replace(" ", "")
    assert times.pairs == ((1.0, 2.0),) * count
    assert times.self_pairs == ((3.0, 4.0),) * self_count


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

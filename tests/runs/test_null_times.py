"""The null network around entries: with scripted workers, and once with a real one."""

from types import SimpleNamespace

import numpy as np
import pytest
from builders import TWO_ROUNDS, replicate

from esrbench.entries.networks import resolve_weights
from esrbench.protocol import Protocol, TrustDesign
from esrbench.runs.evaluator import Entry
from esrbench.runs.null_times import NullTimes
from esrbench.runs.passes import NOT_REACHED, TimedPass
from esrbench.runs.timing import Plan
from esrbench.worker.failure import WorkerError
from esrbench.worker.launcher import open_launcher
from esrbench.worker.messages import Ready
from esrbench.worker.session import Delivery

PROTOCOL = Protocol(threads=1, latency=TWO_ROUNDS, trust=TrustDesign(null_rounds=5))
SIZES = ((16, 16), (8, 24), (16, 16))
PASS = TimedPass(replicate=replicate(fixed=NOT_REACHED, images=NOT_REACHED, null=()), log_tail="")


class Machine:
    """Workers whose n-th forward of all takes n seconds, of which they claim a quarter."""

    def __init__(self):
        self.events = []
        self.forwards = 0
        self.fails_at = 0
        self.protocols = []

    def worker(self, network, **_):
        self.events.append(f"start {network[0].color}")
        return Worker(self)

    def timed(self):
        self.events.append("entry")
        return PASS


class Worker:
    def __init__(self, machine):
        self.machine = machine

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.machine.events.append("stop" if kind is None else f"end by {kind.__name__}")

    def load(self, *_, protocol, **__):
        self.machine.protocols.append(protocol)
        self.machine.events.append("load")
        return Ready(parameters=0, threads=1, cpus=(), accelerator=None, code_sha256=None)

    def cpu_seconds(self):
        return None

    def forward(self, lr):
        self.machine.forwards += 1
        if self.machine.forwards == self.machine.fails_at:
            raise WorkerError("crash", "gone", fatal=True)
        self.machine.events.append(f"{lr.shape[0]}x{lr.shape[1]}")
        seconds = float(self.machine.forwards)
        return Delivery(lr, seconds, seconds / 4, None)


def ignore(_step):
    """Told what is done."""


@pytest.fixture
def machine():
    return Machine()


@pytest.fixture
def null(machine):
    return NullTimes(Plan(PROTOCOL, TWO_ROUNDS, machine, 3), SIZES)


@pytest.fixture
def entry(describe):
    def build(**fields):
        descriptor = describe("Plain", **fields)
        return Entry(descriptor, 4, resolve_weights(descriptor, 4, None))

    return build


def seconds(found):
    return {each.lr_size: each.delivered_seconds for each in found.replicate.null}


def test_half_of_the_rounds_lie_on_either_side_of_an_entry(machine, null, entry):
    steps = []
    with null:
        found = null.around(entry(), PROTOCOL, machine.timed, steps.append)
    # The first at each size warms up. Three of five rounds each, and three again.
    first, second = ["16x16"], ["8x24"]
    assert machine.events == [
        *("start rgb", "load", *(first * 4), *(second * 4)),
        *("entry", *(first * 3), *(second * 3), "stop"),
    ]
    assert seconds(found) == {
        (16, 16): (1.5, 2.25, 3.0, 6.75, 7.5, 8.25),
        (8, 24): (4.5, 5.25, 6.0, 9.0, 9.75, 10.5),
    }
    assert steps == ["timing the null network"]
    assert found.replicate.index == PASS.replicate.index


def test_what_follows_one_entry_precedes_the_next_of_its_form(machine, null, entry):
    with null:
        one = null.around(entry(), PROTOCOL, machine.timed, ignore)
        other = null.around(entry(), PROTOCOL, machine.timed, ignore)
        luma = null.around(entry(color="y"), PROTOCOL, machine.timed, ignore)
        again = null.around(entry(), PROTOCOL, machine.timed, ignore)
    for size in set(SIZES):
        assert seconds(one)[size][3:] == seconds(other)[size][:3]
        # After another form came between, they are timed again.
        assert seconds(other)[size][3:] != seconds(again)[size][:3]
        assert min(seconds(again)[size]) > max(seconds(luma)[size])
    # One worker for each form.
    assert [event for event in machine.events if event.startswith(("st", "end"))] == [
        *("start rgb", "start y", "stop", "stop"),
    ]


def test_a_gpu_is_left_to_the_entry_alone(machine, entry):
    on_gpu = PROTOCOL.model_copy(update={"device": "cuda"})
    with NullTimes(Plan(on_gpu, TWO_ROUNDS, machine, 3), SIZES) as null:
        for _ in range(2):
            null.around(entry(), PROTOCOL, machine.timed, ignore)
    assert [event for event in machine.events if event.startswith(("st", "end", "entry"))] == [
        *("start rgb", "stop", "entry"),
        *("start rgb", "stop", "entry"),
        *("start rgb", "stop"),
    ]


@pytest.mark.parametrize("fails_at", [3, 11], ids=["before", "after"])
def test_a_null_network_that_fails_on_one_side_is_started_again_for_the_other(
    machine, null, entry, fails_at
):
    machine.fails_at = fails_at
    with null:
        found = null.around(entry(), PROTOCOL, machine.timed, ignore)
        after = null.around(entry(), PROTOCOL, machine.timed, ignore)
    assert [len(each) for each in seconds(found).values()] == [3, 3]
    assert [len(each) for each in seconds(after).values()] == [6, 6]
    ends = [event for event in machine.events if event.startswith(("st", "end"))]
    assert ends == ["start rgb", "end by WorkerError", "start rgb", "stop"]


def test_a_null_network_that_never_works_leaves_no_times(entry):
    def worker(*_, **__):
        raise WorkerError("crash", "crash", fatal=True)

    launcher = SimpleNamespace(worker=worker)
    with NullTimes(Plan(PROTOCOL, TWO_ROUNDS, launcher, 3), SIZES) as null:
        found = null.around(entry(), PROTOCOL, lambda: PASS, ignore)
    assert found.replicate.null == ()


def test_an_interruption_ends_the_worker_at_once(machine, null, entry):
    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), null:
        null.around(entry(), PROTOCOL, interrupted, ignore)
    assert machine.events[-1] == "end by KeyboardInterrupt"


def test_a_real_one_tells_what_surrounds_a_forward(entry):
    with NullTimes(Plan(PROTOCOL, TWO_ROUNDS, open_launcher(), 3), SIZES) as null:
        found = null.around(entry(), PROTOCOL, lambda: PASS, ignore)
    assert {len(each) for each in seconds(found).values()} == {6}
    for each in seconds(found).values():
        # Without the work in it: median, as this machine is shared.
        assert 0 < np.median(each) < 1


def test_another_arithmetic_is_another_form(machine, null, entry):
    half = PROTOCOL.in_precision("fp16")
    with null:
        for protocol in (PROTOCOL, half, half, PROTOCOL):
            null.around(entry(), protocol, machine.timed, ignore)
    assert machine.protocols == [PROTOCOL, half]

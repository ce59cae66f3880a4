"""The next pass's worker starts while one scores or is compared, and never while one times."""

from dataclasses import replace

import pytest
from fake_worker import FakeWorker, use_fake_workers

from esrbench.errors import MeasurementError
from esrbench.protocol import EnergyDesign
from esrbench.records import Absent
from esrbench.runs.suite import run_suite
from esrbench.worker.failure import WorkerError


@pytest.fixture
def watched(workers):  # noqa: ARG001 - it puts real workers back afterwards
    """What workers did, in order; and what a step of an entry's worker raises, once."""

    class Watched(FakeWorker):
        did, fails = [], {}

        def __enter__(self):
            self.tell("start")
            return self

        def __exit__(self, *_):
            self.tell("end")

        def greet(self):
            self.tell("rest")

        def load(self, *arguments, **options):
            self.tell("load")
            return super().load(*arguments, **options)

        def forward(self, lr):
            self.tell("time")
            return super().forward(lr)

        def count_complexity(self):
            self.tell("count")
            return super().count_complexity()

        def tell(self, what):
            self.did.append((what, self.name, id(self)))
            if (what, self.name) in self.fails:
                raise self.fails.pop((what, self.name))

    use_fake_workers(kind=Watched)
    return Watched


def alive(did):
    """What each process did, and the processes that live meanwhile with what they did first."""
    living = {}
    for what, name, process in did:
        if what in {"start", "load"}:
            living[process] = name, what
        yield what, process, living
        if what == "end":
            del living[process]


def test_nothing_that_was_started_ahead_is_there_while_a_forward_is_timed(trio, store, watched):
    list(run_suite(trio(), store))
    for what, process, living in alive(watched.did):
        others = {each: of for each, of in living.items() if each != process}
        if what == "time":
            # The null network stays loaded on a CPU, and rests.
            assert set(others.values()) <= {("null", "load")}
    # All but the first untimed pass, and the first of each round.
    assert [what for what, *_ in watched.did].count("rest") == 2 + 2 * 2
    assert not living


def test_a_pass_ends_only_when_the_next_worker_rests(trio, store, watched):
    list(run_suite(trio(), store))
    did = [(what, name) for what, name, _ in watched.did]
    first = did.index(("count", "one"))
    assert did[first - 2 : first + 4] == [
        ("load", "one"),
        ("start", "two"),
        ("count", "one"),
        ("end", "one"),
        ("rest", "two"),
        ("load", "two"),
    ]


def test_nothing_is_started_ahead_where_energy_is_measured(trio, store, watched, monkeypatch):
    monkeypatch.setattr(
        "esrbench.runs.evaluator.open_counter", lambda **_: Absent(kind="unavailable", reason="-")
    )
    suite = trio()
    suite = replace(suite, protocol=suite.protocol.model_copy(update={"energy": EnergyDesign()}))
    list(run_suite(suite, store))
    did = [(what, name) for what, name, _ in watched.did]
    assert did.index(("start", "two")) > did.index(("end", "one"))


@pytest.mark.parametrize(
    ("step", "failure"),
    [
        ("start", MeasurementError("no worker can be started on this machine")),
        ("rest", WorkerError("crash", "the worker was killed by SIGKILL", fatal=True)),
    ],
)
def test_a_worker_that_cannot_be_started_ahead_is_started_in_its_turn(
    trio, store, watched, step, failure
):
    watched.fails = {(step, "two"): failure}
    assert [each.status for each in run_suite(trio(), store)] == ["ok"] * 3
    assert watched.fails == {}

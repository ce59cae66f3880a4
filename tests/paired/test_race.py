from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import esrbench.paired.race as races
from esrbench.entries.networks import resolve_weights
from esrbench.entries.registry import Registry
from esrbench.errors import MeasurementError, UsageError, WeightsError
from esrbench.paired.judging import regressed
from esrbench.paired.race import disturbance, plan_race, race
from esrbench.protocol import PairDesign, Protocol
from esrbench.records import Absent, Conditions, PairedBatch, RaceRecord
from esrbench.runs.evaluator import Entry
from esrbench.sandbox.interpreters import own_interpreter
from esrbench.worker.failure import WorkerError
from esrbench.worker.messages import Ready

SMALL = Protocol(threads=1, counted_input=(16, 16), latency=None)
QUIET = Conditions(seconds=1.0, other_load=0.01, steal=0.0)
LOADED = Conditions(seconds=1.0, other_load=0.4, steal=0.0)


def entry(descriptor):
    return Entry(descriptor, 4, resolve_weights(descriptor, 4, None))


class FakeSession:
    """A worker whose candidate is slower by a ratio, and that notes what it is asked.

    ``loaded`` are sides in the order in which they were loaded; ``second_faster`` is the share by
    which the network that is loaded second is faster, and so the second copy of the baseline.
    """

    ratio = 1.0
    self_ratio = 1.0
    second_faster = 0.0
    conditions = QUIET
    started = 0
    code = "0" * 64

    def __enter__(self):
        type(self).started += 1
        return self

    def __exit__(self, *_):
        pass

    def _ready(self):
        return Ready(parameters=2, threads=1, cpus=(0,), accelerator=None, code_sha256=self.code)

    def load(self, *_, **__):
        self.loaded = ["first"]
        return self._ready()

    def load_second(self, *_, side, **__):
        self.loaded = ["candidate", "baseline"] if side == "baseline" else ["baseline", "candidate"]
        return self._ready()

    def upscale(self, lr, name):
        assert (lr.shape, name) == ((16, 16, 3), "fixed")
        return lr

    def time_pairs(self, **request):
        type(self).asked.append({"process": self.started, **request})
        rng = np.random.default_rng(len(self.asked))

        def pairs(count, ratio):
            return tuple((ratio * float(np.exp(rng.normal(0, 0.01))), 1.0) for _ in range(count))

        order = 1 / (1 - self.second_faster)
        if self.loaded == ["baseline", "candidate"]:
            order = 1 / order
        return PairedBatch(
            pairs=pairs(request["count"], self.ratio * order),
            self_pairs=pairs(request["self_count"], self.self_ratio * order),
            conditions=self.conditions,
        )


class FakeLauncher:
    """Behind which are such workers."""

    interpreter = None

    def __init__(self, choice, session):
        assert choice == "auto"
        self.sandbox = SimpleNamespace(tier="landlock")
        self.session = session

    def worker(self, *networks, protocol, interpreter, readable, timed, timeout_seconds):
        assert interpreter == self.interpreter
        assert len(networks) == 2
        assert readable == ()
        assert protocol == SMALL
        assert timeout_seconds > 0
        assert timed
        return self.session()


@pytest.fixture
def session(monkeypatch):
    class Session(FakeSession):
        asked = []

    monkeypatch.setattr(races, "open_launcher", lambda choice, **_: FakeLauncher(choice, Session))
    return Session


@pytest.fixture
def pair(describe):
    return entry(describe("Nearest")), entry(describe("Plain"))


def test_the_interpreter_of_one_network_is_that_of_both(session, describe, monkeypatch):
    """Networks of files can be moved; what is installed beside esrbench cannot."""
    old = replace(
        own_interpreter(), versions=(("python", "3.9"), ("torch", "1.13"), ("numpy", "1"))
    )
    ours, theirs = (entry(describe(name)) for name in ("Nearest", "Plain"))
    monkeypatch.setattr(FakeLauncher, "interpreter", old)
    record = race(ours, replace(theirs, interpreter=old), SMALL)
    assert record.ran_with.describe() == "Python 3.9, torch 1.13"
    assert record.environment.packages["torch"] == "1.13"
    other = replace(old, executable=Path("/another/python"))
    with pytest.raises(UsageError, match="one process, but each has another interpreter"):
        race(replace(ours, interpreter=other), replace(theirs, interpreter=old), SMALL)
    installed = describe("Nearest").model_copy(update={"factory": "installed:Net"})
    with pytest.raises(
        UsageError, match="is installed in the environment of esrbench and runs only there"
    ):
        race(entry(installed), replace(theirs, interpreter=old), SMALL)
    assert session.started == len(record.processes)


def test_a_backend_that_the_torch_of_a_race_lacks_is_refused(session, pair):
    versions = (("python", "3.9"), ("torch", "1.13.1"), ("numpy", "1.26"))
    moved = replace(pair[1], interpreter=replace(own_interpreter(), versions=versions))
    with pytest.raises(UsageError, match=r"torch-compile needs torch 2\.1 or newer, not 1\.13\.1"):
        race(pair[0], moved, SMALL.by("torch-compile"))
    assert session.started == 0


@pytest.mark.parametrize(
    ("ratio", "verdict", "gate"),
    [(1.05, "slower", True), (1 / 1.05, "faster", False), (1.0, "unchanged", False)],
)
def test_a_race_is_decided(session, pair, ratio, verdict, gate):
    session.ratio = ratio
    seen = []
    record = race(*pair, SMALL, on_pairs=lambda done, most: seen.append((done, most)))
    assert record.verdict == verdict
    assert regressed(record) is gate
    assert record.estimate.ratio == pytest.approx(ratio, abs=0.01)
    assert (record.candidate.name, record.baseline.name) == ("nearest", "plain")
    assert record.candidate.weights.source == "random"
    assert record.environment.isolation == "landlock"
    assert seen[-1] == (record.timed_pairs, 600)
    assert len(record.processes) == session.started
    assert record.notices == ()
    assert RaceRecord.model_validate_json(record.model_dump_json()) == record


def test_processes_batches_and_orders(session, pair):
    session.ratio = 1.025  # never decided
    record = race(*pair, SMALL, PairDesign(max_pairs=75))
    assert record.verdict == "inconclusive"
    assert regressed(record) is None
    assert [len(process.batches) for process in record.processes] == [2, 3, 2]
    keys = ("process", "count", "self_count", "discard", "candidate_first", "twin_first")
    assert [tuple(request[key] for key in keys) for request in session.asked] == [
        (1, 20, 10, 5, True, True),
        (1, 10, 5, 0, True, True),
        # Every second process begins the other way round.
        (2, 10, 5, 5, False, False),
        (2, 10, 5, 0, False, True),
        (2, 10, 5, 0, False, False),
        (3, 10, 5, 5, True, True),
        (3, 5, 2, 0, True, False),
    ]


def test_the_order_of_loading_alternates(session, pair):
    loaded = []
    session.ratio = 1.025  # never decided
    session.__exit__ = lambda worker, *_: loaded.append(worker.loaded)
    record = race(*pair, SMALL, PairDesign(max_pairs=120))
    assert loaded == [["candidate", "baseline"], ["baseline", "candidate"]] * 2
    assert [each.loaded_first for each in record.processes] == ["candidate", "baseline"] * 2


@pytest.mark.parametrize("second_faster", [0.01, -0.01, 0.05])
def test_a_race_against_oneself_is_even_whatever_the_order_of_loading_does(
    session, pair, second_faster
):
    """What is loaded second is 1 % faster, so each process alone would call a race uneven."""
    session.second_faster = second_faster
    ratios = []
    for number in range(20):
        session.asked = [{}] * 100 * number  # the seeds of the noise, 1 % a forward
        record = race(*pair, SMALL)
        assert record.verdict == "unchanged"
        for found in (record.estimate, record.self_check):
            assert found.interval.low < 1 < found.interval.high
        ratios.append(record.estimate.ratio)
    assert float(np.exp(np.mean(np.log(ratios)))) == pytest.approx(1, abs=0.001)


def test_an_order_whose_pairs_were_set_aside_catches_up(session, pair):
    session.ratio = 1.025  # never decided
    session.conditions = property(lambda worker: LOADED if worker.started in {2, 3} else QUIET)
    record = race(*pair, SMALL, PairDesign(max_pairs=180))
    order = [each.loaded_first for each in record.processes]
    assert order == ["candidate", *["baseline"] * 3, "candidate", "baseline"]
    # What is loaded first goes first.
    firsts = [each["candidate_first"] for each in session.asked if each["discard"]]
    assert firsts == [each == "candidate" for each in order]


def test_a_slowdown_is_found_in_spite_of_the_order_of_loading(session, pair):
    session.second_faster, session.ratio = 0.02, 1.05
    record = race(*pair, SMALL)
    assert record.verdict == "slower"
    assert record.estimate.ratio == pytest.approx(1.05, abs=0.005)


def test_pairs_timed_under_load_are_set_aside_and_never_judged(session, pair):
    session.ratio = 1.5
    session.conditions = LOADED
    record = race(*pair, SMALL, PairDesign(max_pairs=60))
    assert record.verdict == "inconclusive"
    assert isinstance(record.estimate, Absent)
    assert "60 of 60 pairs were set aside" in record.reason
    assert [notice.code for notice in record.notices] == ["other-load"]
    assert "other processes took 40% of the CPUs' time" in record.notices[0].message
    assert regressed(record) is None


def test_load_that_ends_only_delays_the_verdict(session, pair):
    session.ratio = 1.05
    session.conditions = property(lambda worker: LOADED if worker.started <= 2 else QUIET)
    record = race(*pair, SMALL)
    assert record.verdict == "slower"
    aside = [batch.set_aside for process in record.processes[:2] for batch in process.batches]
    assert all(aside)
    # 60 pairs were set aside, 30 of either order; of the rest, 30 and 20, as many of either count.
    assert (record.timed_pairs, record.estimate.pairs) == (110, 40)


def test_an_unfair_machine_decides_nothing(session, pair):
    session.ratio, session.self_ratio = 1.5, 1.03
    record = race(*pair, SMALL, PairDesign(max_pairs=90))
    assert record.verdict == "inconclusive"
    assert "the machine is unfair" in record.reason
    assert regressed(record) is None


@pytest.mark.parametrize(
    ("conditions", "says"),
    [
        (None, None),
        (Conditions(seconds=1.0), None),
        (QUIET, None),
        (
            Conditions(seconds=5.0, other_load=0.06, steal=0.06),
            "processes took 12%",
        ),
        # Two ticks of the kernel's clock in a tenth of a second say nothing.
        (Conditions(seconds=0.1, other_load=0.25, steal=0.0), None),
        # Clocks that an administrator fixed are the same for every pair.
        (Conditions(seconds=1.0, throttle_reasons=("ApplicationsClocksSetting",)), None),
        (Conditions(seconds=1.0, throttle_reasons=("HwSlowdown",)), "throttled: HwSlowdown"),
    ],
)
def test_disturbance(conditions, says):
    found = disturbance(conditions, PairDesign())
    assert found == says or (says is not None and found is not None and says in found)


def test_code_that_changes_meanwhile_ends_the_race(session, pair):
    session.ratio = 1.025
    session.code = property(lambda worker: str(worker.started) * 64)
    with pytest.raises(MeasurementError, match="code of nearest changed during the race"):
        race(*pair, SMALL)


def test_a_network_races_itself_in_a_real_worker(describe):
    same = entry(describe("Nearest"))
    design = PairDesign(pairs_per_process=15, self_pairs_per_process=15, max_pairs=30)
    record = race(same, same, SMALL, design)
    assert record.candidate == record.baseline
    assert record.candidate.code_sha256 is not None
    assert record.environment.threads == 1
    # How it ends depends on what else this machine does; that it was timed does not.
    assert 15 < record.timed_pairs <= 30
    assert len(record.processes) == 2
    for process in record.processes:
        for batch in process.batches:
            assert len(batch.pairs) == len(batch.self_pairs)
            assert all(seconds > 0 for pair in batch.pairs for seconds in pair)


@pytest.mark.slow
def test_twice_the_work_is_found_slower_if_anything(describe):
    many, one = describe("Convolutions", options={"count": 8}), describe("Convolutions")
    record = race(entry(many), entry(one), SMALL, PairDesign(max_pairs=20))
    assert record.verdict in {"slower", "inconclusive"}
    pairs = [pair for process in record.processes for b in process.batches for pair in b.pairs]
    ratios = sorted(candidate / baseline for candidate, baseline in pairs)
    assert ratios[len(ratios) // 2] > 1.5


@pytest.mark.parametrize(
    ("candidate", "baseline", "says"),
    [
        ("FailsToBuild", "Nearest", "load-error: candidate failstobuild: .*no room for x4"),
        ("Nearest", "NanOutput", "invalid-output: baseline nanoutput"),
        ("Nearest", "Exits", "crash: baseline exits: the worker exited with code 0"),
        ("RaisesLater", "Nearest", "forward-error: candidate raiseslater: .*enough is enough"),
        ("Nearest", "RaisesLater", "forward-error: baseline raiseslater: .*enough is enough"),
    ],
)
@pytest.mark.usefixtures("lasting_workers")
def test_a_failure_says_whose_it_is(describe, candidate, baseline, says):
    with pytest.raises(WorkerError, match=says):
        race(entry(describe(candidate)), entry(describe(baseline)), SMALL)


@pytest.fixture
def registry(describe):
    registry = Registry()
    registry.add(
        [describe("Nearest"), describe("Plain", scales=(2,), min_lr_size=20)], origin="tests"
    )
    return registry


def test_a_plan_resolves_both_and_lets_them_be_the_same(registry):
    ours, theirs = plan_race(registry, "nearest", "nearest", 4, weights={}, protocol=SMALL)
    assert ours == theirs
    assert ours.weights.path is None


@pytest.mark.parametrize(
    ("name", "scale", "says"),
    [
        ("nobody", 4, "no network is registered as 'nobody'"),
        ("plain", 4, "not defined at x4"),
        ("plain", 2, "plain needs LR images of 20x20 or more; the input is 16x16"),
    ],
)
def test_a_plan_refuses_before_anything_runs(registry, name, scale, says):
    with pytest.raises(UsageError, match=says):
        plan_race(registry, "nearest", name, scale, weights={}, protocol=SMALL)


def test_weights_that_are_not_there_are_refused(registry):
    with pytest.raises(WeightsError, match="no such weights file"):
        plan_race(
            registry, "nearest", "nearest", 4, weights={"nearest": "nowhere.pth"}, protocol=SMALL
        )

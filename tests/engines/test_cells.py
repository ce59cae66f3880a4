"""Suites whose cells are made by an engine; nodes are this process with another name."""

import errno
import os
import platform
from dataclasses import replace

import pytest

from esrbench.environment import describe_environment
from esrbench.errors import DataError, EsrbenchError, MeasurementError, RecordError, UsageError
from esrbench.files import Files
from esrbench.probes.telemetry import Monitor
from esrbench.records import Conditions
from esrbench.runs import plan_file
from esrbench.runs import suite as suite_of_runs
from esrbench.runs.cells import CellState
from esrbench.runs.events import SuiteEvents
from esrbench.runs.forecast import forecast
from esrbench.runs.suite import run_cell, run_suite
from esrbench.sandbox import tiers
from esrbench.sandbox.sandbox import Obstacle
from esrbench.worker.failure import WorkerError

NAMES = ("one", "three", "two")


class Nodes:
    """An engine that makes a cell at each poll, and says when one fails.

    Args:
        width: as of an engine.
        fails: for number of the try, from 1: what happens in place of the cell.
    """

    tries = 3
    pause = 0.0
    device_class = None

    def __init__(self, width=2, fails=None):
        self.width = width
        self.fails = fails or {}
        self.queue = []
        self.begun = []
        self.states = {}
        self.cancelled = []

    def submit(self, plan, cells):
        self.queue += [(plan, cell) for cell in cells]
        self.states.update((cell.id, CellState("waiting")) for cell in cells)

    def poll(self):
        if self.queue:
            plan, cell = self.queue.pop(0)
            self.begun.append(cell.id)
            said = ""
            try:
                if happens := self.fails.get(len(self.begun)):
                    happens(plan)
                run_cell(plan, cell.id)
            except EsrbenchError as error:
                said = error.message
            self.states[cell.id] = CellState("ended", "n1", said)
        return self.states

    def cancel(self, ids):
        self.cancelled += ids


def crash(_plan):
    raise MeasurementError("the node went away")


def test_an_engine_makes_what_a_suite_lacks_and_every_entry_meets_every_block(trio, store, workers):
    engine = Nodes()
    records = list(run_suite(trio(baseline="two", order_seed=3), store, engine=engine))
    assert sorted((each.entry.name, each.status) for each in records) == [(n, "ok") for n in NAMES]
    assert engine.begun == [*(f"untimed-{n:04}" for n in range(3)), "timed-0000", "timed-0001"]
    assert len(workers.networks()) == 3 * 3
    for record in records:
        assert {each.device for each in record.latency.replicates} == {platform.node()}
        assert record.latency.baseline is not None
    assert len({(each.latency.session, each.latency.variant_seed) for each in records}) == 1
    assert store.suites() == []
    assert not [*run_suite(trio(baseline="two", order_seed=3), store, resume=True, engine=Nodes())]
    assert workers.started == []


def test_a_cell_that_failed_is_made_again_and_named(trio, store, workers):
    engine, notices = Nodes(fails={2: crash, 4: crash}), []
    records = list(
        run_suite(trio(), store, engine=engine, events=SuiteEvents(on_notice=notices.append))
    )
    assert sorted(each.status for each in records) == ["ok"] * 3
    assert engine.begun.count("untimed-0001") == 3
    assert [notice.code for notice in notices] == ["cell-failed"] * 2
    assert "untimed-0001 ended on n1 and lacks 1 pass (try 1 of 3)" in notices[0].message
    assert notices[0].message.endswith("the node went away")
    assert len(workers.networks()) == 3 * 3


def test_it_is_said_once_why_cells_wait(trio, store):
    class Busy(Nodes):
        def poll(self):
            self.begun.append("poll")
            if len(self.begun) > 2:
                raise KeyboardInterrupt
            return dict.fromkeys(self.states, CellState("waiting", said="no node has a GPU"))

    notices = []
    with pytest.raises(KeyboardInterrupt):
        list(run_suite(trio(), store, engine=Busy(), events=SuiteEvents(on_notice=notices.append)))
    assert [(each.code, each.message) for each in notices] == [("cells-wait", "no node has a GPU")]


def test_a_suite_ends_without_a_cell_that_always_fails_and_can_be_resumed(trio, store, workers):
    fails = dict.fromkeys(range(4, 20), crash)
    records = list(run_suite(trio(), store, engine=Nodes(fails=fails)))
    assert [each.status for each in records] == ["interrupted"] * 3
    assert len(store.suites()) == 1
    workers.networks()
    told = forecast(trio(), store, resume=True, elsewhere=True)
    assert {(each.passes, each.done) for each in told} == {(2, 1)}
    resumed = list(run_suite(trio(), store, resume=True, engine=Nodes()))
    assert sorted(each.status for each in resumed) == ["ok"] * 3
    assert {each.run_id for each in resumed} == {each.run_id for each in records}
    # What was there is not made again.
    assert len(workers.networks()) == 3 * 2
    assert store.suites() == []
    assert not any(each.passes for each in forecast(trio(), store, resume=True, elsewhere=True))


def test_what_infrastructure_spoils_is_tried_elsewhere_and_then_said(trio, store, workers):
    workers.of = {"null": MeasurementError("no worker could be started")}
    records = list(run_suite(trio(processes=1), store, engine=Nodes()))
    assert [each.status for each in records] == ["infra-error"] * 3
    assert len(workers.networks()) == 3 + 3 * Nodes.tries
    # Two attempts beside the one that the record holds.
    assert all("made-again" in {n.code for n in each.notices} for each in records)


@pytest.fixture
def neighbour(monkeypatch):
    """Tells a number of other processes on the GPU from now on."""

    def computes(number):
        seen = Conditions(seconds=1.0, foreign_processes=number)
        monkeypatch.setattr(Monitor, "conditions", lambda *_, **__: seen)

    return computes


def test_a_block_beside_other_processes_on_the_gpu_is_made_again(trio, store, neighbour, workers):
    engine = Nodes(fails={4: lambda _: neighbour(1), 5: lambda _: neighbour(0)})
    records = list(run_suite(trio(), store, engine=engine))
    assert [each.status for each in records] == ["ok"] * 3
    assert engine.begun.count("timed-0000") == 2
    assert engine.begun.count("timed-0001") == 1
    assert all("made-again" in {n.code for n in each.notices} for each in records)
    workers.networks()


def test_where_it_always_has_company_a_run_is_busy_and_only_its_block_is_resumed(
    trio, store, neighbour, workers
):
    fails = {4: lambda _: neighbour(0), 5: lambda _: neighbour(2)}
    records = list(run_suite(trio(), store, engine=Nodes(fails=fails)))
    assert [each.status for each in records] == ["busy-machine"] * 3
    assert records[0].cause == "other processes computed on the GPU while it was timed: 2"
    assert all(each.measured("runtime_images") is None for each in records)
    workers.networks()
    neighbour(0)
    resumed = list(run_suite(trio(), store, resume=True, engine=Nodes()))
    assert [each.status for each in resumed] == ["ok"] * 3
    assert {each.run_id for each in resumed} == {each.run_id for each in records}
    assert len(workers.networks()) == 3


@pytest.fixture
def full(monkeypatch):
    """Has the next writes fail because the disk is full."""

    def fill(writes):
        def write(files, descriptor, content):
            if next(left, None) is not None:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real(files, descriptor, content)

        left = iter(range(writes))
        monkeypatch.setattr(Files, "write", write)

    real = Files.write
    return fill


def test_a_cell_on_a_full_disk_says_so_and_is_made_again(trio, store, workers, full):  # noqa: ARG001
    notices = []
    engine = Nodes(fails={2: lambda _: full(1)})
    records = list(
        run_suite(trio(), store, engine=engine, events=SuiteEvents(on_notice=notices.append))
    )
    assert sorted(each.status for each in records) == ["ok"] * 3
    (notice,) = notices
    assert "untimed-0001 ended on n1 and lacks 1 pass" in notice.message
    assert notice.message.endswith("No space left on device")


def test_a_submitter_on_a_full_disk_ends_with_its_name_and_goes_on_later(
    trio, store, workers, full
):
    # After the last pass only records are written.
    engine = Nodes(fails={5: lambda plan: run_cell(plan, "timed-0001") and full(10)})
    with pytest.raises(RecordError, match=r"runs/.*No space left on device"):
        list(run_suite(trio(), store, engine=engine))
    full(0)
    assert len(workers.networks()) == 3 * 3
    records = list(run_suite(trio(), store, resume=True, engine=Nodes()))
    assert sorted(each.status for each in records) == ["ok"] * 3
    assert workers.networks() == []


def test_a_machine_that_cannot_start_a_worker_is_named(trio, store, monkeypatch):
    def no_space(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    suite = trio()
    monkeypatch.setattr("esrbench.sandbox.sandbox.resolve_view", no_space)
    with pytest.raises(MeasurementError, match=r"no worker can be started .* No space left"):
        list(run_suite(suite, store))


def killed(signal="SIGKILL"):
    return WorkerError("crash", f"the worker was killed by {signal} during load", fatal=True)


@pytest.mark.parametrize("start", [1, 5], ids=["untimed", "timed"])
def test_a_pass_whose_worker_was_killed_is_made_once_more_and_said(trio, store, workers, start):
    workers.at = {start: killed()}
    records = list(run_suite(trio(processes=1), store, engine=Nodes()))
    assert [each.status for each in records] == ["ok"] * 3
    assert len(workers.networks()) == 3 * 2 + 1
    told = [n for each in records for n in each.notices if n.code == "made-again"]
    assert [notice.message[:14] for notice in told] == ["1 further pass"]


@pytest.mark.parametrize(("signal", "starts"), [("SIGKILL", 3), ("SIGSEGV", 1)])
def test_what_is_killed_three_times_or_kills_itself_by_a_fault_has_failed(
    trio, store, workers, signal, starts
):
    workers.of = {"one": killed(signal)}
    records = {each.entry.name: each for each in run_suite(trio(processes=1), store)}
    assert records["one"].status == "crash"
    assert workers.networks().count("one") == starts
    assert records["two"].status == "ok"


def test_a_pass_that_was_made_while_its_process_waited_is_not_made_again(
    trio, store, workers, monkeypatch
):
    plans = []
    real = suite_of_runs.Maker.alone

    def alone(maker, planned):
        """Another process has the device, and makes the same cell meanwhile."""
        monkeypatch.setattr(suite_of_runs.Maker, "alone", real)
        run_cell(plans[0], "untimed-0000")
        return real(maker, planned)

    def begin(plan):
        plans.append(plan)
        monkeypatch.setattr(suite_of_runs.Maker, "alone", alone)

    records = list(run_suite(trio(processes=1), store, engine=Nodes(fails={1: begin})))
    assert [each.status for each in records] == ["ok"] * 3
    assert len(workers.networks()) == 3 * 2
    assert not [n for each in records for n in each.notices if n.code == "made-again"]


def test_a_failed_entry_keeps_no_cell_open(trio, store, workers):
    workers.of = {"one": WorkerError("load-error", "no such layer", fatal=False)}
    records = {each.entry.name: each.status for each in run_suite(trio(), store, engine=Nodes())}
    assert records == {"one": "load-error", "two": "ok", "three": "ok"}


def test_another_submitter_goes_on_wherever_it_is(trio, store, workers, monkeypatch):
    records = run_suite(trio(), store, engine=Nodes(fails={5: lambda _: interrupt()}))
    with pytest.raises(KeyboardInterrupt):
        list(records)
    made = len(workers.networks())
    monkeypatch.setattr("esrbench.environment.cpu_name", lambda: "another login node")
    engine = Nodes()
    resumed = list(run_suite(trio(), store, resume=True, engine=engine))
    assert sorted(each.status for each in resumed) == ["ok"] * 3
    assert made + len(workers.networks()) == 3 * 3
    assert engine.begun == ["timed-0001"]


def interrupt():
    raise KeyboardInterrupt


def test_cells_are_cancelled_with_their_submitter(trio, store, workers):  # noqa: ARG001
    engine = Nodes(fails={2: lambda _: interrupt()})
    with pytest.raises(KeyboardInterrupt):
        list(run_suite(trio(), store, engine=engine))
    assert set(engine.cancelled) >= {"untimed-0001", "untimed-0002"}


def test_cells_on_another_class_of_devices_end_and_say_so(trio, store, workers):
    engine, notices = Nodes(), []
    engine.device_class = "Another Processor"
    assert (
        list(run_suite(trio(), store, engine=engine, events=SuiteEvents(on_notice=notices.append)))
        == []
    )
    assert len(notices) == 5 * Nodes.tries
    here = describe_environment(threads=1, accelerator=None).cpu
    assert notices[0].message.endswith(f": this node has {here}, expected Another Processor")
    assert workers.started == []
    engine = Nodes()
    engine.device_class = here
    records = run_suite(trio(), store, resume=True, engine=engine)
    assert sorted(each.status for each in records) == ["ok"] * 3


def test_a_node_with_other_software_or_images_or_no_such_cell_says_so(
    trio, store, workers, monkeypatch
):
    plans = []
    fails = {1: lambda plan: plans.append(plan) or interrupt()}
    with pytest.raises(KeyboardInterrupt):
        list(run_suite(trio(), store, engine=Nodes(fails=fails)))
    (plan,) = plans
    with pytest.raises(UsageError, match="this plan has no cell timed-0009"):
        run_cell(plan, "timed-0009")
    with pytest.raises(MeasurementError, match="timed-0001: 3 passes cannot be made before others"):
        run_cell(plan, "timed-0001")
    real = plan_file.read_plan(plan)
    other = {**real.packages, "torch": "1.0"}
    with monkeypatch.context() as patch:
        patch.setattr(
            "esrbench.runs.suite.read_plan", lambda _: real.model_copy(update={"packages": other})
        )
        with pytest.raises(MeasurementError, match=r"this node has torch .*, expected 1\.0"):
            run_cell(plan, "untimed-0000")
    with monkeypatch.context() as patch:
        patch.setattr("esrbench.runs.plan_file.check", lambda _: "0" * 64)
        with pytest.raises(DataError, match="this node sees other images"):
            run_cell(plan, "untimed-0000")
    assert workers.networks() == []
    with pytest.raises(DataError, match="not readable: No such file"):
        run_cell(plan.with_name("none.json"), "untimed-0000")
    assert run_cell(plan, "untimed-0000") == 1
    assert run_cell(plan, "untimed-0000") == 0


def test_cells_of_a_node_without_bubblewrap_go_elsewhere(trio, store, workers, monkeypatch):
    here, notices = tiers.obstacle, []
    missing = Obstacle("bubblewrap is not installed", "Install it.")
    fails = {
        2: lambda _: monkeypatch.setattr(tiers, "obstacle", lambda _: missing),
        3: lambda _: monkeypatch.setattr(tiers, "obstacle", here),  # another node
    }
    records = list(
        run_suite(
            trio(), store, engine=Nodes(fails=fails), events=SuiteEvents(on_notice=notices.append)
        )
    )
    assert [each.status for each in records] == ["ok"] * 3
    (notice,) = notices
    assert "untimed-0001 ended on n1 and lacks 1 pass (try 1 of 3): --isolation" in notice.message
    assert notice.message.endswith("does not work here: bubblewrap is not installed")
    assert len(workers.networks()) == 3 * 3


def test_a_plan_says_the_same_on_every_machine(trio, store, workers, monkeypatch):  # noqa: ARG001
    digests = []
    for cpu in ("one", "another"):
        monkeypatch.setattr("esrbench.environment.cpu_name", lambda cpu=cpu: cpu)
        engine = Nodes(fails={1: lambda plan: digests.append(plan.stem) or interrupt()})
        with pytest.raises(KeyboardInterrupt):
            list(run_suite(replace(trio()), store, engine=engine))
    assert digests[0] == digests[1]

"""What an onlooker reads from the folder of a suite that others make."""

import platform
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from builders import shown

from esrbench.reports.status import status_table
from esrbench.runs.events import SuiteEvents
from esrbench.runs.passes import INTERRUPTED, CellReport, PassFolder
from esrbench.runs.status import DIED, DeviceProgress, Onlooker
from esrbench.runs.suite import run_suite
from esrbench.worker.failure import WorkerError


class CutError(Exception):
    """Ends a suite."""


def begin(suite, store, passes, **fields):
    """Make a suite until so many of its passes are there."""

    def until(progress):
        if progress.passes[0] == passes:
            raise CutError

    with pytest.raises(CutError):
        list(run_suite(suite, store, events=SuiteEvents(on_progress=until), **fields))
    (name,) = store.suites()
    return PassFolder.open(store, name, print)


def report(folder, cell, **fields):
    (plan,) = (name for name in folder.names() if name.startswith("plan-"))
    folder.put_report(CellReport(plan=plan, cell=cell, created=datetime.now(UTC), **fields))


@pytest.mark.usefixtures("workers")
def test_an_onlooker_sees_what_the_run_tells(trio, store):
    onlooker, seen = Onlooker(store), []

    def look(told):
        (status,) = onlooker.look()
        assert replace(told, entry="") == status.progress
        assert status.in_use
        seen.append(status)

    list(run_suite(trio(), store, events=SuiteEvents(on_progress=look)))
    assert len(seen) == 9
    (machine,) = seen[5].machines
    newest = machine.newest
    assert abs((datetime.now(UTC) - newest).total_seconds()) < 3600
    here = platform.node()
    assert machine == DeviceProgress(here, "cpu", 2, ("timed-0000",), passes=5, newest=newest)
    assert Onlooker(store).look() == onlooker.look() == []


def test_passes_that_are_read_once_are_not_read_again(trio, store, workers, monkeypatch):  # noqa: ARG001
    begin(trio(), store, 5)
    onlooker = Onlooker(store)
    before = onlooker.look()
    monkeypatch.setattr(store, "load_pass", None)
    assert onlooker.look() == before


@pytest.mark.usefixtures("workers")
def test_machines_are_told_apart_by_who_makes_a_cell(trio, store):
    folder = begin(trio(), store, 4)
    running = CellReport(
        plan=next(name for name in folder.names() if name.startswith("plan-")),
        cell="timed-0001",
        session="other",
        machine="n2",
        device="cuda:1",
        created=datetime.now(UTC),
    )
    with folder.at_work(running):
        (status,) = Onlooker(store).look()
    assert status.progress.cells == {
        "untimed-0000": "done",
        "timed-0000": "failed",
        "timed-0001": "running",
    }
    assert (status.machines[0].name, status.machines[0].device) == ("n2", "cuda:1")
    assert status.machines[0].running == ("timed-0001",)
    assert [each.passes for each in status.machines] == [0, 4]
    # Nobody works on the cell that was cut short.
    assert [(each.names, each.why) for each in status.failures] == [(("timed-0000",), DIED)]
    assert not status.in_use
    (status,) = Onlooker(store).look()
    assert status.progress.cells["timed-0001"] == "failed"


@pytest.mark.usefixtures("workers")
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_a_cell_that_was_interrupted_did_not_fail_without_a_message(trio, store, error):
    def until(progress):
        if progress.passes[0] == 4:
            raise error

    with pytest.raises(error):
        list(run_suite(trio(), store, events=SuiteEvents(on_progress=until)))
    (status,) = Onlooker(store).look()
    assert [(each.names, each.why) for each in status.failures] == [(("timed-0000",), INTERRUPTED)]
    (machine,) = status.machines
    assert machine.cells == 2
    text = shown(status_table([status], {}, ""))
    assert f"Cell timed-0000 was interrupted on {platform.node()}." in text
    assert "1 interrupted" in status.progress.describe()
    assert "failed" not in text + status.progress.describe()


@pytest.mark.usefixtures("workers")
def test_failures_of_a_node_stand_together_also_those_that_were_mended(trio, store):
    folder = begin(trio(), store, 4)
    for cell in ("untimed-0000", "timed-0001", "timed-0001"):
        report(folder, cell, machine="n1", said="this node has torch 2.9, expected 2.10")
    report(folder, "untimed-0000", machine="n2", said="no disk")
    (status,) = Onlooker(store).look()
    found = {(each.where, each.names, each.done) for each in status.failures}
    assert found == {
        ("n1", ("untimed-0000", "timed-0001", "timed-0001"), False),
        ("n2", ("untimed-0000",), True),
        (platform.node(), ("timed-0000",), False),
    }


def test_entries_that_failed_are_named_once_with_the_reason(trio, store, workers):
    workers.of = {"two": WorkerError("load-error", "no such key", fatal=True)}
    begin(trio(), store, 5)
    (status,) = Onlooker(store).look()
    (failure, _) = status.failures
    assert (failure.kind, failure.names) == ("entry", ("two",))
    assert failure.why.startswith("load-error: ")
    assert "no such key" in failure.why
    assert status.progress.entries == (1, 3)


@pytest.mark.usefixtures("workers")
def test_a_resumed_suite_is_told_by_its_newest_plan(trio, store):
    begin(trio(), store, 4)

    class Wide:
        width, tries, pause, device_class = 2, 1, 0.0, None

        def submit(self, *_):
            raise CutError

        def cancel(self, _):
            pass

    with pytest.raises(CutError):
        list(run_suite(trio(), store, engine=Wide(), resume=True))
    names = Onlooker(store).look()[0].progress.cells
    assert list(names) == [*(f"untimed-000{n}" for n in range(3)), "timed-0000", "timed-0001"]

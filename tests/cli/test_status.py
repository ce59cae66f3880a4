"""``esrbench status``: how far a suite is."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from esrbench.cli import status
from esrbench.protocol import Protocol
from esrbench.records import DataIdentity
from esrbench.reports.table import MISSING
from esrbench.runs.cells import Cell
from esrbench.runs.passes import CellReport, PassFolder
from esrbench.runs.plan_file import PlanFile, PlannedData
from esrbench.runs.status import DeviceProgress, Onlooker
from esrbench.runs.store import Store

FILE = """title = "Small ESR"
entries = ["bicubic"]
rule = "ntire2024"
results = "kept"
[[data]]
name = "demo"
"""


@pytest.fixture
def folder(work):
    """A suite of two entries of which nothing is made yet, in the folder of a challenge."""
    (work / "challenge.toml").write_text(FILE)
    folder = PassFolder.begin("a" * 64, Store(work / "kept"), (), print)
    plan = PlanFile(
        harness="0" * 64,
        packages={},
        tier="process",
        protocol=Protocol(),
        precisions={},
        baseline=None,
        order_seed=0,
        sr_folder=None,
        entry_seconds=1.0,
        timeout_seconds=1.0,
        entries=(),
        data=PlannedData(
            identity=DataIdentity(name="demo", title="Demo", scale=4, images=1, digest="0" * 64),
            modcrop=False,
            images=(),
            fingerprints={"one": "1" * 64, "two": "2" * 64},
        ),
        cells=(
            Cell(id="untimed-0000", entries=("one", "two")),
            Cell(id="timed-0000", entries=("one", "two"), replicate=0),
        ),
    )
    folder.put_plan(plan.name, plan)
    now = datetime.now(UTC)
    known = {"plan": plan.name, "cell": "untimed-0000", "created": now}
    folder.put_report(CellReport(**known, session="s", machine="n1", device="cuda:0"))
    folder.put_report(CellReport(**known, machine="n1", said="no such sandbox \x1b[31m ::error::"))
    return folder


@pytest.mark.usefixtures("folder")
def test_a_suite_is_shown_with_its_machines_and_failures(in_process):
    told = in_process("status", "challenge.toml", code=0).stdout
    assert told.startswith("Small ESR\nDemo: passes 0 of 4, entries 0 of 2, cells 0 of 2 (1 failed")
    assert "No machine works on it" in told
    assert re.search(rf"n1 +cuda:0 +{MISSING} +1 +0 +{MISSING}", told)
    assert "Cell untimed-0000 failed on n1: no such sandbox" in told
    assert "\x1b" not in told
    assert "::error" not in told
    (suite,) = json.loads(in_process("status", "challenge.toml", "--json", code=0).stdout)["suites"]
    assert suite["progress"]["cells"] == {"failed": 1, "waiting": 1}
    assert suite["machines"][0]["name"] == "n1"
    assert suite["failures"][0]["names"] == ["untimed-0000"]


def test_later_runs_are_told_beside_a_suite_that_was_interrupted(
    in_process, folder, make_record, monkeypatch
):
    began = datetime(2031, 1, 1, tzinfo=UTC)
    (interrupted,) = Onlooker(folder.store).look()
    machine = DeviceProgress("n1", "cpu", 1, (), passes=1, newest=began)
    seen = [replace(interrupted, machines=(machine,))]
    monkeypatch.setattr(Onlooker, "look", lambda _: seen)
    folder.store.put(make_record("before", {}, created=began - timedelta(hours=1)))
    told = in_process("status", "challenge.toml", code=0).stdout
    assert "No machine works on it" in told
    assert "later suites" not in told
    folder.store.put(make_record("after", {}, created=began + timedelta(hours=1)))
    told = in_process("status", "challenge.toml", code=0).stdout
    assert "Runs of later suites, which ended: 1 ok." in told


def test_watching_ends_with_the_suite(in_process, folder, monkeypatch):
    looks = []

    def sleep(_):
        looks.append(len(looks))
        if len(looks) == 2:
            folder.end()

    monkeypatch.setattr(status.time, "sleep", sleep)
    with folder.store.working_on(folder.name):
        told = in_process("status", "--results", "kept", "--watch", code=0).stdout
    assert told.count("Demo: passes 0 of 4") == 2
    assert told.endswith("No suite is under way, and there are no records.\n")


def test_records_are_counted_where_no_suite_is_under_way(in_process, work, make_record):
    store = Store(work / "results")
    for name, status_ in (("one", "ok"), ("two", "ok"), ("three", "crash")):
        store.put(make_record(name, {"params": 1.0}, status=status_))
    told = in_process("status", code=0).stdout
    assert told == "No suite is under way. Records: 2 ok, 1 crash.\n"
    assert json.loads(in_process("status", "--json", code=0).stdout) == {
        "suites": [],
        "records": {"ok": 2, "crash": 1},
    }


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("nowhere.toml",), "nowhere.toml: No such file"),
        (("--watch", "--json"), "--watch shows one table after the other"),
        (("--watch", "--format", "csv"), "--watch shows one table after the other"),
    ],
)
def test_what_cannot_be_shown_is_refused(in_process, arguments, says):
    assert says in in_process("status", *arguments, code=2).stderr

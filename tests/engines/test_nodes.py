"""Late, slow and failing nodes of Slurm: named, their cells go elsewhere, and the suite ends."""

import subprocess
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
import small_slurm

from esrbench.engines.opening import parse_settings
from esrbench.runs.cells import CellState
from esrbench.runs.store import Store

SCRIPT = Path(__file__).with_name("killed_engine.py")
ENTRIES, ROUNDS = 6, 2
ALL_DOWN = "Nodes required for job are DOWN"
DOWN = "cells-wait: cells wait because these nodes of Slurm are down: "


class SmallSlurm(SimpleNamespace):
    """A cluster: ``variables`` under which its commands work, and its ``nodes``, n1 and n2."""

    def ask(self, *command):
        given = {"env": self.variables, "capture_output": True, "text": True}
        return subprocess.run(command, check=True, timeout=60, **given).stdout

    def stop(self, number):
        """Take a node away, and have Slurm know."""
        self.nodes[number].kill()
        self.nodes[number].wait()
        name = f"nodename=n{number + 1}"
        self.ask("scontrol", "update", name, "state=down", "reason=late")

    def end(self):
        """Kill the daemons of all nodes, also of those that came later."""
        for node in self.nodes:
            node.kill()
            node.wait()

    def begin(self, number):
        """Start a node that was away."""
        self.nodes[number] = small_slurm.start(self.nodes[number].args, self.variables)


@pytest.fixture
def cluster(tmp_path):
    if why := small_slurm.obstacle():
        pytest.skip(why)
    with ExitStack() as running:
        folder = tmp_path / "cluster"
        folder.mkdir()
        try:
            variables, nodes = running.enter_context(small_slurm.small_slurm(folder))
        except TimeoutError as error:
            pytest.skip(str(error))
        found = SmallSlurm(variables=variables, nodes=nodes)
        running.callback(found.end)
        yield found


@contextmanager
def suite(cluster, pairs, results, *options, **search):
    """A suite of six entries that is being made; what it says, line by line."""
    command = [sys.executable, SCRIPT, "submitter", pairs, results, "slurm", *options]
    search |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(SCRIPT.parents[1])}
    search["XDG_RUNTIME_DIR"] = str(results.parent)  # others may measure on this machine meanwhile
    variables = {**cluster.variables, **search}
    with subprocess.Popen(command, env=variables, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def lines_until(words, process):
    """The next lines, until all of these words were said in any order."""
    said, left = [], set(words)
    for line in process.stderr:
        said.append(line)
        left = {each for each in left if each not in line}
        if not left:
            return said
    raise AssertionError("".join(said))


def line_with(words, process):
    """The next line that says so."""
    return lines_until({words}, process)[-1]


def every_pass_is_there_once(results):
    records, notices = Store(results).load()
    assert notices == []
    assert sorted(each.entry.name for each in records) == [f"net{n}" for n in range(ENTRIES)]
    for record in records:
        assert record.status == "ok", record.cause
        assert [each.index for each in record.latency.replicates] == [*range(ROUNDS)]
    log = results.with_suffix(".log").read_text().splitlines()
    passes = [line for line in log if ".untimed" in line or ".timed-" in line]
    assert len(passes) == len(set(passes)) == ENTRIES * (1 + ROUNDS)
    assert all(line.startswith("first ") for line in passes)
    assert Store(results).suites() == []


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_cells_wait_for_late_nodes_and_need_no_more_than_one(cluster, pair_folder, tmp_path):
    results = tmp_path / "results"
    for number in range(2):
        cluster.stop(number)
    with suite(cluster, pair_folder, results) as process:
        assert line_with(DOWN, process) == f"{DOWN}n[1-2]\n"
        assert not list(results.glob("passes/*/*.untimed.json"))
        cluster.begin(1)
        _, said = process.communicate(timeout=300)
    assert (process.returncode, said) == (0, "")
    every_pass_is_there_once(results)
    assert "down" in cluster.ask("sinfo", "--noheader", "--nodes=n1", "--format=%T")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_cells_of_a_node_that_never_comes_are_made_by_another_one(cluster, pair_folder, tmp_path):
    results = tmp_path / "results"
    cluster.stop(0)
    with suite(cluster, pair_folder, results) as process:
        _, said = process.communicate(timeout=300)
    assert (process.returncode, said) == (0, "")
    every_pass_is_there_once(results)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_failing_node_is_left_for_a_late_one_that_is_named(cluster, pair_folder, tmp_path):
    results = tmp_path / "results"
    cluster.stop(0)
    with suite(cluster, pair_folder, results, BAD_NODES="n2") as process:
        # Cells wait for n1, and n2 tries again though it failed twice, in either order.
        said = lines_until({DOWN, "(try 3 of 100): no space left on device"}, process)
        assert f"{DOWN}n1\n" in said
        failed = next(line for line in said if "cell-failed" in line)
        assert "ended on n2 and lacks 1 pass (try 1 of 100): no space left on device" in failed
        cluster.begin(0)
        process.communicate(timeout=300)
    assert process.returncode == 0
    every_pass_is_there_once(results)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_cells_of_a_slow_node_go_elsewhere(cluster, pair_folder, tmp_path):
    results = tmp_path / "results"
    with suite(cluster, pair_folder, results, "minutes=1", SLOW_NODES="n1") as process:
        small_slurm.wait_for(lambda: running_on(cluster, "n1"), "A job")
        # Slurm's own limit of time waits with it.
        cluster.ask("scontrol", "suspend", running_on(cluster, "n1"))
        failed = line_with("not at its end after 1 minutes", process)
        process.communicate(timeout=300)
    assert " ended on n1 and lacks 1 pass (try 1 of 100): " in failed
    assert process.returncode == 0
    every_pass_is_there_once(results)


def running_on(cluster, node):
    """A job that runs there, or nothing."""
    text = cluster.ask("squeue", "--noheader", "--states=running", f"--nodelist={node}", "-o%A")
    return text.strip()


@pytest.fixture
def slurm_engine(monkeypatch):
    """Begin an engine with two jobs of a Slurm that says what is in a list; what it is asked."""
    module = pytest.importorskip("esrbench.engines.slurm")

    def begin(*options, said):
        asked = []

        def slurm(*command):
            asked.append(command)
            return said.get(command[0], "")

        monkeypatch.setattr(module, "_slurm", slurm)
        engine = module.SlurmEngine(parse_settings("slurm", options))
        for number in range(2):
            engine._jobs[f"untimed-{number}"] = SimpleNamespace(
                job_id=f"7_{number}", stderr=lambda: ""
            )
            engine._states[f"untimed-{number}"] = CellState("waiting")
        return engine, asked

    return begin


@pytest.mark.parametrize(
    ("reason", "lacks"),
    [
        ("Priority", ""),
        ("Resources", ""),
        ("ReqNodeNotAvail, Reserved for maintenance", ""),
        ("ReqNodeNotAvail, UnavailableNodes:n[1-2]", "n[1-2]"),
        (f"{ALL_DOWN}, DRAINED or reserved for jobs in higher priority partitions", "n1,n4"),
    ],
)
def test_nodes_that_are_down_are_named_where_cells_wait_for_them(slurm_engine, reason, lacks):
    said = {"squeue": f"7_0|PENDING||{reason}\n7_1|PENDING||{reason}\n", "sinfo": "n4\nn1\nn4\n"}
    engine, asked = slurm_engine("partition=gpu", said=said)
    said = lacks and f"cells wait because these nodes of Slurm are down: {lacks}"
    assert set(engine.poll().values()) == {CellState("waiting", said=said)}
    others = [command for command in asked if command[0] != "squeue"]
    assert all(command[0] == "sinfo" and command[-1] == "--partition=gpu" for command in others)
    assert len(others) == reason.startswith(ALL_DOWN)  # once for all jobs


def test_jobs_of_higher_partitions_are_no_nodes_that_are_down(slurm_engine):
    said = {"squeue": f"7_0|PENDING||{ALL_DOWN}, DRAINED or reserved\n", "sinfo": ""}
    engine, _ = slurm_engine(said=said)
    assert engine.poll()["untimed-0"] == CellState("waiting")


def test_a_node_on_which_a_cell_ran_out_of_time_is_left_at_once(slurm_engine, monkeypatch):
    module = sys.modules["esrbench.engines.slurm"]
    now = 1000.0
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now))
    said = {"squeue": "7_0|SUSPENDED|n1|None\n7_1|TIMEOUT|n2|TimeLimit\n"}
    engine, asked = slurm_engine("minutes=2", said=said)
    assert engine.poll() == {
        "untimed-0": CellState("running", "n1"),
        "untimed-1": CellState("ended", "n2", "TIMEOUT"),
    }
    # One that waits again, as its node did not answer, has all of its time again.
    said["squeue"] = "7_0|PENDING||BeginTime\n"
    engine.poll()
    said["squeue"] = "7_0|RUNNING|n1|None\n"
    now += 1000
    engine.poll()
    now += 120 + module.LATE_SECONDS
    assert engine.poll()["untimed-0"].state == "running"
    now += 1
    late = CellState("ended", "n1", "not at its end after 2 minutes")
    assert engine.poll()["untimed-0"] == late
    assert asked[-1] == ("scancel", "7_0")
    assert engine.poll()["untimed-0"] == late
    # A submission of the cells counts the failures that ended them.
    engine._failures.update(["n1", "n2"])
    assert engine._parameters()["exclude"] == "n1,n2"


def test_failed_nodes_of_slurm_try_again_where_the_others_are_down(slurm_engine):
    said = {"squeue": "7_0|PENDING||ReqNodeNotAvail, UnavailableNodes:n1\n7_1|RUNNING|n2|None\n"}
    engine, asked = slurm_engine(said=said)
    engine._failures.update(["n2", "n2"])
    for _ in range(2):
        engine.poll()
    others = [command for command in asked if command[0] != "squeue"]
    assert others == [("scontrol", "update", "JobId=7_0", "ExcNodeList=")]
    assert "exclude" not in engine._parameters()

"""Suites that are killed again and again: nothing is lost, and nothing is done twice."""

import json
import math
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from builders import run

from esrbench.runs.store import Store

SCRIPT = Path(__file__).with_name("killed_suite.py")


def end_in_a_loop(pairs, results, *arguments):
    search = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(SCRIPT.parents[1])}
    return json.loads(run(sys.executable, SCRIPT, pairs, results, *arguments, **search).stdout)


@pytest.mark.parametrize(
    ("most", "least"), [(2, 1), pytest.param(12, 3, marks=pytest.mark.slow)], ids=["twice", "loop"]
)
def test_kill_9_loses_no_run_and_makes_none_twice(pair_folder, tmp_path, most, least):
    said = end_in_a_loop(pair_folder, tmp_path / "results", "7", str(most))
    kills = len(said["ends"]) - 1
    assert kills >= least
    assert said["ends"] == [[signal.SIGKILL, 0]] * kills + [[0, 0]]
    store = Store(tmp_path / "results")
    records, notices = store.load()
    assert notices == []
    assert sorted(record.entry.name for record in records) == [f"net{n:02}" for n in range(12)]
    assert {record.status for record in records} == {"ok"}
    log = Counter(said["log"])
    others = ("start", "part plan-", "part cell-")
    safe = {line: times for line, times in log.items() if not line.startswith(others)}
    # An entry has an untimed pass, two timed ones and a record, the suite one beginning. A kill
    # between a file's end and the line that says so leaves no line.
    assert set(safe.values()) == {1}
    assert 12 * (1 + 2 + 1) + 1 - kills <= len(safe) <= 12 * (1 + 2 + 1) + 1
    # What was under way when it was killed is all that had to be done again.
    starts = sum(log[f"start {record.entry.name}"] for record in records)
    assert 12 * 3 <= starts <= 12 * 3 + kills
    latencies = [record.latency for record in records]
    assert len({(each.session, each.variant_seed, each.entries) for each in latencies}) == 1
    for index in range(2):
        rounds = [each.replicates[index] for each in latencies]
        assert [each.index for each in rounds] == [index] * 12
        assert sorted(each.position for each in rounds) == list(range(12))
    for each in latencies:
        assert None not in each.baseline.images_seconds
    assert list(store.passes.iterdir()) == []
    # What a kill left of a record goes when no writer can need it any more.
    store.remove_stale(math.inf)
    assert not list(store.folder.rglob("*.tmp"))


@pytest.mark.slow
def test_a_signal_at_any_time_keeps_what_was_measured_and_tells_itself_by_the_exit_code(
    pair_folder, tmp_path
):
    names = ("SIGINT", "SIGTERM", "SIGHUP")
    said = end_in_a_loop(pair_folder, tmp_path / "results", "3", "12", *names)
    ends = [tuple(end) for end in said["ends"]]
    # A signal that comes before the command knows what to do with it ends it in its own way.
    assert ends.pop()[0] == 0
    codes = {code for killed_by, code in ends if not killed_by}
    assert codes <= {130, 143, 129}
    assert len(codes) >= 2
    records, notices = Store(tmp_path / "results").load()
    assert notices == []
    # A run that met a busy machine was repeated, and has a record each time.
    assert {record.entry.name for record in records} == {"aidn", "bicubic", "imdn", "rfdn"}
    repeated = len(records) - 4
    assert repeated <= sum(record.status == "busy-machine" for record in records)
    assert not any(record.status == "interrupted" for record in records)
    starts = Counter(said["log"])
    entries = {record.entry.name for record in records}
    done = sum(starts[f"start {name}"] for name in entries) - 5 * repeated
    # One untimed process of each, two timed ones, and one after each of these for its windows.
    assert done <= 4 * 5 + 2 * len(ends)


def workers_of(process):
    yield from Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()


@pytest.mark.slow
def test_a_real_run_that_is_killed_goes_on_where_it_was(pair_folder, tmp_path):
    results = tmp_path / "results"
    command = [
        *(Path(sys.executable).with_name("esrbench"), "run", "bicubic", "srcnn"),
        *("--data", pair_folder, "--results", results, "--resume", "--threads", "1"),
        *("--input-size", "16x16", "--rounds", "2", "--min-rounds", "2", "--processes", "2"),
    ]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, **quiet) as process:
        deadline = time.monotonic() + 120
        while not list(results.glob("passes/*/*.timed-*.json")):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        workers = list(workers_of(process))
        process.kill()
    kept = {path.name: path.read_bytes() for path in results.glob("passes/*/*.timed-*.json")}
    assert kept
    deadline = time.monotonic() + 60
    while any(Path(f"/proc/{worker}").exists() for worker in workers):
        assert time.monotonic() < deadline, "a worker outlived the run"
        time.sleep(0.1)
    done = run(*command, code=None)
    assert done.returncode in {0, 4}, done.stderr
    records, notices = Store(results).load()
    assert notices == []
    assert sorted(record.entry.name for record in records) == ["bicubic", "srcnn"]
    for record in records:
        assert len(record.latency.replicates) == 2
    started = {
        replicate.started.isoformat()
        for record in records
        for replicate in record.latency.replicates
    }
    for content in kept.values():
        replicate = json.loads(content)["found"]["replicate"]
        assert replicate["started"].replace("Z", "+00:00") in started
    assert any(notice.code == "resumed" for record in records for notice in record.notices)
    again = run(*command, code=None)
    # Those that met a busy machine are measured again.
    busy = sum(record.status == "busy-machine" for record in records)
    assert f"{busy} new record" in again.stderr
    assert again.stderr.count("measured before") == 2 - busy

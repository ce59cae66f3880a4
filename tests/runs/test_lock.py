"""Processes that measure on one device, one after the other."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from esrbench.runs.lock import device_lock

HOLD = """
import sys
from esrbench.runs.lock import device_lock
with device_lock("cpu"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def locks(tmp_path, monkeypatch):
    """Where this test's locks lie."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path / f"esrbench-{os.getuid()}"


@pytest.fixture
def other(locks):  # noqa: ARG001
    """A process that measures on the CPUs."""
    command = [sys.executable, "-c", HOLD]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_process_waits_and_is_told_for_whom_until_the_first_ends(other):
    told = []

    def on_wait(who):
        told.append(who)
        other.kill()

    with device_lock("cpu", on_wait=on_wait):
        assert other.poll() is not None or other.wait() < 0
    (who,) = told
    assert who.startswith(f"process {other.pid}, which has measured since 2")


def test_devices_are_measured_on_at_the_same_time(other, locks, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    with device_lock("cuda", 0, on_wait=pytest.fail), device_lock("cuda", 1, on_wait=pytest.fail):
        assert sorted(path.name for path in locks.iterdir()) == [
            "cpu.lock",
            "cuda-0-7.lock",
            "cuda-1-7.lock",
        ]
    assert other.poll() is None
    assert json.loads((locks / "cuda-1-7.lock").read_text())["process"] == os.getpid()


def test_without_a_place_for_locks_one_measures_all_the_same(monkeypatch):
    monkeypatch.setattr("esrbench.runs.lock._folder", lambda: Path("/proc/none"))
    with device_lock("cpu", on_wait=pytest.fail):
        pass

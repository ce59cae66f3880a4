import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from esrbench.processes import cpu_seconds, family

needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").is_file(), reason="no /proc here")
TICK = 1 / os.sysconf("SC_CLK_TCK")


def put(proc, pid, parent, *, ticks=(0, 0), threads=(0,), name="python"):
    """One process as proc(5) tells it: user and system ticks, and nanoseconds of each thread."""
    folder = proc / str(pid)
    folder.mkdir(parents=True)
    between = " ".join("0" for _ in range(9))
    stat = f"{pid} ({name}) S {parent} {between} {ticks[0]} {ticks[1]} 99 99 20 0\n"
    (folder / "stat").write_text(stat)
    if threads is not None:
        for number, nanoseconds in enumerate(threads):
            task = folder / "task" / str(pid + number)
            task.mkdir(parents=True)
            (task / "schedstat").write_text(f"{nanoseconds} 5 7\n")


def test_a_family_holds_all_descendants_and_nobody_else(tmp_path):
    # A parent may have a higher number than its child.
    for pid, parent in ((1, 0), (50, 1), (60, 50), (40, 60), (70, 40), (80, 1)):
        put(tmp_path, pid, parent)
    (tmp_path / "sys").mkdir()
    assert family(50, proc=tmp_path) == (40, 50, 60, 70)
    assert family(80, proc=tmp_path) == (80,)
    assert family(99, proc=tmp_path) == ()
    assert family(1, proc=tmp_path / "nowhere") == ()


def test_a_name_may_hold_brackets_and_numbers(tmp_path):
    put(tmp_path, 5, 1, name="a) S 77 (b")
    put(tmp_path, 6, 5, name="(sd-pam) R 1 2", ticks=(300, 50))
    assert family(5, proc=tmp_path) == (5, 6)
    assert cpu_seconds(6, proc=tmp_path) == pytest.approx(350 * TICK)


def test_time_is_that_of_all_threads_of_all_processes(tmp_path):
    put(tmp_path, 10, 1, threads=(1_500_000_000, 250_000_000))
    put(tmp_path, 11, 10, threads=(3,))
    assert cpu_seconds(10, proc=tmp_path) == pytest.approx(1.750000003, abs=1e-12)


def test_threads_that_ended_count_in_ticks(tmp_path):
    # Two seconds of threads gone, in the process's ticks; the one alive has half a second.
    put(tmp_path, 10, 1, ticks=(150, 100), threads=(500_000_000,))
    assert cpu_seconds(10, proc=tmp_path) == pytest.approx(250 * TICK)


def test_where_the_kernel_counts_no_nanoseconds_ticks_serve(tmp_path):
    put(tmp_path, 10, 1, ticks=(30, 12), threads=None)
    assert cpu_seconds(10, proc=tmp_path) == pytest.approx(42 * TICK)


def test_where_the_system_does_not_tell_there_is_no_figure(tmp_path):
    assert cpu_seconds(10, proc=tmp_path) is None
    assert cpu_seconds(10, proc=tmp_path / "nowhere") is None


BURNS = """
import select, sys, time
print("burning", flush=True)
while not select.select([sys.stdin], [], [], 0)[0]:
    pass
print("burnt", flush=True)
time.sleep(600)
"""
PATIENCE_SECONDS = 120.0
LEAVES = f"""
import subprocess, sys
subprocess.Popen([sys.executable, "-I", "-S", "-c", {BURNS!r}], start_new_session=True).wait()
"""


@pytest.fixture
def start():
    started = []

    def run(code):
        child = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(child)
        assert child.stdout.readline() == "burning\n"
        return child

    yield run
    for child in started:
        for pid in family(child.pid):
            os.kill(pid, 9)
        child.communicate()


@needs_proc
@pytest.mark.parametrize(
    ("code", "processes"), [(BURNS, 1), (LEAVES, 2)], ids=["child", "grandchild"]
)
def test_a_process_that_left_its_session_is_counted(start, code, processes):
    child = start(code)
    assert len(family(child.pid)) == processes
    assert len({os.getsid(pid) for pid in family(child.pid)}) == processes
    # While it burns its time goes on, however little of a CPU others leave it.
    begun = cpu_seconds(child.pid)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while cpu_seconds(child.pid) < begun + 0.3:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    child.stdin.write("enough\n")
    child.stdin.flush()
    assert child.stdout.readline() == "burnt\n"
    seconds = cpu_seconds(child.pid)
    time.sleep(0.5)
    assert cpu_seconds(child.pid) - seconds < 0.25


@needs_proc
def test_this_process_is_counted_as_the_system_counts_it():
    # Nobody's children: the test may have been started beside others.
    assert os.getpid() in family(os.getpid())
    before = os.times()
    # Each of the kernel's two figures was rounded to a tick.
    assert cpu_seconds(os.getpid()) >= before.user + before.system - 2 * TICK

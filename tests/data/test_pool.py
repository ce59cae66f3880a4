"""Images are read ahead, in order, and a signal ends the process whatever is being read."""

import signal
import subprocess
import sys
import threading
import time

import pytest

from esrbench.data.pool import ImagePool


def test_results_come_in_order_from_several_threads():
    first = threading.Event()

    def work(index):
        if index == 0:
            assert first.wait(60)  # the others go on meanwhile
        elif index == 3:
            first.set()
        return index, threading.current_thread().name

    with ImagePool(2) as pool:
        found = list(pool.map(work, 6))
    assert [index for index, _ in found] == list(range(6))
    assert len({name for _, name in found}) == 2
    assert not any("esrbench-images" in thread.name for thread in threading.enumerate())


def test_an_exception_is_raised_where_its_result_is_asked_for():
    begun = []

    def work(index):
        begun.append(index)
        if index == 1:
            raise ValueError("one")
        waiting = (9,) if index == 0 else (0, 1)  # all others; none but the end of the thread
        deadline = time.monotonic() + 60
        while pool._work.qsize() not in waiting and time.monotonic() < deadline:
            time.sleep(0.001)
        return index

    with pytest.raises(ValueError, match="one"), ImagePool(1) as pool:
        list(pool.map(work, 10))
    assert begun in ([0, 1], [0, 1, 2])
    assert not any("esrbench-images" in thread.name for thread in threading.enumerate())


STUCK = """
import os, sys, threading
from esrbench.data.pool import ImagePool

def read(index):
    os.write(1, b"reading\\n")  # print would hold a lock that the end of Python wants
    threading.Event().wait()

import signal
signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
with ImagePool(2) as pool:
    list(pool.map(read, 2))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_process_whose_reads_never_return(number):
    with subprocess.Popen(
        [sys.executable, "-c", STUCK], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert [process.stdout.readline() for _ in range(2)] == ["reading\n"] * 2
            process.send_signal(number)
            code = process.wait(60)
        finally:
            process.kill()
    assert code == (143 if number is signal.SIGTERM else -signal.SIGINT)

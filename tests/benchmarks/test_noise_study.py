import subprocess
import sys
from pathlib import Path

import pytest

from esrbench.data.datasets import open_dataset
from esrbench.records import Notice

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def study(load_benchmark):
    """``benchmarks/noise_study.py`` as a module."""
    return load_benchmark("noise_study")


def test_busy_loops_end_with_the_block_whatever_happens_in_it(study, monkeypatch):
    started = []
    popen = subprocess.Popen

    def start(command):
        started.append(popen(command))
        return started[-1]

    def interrupted():
        with study.busy(2):
            assert [process.poll() for process in started] == [None, None]
            raise KeyboardInterrupt

    monkeypatch.setattr(study, "BUSY", "import time; time.sleep(60)")
    monkeypatch.setattr(study.subprocess, "Popen", start)
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert len(started) == 2
    assert all(process.poll() is not None for process in started)


def test_a_busy_loop_ends_when_its_parent_is_gone(study):
    # The parent starts a loop, tells its id and ends at once.
    script = (
        "import os, subprocess, sys; "
        f"loop = [sys.executable, '-c', {study.BUSY!r}, str(os.getpid())]; "
        "print(subprocess.Popen(loop, stdout=2).pid)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    # The call above returns when the loop, too, has closed the error stream.
    assert ended.stdout.strip().isdecimal()


def test_pairs_are_parts_of_the_demo_photographs(study, tmp_path):
    folder = study.write_pairs(tmp_path, (32, 24), 2)
    pairs = open_dataset(str(folder), 4)
    assert [pairs.read_lr(index).shape for index in range(len(pairs))] == [(32, 24, 3)] * 2
    assert [pairs.read_hr(index).shape for index in range(len(pairs))] == [(128, 96, 3)] * 2


def test_copies_share_code_and_weights_but_no_name(study):
    entries = study.copies("rfdn", 4)
    assert [entry.descriptor.name for entry in entries] == ["rfdn-a", "rfdn-b", "rfdn-c", "rfdn-d"]
    assert len({entry.weights.identity.sha256 for entry in entries}) == 1
    assert [entry.descriptor.name for entry in study.copies("rfdn", 1)] == ["rfdn"]


def test_a_tally_counts_records_and_suites(study, make_record):
    notice = Notice(code="drift", message="seen", advice="mend it.")
    values = {"runtime_images": 1.0, "params": 1.0, "macs_ntire2022": 1.0}
    tally = study.Tally("a condition")
    tally.records.append(
        [
            make_record("a", values, notices=(notice,)),
            make_record("b", values, status="timing-disputed"),
        ]
    )
    assert tally.document() == {
        "condition": "a condition",
        "suites": 1,
        "records": 2,
        "firmly_apart": 0,
        "provisional": 1,
        "statuses": {"ok": 1, "timing-disputed": 1},
        "notices": {"drift": 1},
    }

"""Real workers with networks that behave and networks that do not."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from esrbench.entries.networks import resolve_weights
from esrbench.entries.registry import default_registry
from esrbench.processes import family
from esrbench.protocol import Protocol
from esrbench.records import Absent
from esrbench.worker.failure import WorkerError
from esrbench.worker.launcher import open_launcher
from esrbench.worker.process import LOG_BYTES

SMALL = Protocol(threads=1, counted_input=(16, 16), counters=("ntire2022", "aten"))
LR = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def worker():
    """Starts a worker that can load some networks."""
    launcher = open_launcher()

    def start(*descriptors):
        return launcher.worker(*((descriptor, None) for descriptor in descriptors))

    return start


@pytest.fixture(scope="module")
def lasting(describe, worker):
    """One worker for all networks that it outlives."""
    names = ("Nearest", "NanOutput", "WrongShape", "NotATensor", "Greedy", "FailsToBuild")
    with worker(*map(describe, names)) as session:
        yield session


def load(session, descriptor, scale=4):
    session.load(descriptor, scale, weights=resolve_weights(descriptor, scale), protocol=SMALL)


def test_an_honest_network_is_measured(describe, lasting):
    descriptor, session = describe("Nearest"), lasting
    ready = session.load(descriptor, 4, weights=resolve_weights(descriptor, 4), protocol=SMALL)
    assert ready.threads == 1
    assert len(ready.cpus) == 1
    assert ready.accelerator is None
    assert ready.code_sha256 is not None

    complexity = session.count_complexity()
    assert complexity.params == 3 * 3 + 3
    counted = complexity.counters["ntire2022"]
    assert not isinstance(counted, Absent)
    assert counted.macs == 16 * 16 * 9

    sr = session.upscale(LR, "first")
    # The identity convolution and nearest upscaling repeat every pixel 4x4 times.
    expected = LR.repeat(4, axis=0).repeat(4, axis=1)
    assert np.array_equal(sr, expected)

    delivery = session.forward(LR)
    assert np.array_equal(delivery.sr, expected)
    # The evaluator's clock starts before the forward and stops after it.
    assert 0 < delivery.claimed_seconds < delivery.seconds
    assert delivery.preparation_seconds is None
    # What the evaluator holds is its own: the next image leaves it as it is.
    session.forward(255 - LR)
    assert np.array_equal(delivery.sr, expected)
    memory = session.read_memory()
    assert isinstance(memory, Absent)
    assert "CPU" in memory.reason


@pytest.mark.parametrize(
    ("attribute", "kind", "says"),
    [
        ("NanOutput", "invalid-output", "1 NaN or infinite values of 2592"),
        ("WrongShape", "invalid-output", r"\(1, 3, 25, 36\), expected \(1, 3, 24, 36\)"),
        ("NotATensor", "invalid-output", "the output is a list"),
        ("Greedy", "oom", "allocate"),
    ],
)
def test_a_bad_output_is_typed_and_the_worker_lives(describe, lasting, attribute, kind, says):
    load(lasting, describe(attribute))
    with pytest.raises(WorkerError, match=says) as caught:
        lasting.upscale(LR, "image")
    assert caught.value.kind == kind
    assert not caught.value.fatal
    assert lasting.count_complexity().params == 12


def test_an_exception_keeps_its_text_and_its_traceback_in_the_log(describe, worker):
    wide = np.zeros((4, 32, 3), dtype=np.uint8)
    with worker(describe("Raises")) as session:
        load(session, describe("Raises"))
        with pytest.raises(WorkerError, match="RuntimeError: too wide for me") as caught:
            session.upscale(wide, "wide")
        assert caught.value.kind == "forward-error"
        assert session.upscale(LR, "narrow").shape == (24, 36, 3)
    assert "misbehaving.py" in session.log_tail


def test_a_network_that_cannot_be_built_is_a_load_error(describe, lasting):
    with pytest.raises(WorkerError, match="no room for x4") as caught:
        load(lasting, describe("FailsToBuild"))
    assert caught.value.kind == "load-error"


@pytest.mark.parametrize(
    ("attribute", "says", "advice"),
    [
        ("Exits", "exited with code 0 during upscale", "Last line of its log: so long"),
        ("Segfaults", "killed by SIGSEGV", ""),
    ],
)
def test_a_worker_that_dies_is_a_crash_whatever_its_exit_code_and_its_last_words_are_quoted(
    describe, worker, attribute, says, advice
):
    with worker(describe(attribute)) as session:
        load(session, describe(attribute))
        with pytest.raises(WorkerError, match=says) as caught:
            session.upscale(LR, "image")
    assert caught.value.kind == "crash"
    assert caught.value.fatal
    assert (caught.value.advice or "").startswith(advice)


def test_a_silent_worker_times_out_and_is_gone(describe, worker):
    with worker(describe("Sleeps")) as session:
        load(session, describe("Sleeps"))
        session.process.timeout_seconds = 0.3
        with pytest.raises(WorkerError, match=r"no answer to upscale in 0\.3 s") as caught:
            session.upscale(LR, "image")
        assert caught.value.fatal
        with pytest.raises(ProcessLookupError):
            os.kill(session.process.pid, 0)


def test_a_flood_of_log_is_drained_and_its_tail_kept(describe, worker):
    with worker(describe("Chatty")) as session:
        load(session, describe("Chatty"))
        assert session.upscale(LR, "image").shape == (24, 36, 3)
    assert len(session.log_tail) <= LOG_BYTES


def test_a_worker_is_gone_after_an_exception_in_the_evaluator(describe, worker):
    with pytest.raises(KeyboardInterrupt), worker(describe("Nearest")) as session:  # noqa: PT012
        load(session, describe("Nearest"))
        raise KeyboardInterrupt
    with pytest.raises(ProcessLookupError):
        os.kill(session.process.pid, 0)


def test_the_worker_inherits_no_descriptor_but_its_pipes(describe, worker):
    stray = os.open(os.devnull, os.O_RDONLY)
    os.set_inheritable(stray, True)
    try:
        with worker(describe("Nearest")) as session:
            load(session, describe("Nearest"))
            # A sandbox may stand between the evaluator's child and the worker.
            folder = f"/proc/{family(session.process.pid)[-1]}/fd"
            if not os.path.isdir(folder):  # noqa: PTH112
                pytest.skip("no /proc on this system")
            kinds = [os.readlink(f"{folder}/{fd}") for fd in os.listdir(folder)]  # noqa: PTH115, PTH208
    finally:
        os.close(stray)
    pipes = [kind for kind in kinds if kind.startswith("pipe:")]
    # Requests, replies, and the log as stdout and stderr.
    assert len(pipes) == 4
    assert kinds.count(os.devnull) == 1
    # Python keeps a second descriptor of what it maps.
    assert {kind.split()[0] for kind in kinds if "memfd" in kind} == {
        "/memfd:esrbench-lr",
        "/memfd:esrbench-sr",
    }


def test_a_models_folder_of_the_user_s_does_not_hide_ours(tmp_path, monkeypatch):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "__init__.py").write_text("raise RuntimeError('not ours')")
    (tmp_path / "random.py").write_text("raise RuntimeError('not the library')")
    monkeypatch.chdir(tmp_path)
    bicubic = default_registry().get("bicubic")
    with open_launcher().worker((bicubic, None)) as session:
        load(session, bicubic)


def test_a_worker_dies_with_its_evaluator(tmp_path):
    if sys.platform != "linux":
        pytest.skip("only Linux ends a child with its parent")
    script = tmp_path / "evaluator.py"
    script.write_text(
        "import os, signal\n"
        "from esrbench.worker.launcher import open_launcher\n"
        "with open_launcher().worker() as session:\n"
        "    print(session.process.pid, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run(
        [sys.executable, script], check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == -9
    pid = int(done.stdout)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (ProcessLookupError, FileNotFoundError):
            return
        if state == "Z":
            return
        time.sleep(0.1)
    pytest.fail("the worker outlived its evaluator")

"""What a submission can do to the machine it runs on, in each sandbox."""

import contextlib
import inspect
import json
import os
import re
import secrets
import shutil
import signal
import socket
import time
from dataclasses import replace
from pathlib import Path

import attempts
import pytest
import torch

import esrbench
from esrbench.entries.networks import resolve_weights
from esrbench.sandbox.sandbox import INHERITED

HERE = Path(__file__).parent
PATIENCE_SECONDS = 60.0
DATAGRAM_SECONDS = 5.0


def processes_named(name):
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if (folder / "comm").read_text().strip() == name:
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def survivors(name):
    """Processes of a name that are still there after a while; they are ended."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (alive := processes_named(name)) and time.monotonic() < deadline:
        time.sleep(0.1)
    for pid in alive:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return alive


def secret_of_ours():
    """A variable that we were started with and that no worker has a use for."""
    ours = Path("/proc/self/environ").read_text().split("\0")
    return next(
        each for each in ours if "=" in each and not INHERITED.fullmatch(each.split("=")[0])
    )


@pytest.fixture(scope="module")
def listeners():
    """Servers of this machine that wait for calls."""
    with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
        for each in (tcp, udp):
            each.bind(("127.0.0.1", 0))
        tcp.listen()
        udp.settimeout(DATAGRAM_SECONDS)
        name = f"esrbench-{secrets.token_hex(4)}"
        with socket.socket(socket.AF_UNIX) as abstract:
            abstract.bind("\0" + name)
            abstract.listen()
            yield {"tcp": tcp.getsockname()[1], "udp": udp.getsockname()[1], "abstract": name}


@pytest.fixture(scope="module")
def came_of_it(
    *, tier, attack_table, submissions, start, small, photographs, listeners, tmp_path_factory
):
    """What came of every attempt, all of them made by one worker while it loads."""
    results = tmp_path_factory.mktemp("results") / "results"
    (results / "runs").mkdir(parents=True)
    (results / "runs" / "theirs.json").write_text('{"psnr": 27}')
    own = submissions.folder / submissions.add(f"inside-{tier}", source=HERE / "attacks/sandbox.py")
    other = submissions.folder / submissions.add(f"other-{tier}", source=HERE / "attacks/honest.py")
    shutil.copy(HERE.parent / "attempts.py", own)
    hr = (photographs / "HR" / "photo0.png").resolve()
    (own / "innocent.png").symlink_to(hr)
    facts = {
        "hr": str(hr),
        "hr_folder": str(hr.parent),
        "lr_folder": str(photographs / "LR_bicubic/X4"),
        "own": str(own),
        "other": str(other),
        "results": str(results),
        "harness": str(esrbench.__file__),
        "torch": str(torch.__file__),
        "evaluator": os.getpid(),
        "parent": os.getppid(),
        "secret": secret_of_ours(),
        "daemon": f"d-{secrets.token_hex(5)}",
        **listeners,
    }
    rows = sorted(attack_table["sandbox"], key=lambda row: row["name"])
    calls = {row["name"]: [each.format(**facts) for each in row["call"]] for row in rows}
    (own / "calls.json").write_text(json.dumps(calls))
    descriptor = submissions.register().get(own.name)
    stray = os.open(hr, os.O_RDONLY)
    os.set_inheritable(stray, True)
    try:
        session = start(descriptor, hiding=[hr.parent, Path(facts["lr_folder"]), results, other])
        session.process.limits = replace(
            session.process.limits,
            memory_bytes=4 << 30,
            file_bytes=8 << 20,
            temp_bytes=16 << 20,
            shared_memory_bytes=8 << 20,
        )
        with session:
            weights = resolve_weights(descriptor, 4)
            session.load(descriptor, 4, weights=weights, protocol=small)
    finally:
        os.close(stray)
    said = [line for line in session.log_tail.splitlines() if line.startswith("attempt ")]
    found = [json.loads(line.removeprefix("attempt ")) for line in said]
    alive = survivors(facts["daemon"])
    outcome = {"survivors": {"outcome": "done" if alive else "denied", "how": str(alive)}}
    return {each["name"]: each for each in found} | outcome


def test_what_a_submission_can_do(sandbox_attack, came_of_it, tier):
    assert came_of_it[sandbox_attack["name"]]["outcome"] == sandbox_attack[tier], came_of_it[
        sandbox_attack["name"]
    ]


def test_every_attempt_is_made(attack_table):
    names = {name for name, _ in inspect.getmembers(attempts, inspect.isfunction)}
    called = {row["call"][0] for row in attack_table["sandbox"]}
    elsewhere = " ".join(path.read_text() for path in HERE.parent.glob("sandbox/test_*.py"))
    assert names - called - set(re.findall(r"\w+", elsewhere)) <= {"answer", "fill", "main"}


def test_nothing_survives_a_worker(came_of_it, tier):
    # A plain process can leave everything that it could be found by, and the banner says so.
    if tier != "subprocess":
        assert came_of_it["survivors"]["outcome"] == "denied", came_of_it["survivors"]

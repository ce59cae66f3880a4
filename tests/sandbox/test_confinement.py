import json
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from esrbench.environment import own_packages
from esrbench.sandbox.interpreters import own_interpreter
from esrbench.sandbox.tiers import SANDBOXES

ROOT = Path(__file__).resolve().parents[2]
TIERS = tuple(SANDBOXES)
DENIED = "denied"
DONE = "done"


def outcome(answer):
    assert "failed" not in answer, answer
    assert "silent" not in answer, answer
    return DENIED if "denied" in answer else DONE


def expected(tier, *by_tier):
    return by_tier[TIERS.index(tier)]


CLEAN = "readable/LR/0801.png"
TOUCHED = [
    # attempt, path, and what comes of it with bubblewrap, Landlock and neither
    ("read", CLEAN, DONE, DONE, DONE),
    ("listing", "readable/LR", DONE, DONE, DONE),
    ("read", "readable/HR/0801.png", DENIED, DENIED, DONE),
    ("read", "readable/HR.txt", DENIED, DENIED, DONE),
    ("listing", "readable/HR", DENIED, DENIED, DONE),
    ("read", "secret.txt", DENIED, DENIED, DONE),
    # Landlock has no say in what stat tells.
    ("size", "readable/HR/0801.png", DENIED, DONE, DONE),
    ("size", "secret.txt", DENIED, DONE, DONE),
    ("link_out", "secret.txt", DENIED, DENIED, DONE),
    ("write", CLEAN, DENIED, DENIED, DONE),
    ("write", "readable/new", DENIED, DENIED, DONE),
    ("write", "code/attempts.py", DENIED, DENIED, DONE),
    ("make", "readable", DENIED, DENIED, DONE),
    ("change_mode", CLEAN, DENIED, DENIED, DONE),
    ("change_mode", "secret.txt", DENIED, DENIED, DONE),
    ("change_mode_of_opened", CLEAN, DENIED, DENIED, DONE),
    ("cut", CLEAN, DENIED, DENIED, DONE),
    ("remove", CLEAN, DENIED, DENIED, DONE),
]
LIBRARY = Path(os.__file__).parent
HOST = [
    ("listing", "/home", DENIED, DENIED, DONE),
    ("listing", str(ROOT / "tests"), DENIED, DENIED, DONE),
    ("listing", str(ROOT), DONE, DENIED, DONE),
    ("read", str(ROOT / "pyproject.toml"), DENIED, DENIED, DONE),
    ("read", "/etc/passwd", DENIED, DENIED, DONE),
    ("read", "/proc/cpuinfo", DONE, DONE, DONE),
    ("read", "/proc/self/stat", DONE, DONE, DONE),
    ("listing", str(own_packages()["esrbench"]), DONE, DONE, DONE),
]
PLACES_OF_OTHERS = ("/", "/dev", "/usr", "/sys", str(LIBRARY), str(own_packages()["esrbench"]))
PROCESSES = [
    ("fork", DENIED, DENIED, DONE),
    ("start_program", DENIED, DENIED, DONE),
    ("thread", DONE, DONE, DONE),
    ("stream_pair", DONE, DONE, DONE),
    ("survive_evaluator", DENIED, DENIED, DONE),
    ("unnamed_memory", DENIED, DENIED, DONE),
    ("new_namespace", DENIED, DENIED, DONE),
    ("signal_everyone", DENIED, DENIED, DONE),
    ("raise_limit", DENIED, DENIED, DONE),
]
OF_THE_USER = {"new_namespace", "signal_everyone", "raise_limit"}
"""What a plain process can do of these depends on who it is."""
EVALUATOR = ("signal_evaluator", "slow_evaluator", "limit_evaluator")
OF_THE_EVALUATOR = ("environ", "cmdline", "mem", "status")


def row_path(place, path):
    return str(place / path)


@pytest.fixture(scope="module")
def answers(tier, attempts_at):
    """What came of all attempts of the tables, one after another in one worker."""
    attempts = attempts_at(tier)
    place = attempts.place
    rows = [(row[0], row_path(place, row[1])) for row in (*HOST, *TOUCHED)]
    rows += [("listing", str(Path.home()))]
    if tier != "subprocess":
        rows += [("make", folder) for folder in PLACES_OF_OTHERS]
        rows += [("read", f"/proc/{os.getpid()}/{file}") for file in OF_THE_EVALUATOR]
    rows += [(name, str(os.getpid())) for name in EVALUATOR]
    alone = [(row[0],) for row in PROCESSES if tier != "subprocess" or row[0] not in OF_THE_USER]
    wanted = [*alone, *rows]
    found = attempts("many", json.dumps(wanted))
    assert "value" in found, found
    return place, dict(zip(wanted, found["value"], strict=True))


@pytest.mark.parametrize("row", TOUCHED, ids=lambda row: f"{row[0]}-{row[1]}")
def test_what_files_can_be_touched(tier, answers, row):
    place, found = answers
    assert outcome(found[row[0], row_path(place, row[1])]) == expected(tier, *row[2:])
    if tier != "subprocess":
        assert (place / CLEAN).read_text() == "pixels"
        assert not (place / "readable/new").exists()
        assert stat.S_IMODE((place / CLEAN).stat().st_mode) != 0o777


@pytest.mark.parametrize("row", HOST, ids=lambda row: f"{row[0]}-{row[1]}")
def test_what_of_the_host_is_seen(tier, answers, row):
    if not Path(row[1]).exists():
        pytest.skip(f"there is no {row[1]} here")
    answer = answers[1][row[0], row[1]]
    assert outcome(answer) == expected(tier, *row[2:])
    if row[1] == str(ROOT) and tier == "bubblewrap":
        # Our packages, or the environment that they are installed in, if that lies here.
        seen = [*own_packages().values(), Path(sys.prefix)]
        inside = {path.relative_to(ROOT).parts[0] for path in seen if path.is_relative_to(ROOT)}
        assert answer["value"] == sorted(inside)


def test_of_the_home_folder_only_the_interpreter_is_seen(tier, answers):
    if tier == "subprocess":
        pytest.skip("a plain process sees all of it")
    home = Path.home()
    shown = (*own_interpreter().files(), *own_packages().values())
    ours = {path.relative_to(home).parts[0] for path in shown if path.is_relative_to(home)}
    assert set(answers[1]["listing", str(home)].get("value", ())) <= ours


@pytest.mark.parametrize("folder", PLACES_OF_OTHERS)
def test_no_folder_but_its_own_can_be_written(tier, answers, folder):
    if tier == "subprocess":
        pytest.skip("a plain process writes where its user may; not tried on this machine")
    assert outcome(answers[1]["make", folder]) == DENIED
    assert not (Path(folder) / "made-by-a-worker").exists()


@pytest.mark.parametrize("row", PROCESSES, ids=lambda row: row[0])
def test_what_a_worker_can_do(tier, answers, row):
    if (row[0],) not in answers[1]:
        pytest.skip("what a plain process can do here depends on the user")
    assert outcome(answers[1][row[0],]) == expected(tier, *row[1:])


@pytest.mark.parametrize("name", EVALUATOR)
def test_the_evaluator_is_out_of_reach(tier, answers, name):
    want = expected(tier, DENIED, DENIED, DONE)
    assert outcome(answers[1][name, str(os.getpid())]) == want


@pytest.mark.parametrize("file", OF_THE_EVALUATOR)
def test_nothing_of_the_evaluator_can_be_read(tier, answers, file):
    if tier == "subprocess":
        pytest.skip("a plain process reads what its user may")
    assert outcome(answers[1]["read", f"/proc/{os.getpid()}/{file}"]) == DENIED


@pytest.fixture
def listeners():
    """Sockets that wait for TCP, UDP, and a datagram to an abstract name."""
    name = f"esrbench-test-{os.getpid()}"
    with (
        socket.socket() as tcp,
        socket.socket(type=socket.SOCK_DGRAM) as udp,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as unix,
        socket.socket(socket.AF_UNIX) as stream,
    ):
        tcp.bind(("127.0.0.1", 0))
        tcp.listen()
        udp.bind(("127.0.0.1", 0))
        unix.bind("\0" + name)
        stream.bind("\0" + name + "-stream")
        stream.listen()
        for waiting in (tcp, udp, unix, stream):
            waiting.settimeout(0.2)
        yield tcp, udp, unix, name


def test_no_word_gets_out(attempt, listeners):
    tcp, udp, unix, name = listeners
    open_wide = attempt.tier == "subprocess"
    want = DONE if open_wide else DENIED
    assert outcome(attempt("tcp", tcp.getsockname()[1])) == want
    assert outcome(attempt("udp", udp.getsockname()[1])) == want
    assert outcome(attempt("abstract_socket", name + "-stream")) == want
    assert outcome(attempt("datagram_pair", name)) == want
    for waiting in (udp, unix):
        if open_wide:
            assert waiting.recv(16) == b"secret"
        else:
            with pytest.raises(TimeoutError):
                waiting.recv(16)


@pytest.mark.parametrize("tried", ["bubblewrap", "landlock"])
def test_the_evaluator_cannot_be_traced(attempts_at, tried):
    attempts = attempts_at(tried)
    # A process that waits, in the evaluator's place: pytest itself must not be stopped.
    with subprocess.Popen(["sleep", "30"]) as sleeper:
        try:
            found = attempts("trace_evaluator", sleeper.pid)
        finally:
            sleeper.kill()
    assert found == {"denied": "EPERM"}

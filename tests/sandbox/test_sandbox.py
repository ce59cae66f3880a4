import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from esrbench.environment import own_packages
from esrbench.errors import UsageError
from esrbench.processes import family
from esrbench.sandbox import seccomp, tiers
from esrbench.sandbox.limits import Limits
from esrbench.sandbox.sandbox import Obstacle, Sandbox
from esrbench.sandbox.tiers import obstacle, open_sandbox
from esrbench.sandbox.view import View
from esrbench.worker.failure import exit_reason

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_SECONDS = 120.0


def test_secrets_are_not_inherited_but_settings_are(attempt, monkeypatch):
    for name in ("API_TOKEN", "NVIDIA_API_KEY", "AWS_SECRET_ACCESS_KEY", "SSH_AUTH_SOCK"):
        monkeypatch.setenv(name, "secret")
    monkeypatch.setenv("MKL_VERBOSE", "0")
    monkeypatch.setenv("LC_NUMERIC", "C")
    found = attempt("environment", variables={"GIVEN": "by the caller"})["value"]
    assert "secret" not in found.values()
    assert {"MKL_VERBOSE", "LC_NUMERIC"} <= found.keys()
    assert found["GIVEN"] == "by the caller"
    assert "PYTHONPATH" not in found
    assert found["HOME"] == found["TMPDIR"] != str(Path.home())


def test_only_the_passed_descriptors_arrive(attempt, tmp_path):
    with (tmp_path / "stray").open("w") as stray, (tmp_path / "passed").open("w") as passed:
        os.set_inheritable(stray.fileno(), True)
        found = attempt("descriptors", fds=(passed.fileno(),))
        assert found == {"value": sorted(["0", "1", "2", str(passed.fileno())], key=int)}


def test_limits_are_in_force(attempt):
    found = attempt("limits")["value"]
    assert found["CORE"] == 0
    assert found["FSIZE"] == attempt.small.file_bytes
    assert found["NOFILE"] == attempt.small.open_files
    assert found["DATA"] == attempt.small.memory_bytes
    assert attempt("dumpable") == {"value": 0}


def test_privileges_are_gone(attempt):
    if attempt.tier == "subprocess":
        pytest.skip("a plain process keeps its user's")
    for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        found = attempt("status", kind)["value"]
        # Without privileges there is nothing to drop what is only bounded.
        assert int(found, 16) == 0 or (kind == "CapBnd" and os.getuid())
    assert attempt("status", "NoNewPrivs") == {"value": "1"}
    if seccomp.this_machine() is not None:
        assert attempt("status", "Seccomp") == {"value": "2"}


def test_a_file_cannot_outgrow_its_limit(attempt):
    assert attempt("large_file") == {"denied": "EFBIG"}


def test_temp_and_shared_memory_are_capped_where_they_can_be(attempt):
    capped = attempt.tier == "bubblewrap"
    assert attempt("many_files") == ({"denied": "ENOSPC"} if capped else {"value": None})
    if attempt.tier != "subprocess":
        # Landlock grants no shared memory at all.
        want = "ENOSPC" if capped else "EACCES"
        assert attempt("fill_shared_memory") == {"denied": want}


def test_the_temporary_folder_is_removed(attempt):
    folder = attempt("environment")["value"]["TMPDIR"]
    assert not Path(folder).exists()


def test_memory_beyond_the_limit_is_refused(attempt):
    assert attempt("allocate", 3) == {"denied": "ENOMEM"}
    assert attempt("allocate", 1) == {"value": 1 << 30}


def test_our_packages_are_found_and_their_neighbours_are_not(attempt):
    found = attempt("modules")["value"]
    assert found == [str(folder / "__init__.py") for folder in own_packages().values()]


def test_an_honest_network_runs_within_the_defaults(attempt):
    answer = attempt("forward", limits=Limits())
    assert answer == {"value": 8 * 64 * 64}


def test_a_giant_tensor_is_a_clean_error(attempts_at):
    said = attempts_at(open_sandbox().tier)("allocate_tensor", limits=Limits())["value"]
    assert "can't allocate memory" in said


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_compiling_works_where_processes_are_allowed(attempts_at):
    answer = attempts_at(open_sandbox().tier)(
        "compiled",
        limits=Limits(processes=True),
        # One process compiles, and nothing is compiled to try what vectors the CPU has.
        variables={"TORCHINDUCTOR_COMPILE_THREADS": "1", "TORCHINDUCTOR_VEC_ISA_OK": "1"},
    )
    assert answer == {"value": 24.0}


def test_with_processes_the_rest_holds(attempt):
    if attempt.tier == "subprocess":
        pytest.skip("a plain process is not kept from anything")
    allowed = Limits(processes=True)
    assert attempt("start_program", limits=allowed) == {"value": 0}
    for name, *arguments in (
        ("udp", 9),
        ("signal_evaluator", os.getpid()),
        ("new_namespace",),
        ("read", attempt.place / "secret.txt"),
        ("survive_evaluator",),
    ):
        assert "denied" in attempt(name, *arguments, limits=allowed)


def line_of(read):
    """The next bytes of a log."""
    return os.read(read, 1 << 16)


def gone(test):
    """Whether something ends in good time."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while test():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def state(pid):
    """As proc(5) has it, such as T for stopped; X where there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "X"


def alive(pid):
    """Whether a process can still do anything; not every init buries the dead at once."""
    return state(pid) not in "XZ"


def named(marker):
    """Processes of a name."""
    found = []
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if folder.name.isdigit() and (folder / "comm").read_text().strip() == marker:
                found.append(int(folder.name))
    return [pid for pid in found if alive(pid)]


def test_a_daemon_does_not_outlive_the_worker(attempt):
    marker = f"d{os.getpid()}{attempt.tier[:4]}"
    # Its own name it can only write where /proc is its own; Landlock shows it none but itself.
    process, read = attempt.start("leave_daemon", marker, limits=Limits(processes=True))
    try:
        while b"waiting" not in line_of(read):
            pass
        before = family(process.pid)
        assert len(before) >= 2
        attempt.sandbox.kill(process)
        assert gone(lambda: any(map(alive, before)))
        assert gone(lambda: bool(named(marker)))
    finally:
        attempt.sandbox.kill(process)
        os.close(read)
        for pid in named(marker):
            os.kill(pid, signal.SIGKILL)


def test_a_worker_dies_with_an_evaluator_that_was_killed(tier, place):
    script = textwrap.dedent("""
        import pathlib, sys, time
        from esrbench.sandbox.limits import Limits
        from esrbench.sandbox.tiers import SANDBOXES
        from esrbench.sandbox.view import View
        view = View(readable=(), python_path=(pathlib.Path(sys.argv[2]),))
        process = SANDBOXES[sys.argv[1]](entry="attempts:main").start(
            ["wait", "120"], view, Limits(), pass_fds=(), log_fd=1, variables={})
        print(process.pid, flush=True)
        time.sleep(120)
    """)
    temporary = place / "temporary"
    temporary.mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", script, tier, str(place / "code")],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(temporary)},
        text=True,
    ) as evaluator:
        lines = [evaluator.stdout.readline().strip(), evaluator.stdout.readline().strip()]
        worker = int(next(line for line in lines if line.isdigit()))
        assert "waiting" in lines
        before = family(worker)
        assert before
        evaluator.kill()
    assert gone(lambda: any(map(alive, before)))


def test_a_worker_is_reaped_though_an_interrupted_wait_left_its_lock(attempt):
    process, read = attempt.start("wait", 60)
    # As where a handler raises between the lock's being taken and its being given back.
    lock = process._waitpid_lock
    assert lock.acquire(blocking=False)
    os.close(read)
    killing = threading.Thread(target=attempt.sandbox.kill, args=(process,), daemon=True)
    killing.start()
    killing.join(PATIENCE_SECONDS)
    assert not killing.is_alive()
    assert process.returncode
    assert gone(lambda: alive(process.pid))


def test_a_signal_is_told_from_an_exit(attempt):
    process, read = attempt.start("wait", 60)
    while b"waiting" not in line_of(read):
        pass
    inner = max(family(process.pid))
    os.kill(inner, signal.SIGSEGV)
    code = process.wait(PATIENCE_SECONDS)
    os.close(read)
    attempt.sandbox.kill(process)
    assert "was killed by SIGSEGV" in exit_reason(code, "wait")


def test_a_frozen_worker_stands_still_whole(attempt):
    process, read = attempt.start("wait", 60)
    while b"waiting" not in line_of(read):
        pass
    os.killpg(process.pid, signal.SIGSTOP)
    everyone = family(process.pid)
    assert everyone
    assert gone(lambda: {state(pid) for pid in everyone} != {"T"})
    attempt.sandbox.kill(process)
    os.close(read)


def test_deep_folders_do_not_hinder_the_evaluator(tmp_path):
    deep = tmp_path / "deep"
    deep.mkdir()
    descriptor = os.open(deep, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=descriptor)
        inner = os.open("d", os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = inner
    os.close(descriptor)
    Sandbox.remove(str(deep))
    assert not deep.exists()


def test_links_lead_where_they_do_outside(attempt, tmp_path):
    (tmp_path / "link").symlink_to(attempt.place)
    through = tmp_path / "link/readable/LR"
    view_ = View(readable=(through,), python_path=(tmp_path / "link/code",))
    assert attempt("read", through / "0801.png", view=view_) == {"value": "pixels"}
    assert attempt("read", through.resolve() / "0801.png", view=view_) == {"value": "pixels"}


def test_what_is_hidden_stays_so_by_another_name(attempt, tmp_path):
    if attempt.tier == "subprocess":
        pytest.skip("a plain process reads everything")
    (tmp_path / "link").symlink_to(attempt.place / "readable")
    view_ = attempt.view(readable=(tmp_path / "link",))
    assert attempt("read", tmp_path / "link/LR/0801.png", view=view_) == {"value": "pixels"}
    for folder in (tmp_path / "link", attempt.place / "readable"):
        assert "denied" in attempt("read", folder / "HR/0801.png", view=view_)


def test_what_is_hidden_may_be_made_later(attempt):
    if attempt.tier == "subprocess":
        pytest.skip("a plain process reads everything")
    later = attempt.place / "readable/later"
    view_ = attempt.view(hidden=(later,))
    process, read = attempt.start("read_later", later / "sr.txt", view=view_)
    with os.fdopen(read) as log:
        while "waiting" not in log.readline():
            pass
        later.mkdir()
        (later / "sr.txt").write_text("pixels")
        answer = json.loads(log.read().splitlines()[-1])
    attempt.sandbox.kill(process)
    assert "denied" in answer
    known = attempt.place / "readable/LR/0801.png"
    assert attempt("read", known, view=view_) == {"value": "pixels"}


def test_what_is_needed_must_be_there_and_may_not_be_hidden(attempts_at):
    attempts = attempts_at("subprocess")
    place = attempts.place
    with pytest.raises(UsageError, match=r"weights\.safetensors.* is not there"):
        attempts("read", "x", view=attempts.view(readable=(place / "weights.safetensors",)))
    with pytest.raises(UsageError, match="must not see"):
        attempts("read", "x", view=attempts.view(hidden=(place,)))
    with pytest.raises(UsageError, match="must not see"):
        attempts("read", "x", view=attempts.view(hidden=(Path(sys.prefix),)))


def test_the_strongest_tier_that_works_is_taken(monkeypatch):
    broken = {}
    monkeypatch.setattr(tiers, "obstacle", broken.get)
    assert open_sandbox().tier == "bubblewrap"
    assert open_sandbox().banner is None
    broken["bubblewrap"] = Obstacle("bubblewrap is not installed", "Install it.")
    found = open_sandbox()
    assert (found.tier, found.banner is not None) == ("landlock", True)
    assert "bubblewrap is not installed" in str(found.banner)
    broken["landlock"] = Obstacle("no Landlock", "Use another kernel.")
    found = open_sandbox()
    assert found.tier == "subprocess"
    assert str(found.banner).startswith("NO ISOLATION")
    assert "bubblewrap is not installed; no Landlock" in str(found.banner)


def test_a_tier_that_is_required_is_not_replaced(monkeypatch):
    broken = {"bubblewrap": Obstacle("bubblewrap is not installed", "Install it.")}
    monkeypatch.setattr(tiers, "obstacle", broken.get)
    with pytest.raises(UsageError, match="require-bwrap does not work here: bubblewrap") as found:
        open_sandbox("require-bwrap")
    assert found.value.advice == "Install it."
    assert open_sandbox("landlock").tier == "landlock"
    assert open_sandbox("subprocess").tier == "subprocess"


@pytest.mark.parametrize(
    ("script", "reason", "advice"),
    [
        ("echo 'bwrap: setting up uid map: Permission denied' >&2; exit 1", "uid map", "AppArmor"),
        ("echo 'bwrap: Unknown option --disable-userns' >&2; exit 1", "Unknown option", "0.8"),
        ("exit 3", "exit status 3", "esrbench help isolation"),
    ],
)
def test_a_bubblewrap_that_fails_is_told_with_the_mend(
    tmp_path, monkeypatch, script, reason, advice
):
    program = tmp_path / "bwrap"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    found = obstacle.__wrapped__("bubblewrap")
    assert reason in found.reason
    assert advice in found.advice


def test_a_bubblewrap_that_is_missing_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    found = obstacle.__wrapped__("bubblewrap")
    assert found.reason == "bubblewrap is not installed"
    assert "apt install bubblewrap" in found.advice

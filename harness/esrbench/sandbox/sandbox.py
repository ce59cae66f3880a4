"""What confines a worker, as strong as the machine allows: bubblewrap, Landlock, or little.

What each tier keeps from a worker is told in ``docs/isolation.md``.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import site
import subprocess
import sys
import tempfile
import weakref
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from esrbench.environment import own_packages
from esrbench.errors import UsageError
from esrbench.processes import family
from esrbench.sandbox import bubblewrap, landlock, seccomp
from esrbench.sandbox.grants import grants
from esrbench.sandbox.limits import Limits
from esrbench.sandbox.start import PROBE, WORKER, Policy, nameless
from esrbench.sandbox.view import View, resolve_view

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from esrbench.records import Tier
    from esrbench.sandbox.view import Visible

__all__ = [
    "IsolationChoice",
    "Limits",
    "Obstacle",
    "Sandbox",
    "View",
    "obstacle",
    "open_sandbox",
]

IsolationChoice = Literal["auto", "require-bwrap", "landlock", "subprocess"]

TIERS: Final[tuple[Tier, ...]] = ("bubblewrap", "landlock", "subprocess")
"""The strongest first."""
INHERITED = re.compile(
    r"LANG|LANGUAGE|LC_\w+|TZ|(OMP|GOMP|KMP|MKL|OPENBLAS|ONEDNN|DNNL|MALLOC|PYTORCH)_\w+|"
    r"ATEN_CPU_CAPABILITY|GLIBC_TUNABLES|LD_LIBRARY_PATH|"
    r"CUDA_(VISIBLE_DEVICES|DEVICE_ORDER|LAUNCH_BLOCKING|MODULE_LOADING)|"
    r"NVIDIA_(TF32_OVERRIDE|VISIBLE_DEVICES|DRIVER_CAPABILITIES)"
)
"""Variables of ours that a worker gets: what it speaks, and what changes how fast it is."""
PROBE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why a tier cannot be used here.

    Attributes:
        reason: what was found, without a full stop.
        advice: how to mend it.
    """

    reason: str
    advice: str


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A command in a sandbox.

    Attributes:
        command: what is run.
        pass_fds: descriptors it needs beside the caller's, closed once it runs.
        temp: the worker's temporary folder on the host, if it is there.
    """

    command: list[str]
    pass_fds: tuple[int, ...]
    temp: Path | None


class Sandbox:
    """Starts workers in one kind of sandbox.

    Args:
        tier: which.
        entry: ``module:function`` that workers run, confined, with their arguments.
        unused: why a stronger tier is not used; None where there is none or it was not wanted.

    Attributes:
        tier: which.
        banner: what a worker is not kept from, and why a stronger tier is not used; None with
            bubblewrap.
    """

    def __init__(self, tier: Tier, *, entry: str = WORKER, unused: str | None = None) -> None:
        self.tier = tier
        self.banner = _banner(tier, unused)
        self._entry = entry
        self._removals: weakref.WeakKeyDictionary[subprocess.Popen[bytes], Callable[[], object]] = (
            weakref.WeakKeyDictionary()
        )

    def start(
        self,
        arguments: Sequence[str],
        view: View,
        limits: Limits,
        *,
        pass_fds: Sequence[int],
        log_fd: int,
        variables: Mapping[str, str],
    ) -> subprocess.Popen[bytes]:
        """Start a worker, which ends when the thread that started it does.

        It leads a session of its own, its input is empty, and it has no descriptors but the
        three and ``pass_fds``. End it by ``kill``.

        Args:
            arguments: of the worker.
            view: what it sees.
            limits: what it may take.
            pass_fds: descriptors it inherits.
            log_fd: takes what it prints.
            variables: of its environment, beside those of ``INHERITED``.

        Raises:
            UsageError: something readable is not there or is hidden.
            OSError: no process can be started.
        """
        visible = resolve_view(view)
        prepared = self._prepare(arguments, visible, limits)
        try:
            process = subprocess.Popen(  # noqa: S603 - our own module, no shell
                prepared.command,
                stdin=subprocess.DEVNULL,
                stdout=log_fd,
                stderr=log_fd,
                pass_fds=(*pass_fds, *prepared.pass_fds),
                env=self._environment(variables, prepared.temp),
                start_new_session=True,
                cwd="/",
            )
        except BaseException:
            if prepared.temp is not None:
                _remove(prepared.temp)
            raise
        finally:
            for descriptor in prepared.pass_fds:
                os.close(descriptor)
        if prepared.temp is not None:
            self._removals[process] = weakref.finalize(process, _remove, prepared.temp)
        return process

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """End a worker and all that descends from it, and remove its temporary folder.

        With bubblewrap nothing can stay. Otherwise what was started by it is found as long as
        it is there itself; where it ended first, only what stayed in its session is.
        """
        stopped: set[int] = set()
        if self.tier != "bubblewrap" and process.poll() is None:
            # What is stopped starts nothing new, so this ends.
            while new := {*family(process.pid)} - stopped:
                for pid in new:
                    _signal(pid, signal.SIGSTOP)
                stopped |= new
        for pid in stopped:
            _signal(pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        _reap(process)
        removal = self._removals.pop(process, None)
        if removal is not None:
            removal()

    def end_signal(self, returncode: int) -> signal.Signals | None:
        """The signal that ended a worker, or None where it ended by itself.

        bubblewrap reports a signal as 128 and its number, as shells do.
        """
        number = -returncode if returncode < 0 else 0
        if self.tier == "bubblewrap" and returncode > 128:  # noqa: PLR2004 - see above
            number = returncode - 128
        return next((known for known in signal.Signals if known == number), None)

    def _prepare(self, arguments: Sequence[str], visible: Visible, limits: Limits) -> _Prepared:
        temp: Path | None = None
        if self.tier != "bubblewrap":
            temp = Path(tempfile.mkdtemp(prefix="esrbench-")).resolve()
        policy = Policy(
            tier=self.tier,
            entry=self._entry,
            evaluator=None if temp is None else os.getpid(),
            packages={name: str(folder) for name, folder in own_packages().items()},
            path=list(visible.path),
            temp=bubblewrap.TEMP if temp is None else str(temp),
            grants=list(grants(visible, limits, temp)) if temp and self.tier == "landlock" else [],
            resources=limits.resources(on_gpu=visible.on_gpu),
            processes=limits.processes,
            on_gpu=visible.on_gpu,
        )
        descriptors = [policy.write()]
        command = [sys.executable, "-P", "-m", "esrbench.sandbox.start"]
        command += [str(descriptors[0]), *arguments]
        if self.tier == "bubblewrap":
            # Given by a file: a worker could read what bubblewrap was told on a command line.
            told = "\0".join(bubblewrap.arguments(visible, limits))
            options = nameless(told.encode())
            descriptors.append(options)
            command = [_bubblewrap() or "bwrap", "--args", str(options), "--", *command]
        return _Prepared(command, tuple(descriptors), temp)

    def _environment(self, variables: Mapping[str, str], temp: Path | None) -> dict[str, str]:
        folder = bubblewrap.TEMP if temp is None else str(temp)
        inherited = {key: value for key, value in os.environ.items() if INHERITED.fullmatch(key)}
        own = own_packages()["esrbench"].parent
        programs = dict.fromkeys((str(Path(sys.executable).parent), "/usr/local/bin", "/usr/bin"))
        return {
            **inherited,
            "PATH": os.pathsep.join((*programs, "/bin")),
            "HOME": folder,
            "TMPDIR": folder,
            "USER": "worker",
            "LOGNAME": "worker",
            # Modules of the standard library shall not be sought among packages first.
            "PYTHONPATH": "" if str(own) in site.getsitepackages() else str(own),
            "PYTHONDONTWRITEBYTECODE": "1",
            # Its packages are on the path that it is given; its home is not that of the user.
            "PYTHONNOUSERSITE": "1",
            **variables,
        }


def open_sandbox(choice: IsolationChoice = "auto") -> Sandbox:
    """The strongest sandbox that works here, or the one asked for.

    Args:
        choice: ``auto`` takes the strongest; the others name what must be used.

    Raises:
        UsageError: what was asked for does not work here; the message says why.
    """
    wanted: dict[IsolationChoice, Tier] = {
        "require-bwrap": "bubblewrap",
        "landlock": "landlock",
        "subprocess": "subprocess",
    }
    if choice != "auto":
        found = obstacle(wanted[choice])
        if found is not None:
            raise UsageError(
                f"--isolation {choice} does not work here: {found.reason}", advice=found.advice
            )
        return Sandbox(wanted[choice])
    unused: list[str] = []
    for tier in TIERS:
        found = obstacle(tier)
        if found is None:
            return Sandbox(tier, unused="; ".join(unused) or None)
        unused.append(found.reason)
    raise AssertionError("a plain process can always be started")


@cache
def obstacle(tier: Tier) -> Obstacle | None:
    """Why a tier cannot be used here, by trying it; None where it works. Asked once a process."""
    if tier == "subprocess":
        return None
    if tier == "bubblewrap" and _bubblewrap() is None:
        advice = (
            "Install it: apt install bubblewrap, dnf install bubblewrap or pacman -S bubblewrap."
        )
        return Obstacle("bubblewrap is not installed", advice)
    if tier == "landlock" and not landlock.version():
        advice = "Use Linux 5.13 or newer with landlock among the lsm= of its command line."
        return Obstacle("this kernel has no Landlock, or it is switched off", advice)
    said = _try(tier)
    if said is None:
        return None
    name = "bubblewrap" if tier == "bubblewrap" else "Landlock"
    return Obstacle(f"{name} does not work here ({said})", _advice(said))


def _try(tier: Tier) -> str | None:
    """Start a worker that does nothing in a sandbox; None or the last it said."""
    sandbox = Sandbox(tier, entry=PROBE)
    read, write = os.pipe()
    with os.fdopen(read, "rb") as log:
        try:
            process = sandbox.start(
                [], View(readable=()), Limits(), pass_fds=(), log_fd=write, variables={}
            )
        except (OSError, UsageError) as error:
            os.close(write)
            return str(error)
        os.close(write)
        try:
            code = process.wait(PROBE_SECONDS)
        except subprocess.TimeoutExpired:
            return f"no answer in {PROBE_SECONDS:g} s"
        finally:
            sandbox.kill(process)
        said = log.read(1 << 16).decode(errors="replace").strip()
    if code == 0 and said.endswith("confined"):
        return None
    return said.splitlines()[-1] if said else f"exit status {code}"


def _advice(said: str) -> str:
    """How to mend what a tier said when it was tried."""
    if "Unknown option" in said or "setuid" in said:
        return "Install bubblewrap 0.8 or newer, without the setuid bit."
    if re.search(r"uid map|namespace|Operation not permitted|Permission denied", said):
        return (
            "User namespaces are restricted here. Ubuntu 23.10 or newer: give bwrap an AppArmor "
            "profile with userns; in Docker: run with --security-opt seccomp=unconfined "
            "--security-opt apparmor=unconfined, or measure in a container by the recipe in "
            "docs/isolation.md."
        )
    return "See docs/isolation.md for what each tier needs."


def _banner(tier: Tier, unused: str | None) -> str | None:
    if tier == "bubblewrap":
        return None
    why = f" ({unused})" if unused else ""
    filtered = seccomp.this_machine() is not None
    if tier == "landlock":
        missing = (
            [] if filtered else ["UDP and starting processes (no seccomp filter for this CPU)"]
        )
        if landlock.version() < landlock.SCOPE_SINCE:
            missing.append("signals to other processes where it may start its own")
        if landlock.version() < landlock.NETWORK_SINCE and not filtered:
            missing.append("TCP")
        also = f"; nor from {', '.join(missing)}" if missing else ""
        return (
            "Isolation by Landlock only: networks are not kept from seeing which files exist and "
            f"how large they are, nor from filling the disk of the temporary folder{also}{why}."
        )
    return (
        "NO ISOLATION: networks run as plain processes and can read the ground truth, change "
        f"files and results, use the Internet and outlive the run; run none you do not trust{why}."
    )


def _bubblewrap() -> str | None:
    return shutil.which("bwrap")


def _reap(process: subprocess.Popen[bytes]) -> None:
    """Wait for the end of a process that was killed.

    Not by ``Popen.wait``: where a signal's handler raised within an earlier one, its lock is held
    for ever.
    """
    if process.returncode is None:
        status = 0
        with contextlib.suppress(ChildProcessError):
            _, status = os.waitpid(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)


def _signal(pid: int, which: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, which)


def _remove(folder: Path) -> Path:
    """Remove a worker's temporary folder, however deep it was made."""
    try:
        shutil.rmtree(folder)
    except (OSError, RecursionError):
        subprocess.run(["rm", "-rf", "--", str(folder)], check=False)  # noqa: S603, S607
    return folder

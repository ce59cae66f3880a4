"""Common to all sandboxes: start a worker, end it, and find out whether the sandbox works here.

The sandboxes themselves stand in ``esrbench.sandbox.tiers``. ``docs/isolation.md`` says what each
keeps from a worker.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import site
import subprocess
import tempfile
import weakref
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from esrbench.environment import own_packages
from esrbench.errors import UsageError
from esrbench.processes import family
from esrbench.sandbox.limits import Limits
from esrbench.sandbox.start import LOADING, PROBE, WORKER, Policy
from esrbench.sandbox.view import View, resolve_view

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from esrbench.records import Tier
    from esrbench.sandbox.interpreters import Interpreter
    from esrbench.sandbox.landlock import Grant
    from esrbench.sandbox.view import Visible

INHERITED = re.compile(
    r"LANG|LANGUAGE|LC_\w+|TZ|(OMP|GOMP|KMP|MKL|OPENBLAS|ONEDNN|DNNL|MALLOC|PYTORCH)_\w+|"
    r"ATEN_CPU_CAPABILITY|GLIBC_TUNABLES|LD_LIBRARY_PATH|"
    r"CUDA_(VISIBLE_DEVICES|DEVICE_ORDER|LAUNCH_BLOCKING|MODULE_LOADING)|"
    r"NVIDIA_(TF32_OVERRIDE|VISIBLE_DEVICES|DRIVER_CAPABILITIES)"
)
"""Environment variables that a worker inherits: those for language, time zone and speed."""
PROBE_SECONDS = 60.0
BOOT = (
    "import os, sys; sys.path += sys.argv.pop(1).split(os.pathsep); "
    "from esrbench.sandbox.start import main; main(sys.argv[1:])"
)
"""Starts a worker in an interpreter without esrbench, whose folder is its first argument."""


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why a sandbox cannot be used here.

    Attributes:
        reason: what was found, without a full stop.
        advice: what to do about it.
    """

    reason: str
    advice: str


class Sandbox(ABC):
    """Starts workers in one kind of sandbox.

    Args:
        entry: ``module:function`` that workers run, confined, with their arguments.
        unused: why a stronger sandbox is not used; None where there is none or it was not wanted.

    Attributes:
        tier: its name in records.
        choice: the value of ``--isolation`` that asks for it.
        title: its name in messages.
        finding: what ``esrbench doctor`` says if it is the strongest that works.
        privileges: whether its workers keep the user's privileges and all system calls.
        banner: what a worker is not kept from, and why a stronger sandbox is not used; None where
            it is kept from everything.
    """

    tier: ClassVar[Tier]
    choice: ClassVar[str]
    title: ClassVar[str]
    finding: ClassVar[str]
    privileges: ClassVar[bool] = False

    def __init__(self, *, entry: str = WORKER, unused: str | None = None) -> None:
        weakness = self.weakness()
        why = f" ({unused})" if unused else ""
        self.banner = None if weakness is None else f"{weakness}{why}."
        self._entry = entry
        self._removals: weakref.WeakKeyDictionary[subprocess.Popen[bytes], Callable[[], object]] = (
            weakref.WeakKeyDictionary()
        )

    @staticmethod
    @abstractmethod
    def weakness() -> str | None:
        """What its workers are not kept from, without a full stop; None if there is nothing."""

    @staticmethod
    def missing() -> Obstacle | None:
        """What it needs but this machine lacks, found without a test; None if there is nothing."""
        return None

    @classmethod
    def obstacle(cls) -> Obstacle | None:
        """Why it cannot be used here, by trying it; None where it works."""
        missing = cls.missing()
        if missing is not None:
            return missing
        said = cls(entry=PROBE)._try()  # noqa: SLF001 - our own
        if said is None:
            return None
        return Obstacle(f"{cls.title} does not work here ({said})", _advice(said))

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

        It leads a session of its own and its input is empty. Its only descriptors are the three
        standard ones and ``pass_fds``. End it by ``kill``.

        Args:
            arguments: arguments of the worker.
            view: files that it sees.
            limits: resources that it may use.
            pass_fds: descriptors that it inherits.
            log_fd: descriptor that receives what it prints.
            variables: environment variables, in addition to those of ``INHERITED``.

        Raises:
            UsageError: something readable is not there or is hidden.
            OSError: no process can be started.
        """
        visible = resolve_view(view)
        temp = self.temp_folder()
        descriptors: list[int] = []
        try:
            descriptors.append(self._policy(visible, limits, temp).write())
            command = [*_program(visible.interpreter), str(descriptors[0]), *arguments]
            process = subprocess.Popen(  # noqa: S603 - our own module, no shell
                [*self.around(visible, limits, descriptors), *command],
                stdin=subprocess.DEVNULL,
                stdout=log_fd,
                stderr=log_fd,
                pass_fds=(*pass_fds, *descriptors),
                env=_environment(variables, temp, visible.interpreter),
                start_new_session=True,
                cwd="/",
            )
        except BaseException:
            self.remove(temp)
            raise
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        self._removals[process] = weakref.finalize(process, self.remove, temp)
        return process

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """End a worker and all that descends from it, and remove its temporary folder."""
        self.end_descendants(process)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        _reap(process)
        removal = self._removals.pop(process, None)
        if removal is not None:
            removal()

    # A sandbox may override what follows.

    def around(
        self,
        visible: Visible,  # noqa: ARG002 - for sandboxes that are programs
        limits: Limits,  # noqa: ARG002 - likewise
        descriptors: list[int],  # noqa: ARG002 - likewise
    ) -> list[str]:
        """A program and its options in front of the worker's command.

        Args:
            visible: what the worker sees.
            limits: resources that it may use.
            descriptors: receives those that the program inherits; they are closed once it runs.
        """
        return []

    def grants(self, visible: Visible, limits: Limits, temp: str) -> list[tuple[Grant, str]] | None:  # noqa: ARG002 - for sandboxes that use it
        """All that Landlock leaves to a worker, None for everything."""
        return None

    def evaluator(self) -> int | None:
        """Our process id as the worker sees it; None where it has process ids of its own."""
        return os.getpid()

    def temp_folder(self) -> str:
        """A worker's new temporary folder, under the name that it has there."""
        return str(Path(tempfile.mkdtemp(prefix="esrbench-")).resolve())

    @staticmethod
    def remove(temp: str) -> None:
        """Remove a worker's temporary folder, however deep its folders are."""
        try:
            shutil.rmtree(temp)
        except (OSError, RecursionError):
            subprocess.run(["rm", "-rf", "--", temp], check=False)  # noqa: S603, S607

    def end_descendants(self, process: subprocess.Popen[bytes]) -> None:
        """End what a worker started.

        While the worker runs, all its descendants are found. If it ended first, only those in its
        session are found.
        """
        stopped: set[int] = set()
        if process.poll() is None:
            # Stopped processes start nothing new, so this loop ends.
            while new := {*family(process.pid)} - stopped:
                for pid in new:
                    _signal(pid, signal.SIGSTOP)
                stopped |= new
        for pid in stopped:
            _signal(pid, signal.SIGKILL)

    def _policy(self, visible: Visible, limits: Limits, temp: str) -> Policy:
        return Policy(
            entry=self._entry,
            evaluator=self.evaluator(),
            path=list(visible.path),
            temp=temp,
            privileges=self.privileges,
            grants=self.grants(visible, limits, temp),
            resources=limits.resources(capped_memory=not visible.device.gpu),
            processes=limits.processes,
            device_calls=list(visible.device.calls),
            packages=not visible.interpreter.own,
            preloaded=LOADING if visible.interpreter.own and self._entry == WORKER else "",
        )

    def _try(self) -> str | None:
        """Start a worker that only answers. None if that works, else the last line it printed."""
        read, write = os.pipe()
        with os.fdopen(read, "rb") as log:
            try:
                process = self.start(
                    [], View(readable=()), Limits(), pass_fds=(), log_fd=write, variables={}
                )
            except (OSError, UsageError) as error:
                return str(error)
            finally:
                os.close(write)
            try:
                code = process.wait(PROBE_SECONDS)
            except subprocess.TimeoutExpired:
                return f"no answer in {PROBE_SECONDS:g} s"
            finally:
                self.kill(process)
            said = log.read(1 << 16).decode(errors="replace").strip()
        if code == 0 and said.endswith("confined"):
            return None
        return said.splitlines()[-1] if said else f"exit status {code}"


def _program(interpreter: Interpreter) -> list[str]:
    """What runs ``esrbench.sandbox.start`` in an interpreter."""
    program = str(interpreter.executable)
    if interpreter.own:
        return [program, "-P", "-m", "esrbench.sandbox.start"]
    # Packages may run code at every start, so they are left out until it is confined.
    parents = dict.fromkeys(str(folder.parent) for folder in own_packages().values())
    return [program, "-I", "-S", "-B", "-c", BOOT, os.pathsep.join(parents)]


def _environment(
    variables: Mapping[str, str], temp: str, interpreter: Interpreter
) -> dict[str, str]:
    inherited = {key: value for key, value in os.environ.items() if INHERITED.fullmatch(key)}
    installed = {*site.getsitepackages()}
    own = dict.fromkeys(str(folder.parent) for folder in own_packages().values())
    programs = dict.fromkeys((str(interpreter.executable.parent), "/usr/local/bin", "/usr/bin"))
    return {
        **inherited,
        "PATH": os.pathsep.join((*programs, "/bin")),
        "HOME": temp,
        "TMPDIR": temp,
        "USER": "worker",
        "LOGNAME": "worker",
        # Python must look for the standard library before it looks into packages.
        "PYTHONPATH": os.pathsep.join(path for path in own if path not in installed),
        "PYTHONDONTWRITEBYTECODE": "1",
        # Its packages are on the path that it is given; its home is not that of the user.
        "PYTHONNOUSERSITE": "1",
        **variables,
    }


def _advice(said: str) -> str:
    """Advice on the error of a sandbox that was tested."""
    if "Unknown option" in said or "setuid" in said:
        return "Install bubblewrap 0.8 or newer, without the setuid bit."
    if re.search(r"uid map|namespace|Operation not permitted|Permission denied", said):
        return (
            "User namespaces are restricted here. Ubuntu 23.10 or newer: give bwrap an AppArmor "
            "profile with userns; in Docker: run with --security-opt seccomp=unconfined "
            "--security-opt apparmor=unconfined, or measure in a container by the recipe in "
            "`esrbench help isolation`."
        )
    return "`esrbench help isolation` says what each sandbox needs."


def _reap(process: subprocess.Popen[bytes]) -> None:
    """Wait for the end of a process that was killed.

    We do not use ``Popen.wait``: if a signal handler raised within an earlier call, its lock is
    held forever.
    """
    if process.returncode is None:
        status = 0
        with contextlib.suppress(ChildProcessError):
            _, status = os.waitpid(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)


def _signal(pid: int, which: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, which)

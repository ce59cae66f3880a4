"""A worker's first steps: it confines itself for good, and only then runs what it was started for.

Run as ``python -P -m esrbench.sandbox.start POLICY_FD ARGUMENTS...``, or by ``BOOT`` in another
interpreter. Nothing here comes from
outside the standard library, and no submission's code is imported before ``confine`` is done.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import resource
import signal
import site
import struct
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from esrbench.sandbox import landlock, seccomp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esrbench.devices import DeviceCall
    from esrbench.sandbox.landlock import Grant

WORKER = "esrbench.worker.worker:main"
LOADING = "esrbench.worker.own"
"""Module that a worker in the harness's own interpreter needs to load a network."""
PROBE = "esrbench.sandbox.start:answer_probe"

# linux/prctl.h
SET_DEATH_SIGNAL, SET_DUMPABLE, CAPABILITY_BOUND_DROP = 1, 4, 24
SET_SUBREAPER, SET_NO_NEW_PRIVILEGES = 36, 38
CAPABILITY_VERSION = 0x20080522
"""``_LINUX_CAPABILITY_VERSION_3`` of ``linux/capability.h``."""
LAST_CAPABILITY = 63


@dataclass(frozen=True)
class Policy:
    """Settings by which a worker confines itself, and the command that it then runs.

    Attributes:
        entry: ``module:function`` called with the arguments.
        evaluator: process id that must be its parent and whose end is its own; None where the
            worker has process ids of its own.
        path: its ``sys.path``.
        temp: its temporary folder.
        privileges: it keeps those of its user, and all system calls.
        grants: all that Landlock leaves it, None for everything.
        resources: limits of the kernel by the name of their constant in ``resource``.
        processes: it may start processes.
        device_calls: kinds of system calls that the driver of its device makes.
        packages: add the interpreter's installed packages to the path once it is confined. Code
            that they run at every start runs then.
        preloaded: module that is imported before any request, so that a worker that was started
            early need not import it later; empty for none.
    """

    entry: str
    evaluator: int | None
    path: list[str]
    temp: str
    privileges: bool
    grants: list[tuple[Grant, str]] | None
    resources: dict[str, int]
    processes: bool
    device_calls: list[DeviceCall]
    packages: bool = False
    preloaded: str = ""

    def write(self) -> int:
        """A descriptor of a nameless file that holds the policy."""
        return nameless(json.dumps(asdict(self)).encode())

    @classmethod
    def read(cls, descriptor: int) -> Policy:
        """The policy that a descriptor holds; it is closed."""
        with os.fdopen(descriptor, "rb") as file:
            return cls(**json.load(file))


def nameless(content: bytes) -> int:
    """A descriptor of a file without a name, at its beginning."""
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.flush()
        descriptor = os.dup(file.fileno())
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def confine(policy: Policy) -> None:
    """Give up, for good, all that the policy does not allow. Call it before other threads start.

    Raises:
        OSError: the kernel refuses a step. The caller must not run anything then.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    end_with_parent(libc, policy.evaluator)
    _prefer_as_victim()
    _set_path(policy)
    os.chdir(policy.temp)
    for name, wanted in policy.resources.items():
        which = getattr(resource, name)
        _, hard = resource.getrlimit(which)
        value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(which, (value, value))
    if sys.platform != "linux":
        return  # only plain processes there
    if policy.evaluator is not None:
        # Descendants of the worker stay its descendants, so that the evaluator finds them.
        _prctl(libc, SET_SUBREAPER, 1)
    if not policy.privileges:
        drop_privileges(libc)
    if policy.grants is not None:
        landlock.restrict(policy.grants)
    if not policy.processes:
        # A limit of 0 does not keep a core from a program that collects them; this does.
        _prctl(libc, SET_DUMPABLE, 0)
    if not policy.privileges and seccomp.this_machine() is not None:
        rules = seccomp.Rules(
            processes=policy.processes,
            own=os.getpid(),
            evaluator=policy.evaluator,
            device_calls=policy.device_calls,
        )
        seccomp.install(rules)


def end_with_parent(libc: ctypes.CDLL, evaluator: int | None) -> None:
    """Let the kernel kill this process when its parent dies, however that dies."""
    if sys.platform == "linux":
        _prctl(libc, SET_DEATH_SIGNAL, signal.SIGKILL)
    if evaluator is not None and os.getppid() != evaluator:
        raise SystemExit("the evaluator is gone")


def drop_privileges(libc: ctypes.CDLL) -> None:
    """Give up root's capabilities, and those that privileged programs would add."""
    _prctl(libc, SET_NO_NEW_PRIVILEGES, 1)
    for capability in range(LAST_CAPABILITY + 1):
        # The kernel refuses for capabilities that it does not know or that are dropped already.
        libc.prctl(CAPABILITY_BOUND_DROP, capability, 0, 0, 0)
    header = struct.pack("=Ii", CAPABILITY_VERSION, 0)
    if libc.capset(header, bytes(24)):
        number = ctypes.get_errno()
        raise OSError(number, f"capset: {os.strerror(number)}")


def _prctl(libc: ctypes.CDLL, option: int, value: int) -> None:
    if libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0):
        number = ctypes.get_errno()
        raise OSError(number, f"prctl {option}: {os.strerror(number)}")


def _prefer_as_victim() -> None:
    """Have the kernel end this process, and not the evaluator, when memory runs out."""
    try:
        Path("/proc/self/oom_score_adj").write_text("1000")
    except OSError:
        return  # some containers have it read-only; limits hold all the same


def _set_path(policy: Policy) -> None:
    # An editable installation puts our packages' parents on the path, and a worker may not list
    # them. Packages that are imported already are not looked for again.
    importlib.import_module("esrbench_models")
    sys.path[:] = policy.path
    os.environ.pop("PYTHONPATH", None)


def answer_probe(_arguments: Sequence[str]) -> None:
    """Report that the worker is confined, or fail if it can write to the root folder."""
    try:
        Path("/esrbench-probe").open("x").close()  # touch would set times first
    except OSError:
        sys.stdout.write("confined")
        return
    Path("/esrbench-probe").unlink()
    raise SystemExit("the root folder could be written")


def main(arguments: Sequence[str]) -> None:
    """Confine this process as the policy says, then call its entry.

    Args:
        arguments: descriptor of the policy, then those of the entry.
    """
    policy = Policy.read(int(arguments[0]))
    confine(policy)
    module, _, function = policy.entry.partition(":")
    # Imports leave little garbage, and collecting it takes a tenth of their time.
    gc.disable()
    if policy.packages:
        site.main()
    imported = importlib.import_module(module)
    if policy.preloaded:
        importlib.import_module(policy.preloaded)
    gc.enable()
    getattr(imported, function)(arguments[1:])


if __name__ == "__main__":
    main(sys.argv[1:])

"""seccomp: a process gives up system calls for good (kernel seccomp_filter).

The filter denies calls that no super-resolution network needs: starting processes, networking,
access to other processes, mounting, and kernel interfaces with a history of vulnerabilities. All
other calls are allowed, so that libraries work. Calls newer than ``HIGHEST`` do not exist for a
worker.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from esrbench.sandbox.syscalls import HIGHEST, SYSCALLS

if TYPE_CHECKING:
    from collections.abc import Collection

    from esrbench.devices import DeviceCall
    from esrbench.sandbox.syscalls import Kind

Machine = Literal["x86_64", "aarch64"]
ARCHITECTURES: Final[dict[Machine, int]] = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""As ``linux/audit.h`` numbers them."""

# linux/bpf_common.h, linux/filter.h
LOAD, JUMP_EQUAL, JUMP_GREATER_EQUAL, JUMP_ANY_BIT, AND, RETURN = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06
# linux/seccomp.h
ALLOW, ERRNO, KILL_PROCESS = 0x7FFF0000, 0x00050000, 0x80000000
SET_MODE_FILTER = 1
ALL_THREADS, KEEP_SPECULATION = 1 << 0, 1 << 2
NUMBER, ARCHITECTURE, ARGUMENTS = 0, 4, 16
"""Offsets in ``struct seccomp_data``."""
SECCOMP_CALL: Final[dict[Machine, int]] = {"x86_64": 317, "aarch64": 277}

CLONE_THREAD = 0x00010000
NEW_NAMESPACES = 0x7E020000
"""Flags of clone(2) for all namespaces but time, which clone(2) cannot make."""
CLONE_PARENT = 0x00008000
"""Flag of clone(2) that makes the new process the evaluator's child."""
AF_UNIX, SOCK_STREAM, SOCK_SEQPACKET, SOCK_TYPES = 1, 1, 5, 0xF
PRCTLS: Final = (1, 4, 35, 36, 0x59616D61)
"""Death signal, dumpable, memory map, subreaper, tracer: workers must not change how they are
controlled."""
SIGNALS: Final = ("kill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo")
GROUPS = 0x80000000
"""From this number on, ``kill`` reads it as negative: a process group, or all processes."""
OWNERS: Final = (8, 10, 15)
"""F_SETOWN, F_SETSIG and F_SETOWN_EX of fcntl(2): who gets which signal when a file is ready."""
TERMINAL: Final = (0x8901, 0x8902, 0x5412, 0x541C)
"""The same for sockets by ioctl(2) (FIOSETOWN, SIOCSPGRP), and typing into a terminal (TIOCSTI,
TIOCLINUX)."""


class Instruction(NamedTuple):
    """One step of the filter (``struct sock_filter``); jumps count from the next one."""

    code: int
    if_true: int
    if_false: int
    value: int


@dataclass(frozen=True)
class Rules:
    """What the filter depends on.

    Attributes:
        processes: the worker may start processes.
        own: its process id, as it sees it.
        evaluator: the evaluator's process id where the worker shares its view of processes.
        device_calls: kinds of calls that the driver of its device makes.
    """

    processes: bool
    own: int
    evaluator: int | None = None
    device_calls: Collection[DeviceCall] = ()


def this_machine() -> Machine | None:
    """The architecture we run on, or None where there is no filter for it."""
    name = platform.machine()
    # A process of 32 bits may run on a kernel of 64.
    whole = sys.platform == "linux" and sys.maxsize > 2**32
    return next((known for known in ARCHITECTURES if whole and known == name), None)


def install(rules: Rules) -> None:
    """Filter this process's calls from now on; privileges must have been given up before.

    Raises:
        OSError: the kernel refuses.
    """
    machine = this_machine()
    if machine is None:
        raise OSError(errno.ENOSYS, f"seccomp: there is no filter for {platform.machine()}")
    steps = program(machine, rules)
    content = b"".join(struct.pack("=HBBI", *step) for step in steps)
    filter_ = _Program(len(steps), content)
    call = ctypes.CDLL(None, use_errno=True).syscall
    # Without the second flag, kernels before 5.16 slow all branches of a filtered process down.
    for flags in (ALL_THREADS | KEEP_SPECULATION, ALL_THREADS):
        if not call(SECCOMP_CALL[machine], SET_MODE_FILTER, flags, ctypes.byref(filter_)):
            return
        if ctypes.get_errno() != errno.EINVAL:
            break
    number = ctypes.get_errno()
    raise OSError(number, f"seccomp: {os.strerror(number)}")


class _Program(ctypes.Structure):
    """``struct sock_fprog``."""

    _fields_ = [("length", ctypes.c_ushort), ("steps", ctypes.c_char_p)]


def program(machine: Machine, rules: Rules) -> list[Instruction]:
    """The filter for a machine."""
    steps = [
        Instruction(LOAD, 0, 0, ARCHITECTURE),
        Instruction(JUMP_EQUAL, 1, 0, ARCHITECTURES[machine]),
        _return(KILL_PROCESS),
        Instruction(LOAD, 0, 0, NUMBER),
        # So that calls of x32, whose numbers have a high bit, do not exist either.
        Instruction(JUMP_GREATER_EQUAL, 0, 1, HIGHEST + 1),
        _deny(errno.ENOSYS),
    ]
    for name, block in _blocks(rules).items():
        number = SYSCALLS[name].x86_64 if machine == "x86_64" else SYSCALLS[name].aarch64
        if number is not None:
            steps += [Instruction(JUMP_EQUAL, 0, len(block), number), *block]
    return [*steps, _return(ALLOW)]


def _blocks(rules: Rules) -> dict[str, list[Instruction]]:
    """The action for each call that is not simply allowed."""
    denied = [_deny(errno.EPERM)]
    absent = [_deny(errno.ENOSYS)]
    blocks = dict.fromkeys(_of_kind("denied"), denied)
    # Its flags lie in memory, which a filter cannot read; glibc then uses clone.
    blocks["clone3"] = absent
    blocks["clone"] = [*_deny_any_bit(NEW_NAMESPACES | CLONE_PARENT), *_all_but(())]
    blocks["socketpair"] = [*_load(0), *_unless(AF_UNIX), *_load(1), *_only_types((SOCK_STREAM,))]
    if "listening" in rules.device_calls:
        # CUDA fails to start where it cannot listen on a local socket. Connecting, accepting and
        # datagrams stay denied, so nothing is ever sent.
        connected = _only_types((SOCK_STREAM, SOCK_SEQPACKET))
        blocks["socket"] = [*_load(0), *_unless(AF_UNIX), *_load(1), *connected]
    else:
        blocks.update(dict.fromkeys(_of_kind("listening"), denied))
    blocks["prctl"] = [*_load(0), *_all_but(PRCTLS)]
    blocks["fcntl"] = [*_load(1), *_all_but(OWNERS)]
    blocks["ioctl"] = [*_load(1), *_all_but(TERMINAL)]
    blocks["prlimit64"] = [*_load(0), *_only((0, rules.own))]
    if not rules.processes:
        blocks.update(dict.fromkeys(_of_kind("starting"), denied))
        blocks["clone"] = [*_deny_any_bit(NEW_NAMESPACES | CLONE_PARENT), *_only_threads()]
        blocks.update({key: [*_load(0), *_only((rules.own,))] for key in SIGNALS})
    elif rules.evaluator is not None:
        signals = [*_load(0), *_deny_from(GROUPS), *_all_but((rules.evaluator,))]
        blocks.update(dict.fromkeys(SIGNALS, signals))
    if "uncounted" not in rules.device_calls:
        blocks.update(dict.fromkeys(_of_kind("uncounted"), absent))
    if rules.evaluator is not None:
        blocks.update(dict.fromkeys(_of_kind("shared"), denied))
        # Compilers and programs that copy files make these calls routinely.
        pretended = [_deny(0)] if rules.processes else denied
        blocks.update(dict.fromkeys(_of_kind("pretended"), pretended))
        # Other threads of its own have numbers like those of other processes.
        blocks["sched_setaffinity"] = [*_load(0), *_only((0, rules.own))]
    return blocks


def _of_kind(kind: Kind) -> list[str]:
    return [name for name, call in SYSCALLS.items() if call.kind == kind]


def _return(action: int) -> Instruction:
    return Instruction(RETURN, 0, 0, action)


def _deny(number: int) -> Instruction:
    return _return(ERRNO | number)


def _load(argument: int) -> list[Instruction]:
    """The lower half of an argument; the kernel too takes these as 32 bits."""
    return [Instruction(LOAD, 0, 0, ARGUMENTS + 8 * argument)]


def _deny_any_bit(mask: int) -> list[Instruction]:
    return [*_load(0), Instruction(JUMP_ANY_BIT, 0, 1, mask), _deny(errno.EPERM)]


def _only_threads() -> list[Instruction]:
    return [
        Instruction(JUMP_ANY_BIT, 0, 1, CLONE_THREAD),
        _return(ALLOW),
        _deny(errno.EPERM),
    ]


def _unless(value: int) -> list[Instruction]:
    """Deny if the loaded value is a different one."""
    return [Instruction(JUMP_EQUAL, 1, 0, value), _deny(errno.EPERM)]


def _only_types(values: tuple[int, ...]) -> list[Instruction]:
    """Allow these types of socket; a datagram socket could send to any address."""
    return [Instruction(AND, 0, 0, SOCK_TYPES), *_only(values)]


def _only(values: tuple[int, ...]) -> list[Instruction]:
    """Allow these values, deny all others."""
    allowed = [
        step for value in values for step in (Instruction(JUMP_EQUAL, 0, 1, value), _return(ALLOW))
    ]
    return [*allowed, _deny(errno.EPERM)]


def _deny_from(least: int) -> list[Instruction]:
    """Deny this value and larger ones."""
    return [Instruction(JUMP_GREATER_EQUAL, 0, 1, least), _deny(errno.EPERM)]


def _all_but(values: tuple[int, ...]) -> list[Instruction]:
    """Deny these values, allow all others."""
    denied = [
        step
        for value in values
        for step in (Instruction(JUMP_EQUAL, 0, 1, value), _deny(errno.EPERM))
    ]
    return [*denied, _return(ALLOW)]

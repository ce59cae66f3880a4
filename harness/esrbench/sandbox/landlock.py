"""Landlock: a process gives up, for good, all files except named ones (kernel landlock(7)).

``stat`` still works on paths without any grant; everything else fails there with "permission
denied". Rules for a folder hold for all that lies below it.
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct
import sys
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

Grant = Literal["list", "read", "execute", "device", "write", "build"]
"""``list``: see names in folders; ``read``: also read contents; ``execute``: also start programs;
``device``: read, write and control; ``write``: everything except starting programs and making
devices or sockets; ``build``: as ``write``, and start programs."""

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
"""System calls, the same on every architecture (``asm-generic/unistd.h``)."""
CREATE_RULESET_VERSION = 1
RULE_PATH_BENEATH = 1

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
REFER, TRUNCATE, IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
MAKE_CHAR, MAKE_SOCK, MAKE_BLOCK = 1 << 6, 1 << 9, 1 << 11
OLDEST_RIGHTS = (1 << 13) - 1
"""Rights of version 1: the four above, and removing and making files of every kind."""
OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
"""Rights that can be granted on a file that is not a folder."""
NET_BIND_TCP, NET_CONNECT_TCP = 1, 2
SCOPE_ABSTRACT_SOCKETS, SCOPE_SIGNALS = 1, 2

TRUNCATE_SINCE, NETWORK_SINCE, IOCTL_SINCE, SCOPE_SINCE = 3, 4, 5, 6
REFER_SINCE = 2

_WRITING = (OLDEST_RIGHTS | REFER | TRUNCATE) & ~(EXECUTE | MAKE_CHAR | MAKE_SOCK | MAKE_BLOCK)
RIGHTS: Final[dict[Grant, int]] = {
    "list": READ_DIR,
    "read": READ_DIR | READ_FILE,
    "execute": READ_DIR | READ_FILE | EXECUTE,
    "device": READ_DIR | READ_FILE | WRITE_FILE | IOCTL_DEV,
    "write": _WRITING,
    "build": _WRITING | EXECUTE,
}


def version() -> int:
    """The kernel's version of Landlock; 0 if there is none or it is switched off."""
    if not sys.platform.startswith("linux"):
        return 0
    return max(0, _call(CREATE_RULESET, None, 0, CREATE_RULESET_VERSION))


def handled(abi: int) -> tuple[int, int, int]:
    """All rights a kernel can take away: on files, on the network, and towards processes."""
    files = OLDEST_RIGHTS
    for since, right in (
        (REFER_SINCE, REFER),
        (TRUNCATE_SINCE, TRUNCATE),
        (IOCTL_SINCE, IOCTL_DEV),
    ):
        files |= right if abi >= since else 0
    network = NET_BIND_TCP | NET_CONNECT_TCP if abi >= NETWORK_SINCE else 0
    scopes = SCOPE_ABSTRACT_SOCKETS | SCOPE_SIGNALS if abi >= SCOPE_SINCE else 0
    return files, network, scopes


def restrict(grants: Iterable[tuple[Grant, str]]) -> None:
    """Give up everything except ``grants``; privileges must have been given up before.

    This holds for this thread and all that it starts from now on. Call it before others start.

    Args:
        grants: each right that is kept, with its file or folder; links are followed.

    Raises:
        OSError: the kernel refuses, or a path is not there.
    """
    abi = version()
    files, network, scopes = handled(abi)
    words = [files]
    if abi >= NETWORK_SINCE:
        words.append(network)
    if abi >= SCOPE_SINCE:
        words.append(scopes)
    attributes = struct.pack(f"={len(words)}Q", *words)
    ruleset = _checked(CREATE_RULESET, attributes, len(attributes), 0)
    try:
        for grant, path in grants:
            _allow(ruleset, RIGHTS[grant] & files, path)
        _checked(RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def _allow(ruleset: int, rights: int, path: str) -> None:
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            rights &= OF_FILES
        if rights:
            rule = struct.pack("=Qi", rights, descriptor)
            _checked(ADD_RULE, ruleset, RULE_PATH_BENEATH, rule, 0)
    finally:
        os.close(descriptor)


def _checked(number: int, *arguments: int | bytes | None) -> int:
    result = _call(number, *arguments)
    if result < 0:
        raise OSError(-result, f"Landlock: {os.strerror(-result)}")
    return result


def _call(number: int, *arguments: int | bytes | None) -> int:
    """A system call's result, or its error as a negative number."""
    system = ctypes.CDLL(None, use_errno=True).syscall
    system.restype = ctypes.c_long
    passed = [
        ctypes.c_char_p(value)
        if isinstance(value, bytes) or value is None
        else ctypes.c_long(value)
        for value in arguments
    ]
    result = int(system(ctypes.c_long(number), *passed))
    return result if result >= 0 else -ctypes.get_errno()

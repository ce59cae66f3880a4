"""Make a namespace in which it is root."""

from __future__ import annotations

import ctypes
from typing import Any


def attempt(_facts: dict[str, Any]) -> object:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(0x00020000):  # CLONE_NEWNS
        raise OSError(ctypes.get_errno(), "unshare")
    return True

"""Use a kernel interface with a history (io_uring)."""

from __future__ import annotations

import ctypes
import os
from typing import Any


def attempt(_facts: dict[str, Any]) -> object:
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.syscall(425, 1, ctypes.create_string_buffer(120))
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), "io_uring_setup")
    os.close(descriptor)
    return True

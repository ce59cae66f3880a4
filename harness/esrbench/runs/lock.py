"""One process at a time measures on a device: a lock that ends with its owner in any case."""

from __future__ import annotations

import fcntl
import json
import os
import platform
import re
import tempfile
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from esrbench.devices import selection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from esrbench.protocol import Device


WAITING: Final = "waiting for"
"""How a step begins in which nothing is done until another process has ended."""


@contextmanager
def device_lock(
    device: Device, number: int = 0, *, on_wait: Callable[[str], None] = lambda _: None
) -> Iterator[None]:
    """Be the only process of this user that measures on a device of this machine.

    If no lock can be made, the block runs without one. The record still shows other load. Within a
    job of Slurm, GPUs have new numbers, and are the job's own.

    Args:
        device: kind of the device; all CPUs are one.
        number: of the GPU.
        on_wait: told once who measures there, if somebody does.
    """
    job = os.environ.get("SLURM_JOB_ID", "")
    seen = "-".join(filter(None, selection(device, number, os.environ).values()))
    name = re.sub(r"[^A-Za-z0-9-]", "-", f"{device}-{seen}-{job}" if seen else device)
    try:
        descriptor = os.open(_folder() / f"{name}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError:
        yield
        return
    try:
        _take(descriptor, on_wait)
        yield
    finally:
        os.close(descriptor)


def _folder() -> Path:
    """A folder of this user, on this machine."""
    for parent in (os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir()):
        if not parent:
            continue
        folder = Path(parent) / f"esrbench-{os.getuid()}"
        with suppress(OSError):
            folder.mkdir(mode=0o700, exist_ok=True)
            return folder
    return Path(tempfile.gettempdir())


def _take(descriptor: int, on_wait: Callable[[str], None]) -> None:
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            on_wait(_owner(descriptor))
            # Polling would lose against an owner that makes one pass after the other.
            fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError:
        return  # this file system knows no locks
    owner = {
        "process": os.getpid(),
        "host": platform.node(),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    # It only tells others whom they wait for.
    with suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(owner).encode(), 0)


def _owner(descriptor: int) -> str:
    try:
        owner = json.loads(os.pread(descriptor, 1000, 0))
        return f"process {owner['process']}, which measures since {owner['since']}"
    except (OSError, ValueError, TypeError, KeyError):
        return "another process that measures"

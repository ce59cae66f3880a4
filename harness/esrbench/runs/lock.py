"""A lock by which one process at a time measures on a device; it always ends with its owner."""

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
"""First words of the name of a step that waits for another process."""


@contextmanager
def device_lock(
    device: Device, number: int = 0, *, on_wait: Callable[[str], None] = lambda _: None
) -> Iterator[None]:
    """Be the only process of this user that measures on a device of this machine.

    If no lock can be made, the block runs without one. The record still shows the load of others. A
    job of Slurm numbers its GPUs from 0; they are locked only against processes of the same job.

    Args:
        device: kind of the device; all CPUs are one device.
        number: number of the GPU.
        on_wait: called once with the owner of the lock, if another process holds it.
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
    """A folder for locks of this user on this machine."""
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
            # With polling, an owner that makes one pass after the other would always be faster.
            fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError:
        return  # this file system knows no locks
    owner = {
        "process": os.getpid(),
        "host": platform.node(),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    # This text only shows waiting processes who holds the lock.
    with suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(owner).encode(), 0)


def _owner(descriptor: int) -> str:
    try:
        owner = json.loads(os.pread(descriptor, 1000, 0))
        return f"process {owner['process']}, which has measured since {owner['since']}"
    except (OSError, ValueError, TypeError, KeyError):
        return "another process that is measuring"

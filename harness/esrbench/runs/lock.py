"""One writer at a time: a lock that the system takes back however its owner ends."""

from __future__ import annotations

import json
import os
import platform
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from esrbench.errors import RecordError

if TYPE_CHECKING:
    from pathlib import Path

    from esrbench.files import Files

LOCK: Final = ".lock"
WAIT_SECONDS: Final = 1.0
"""A reader holds the lock for as long as it sets a record aside; a writer waits so long for it."""
_POLL_SECONDS: Final = 0.05


class WriterLock:
    """``flock`` on ``<folder>/.lock``. The file stays: removing it could give two owners.

    Its owner is named in it for others to read; only the lock itself counts.

    Args:
        folder: that is locked.
        files: operations on the disk.
    """

    def __init__(self, folder: Path, files: Files) -> None:
        self._path = folder / LOCK
        self._files = files
        self._descriptor: int | None = None

    @property
    def held(self) -> bool:
        """Whether this object holds it."""
        return self._descriptor is not None

    def acquire(self) -> None:
        """Take the lock.

        Raises:
            RecordError: another process has it, or this file system knows no locks.
            OSError: its file cannot be opened.
        """
        descriptor = self._files.open_lock(self._path)
        try:
            self._lock(descriptor)
        except BaseException:
            with suppress(OSError):
                self._files.close(descriptor)
            raise
        self._descriptor = descriptor
        owner = {
            "process": os.getpid(),
            "host": platform.node(),
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        # It only makes another's error message better: a full disk is found by what is written.
        with suppress(OSError):
            self._files.describe_owner(descriptor, json.dumps(owner).encode())

    def release(self) -> None:
        """Give the lock back."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            with suppress(OSError):
                self._files.close(descriptor)

    def _lock(self, descriptor: int) -> None:
        latest = time.monotonic() + WAIT_SECONDS
        while True:
            try:
                self._files.lock(descriptor)
            except BlockingIOError:
                if time.monotonic() >= latest:
                    message = f"{self._path.parent} is in use by {self._owner()}"
                    advice = "Wait until it is done, or give --results another folder."
                    raise RecordError(message, advice=advice) from None
                time.sleep(_POLL_SECONDS)
            except OSError as error:
                message = f"{self._path}: files cannot be locked here: {error.strerror or error}"
                advice = "Give --results a folder on a local disk."
                raise RecordError(message, advice=advice) from error
            else:
                return

    def _owner(self) -> str:
        try:
            owner = json.loads(self._files.read(self._path))
            process, host, started = owner["process"], owner["host"], owner["started"]
        except (OSError, ValueError, TypeError, KeyError):
            return "another process"
        return f"process {process} on {host}, started at {started}"

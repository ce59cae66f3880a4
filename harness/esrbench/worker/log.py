"""The last of what a worker printed."""

from __future__ import annotations

import os
import threading

from esrbench.plaintext import lines

LOG_BYTES = 64 * 1024


class LogTail(threading.Thread):
    """Drains a pipe so that the writer never blocks; keeps the last ``LOG_BYTES``."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(daemon=True)
        self._descriptor = descriptor
        self._content = bytearray()

    def run(self) -> None:
        """Read until every writer has closed."""
        with os.fdopen(self._descriptor, "rb", buffering=0) as pipe:
            while chunk := pipe.read(1 << 16):
                self._content += chunk
                del self._content[:-LOG_BYTES]

    def text(self) -> str:
        """What was kept, long lines cut."""
        return lines(bytes(self._content).decode(errors="replace"))

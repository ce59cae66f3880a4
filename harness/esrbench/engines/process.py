"""A cell in a process of its own on this machine."""

from __future__ import annotations

import os
import subprocess
import tempfile
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from esrbench.runs.cells import last_words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TAIL_BYTES: Final = 20_000
END_SECONDS: Final = 20.0
"""Time limit for a process to end its workers, in seconds."""


class CellProcess:
    """Starts a process and keeps its standard error.

    Args:
        command: command that makes a cell.
        variables: environment variables of the process.

    Attributes:
        pid: id of the process.
    """

    def __init__(self, command: Sequence[str], variables: Mapping[str, str]) -> None:
        self._messages = tempfile.TemporaryFile()  # noqa: SIM115 - closed once it is read
        self._process = subprocess.Popen(  # noqa: S603 - our own command
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._messages,
            env=variables,
        )
        self.pid = self._process.pid

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self._process.poll() is not None

    def wait(self, seconds: float) -> bool:
        """Whether it has ended after so many seconds at most."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        return self.over

    def terminate(self) -> None:
        """Ask it to end, as Ctrl-C does: its workers end, and finished passes stay."""
        with suppress(OSError):
            self._process.terminate()

    def end(self) -> None:
        """Return once it has ended."""
        self.terminate()
        if not self.wait(END_SECONDS):
            self._process.kill()
            self._process.wait()
        self._messages.close()

    def why(self) -> str:
        """Why the ended process failed; empty if it did not."""
        code = self._process.wait()
        size = self._messages.seek(0, os.SEEK_END)
        self._messages.seek(max(0, size - TAIL_BYTES))
        said = last_words(self._messages.read().decode(errors="replace"))
        self._messages.close()
        if code < 0:
            return f"killed by signal {-code}" + (f" ({said})" if said else "")
        return (said or f"exit code {code}") if code else ""

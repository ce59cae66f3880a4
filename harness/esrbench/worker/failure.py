"""Failures of a worker, with messages that are safe to print."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Final

from esrbench.errors import MeasurementError
from esrbench.plaintext import line

if TYPE_CHECKING:
    from esrbench.records import FailureKind


KILLED: Final = "the worker was killed by"
"""First words of the message about a worker that a signal ended."""


class WorkerError(MeasurementError):
    """A request that the worker could not answer.

    Attributes:
        kind: kind of failure.
        said: the message without its kind.
        fatal: the worker has ended, so no further request is possible.
    """

    def __init__(
        self, kind: FailureKind, message: str, *, advice: str | None = None, fatal: bool
    ) -> None:
        self.said = line(message)
        super().__init__(f"{kind}: {self.said}", advice=line(advice) if advice else None)
        self.kind = kind
        self.fatal = fatal

    def on_image(self, name: str) -> WorkerError:
        """The same failure with the image in its message."""
        return self.said_of(f"image {name}")

    def said_of(self, subject: str) -> WorkerError:
        """The same failure with another subject in its message."""
        message = f"{subject}: {self.said}"
        return WorkerError(self.kind, message, advice=self.advice, fatal=self.fatal)


def exit_reason(code: int, command: str) -> str:
    """Say how a worker ended instead of answering.

    Args:
        code: its exit code, or the negative number of a signal.
        command: the request that it did not answer.
    """
    # A sandbox that survives its worker reports 128 and the signal.
    number = -code if code < 0 else code - 128
    if number in set(signal.Signals):
        return f"{KILLED} {signal.Signals(number).name} during {command}"
    return f"the worker exited with code {code} during {command}"

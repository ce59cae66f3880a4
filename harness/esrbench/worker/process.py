"""A worker process: start it, send requests, receive answers, end it, and say why it failed."""

from __future__ import annotations

import contextlib
import math
import os
import subprocess
import threading
import time
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar

from pydantic import ValidationError

from esrbench.environment import MALLOC_SETTINGS, WORKER_VARIABLE
from esrbench.errors import MeasurementError
from esrbench.plaintext import lines
from esrbench.processes import cpu_seconds
from esrbench.worker.channel import (
    MAX_PAYLOAD_BYTES,
    Channel,
    ChannelClosedError,
    ChannelTimeoutError,
    FrameError,
)
from esrbench.worker.failure import WorkerError, exit_reason
from esrbench.worker.messages import (
    REPLY,
    Account,
    Built,
    Compiled,
    Converted,
    Exported,
    Failed,
    Reply,
    Stop,
    TimePairs,
    Working,
)
from esrbench.worker.pixels import PixelAreas

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Self

    from esrbench.records import FailureKind
    from esrbench.sandbox.limits import Limits
    from esrbench.sandbox.sandbox import Sandbox
    from esrbench.sandbox.view import View
    from esrbench.worker.messages import Request

ReplyT = TypeVar("ReplyT", bound=Reply)

LOG_BYTES = 64 * 1024
MAX_ACCOUNT_BYTES = 16 * 1024 * 1024
"""Largest JSON payload in bytes; a block or an image needs about 200 bytes."""
PAYLOADS: dict[type, int] = {
    Account: MAX_ACCOUNT_BYTES,
    Built: MAX_PAYLOAD_BYTES,
    Exported: MAX_PAYLOAD_BYTES,
    Compiled: MAX_PAYLOAD_BYTES,
    Converted: MAX_PAYLOAD_BYTES,
}
"""Answers that may have a payload, with the most bytes; other answers must have none."""
DEFAULT_TIMEOUT_SECONDS = 900.0
DEFAULT_ENTRY_SECONDS = 24 * 3600.0
"""Time limit in seconds for all workers of an entry together, even if all of them answer."""
MOST_TIMEOUTS = 20
"""A request with signs of life may take this many times its timeout."""
STOP_SECONDS = 5.0


class WorkerProcess:
    """One worker process in its sandbox, alive within a ``with`` block.

    Args:
        sandbox: confines the worker.
        view: the part of the file system that the worker sees.
        limits: limits of its resources.
        timeout_seconds: a request fails after this time without any answer.
        limit_seconds: longest life of the worker, even if it answers.
        variables: environment variables in addition to those of every worker.

    Attributes:
        areas: shared memory for its pixels; exists after the start.
        pid: id of the process, or of the sandbox program around it; exists after the start.
    """

    areas: PixelAreas

    def __init__(
        self,
        sandbox: Sandbox,
        view: View,
        limits: Limits,
        *,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
        limit_seconds: float = math.inf,
        variables: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.variables = variables
        self.sandbox = sandbox
        self.view = view
        self.limits = limits
        self.timeout_seconds = timeout_seconds
        self.limit_seconds = limit_seconds
        self._latest = math.inf

    def __enter__(self) -> Self:
        """Start the process.

        Raises:
            MeasurementError: the system cannot start one, for example if disk or memory is full.
            UsageError: as in ``Sandbox.start``.
        """
        self.begin_life()
        worker_read, our_write = os.pipe()
        our_read, worker_write = os.pipe()
        log_read, log_write = os.pipe()
        areas = PixelAreas.create()
        theirs = (worker_read, worker_write, areas.lr_fd, areas.sr_fd)
        try:
            self._process = self.sandbox.start(
                [str(descriptor) for descriptor in theirs],
                self.view,
                self.limits,
                pass_fds=theirs,
                log_fd=log_write,
                variables={**MALLOC_SETTINGS, WORKER_VARIABLE: "1", **self.variables},
            )
        except BaseException as error:
            areas.close()
            for descriptor in (our_read, our_write, log_read):
                os.close(descriptor)
            if isinstance(error, OSError):
                message = f"no worker can be started on this machine: {error}"
                raise MeasurementError(message, advice="Free space or memory there.") from error
            raise
        finally:
            for descriptor in (worker_read, worker_write, log_write):
                os.close(descriptor)
        try:
            self.areas = areas
            self._channel = Channel(our_read, our_write)
            self._log = LogTail(log_read)
            self._log.start()
        except BaseException:
            # A signal may arrive before the block is entered; then `__exit__` never runs.
            self._kill()
            raise
        return self

    def begin_life(self) -> None:
        """Start the time of ``limit_seconds``."""
        self._latest = time.monotonic() + self.limit_seconds

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Ask the process to stop, and kill it if it does not."""
        if kind is None:
            with contextlib.suppress(ChannelClosedError, ChannelTimeoutError):
                self._channel.send(Stop().model_dump(mode="json"), timeout_seconds=STOP_SECONDS)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(STOP_SECONDS)
        self._kill()
        self._channel.close()
        self.areas.close()
        self._log.join(STOP_SECONDS)

    @property
    def log_tail(self) -> str:
        """The last output of the worker."""
        return self._log.text()

    def cpu_seconds(self) -> float | None:
        """CPU seconds of the worker and all its processes so far; None if unknown."""
        return cpu_seconds(self.pid)

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def ask(
        self, request: Request, expected: type[ReplyT], content: bytes = b""
    ) -> tuple[ReplyT, bytes]:
        """Send a request with its payload; return its first answer and the answer's payload.

        Raises:
            WorkerError: the request failed, no answer came in time, or one of the wrong kind.
        """
        try:
            wait = min(self.timeout_seconds, self._left())
            message = request.model_dump(mode="json")
            self._channel.send(message, content, timeout_seconds=wait)
        except ChannelTimeoutError:
            raise self._silent(request) from None
        except ChannelClosedError:
            raise self.gone("crash", self._exit_reason(request.command)) from None
        return self.receive(request, expected)

    def receive(self, request: Request, expected: type[ReplyT]) -> tuple[ReplyT, bytes]:
        """The next answer to a request; errors as in ``ask``."""
        latest = time.monotonic() + MOST_TIMEOUTS * self.timeout_seconds
        try:
            most = PAYLOADS.get(expected, 0)
            reply, content = self._next_reply(latest, most)
            # The timeout limits the time between answers, because one request of a race makes many
            # forwards.
            while isinstance(reply, Working) and isinstance(request, TimePairs):
                reply, content = self._next_reply(latest, most)
        except ChannelTimeoutError:
            raise self._silent(request) from None
        except ChannelClosedError:
            raise self.gone("crash", self._exit_reason(request.command)) from None
        except (FrameError, ValidationError) as error:
            raise self.gone("protocol", f"bad answer to {request.command}: {error}") from error
        if isinstance(reply, Failed):
            raise WorkerError(reply.kind, reply.message, advice=reply.advice, fatal=False)
        if not isinstance(reply, expected):
            raise self.gone("protocol", f"{reply.event} is no answer to {request.command}")
        return reply, content

    def _next_reply(self, latest: float, most_payload: int) -> tuple[Reply, bytes]:
        wait = min(self.timeout_seconds, max(0.0, latest - time.monotonic()), self._left())
        message, content = self._channel.receive(timeout_seconds=wait, most_payload=most_payload)
        return REPLY.validate_python(message), content

    def _left(self) -> float:
        """Seconds that the worker may still live."""
        return math.inf if math.isinf(self._latest) else max(0.0, self._latest - time.monotonic())

    def _silent(self, request: Request) -> WorkerError:
        if not self._left():
            said = f"its entry reached the limit of its total time during {request.command}"
            return self.gone("timeout", said, advice="Raise --entry-timeout if the entry is slow.")
        said = f"no answer to {request.command} in {self.timeout_seconds:g} s"
        return self.gone("timeout", said, advice="Raise --timeout if the entry is slow.")

    def gone(self, kind: FailureKind, message: str, *, advice: str = "") -> WorkerError:
        """End the worker and return the error to raise, with the last line of its log."""
        self._kill()
        self._log.join(STOP_SECONDS)
        last = self.log_tail.strip().splitlines()[-1:]
        said = f"Last line of its log: {last[0]}" if last else "It printed nothing."
        advice = f"{advice} {said}".lstrip()
        return WorkerError(kind, message, advice=advice, fatal=True)

    def _exit_reason(self, command: str) -> str:
        try:
            return exit_reason(self._process.wait(STOP_SECONDS), command)
        except subprocess.TimeoutExpired:
            return f"the worker closed its pipe during {command}"

    def _kill(self) -> None:
        self.sandbox.kill(self._process)
        self._process.wait()


class LogTail(threading.Thread):
    """Reads a pipe so that the writer never blocks; keeps the last ``LOG_BYTES``."""

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
        """The kept text, with long lines cut."""
        return lines(bytes(self._content).decode(errors="replace"))

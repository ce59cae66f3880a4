"""A worker process and the conversation with it: start it, ask it, end it, say why it failed."""

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
"""Of JSON; a block or an image takes some 200 bytes of it."""
PAYLOADS: dict[type, int] = {
    Account: MAX_ACCOUNT_BYTES,
    Built: MAX_PAYLOAD_BYTES,
    Exported: MAX_PAYLOAD_BYTES,
    Compiled: MAX_PAYLOAD_BYTES,
    Converted: MAX_PAYLOAD_BYTES,
}
"""Answers that bring bytes along, and how many at most; any other that does is no answer."""
DEFAULT_TIMEOUT_SECONDS = 900.0
DEFAULT_ENTRY_SECONDS = 24 * 3600.0
"""Most seconds of all workers of an entry together, even if all of them answer."""
MOST_TIMEOUTS = 20
"""A request that shows signs of life may take so many deadlines of silence, and no more."""
STOP_SECONDS = 5.0


class WorkerProcess:
    """One worker process in its sandbox, alive within a ``with`` block.

    Args:
        sandbox: confines the worker.
        view: what of the file system the worker sees.
        limits: what it may take.
        timeout_seconds: of silence, after which a request has failed.
        limit_seconds: that it may live, whatever it does.
        variables: of its environment, beside those of every worker.

    Attributes:
        areas: where its pixels lie, once it is started.
        pid: of the process or of the program around it, likewise.
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
            MeasurementError: the system refuses one, for example because disk or memory is full.
            UsageError: as of ``Sandbox.start``.
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
            # A signal may arrive before the block is entered, and then nobody leaves it.
            self._kill()
            raise
        return self

    def begin_life(self) -> None:
        """From now on it may live as long as its limit says."""
        self._latest = time.monotonic() + self.limit_seconds

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the process, by force where asking does not help."""
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
        """The last of what the worker printed."""
        return self._log.text()

    def cpu_seconds(self) -> float | None:
        """CPU time that the worker, and all it started, took so far; None if it is not told."""
        return cpu_seconds(self.pid)

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def ask(
        self, request: Request, expected: type[ReplyT], content: bytes = b""
    ) -> tuple[ReplyT, bytes]:
        """Send a request with its payload; its first answer with that one's.

        Raises:
            WorkerError: it failed, there was no answer in time, or one of another kind.
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
        """The next answer to a request; errors as above."""
        latest = time.monotonic() + MOST_TIMEOUTS * self.timeout_seconds
        try:
            most = PAYLOADS.get(expected, 0)
            reply, content = self._next_reply(latest, most)
            # The deadline is one of silence: a race makes many forwards a request.
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
        """Seconds that it may still live."""
        return math.inf if math.isinf(self._latest) else max(0.0, self._latest - time.monotonic())

    def _silent(self, request: Request) -> WorkerError:
        if not self._left():
            said = f"during {request.command} its entry reached the limit of its time in all"
            return self.gone("timeout", said, advice="Raise --entry-timeout if it is slow.")
        said = f"no answer to {request.command} in {self.timeout_seconds:g} s"
        return self.gone("timeout", said, advice="Raise --timeout if it is slow.")

    def gone(self, kind: FailureKind, message: str, *, advice: str = "") -> WorkerError:
        """End the worker; the error to raise, with the last line of its log."""
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

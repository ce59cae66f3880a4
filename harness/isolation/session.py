"""The evaluator's end of a worker: start it, ask it, end it, and say why it failed."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from pydantic import ValidationError

from harness.environment import MALLOC_SETTINGS, WORKER_VARIABLE
from harness.errors import MeasurementError
from harness.isolation.channel import (
    Channel,
    ChannelClosedError,
    ChannelTimeoutError,
    FrameError,
)
from harness.isolation.messages import (
    BLOCKS,
    MEMORY,
    REPLY,
    BlocksMeasured,
    CountComplexity,
    Counted,
    Failed,
    FailureKind,
    Load,
    LoadBaseline,
    MeasureBlocks,
    MemoryRead,
    PairsTimed,
    ReadMemory,
    Ready,
    Reply,
    Request,
    Stop,
    Timed,
    TimeFixedInput,
    TimeImage,
    TimePairs,
    Upscale,
    Upscaled,
    Working,
)

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    import numpy.typing as npt

    from harness.catalog.networks import ResolvedWeights
    from harness.catalog.registry import ModelDescriptor
    from harness.protocol import LatencyDesign, Protocol
    from harness.records import Absent, Block, Complexity, Memory

ReplyT = TypeVar("ReplyT", Ready, Counted, BlocksMeasured, Upscaled, Timed, PairsTimed, MemoryRead)

LOG_BYTES = 64 * 1024
_OWN_FOLDER = str(Path(__file__).resolve().parents[2])
"""First on the worker's path: a ``models`` folder of the user's must not hide ours."""
DEFAULT_TIMEOUT_SECONDS = 900.0
STOP_SECONDS = 5.0


class WorkerError(MeasurementError):
    """A request that the worker could not answer.

    Attributes:
        kind: what happened.
        fatal: the worker is gone; nothing more can be asked of it.
    """

    def __init__(
        self, kind: FailureKind, message: str, *, advice: str | None = None, fatal: bool
    ) -> None:
        super().__init__(f"{kind}: {message}", advice=advice)
        self.kind = kind
        self.fatal = fatal

    def on_image(self, name: str) -> WorkerError:
        """The same failure, said of an image."""
        return self.said_of(f"image {name}")

    def said_of(self, subject: str) -> WorkerError:
        """The same failure, said of something or somebody."""
        message = f"{subject}: {self.message.removeprefix(f'{self.kind}: ')}"
        return WorkerError(self.kind, message, advice=self.advice, fatal=self.fatal)


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
        """What was kept."""
        return bytes(self._content).decode(errors="replace")


class WorkerSession:
    """One worker process, alive within a ``with`` block.

    Args:
        timeout_seconds: deadline of every request.
    """

    def __init__(self, *, timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS) -> None:
        self.timeout_seconds = timeout_seconds

    def __enter__(self) -> Self:
        """Start the process."""
        worker_read, our_write = os.pipe()
        our_read, worker_write = os.pipe()
        log_read, log_write = os.pipe()
        environment = {
            **os.environ,
            **MALLOC_SETTINGS,
            "PYTHONPATH": os.pathsep.join([_OWN_FOLDER, *(path or "." for path in sys.path)]),
            WORKER_VARIABLE: "1",
        }
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own module, no shell
                [
                    sys.executable,
                    "-P",
                    "-m",
                    "harness.isolation.worker",
                    str(worker_read),
                    str(worker_write),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log_write,
                stderr=log_write,
                pass_fds=(worker_read, worker_write),
                env=environment,
                start_new_session=True,
            )
        finally:
            for descriptor in (worker_read, worker_write, log_write):
                os.close(descriptor)
        try:
            self._channel = Channel(our_read, our_write)
            self._log = LogTail(log_read)
            self._log.start()
        except BaseException:
            # A signal may arrive before the block is entered, and then nobody leaves it.
            self._kill()
            raise
        return self

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
        self._log.join(STOP_SECONDS)

    @property
    def log_tail(self) -> str:
        """The last of what the worker printed."""
        return self._log.text()

    def load(
        self,
        descriptor: ModelDescriptor,
        scale: int,
        *,
        weights: ResolvedWeights,
        protocol: Protocol,
    ) -> Ready:
        """Build the network in the worker and load its weights.

        Raises:
            WorkerError: like every request here.
        """
        request = Load(
            descriptor=descriptor,
            scale=scale,
            weights_path=str(weights.path) if weights.path else None,
            released=weights.released,
            protocol=protocol,
        )
        return self._ask(request, Ready)[0]

    def load_baseline(
        self,
        descriptor: ModelDescriptor,
        scale: int,
        *,
        weights: ResolvedWeights,
        protocol: Protocol,
    ) -> Ready:
        """Build a second network, and a copy of it, beside the first; each makes a forward."""
        request = LoadBaseline(
            descriptor=descriptor,
            scale=scale,
            weights_path=str(weights.path) if weights.path else None,
            released=weights.released,
            protocol=protocol,
        )
        return self._ask(request, Ready)[0]

    def time_pairs(
        self,
        *,
        count: int,
        self_count: int,
        discard: int,
        candidate_first: bool,
        twin_first: bool,
    ) -> PairsTimed:
        """Times of the first network against the second; arguments as of ``TimePairs``."""
        request = TimePairs(
            count=count,
            self_count=self_count,
            discard=discard,
            candidate_first=candidate_first,
            twin_first=twin_first,
        )
        return self._ask(request, PairsTimed)[0]

    def count_complexity(self) -> Complexity:
        """Complexity of the loaded network."""
        return self._ask(CountComplexity(), Counted)[0].complexity

    def measure_blocks(self, depth: int) -> tuple[Block, ...]:
        """Cost of the loaded network's blocks down to a depth, at the fixed input."""
        _, content = self._ask(MeasureBlocks(depth=depth), BlocksMeasured)
        try:
            return BLOCKS.validate_json(content)
        except ValidationError as error:
            raise self._gone("protocol", f"the blocks are no list of blocks: {error}") from error

    def upscale(self, lr: npt.NDArray[np.uint8], name: str) -> npt.NDArray[np.uint8]:
        """SR of one image, untimed.

        Args:
            lr: (H, W, 3) RGB.
            name: of the image.

        Returns:
            (scale*H, scale*W, 3) RGB uint8.
        """
        request = Upscale(input_name=name, lr_size=_size(lr))
        reply, pixels = self._ask(request, Upscaled, _bytes(lr))
        shape = (*reply.sr_size, 3)
        if len(pixels) != int(np.prod(shape)):
            raise self._gone("protocol", f"{len(pixels)} bytes arrived for an SR of shape {shape}")
        return np.frombuffer(pixels, dtype=np.uint8).reshape(shape)

    def time_image(self, lr: npt.NDArray[np.uint8], name: str, design: LatencyDesign) -> Timed:
        """Times at one image, uint8 (H, W, 3) RGB, and conditions since loading."""
        request = TimeImage(input_name=name, lr_size=_size(lr), design=design)
        return self._ask(request, Timed, _bytes(lr))[0]

    def time_fixed_input(self, design: LatencyDesign) -> Timed:
        """Times at the protocol's fixed input, and conditions since loading."""
        return self._ask(TimeFixedInput(design=design), Timed)[0]

    def read_memory(self) -> Memory | Absent:
        """Device memory of all images upscaled since loading."""
        _, content = self._ask(ReadMemory(), MemoryRead)
        try:
            return MEMORY.validate_json(content)
        except ValidationError as error:
            raise self._gone("protocol", f"no account of memory: {error}") from error

    def _ask(
        self, request: Request, expected: type[ReplyT], payload: bytes = b""
    ) -> tuple[ReplyT, bytes]:
        try:
            self._channel.send(
                request.model_dump(mode="json"), payload, timeout_seconds=self.timeout_seconds
            )
            reply: Reply = Working()
            # The deadline is one of silence: a slow network makes many forwards a request.
            while isinstance(reply, Working):
                message, content = self._channel.receive(timeout_seconds=self.timeout_seconds)
                reply = REPLY.validate_python(message)
        except ChannelTimeoutError:
            seconds = f"{self.timeout_seconds:g} s"
            said = f"no answer to {request.command} in {seconds}"
            raise self._gone("timeout", said, advice="Raise --timeout if it is slow.") from None
        except ChannelClosedError:
            raise self._gone("crash", self._exit_reason(request.command)) from None
        except (FrameError, ValidationError) as error:
            raise self._gone("protocol", f"bad answer to {request.command}: {error}") from error
        if isinstance(reply, Failed):
            raise WorkerError(reply.kind, reply.message, advice=reply.advice, fatal=False)
        if not isinstance(reply, expected):
            raise self._gone("protocol", f"{reply.event} is no answer to {request.command}")
        return reply, content

    def _gone(self, kind: FailureKind, message: str, *, advice: str = "") -> WorkerError:
        self._kill()
        self._log.join(STOP_SECONDS)
        last = self.log_tail.strip().splitlines()[-1:]
        said = f"Last line of its log: {last[0]}" if last else "It printed nothing."
        advice = f"{advice} {said}".lstrip()
        return WorkerError(kind, message, advice=advice, fatal=True)

    def _exit_reason(self, command: str) -> str:
        try:
            code = self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            return f"the worker closed its pipe during {command}"
        if code < 0:
            return f"the worker was killed by {signal.Signals(-code).name} during {command}"
        return f"the worker exited with code {code} during {command}"

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def _size(lr: npt.NDArray[np.uint8]) -> tuple[int, int]:
    return lr.shape[0], lr.shape[1]


def _bytes(lr: npt.NDArray[np.uint8]) -> bytes:
    return np.ascontiguousarray(lr).tobytes()

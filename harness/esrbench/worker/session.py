"""The evaluator's end of a worker: start it, ask it, time it, end it, and say why it failed."""

from __future__ import annotations

import contextlib
import math
import os
import subprocess
import time
from functools import partial
from typing import TYPE_CHECKING, Literal, TypeVar

from pydantic import ValidationError

from esrbench.data.resize import upscale
from esrbench.environment import MALLOC_SETTINGS, WORKER_VARIABLE
from esrbench.errors import MeasurementError
from esrbench.processes import cpu_seconds
from esrbench.worker.account import (
    blames_machine,
    impossible,
    impossible_counts,
    impossible_memory,
)
from esrbench.worker.channel import (
    MAX_PAYLOAD_BYTES,
    Channel,
    ChannelClosedError,
    ChannelTimeoutError,
    FrameError,
    read_json,
)
from esrbench.worker.delivery import Delivery
from esrbench.worker.failure import WorkerError, exit_reason
from esrbench.worker.log import LogTail
from esrbench.worker.messages import (
    BLOCKS,
    MEMORY,
    REPLY,
    BlocksMeasured,
    Converted,
    ConvertWeights,
    CountComplexity,
    Counted,
    Done,
    Failed,
    Forward,
    Load,
    LoadSecond,
    MeasureBlocks,
    MemoryRead,
    PairsTimed,
    ReadMemory,
    Ready,
    Reply,
    Request,
    Settled,
    Stop,
    TimePairs,
    Upscale,
    Upscaled,
    Working,
)
from esrbench.worker.pixels import OversizeError, PixelAreas

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    import numpy as np
    import numpy.typing as npt

    from esrbench.entries.descriptor import ModelDescriptor
    from esrbench.entries.networks import ResolvedWeights
    from esrbench.protocol import Protocol
    from esrbench.records import Absent, Block, Complexity, FailureKind, Memory, RaceSide
    from esrbench.sandbox.limits import Limits
    from esrbench.sandbox.sandbox import Sandbox
    from esrbench.sandbox.view import View
    from esrbench.weights.conversion import ConversionReport

    Pixels = npt.NDArray[np.uint8]

ReplyT = TypeVar(
    "ReplyT",
    Ready,
    Counted,
    BlocksMeasured,
    Upscaled,
    Done,
    Settled,
    PairsTimed,
    MemoryRead,
    Converted,
)

MAX_ACCOUNT_BYTES = 16 * 1024 * 1024
"""Of JSON; a block or an image takes some 200 bytes of it."""
PAYLOADS: dict[type, int] = {
    BlocksMeasured: MAX_ACCOUNT_BYTES,
    MemoryRead: MAX_ACCOUNT_BYTES,
    Converted: MAX_PAYLOAD_BYTES,
}
"""Answers that bring bytes along, and how many at most; any other that does is no answer."""
DEFAULT_TIMEOUT_SECONDS = 900.0
DEFAULT_ENTRY_SECONDS = 24 * 3600.0
"""That all workers of an entry may take together, however lively they are."""
MOST_SETTLING_SECONDS = 10.0
"""That a worker may take, beside as long as its forwards, to check what these left behind."""
MOST_TIMEOUTS = 20
"""A request that shows signs of life may take so many deadlines of silence, and no more."""
STOP_SECONDS = 5.0
UNOWNED = "its answer to {} has a failure without a kind, as only the harness may have"


class WorkerSession:
    """One worker process in its sandbox, alive within a ``with`` block.

    Args:
        sandbox: confines the worker.
        view: what of the file system the worker sees.
        limits: what it may take.
        timeout_seconds: of silence, after which a request has failed.
        limit_seconds: that it may live, whatever it does.
    """

    def __init__(
        self,
        sandbox: Sandbox,
        view: View,
        limits: Limits,
        *,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
        limit_seconds: float = math.inf,
    ) -> None:
        self.sandbox = sandbox
        self.view = view
        self.limits = limits
        self.timeout_seconds = timeout_seconds
        self.limit_seconds = limit_seconds
        self._latest = math.inf
        self._forward_seconds = self._settling_seconds = 0.0
        self._scale = 1
        self._input: Literal["lr", "bicubic-hr"] = "lr"
        self._enlarges = False
        self._protocol: Protocol | None = None
        self._sequence = 0

    def __enter__(self) -> Self:
        """Start the process."""
        self._latest = time.monotonic() + self.limit_seconds
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
                variables={**MALLOC_SETTINGS, WORKER_VARIABLE: "1"},
            )
        except BaseException:
            areas.close()
            for descriptor in (our_read, our_write, log_read):
                os.close(descriptor)
            raise
        finally:
            for descriptor in (worker_read, worker_write, log_write):
                os.close(descriptor)
        try:
            self._areas = areas
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
        self._areas.close()
        self._log.join(STOP_SECONDS)

    @property
    def log_tail(self) -> str:
        """The last of what the worker printed."""
        return self._log.text()

    def cpu_seconds(self) -> float | None:
        """CPU time that the worker, and all it started, took so far; None if it is not told."""
        return cpu_seconds(self._process.pid)

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
        self._scale, self._input = scale, descriptor.input
        self._enlarges = descriptor.input == "bicubic-hr" or descriptor.color == "y"
        return self._load(Load, descriptor, scale, weights, protocol)

    def load_second(
        self,
        descriptor: ModelDescriptor,
        scale: int,
        *,
        weights: ResolvedWeights,
        protocol: Protocol,
        side: RaceSide,
    ) -> Ready:
        """Build a second network, then two copies of the baseline; each makes a forward."""
        request = partial(LoadSecond, side=side)
        return self._load(request, descriptor, scale, weights, protocol)

    def _load(
        self,
        request: Callable[..., Load | LoadSecond],
        descriptor: ModelDescriptor,
        scale: int,
        weights: ResolvedWeights,
        protocol: Protocol,
    ) -> Ready:
        asked = request(
            descriptor=descriptor,
            scale=scale,
            weights_path=str(weights.path) if weights.path else None,
            released=weights.released,
            protocol=protocol,
        )
        ready = self._ask(asked, Ready)[0]
        self._protocol = protocol
        untrue = impossible(ready, protocol)
        if untrue is not None:
            raise self._gone("protocol", f"its account of its {untrue} cannot be true")
        return ready

    def time_pairs(
        self,
        *,
        count: int,
        self_count: int,
        discard: int,
        candidate_first: bool,
        twin_first: bool,
    ) -> PairsTimed:
        """Times of the candidate against the baseline; arguments as of ``TimePairs``."""
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
        complexity = self._ask(CountComplexity(), Counted)[0].complexity
        if self._protocol is not None:
            self._require_possible(impossible_counts(complexity, self._protocol))
        return complexity

    def measure_blocks(self, depth: int) -> tuple[Block, ...]:
        """Cost of the loaded network's blocks down to a depth, at the fixed input."""
        _, content = self._ask(MeasureBlocks(depth=depth), BlocksMeasured)
        try:
            return BLOCKS.validate_python(read_json(content, "an account"))
        except (FrameError, ValidationError) as error:
            raise self._gone("protocol", f"the blocks are no list of blocks: {error}") from error

    def _require_possible(self, untrue: str | None) -> None:
        if untrue is not None:
            raise self._gone("protocol", untrue)

    def upscale(self, lr: Pixels, name: str) -> Pixels:
        """SR of one image, untimed.

        Args:
            lr: (h, w, 3) RGB uint8.
            name: of the image.

        Returns:
            (scale*h, scale*w, 3) RGB uint8, the evaluator's own copy.
        """
        self._poison(self._sr_size(lr))
        self._areas.reveal(lr, self._enlarged(lr))
        self._ask(Upscale(input_name=name, lr_size=_size(lr)), Upscaled)
        return self._areas.take(self._sr_size(lr))

    def forward(self, lr: Pixels) -> Delivery:
        """SR of one image, timed from outside.

        The clock starts before the worker can know the pixels and stops when they are copied
        out of its reach: what it writes later is too late, and what it computes later is timed.
        Where a network takes the LR image enlarged, or gives luma only, it is enlarged here, before
        the clock starts: nobody can gain by not doing so.

        Args:
            lr: (h, w, 3) RGB uint8.
        """
        self._sequence += 1
        request = Forward(sequence=self._sequence, lr_size=_size(lr))
        size = self._sr_size(lr)
        self._poison(size)
        enlarged, preparation = None, None
        if self._enlarges:
            begun = time.perf_counter()
            enlarged = self._enlarged(lr)
            preparation = time.perf_counter() - begun if self._input == "bicubic-hr" else None
        start = time.perf_counter()
        self._areas.reveal(lr, enlarged)
        done = self._ask(request, Done)[0]
        sr = self._areas.take(size)
        seconds = time.perf_counter() - start
        if done.sequence != self._sequence:
            said = f"forward {self._sequence} was answered as {done.sequence}"
            raise self._gone("protocol", said)
        self._receive(request, Settled)
        settling = time.perf_counter() - start - seconds
        self._require_settled(seconds, settling)
        return Delivery(sr, seconds, done.seconds, preparation, settling)

    def _require_settled(self, seconds: float, settling: float) -> None:
        """End a worker that takes its time where none is measured."""
        self._forward_seconds += seconds
        self._settling_seconds += settling
        if self._settling_seconds > MOST_SETTLING_SECONDS + self._forward_seconds:
            raise self._gone(
                "timeout",
                f"after its forwards, which took {self._forward_seconds:.3g} s in all, it took "
                f"{self._settling_seconds:.3g} s more until it had settled; it may take as long as "
                f"they and {MOST_SETTLING_SECONDS:g} s",
                advice="Leave the worker's checks between forwards alone.",
            )

    def convert_weights(
        self,
        path: Path,
        *,
        key: str | None,
        prefix: str | None,
        renames: Sequence[tuple[str, str]],
    ) -> tuple[ConversionReport, bytes]:
        """A weights file as safetensors, read in the worker; arguments as of ``ConvertWeights``."""
        request = ConvertWeights(path=str(path), key=key, prefix=prefix, renames=tuple(renames))
        reply, content = self._ask(request, Converted)
        return reply.report, content

    def read_memory(self) -> Memory | Absent:
        """Device memory of all images upscaled since loading."""
        _, content = self._ask(ReadMemory(), MemoryRead)
        try:
            memory = MEMORY.validate_python(read_json(content, "an account"))
        except (FrameError, ValidationError) as error:
            raise self._gone("protocol", f"no account of memory: {error}") from error
        if blames_machine(memory):
            raise self._gone("protocol", UNOWNED.format("read-memory"))
        if self._protocol is not None:
            self._require_possible(impossible_memory(memory, self._protocol))
        return memory

    def _sr_size(self, lr: Pixels) -> tuple[int, int]:
        return lr.shape[0] * self._scale, lr.shape[1] * self._scale

    def _poison(self, size: tuple[int, int]) -> None:
        try:
            self._areas.poison(size)
        except OversizeError as error:
            message = f"an SR image of {size[0]}x{size[1]} is too large to be delivered: {error}"
            raise MeasurementError(message, advice="Measure on smaller images.") from None

    def _enlarged(self, lr: Pixels) -> Pixels | None:
        """The LR image by bicubic in SR size, for networks that need it."""
        return upscale(lr, self._scale, border="mirror") if self._enlarges else None

    def _ask(self, request: Request, expected: type[ReplyT]) -> tuple[ReplyT, bytes]:
        try:
            wait = min(self.timeout_seconds, self._left())
            self._channel.send(request.model_dump(mode="json"), timeout_seconds=wait)
        except ChannelTimeoutError:
            raise self._silent(request) from None
        except ChannelClosedError:
            raise self._gone("crash", self._exit_reason(request.command)) from None
        return self._receive(request, expected)

    def _receive(self, request: Request, expected: type[ReplyT]) -> tuple[ReplyT, bytes]:
        """The next answer to a request."""
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
            raise self._gone("crash", self._exit_reason(request.command)) from None
        except (FrameError, ValidationError) as error:
            raise self._gone("protocol", f"bad answer to {request.command}: {error}") from error
        if isinstance(reply, Failed):
            raise WorkerError(reply.kind, reply.message, advice=reply.advice, fatal=False)
        if not isinstance(reply, expected):
            raise self._gone("protocol", f"{reply.event} is no answer to {request.command}")
        if blames_machine(reply):
            raise self._gone("protocol", UNOWNED.format(request.command))
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
            return self._gone("timeout", said, advice="Raise --entry-timeout if it is slow.")
        said = f"no answer to {request.command} in {self.timeout_seconds:g} s"
        return self._gone("timeout", said, advice="Raise --timeout if it is slow.")

    def _gone(self, kind: FailureKind, message: str, *, advice: str = "") -> WorkerError:
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


def _size(lr: npt.NDArray[np.uint8]) -> tuple[int, int]:
    return lr.shape[0], lr.shape[1]

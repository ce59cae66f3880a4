"""The process that runs one network: it sees LR pixels, one image at a time, and nothing else.

Started as ``python -m harness.isolation.worker READ_FD WRITE_FD``; speaks
``harness.isolation.messages`` until told to stop or its pipe closes.
"""

from __future__ import annotations

import ctypes
import signal
import sys
import time
import traceback
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from harness.catalog.networks import build_deployed, code_sha256, load_network, makers
from harness.errors import EsrbenchError
from harness.imaging.codecs import pixel_digest
from harness.isolation.channel import Channel, ChannelClosedError
from harness.isolation.messages import (
    BLOCKS,
    MEMORY,
    REQUEST,
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
    Stop,
    Timed,
    TimeFixedInput,
    TimeImage,
    TimePairs,
    Upscale,
    Upscaled,
    Working,
)
from harness.isolation.paired import Baseline, ContenderError
from harness.probes.blocks import measure_blocks
from harness.probes.complexity import measure_complexity
from harness.probes.devices import ComputeDevice, HostClock, open_device
from harness.probes.forward import InvalidOutputError, PixelConversion
from harness.probes.inputs import fixed_lr
from harness.probes.latency import Timing, measure_latency
from harness.probes.memory import unpredicted
from harness.probes.precision import adapt_input, adapt_network
from harness.probes.telemetry import measure_under_watch, open_monitor
from harness.records import ImageMemory, LatencySamples

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from harness.protocol import LatencyDesign

HOST = HostClock()
"""Enlarging happens on the host, whatever the device."""
MESSAGE_CHARACTERS = 2000
BEAT_SECONDS = 10.0
"""A worker in a long request tells that it works this often, between two forwards."""
PR_SET_PDEATHSIG = 1
"""From ``linux/prctl.h``."""


class Worker:
    """The state of a loaded network and the answers to requests.

    Args:
        load: which network, and how it is measured.
        beat: called between forwards of a long request.
    """

    def __init__(self, load: Load, beat: Callable[[], None] = lambda: None) -> None:
        self.beat = beat
        self.protocol = load.protocol
        self.descriptor = load.descriptor
        self.scale = load.scale
        self.policy = load.protocol.forward
        torch.manual_seed(load.protocol.seed)
        self.device: ComputeDevice = open_device(
            load.protocol.device, threads=load.protocol.threads, policy=self.policy
        )
        self.monitor = open_monitor(load.protocol.device)
        weights_path = Path(load.weights_path) if load.weights_path else None
        loaded = load_network(
            load.descriptor,
            load.scale,
            weights_path,
            released=load.released,
            seed=load.protocol.seed,
        )
        self.parameters = sum(1 for _ in loaded.network.parameters())
        self.conversion = PixelConversion.of(load.descriptor, load.scale, loaded.data_range)
        self.code_sha256 = code_sha256(loaded.network, *makers(load.descriptor))
        self.network = adapt_network(loaded.network.to(self.device.device), self.policy)
        self.guard = self.device.guard(self.network)
        self.warm_sizes: set[tuple[int, int]] = set()
        self.device.begin_memory_pass()
        self.images: list[ImageMemory] = []
        self.baseline: Baseline | None = None
        self.begun = self.monitor.read()

    def ready(self) -> Ready:
        """What the evaluator records of the loaded network."""
        return Ready(
            parameters=self.parameters,
            threads=torch.get_num_threads(),
            cpus=self.device.cpus,
            accelerator=self.device.accelerator,
            libraries=self.device.libraries,
            code_sha256=self.code_sha256,
        )

    def count(self) -> Counted:
        """Complexity on fresh, randomly initialised copies: weights do not change counts."""
        complexity = measure_complexity(
            partial(build_deployed, self.descriptor, self.scale, seed=self.protocol.seed),
            input_size=self.conversion.input_size(self.protocol.counted_input),
            memory_input=self.conversion.input_size(self.protocol.memory_input),
            channels=self.conversion.channels,
            counters=self.protocol.counters,
        )
        absent = unpredicted(self.policy)
        if absent is not None:
            complexity = complexity.model_copy(update={"predicted_memory": absent})
        return Counted(complexity=complexity)

    def measure_blocks(self, depth: int) -> bytes:
        """JSON of what each block of a fresh copy costs at the protocol's counted input."""
        size = self.conversion.input_size(self.protocol.counted_input)
        blocks = measure_blocks(
            build_deployed(self.descriptor, self.scale, seed=self.protocol.seed),
            input_shape=(1, self.conversion.channels, *size),
            depth=depth,
        )
        return BLOCKS.dump_json(blocks)

    def upscale(self, request: Upscale, payload: bytes) -> tuple[Upscaled, bytes]:
        """SR of one image as uint8, by one forward whose memory is measured."""
        lr = _pixels(payload, request.lr_size)
        with torch.inference_mode():
            pixels = self._input(lr)
            output, usage = self.device.measure_memory(partial(self.network, pixels))
            self.guard.verify()
            sr = self.conversion.validate(output, request.lr_size)
            image = self.conversion.to_pixels(sr, lr)
        if usage is not None:
            self.images.append(
                ImageMemory(
                    image=request.input_name,
                    lr_size=request.lr_size,
                    input_bytes=pixels.nbytes,
                    output_bytes=sr.nbytes,
                    peak_bytes=usage.peak_bytes,
                    peak_reserved_bytes=usage.reserved_bytes,
                )
            )
        size = (request.lr_size[0] * self.scale, request.lr_size[1] * self.scale)
        return Upscaled(sr_size=size), image.tobytes()

    def read_memory(self) -> bytes:
        """JSON of what the images took that were upscaled."""
        return MEMORY.dump_json(self.device.end_memory_pass(self.images))

    def time_image(self, request: TimeImage, payload: bytes) -> Timed:
        """Times at one image."""
        lr = _pixels(payload, request.lr_size)
        return self._timed(self._time(lr, request.input_name, request.design))

    def time_fixed(self, design: LatencyDesign) -> Timed:
        """Times at the protocol's fixed input: seeded noise of every level."""
        return self._timed(self._time(fixed_lr(self.protocol), "fixed", design))

    def _timed(self, latency: LatencySamples) -> Timed:
        conditions = self.monitor.conditions(self.begun, self.monitor.read())
        return Timed(latency=latency, process_conditions=conditions)

    def load_baseline(self, request: LoadBaseline) -> Ready:
        """Load a second network beside the first."""
        self.baseline = Baseline(request, self.device)
        return self.baseline.ready()

    def time_pairs(self, request: TimePairs) -> PairsTimed | Failed:
        """Times of this network against the second one."""
        if self.baseline is None:
            return Failed(kind="protocol", message="there is no baseline to time against")
        return self.baseline.time_pairs(
            request,
            self.network,
            name=self.descriptor.name,
            guard=self.guard,
            conversion=self.conversion,
            monitor=self.monitor,
            beat=self.beat,
        )

    def _input(self, lr: npt.NDArray[np.uint8]) -> torch.Tensor:
        """The network's input for an LR image, in the policy's form."""
        return adapt_input(self.conversion.to_input(lr, self.device.device), self.policy)

    def _time(
        self, lr: npt.NDArray[np.uint8], input_name: str, design: LatencyDesign
    ) -> LatencySamples:
        """Time the network alone; what precedes it is timed apart where it is more than a copy."""
        size = (lr.shape[0], lr.shape[1])
        with torch.inference_mode():
            preparation: tuple[float, ...] = ()
            if self.conversion.input == "bicubic-hr":
                enlarge = partial(self.conversion.to_input, lr, torch.device("cpu"))
                preparation = measure_latency(enlarge, HOST, design, warm=False).seconds
            forward = partial(self.network, self._input(lr))
            attempts: list[Timing[torch.Tensor, npt.NDArray[np.uint8]]] = []

            def deliver(output: torch.Tensor) -> npt.NDArray[np.uint8]:
                try:
                    return self.conversion.to_pixels(output, lr)
                except Exception:
                    # What cannot become pixels is no SR image, and validation says why.
                    self.conversion.validate(output, size)
                    raise

            def after() -> None:
                self.guard.verify()
                self.beat()

            def measure() -> Timing[torch.Tensor, npt.NDArray[np.uint8]]:
                warm = size in self.warm_sizes
                timing = measure_latency(
                    forward, self.device, design, warm=warm, deliver=deliver, verify=after
                )
                self.warm_sizes.add(size)
                attempts.append(timing)
                return timing

            timing, conditions = measure_under_watch(
                measure, self.monitor, throttle_repeats=design.throttle_repeats
            )
            self.conversion.validate(timing.result, size)
        # Where a throttled input was timed again, only the first attempt was cold.
        first = attempts[0]
        return LatencySamples(
            input_name=input_name,
            lr_size=size,
            clock=self.device.clock,
            first_seconds=(first.warmup_seconds or first.seconds)[0],
            warmup_seconds=first.warmup_seconds,
            steady=first.steady,
            seconds=timing.seconds,
            delivered_seconds=timing.delivered_seconds,
            preparation_seconds=preparation,
            stopped_by=timing.stopped_by,
            conditions=conditions,
            output_sha256=pixel_digest(timing.delivered),
        )


def _pixels(payload: bytes, lr_size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    return np.frombuffer(payload, dtype=np.uint8).reshape(*lr_size, 3)


def classify(error: BaseException, default: FailureKind) -> FailureKind:
    """Which kind of failure an exception is."""
    if isinstance(error, InvalidOutputError):
        return "invalid-output"
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return "oom"
    # The CPU allocator has no exception type of its own.
    if isinstance(error, RuntimeError) and "can't allocate memory" in str(error):
        return "oom"
    return default


def failure(error: BaseException, default: FailureKind) -> Failed:
    """An exception as an answer; its traceback goes to the log."""
    if isinstance(error, ContenderError):
        told = failure(error.cause, default)
        text = f"{error.who}: {told.message}"[:MESSAGE_CHARACTERS]
        return told.model_copy(update={"message": text})
    if not isinstance(error, EsrbenchError):
        traceback.print_exception(error)
    text = error.message if isinstance(error, EsrbenchError) else f"{type(error).__name__}: {error}"
    advice = error.advice if isinstance(error, EsrbenchError) else None
    return Failed(kind=classify(error, default), message=text[:MESSAGE_CHARACTERS], advice=advice)


def answer(worker: Worker, request: object, payload: bytes) -> tuple[Reply, bytes]:
    """Answer one request after loading."""
    reply: Reply
    content = b""
    match request:
        case CountComplexity():
            reply = worker.count()
        case MeasureBlocks():
            reply, content = BlocksMeasured(), worker.measure_blocks(request.depth)
        case Upscale():
            reply, content = worker.upscale(request, payload)
        case TimeImage():
            reply = worker.time_image(request, payload)
        case TimeFixedInput():
            reply = worker.time_fixed(request.design)
        case LoadBaseline():
            return worker.load_baseline(request), b""
        case TimePairs():
            return worker.time_pairs(request), b""
        case ReadMemory():
            reply, content = MemoryRead(), worker.read_memory()
        case _:
            reply = Failed(kind="protocol", message=f"unexpected request {request!r}"[:400])
    return reply, content


def serve(channel: Channel) -> None:
    """Answer requests until told to stop or the evaluator is gone."""
    worker: Worker | None = None
    beat = _beats(channel)
    while True:
        try:
            message, payload = channel.receive()
        except ChannelClosedError:
            return
        request = REQUEST.validate_python(message)
        reply: Reply
        content = b""
        try:
            if isinstance(request, Stop):
                return
            if isinstance(request, Load):
                worker = Worker(request, beat)
                reply = worker.ready()
            elif worker is None:
                reply = Failed(kind="protocol", message="the first request must be load")
            else:
                reply, content = answer(worker, request, payload)
        except Exception as error:  # noqa: BLE001 - a stranger's network may raise anything
            loading = isinstance(request, Load | LoadBaseline)
            reply = failure(error, "load-error" if loading else "forward-error")
        channel.send(reply.model_dump(mode="json"), content)


def _beats(channel: Channel) -> Callable[[], None]:
    """A function that tells the evaluator that work goes on, but not too often."""
    last = time.monotonic()

    def beat() -> None:
        nonlocal last
        if time.monotonic() - last >= BEAT_SECONDS:
            last = time.monotonic()
            channel.send(Working().model_dump(mode="json"))

    return beat


def end_with_parent() -> None:
    """Let the kernel kill this process when the evaluator dies, however it dies (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    end_with_parent()
    serve(Channel(int(sys.argv[1]), int(sys.argv[2])))

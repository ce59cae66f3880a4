"""The process that runs one network: it sees LR pixels, one image at a time, and nothing else.

Started as ``python -m harness.isolation.worker READ_FD WRITE_FD``; speaks
``harness.isolation.messages`` until told to stop or its pipe closes.
"""

from __future__ import annotations

import ctypes
import signal
import sys
import traceback
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from harness.catalog.networks import build_network, code_sha256, prepare_network
from harness.catalog.registry import resolve_factory
from harness.errors import EsrbenchError
from harness.isolation.channel import Channel, ChannelClosedError
from harness.isolation.messages import (
    BLOCKS,
    REQUEST,
    BlocksMeasured,
    CountComplexity,
    Counted,
    Failed,
    FailureKind,
    Load,
    MeasureBlocks,
    MemoryRead,
    ReadMemory,
    Ready,
    Reply,
    Stop,
    Timed,
    TimeFixedInput,
    Upscale,
    Upscaled,
)
from harness.probes.blocks import measure_blocks
from harness.probes.complexity import measure_complexity
from harness.probes.devices import ComputeDevice, HostClock, open_device
from harness.probes.forward import InvalidOutputError, PixelConversion
from harness.probes.latency import measure_latency
from harness.records import LatencySamples

if TYPE_CHECKING:
    import numpy.typing as npt

    from harness.protocol import LatencyDesign

HOST = HostClock()
"""Enlarging happens on the host, whatever the device."""
MESSAGE_CHARACTERS = 2000
PR_SET_PDEATHSIG = 1
"""From ``linux/prctl.h``."""


class Worker:
    """The state of a loaded network and the answers to requests."""

    def __init__(self, load: Load) -> None:
        self.protocol = load.protocol
        self.descriptor = load.descriptor
        self.scale = load.scale
        torch.manual_seed(load.protocol.seed)
        self.device: ComputeDevice = open_device(
            load.protocol.device, threads=load.protocol.threads
        )
        weights_path = Path(load.weights_path) if load.weights_path else None
        prepared = prepare_network(
            load.descriptor,
            load.scale,
            weights_path,
            released=load.released,
            seed=load.protocol.seed,
        )
        self.conversion = PixelConversion.of(load.descriptor, load.scale, prepared.data_range)
        self.network = prepared.network.to(self.device.device)
        self.warm_sizes: set[tuple[int, int]] = set()
        self.device.reset_memory()

    def ready(self) -> Ready:
        """What the evaluator records of the loaded network."""
        return Ready(
            parameters=sum(1 for _ in self.network.parameters()),
            threads=torch.get_num_threads(),
            accelerator=self.device.accelerator,
            code_sha256=code_sha256(self.network, resolve_factory(self.descriptor.factory)),
        )

    def count(self) -> Counted:
        """Complexity on fresh, randomly initialised copies: weights do not change counts."""
        complexity = measure_complexity(
            partial(build_network, self.descriptor, self.scale, seed=self.protocol.seed),
            input_size=self.conversion.input_size(self.protocol.counted_input),
            channels=self.conversion.channels,
            counters=self.protocol.counters,
        )
        return Counted(complexity=complexity)

    def measure_blocks(self, depth: int) -> bytes:
        """JSON of what each block of a fresh copy costs at the protocol's counted input."""
        size = self.conversion.input_size(self.protocol.counted_input)
        blocks = measure_blocks(
            build_network(self.descriptor, self.scale, seed=self.protocol.seed),
            input_shape=(1, self.conversion.channels, *size),
            depth=depth,
        )
        return BLOCKS.dump_json(blocks)

    def upscale(self, request: Upscale, payload: bytes) -> tuple[Upscaled, bytes]:
        """SR of one image as uint8, and the times of its forwards."""
        height, width = request.lr_size
        lr = np.frombuffer(payload, dtype=np.uint8).reshape(height, width, 3)
        with torch.inference_mode():
            if request.design is None:
                latency = None
                pixels = self.conversion.to_input(lr, self.device.device)
                output, _ = self.device.time(partial(self.network, pixels))
            else:
                output, latency = self._time(lr, request.input_name, request.design)
            sr = self.conversion.validate(output, request.lr_size)
            image = self.conversion.to_pixels(sr, lr)
        size = (height * self.scale, width * self.scale)
        return Upscaled(sr_size=size, latency=latency), image.tobytes()

    def time_fixed(self, design: LatencyDesign) -> Timed:
        """Times at the protocol's fixed input: seeded noise of every level."""
        size = self.protocol.counted_input
        noise = np.random.default_rng(self.protocol.seed).integers(0, 256, (*size, 3), np.uint8)
        with torch.inference_mode():
            sr, latency = self._time(noise, "fixed", design)
            self.conversion.validate(sr, size)
        return Timed(latency=latency)

    def _time(
        self, lr: npt.NDArray[np.uint8], input_name: str, design: LatencyDesign
    ) -> tuple[torch.Tensor, LatencySamples]:
        """Time the network alone; what precedes it is timed apart where it is more than a copy."""
        size = (lr.shape[0], lr.shape[1])
        convert = partial(self.conversion.to_input, lr, self.device.device)
        preparation: tuple[float, ...] = ()
        if self.conversion.input == "bicubic-hr":
            preparation = measure_latency(convert, HOST, design, warm=False).seconds
        timing = measure_latency(
            partial(self.network, convert()), self.device, design, warm=size in self.warm_sizes
        )
        self.warm_sizes.add(size)
        latency = LatencySamples(
            input_name=input_name,
            lr_size=size,
            clock=self.device.clock,
            warmup_seconds=timing.warmup_seconds,
            seconds=timing.seconds,
            preparation_seconds=preparation,
            stopped_by=timing.stopped_by,
        )
        return timing.result, latency


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
    if not isinstance(error, EsrbenchError):
        traceback.print_exception(error)
    text = error.message if isinstance(error, EsrbenchError) else f"{type(error).__name__}: {error}"
    advice = error.advice if isinstance(error, EsrbenchError) else None
    return Failed(kind=classify(error, default), message=text[:MESSAGE_CHARACTERS], advice=advice)


def answer(worker: Worker, request: object, payload: bytes) -> tuple[Reply, bytes]:
    """Answer one request after loading."""
    match request:
        case CountComplexity():
            return worker.count(), b""
        case MeasureBlocks():
            return BlocksMeasured(), worker.measure_blocks(request.depth)
        case Upscale():
            return worker.upscale(request, payload)
        case TimeFixedInput():
            return worker.time_fixed(request.design), b""
        case ReadMemory():
            return MemoryRead(memory=worker.device.read_memory()), b""
    return Failed(kind="protocol", message=f"unexpected request {request!r}"[:400]), b""


def serve(channel: Channel) -> None:
    """Answer requests until told to stop or the evaluator is gone."""
    worker: Worker | None = None
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
                worker = Worker(request)
                reply = worker.ready()
            elif worker is None:
                reply = Failed(kind="protocol", message="the first request must be load")
            else:
                reply, content = answer(worker, request, payload)
        except Exception as error:  # noqa: BLE001 - a stranger's network may raise anything
            reply = failure(error, "load-error" if isinstance(request, Load) else "forward-error")
        channel.send(reply.model_dump(mode="json"), content)


def end_with_parent() -> None:
    """Let the kernel kill this process when the evaluator dies, however it dies (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    end_with_parent()
    serve(Channel(int(sys.argv[1]), int(sys.argv[2])))

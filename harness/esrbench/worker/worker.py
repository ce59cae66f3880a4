"""The process that runs one network: it sees LR pixels, one image at a time, and nothing else.

Started in its sandbox by ``esrbench.sandbox.start``; speaks ``esrbench.worker.messages`` until
told to stop or its pipe closes. Whatever it says of its own time is a claim: the network shares
this process and could forge it.
"""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from esrbench.entries.sources import view_paths
from esrbench.entries.submissions import module_advice
from esrbench.errors import EsrbenchError
from esrbench.plaintext import relative
from esrbench.probes.blocks import measure_blocks
from esrbench.probes.complexity import found_to_differ, measure_complexity
from esrbench.probes.devices import ComputeDevice, open_device
from esrbench.probes.forward import InvalidOutputError
from esrbench.probes.memory import unpredicted
from esrbench.probes.precision import cast_as_counted
from esrbench.probes.telemetry import watch
from esrbench.records import ImageMemory, Notice
from esrbench.worker.channel import Channel, ChannelClosedError
from esrbench.worker.cuda_requests import CudaRequests, needs_cuda
from esrbench.worker.measured import MeasuredNetwork, open_network
from esrbench.worker.messages import (
    BLOCKS,
    MEMORY,
    REQUEST,
    Account,
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
    PairsTimed,
    ReadMemory,
    Ready,
    Reply,
    Settled,
    Stop,
    TimePairs,
    Upscale,
    Working,
)
from esrbench.worker.paired import ContenderError, Pairing
from esrbench.worker.pixels import PixelAreas
from esrbench.worker.tracebacks import place_of, traceback_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import numpy as np
    import numpy.typing as npt

    from esrbench.records import FailureKind

MESSAGE_CHARACTERS = 2000
PLACED_CHARACTERS = 800
"""Of what an exception says; the place where it was raised follows."""
MOST_NAMES = 5
"""That a notice lists."""
BEAT_SECONDS = 10.0
"""A worker in a long request tells that it works this often, between two forwards."""


class Worker:
    """The state of a loaded network and the answers to requests.

    Args:
        load: which network, and how it is measured.
        areas: where pixels come from and go to.
        beat: called between forwards of a long request.
    """

    def __init__(
        self, load: Load, areas: PixelAreas, beat: Callable[[], None] = lambda: None
    ) -> None:
        self.areas = areas
        self.beat = beat
        self.load = load
        self.protocol = load.protocol
        self.policy = load.protocol.forward
        torch.manual_seed(load.protocol.seed)
        self.device: ComputeDevice = open_device(
            load.protocol.device, threads=load.protocol.threads, policy=self.policy
        )
        self.monitor = watch(self.device.cpus, self.device.gpu_uuid)
        self.requests = CudaRequests(self.device.device)
        self.opened = open_network(load, self.device, self.requests)
        self.network, self.conversion = self.opened.network, self.opened.conversion
        self.guard = self.opened.guard
        self.measured = MeasuredNetwork(
            self.network,
            load.protocol,
            self.conversion,
            self.device.device,
            load.descriptor.min_lr_size,
            self.requests.running,
        )
        self.device.begin_memory_pass()
        self.images: list[ImageMemory] = []
        self.pairing: Pairing | None = None

    def count(self) -> Counted:
        """Complexity of the network itself, as it is after its images, on copies of it."""
        differs = self.measured.differs()
        with cast_as_counted(self.policy):
            complexity = measure_complexity(
                self.measured.copy(),
                input_size=self.conversion.input_size(self.protocol.counted_input),
                memory_input=self.conversion.input_size(self.protocol.memory_input),
                channels=self.conversion.channels,
                counters=self.protocol.counters,
                precision=self.policy.precision,
            )
        absent = unpredicted(self.policy)
        if absent is not None:
            complexity = complexity.model_copy(update={"predicted_memory": absent})
        if differs is not None:
            complexity = found_to_differ(complexity, differs)
        notices = (*complexity.notices, *request_notices(self.requests))
        return Counted(complexity=complexity.model_copy(update={"notices": notices}))

    def measure_blocks(self, depth: int) -> bytes:
        """JSON of what each block of a copy costs at the protocol's counted input."""
        size = self.conversion.input_size(self.protocol.counted_input)
        shape = (1, self.conversion.channels, *size)
        with cast_as_counted(self.policy):
            blocks = self.requests.running(
                lambda: measure_blocks(self.measured.copy(), input_shape=shape, depth=depth)
            )
        return BLOCKS.dump_json(blocks)

    def upscale(self, request: Upscale) -> Settled:
        """SR of one image by one forward, whose memory is measured."""
        lr = self.areas.lr(request.lr_size)
        with torch.inference_mode():
            enlarged = self._enlarged(request.lr_size)
            pixels = self.measured.input(lr, enlarged)
            forward = partial(self.device.measure_memory, partial(self.network, pixels))
            output, usage = self.requests.running(forward)
            self.guard.verify()
            sr = self.conversion.validate(output, request.lr_size)
            self.areas.deliver(self.conversion.to_pixels(sr, lr, enlarged))
            self.measured.keep(lr, sr)
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
        return Settled()

    def forward(self, request: Forward, answer: Callable[[Reply], None]) -> Settled:
        """SR of one image as fast as can be, and then a look at what the forward left behind.

        Args:
            request: which image.
            answer: sends ``Done``.
        """
        lr = self.areas.lr(request.lr_size)
        with torch.inference_mode():
            enlarged = self._enlarged(request.lr_size)
            pixels = self.measured.input(lr, enlarged)
            forward = partial(self.device.time, partial(self.network, pixels))
            output, seconds = self.requests.running(forward)
            try:
                sr = self.conversion.to_pixels(output, lr, enlarged)
            except Exception:
                # What cannot become pixels is no SR image, and validation says why.
                self.conversion.validate(output, request.lr_size)
                raise
            height, width = request.lr_size
            if sr.shape != (height * self.load.scale, width * self.load.scale, 3):
                self.conversion.validate(output, request.lr_size)
            self.areas.deliver(sr)
            answer(Done(sequence=request.sequence, seconds=seconds))
            self.guard.verify()
            self.conversion.validate(output, request.lr_size)
        return Settled()

    def read_memory(self) -> bytes:
        """JSON of what the images took that were upscaled."""
        return MEMORY.dump_json(self.device.end_memory_pass(self.images))

    def load_second(self, request: LoadSecond) -> Ready:
        """Load a second network beside the first, and two copies of the baseline."""
        self.pairing = Pairing(self.opened, self.load, request, self.device, self.requests)
        return self.pairing.ready

    def time_pairs(self, request: TimePairs) -> PairsTimed | Failed:
        """Times of the candidate against the baseline."""
        if self.pairing is None:
            return Failed(kind="protocol", message="there is no second network to race")
        return self.pairing.time(request, self.monitor, self.beat)

    def _enlarged(self, lr_size: tuple[int, int]) -> npt.NDArray[np.uint8] | None:
        """The enlarged LR image, which the evaluator made, for networks that need it."""
        return self.areas.enlarged(lr_size, self.load.scale) if self.conversion.enlarges else None


def request_notices(requests: CudaRequests) -> Iterator[Notice]:
    """What became of an entry's requests for CUDA, and of forwards while it was built."""
    device = "GPU" if requests.device.type == "cuda" else "CPU"
    if requests.made:
        asked = _listed(requests.made)
        yield Notice(
            code="cuda-requests",
            message=f"its code asks for CUDA ({asked}); that led to the {device} of this run",
            advice="Nothing needs to change; code that uses the device of its input runs anywhere.",
        )
    if requests.forwards:
        ran = _listed(requests.forwards)
        yield Notice(
            code="warm-up",
            message=f"modules ran while it was built ({ran}), on the {device} of this run",
            advice="It is in no figure. It only makes loading longer.",
        )


def _listed(names: Iterable[str]) -> str:
    first = list(names)
    more = f" and {len(first) - MOST_NAMES} more" if len(first) > MOST_NAMES else ""
    return ", ".join(first[:MOST_NAMES]) + more


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


def failure(
    error: BaseException, default: FailureKind, loads: Sequence[Load | LoadSecond] = ()
) -> Failed:
    """An exception as an answer; its traceback goes to the log.

    Args:
        error: as it was caught.
        default: kind of failure, unless the exception tells another.
        loads: by which the networks were loaded whose code may have raised it.
    """
    if isinstance(error, ContenderError):
        told = failure(error.cause, default, loads)
        text = f"{error.who}: {told.message}"[:MESSAGE_CHARACTERS]
        return told.model_copy(update={"message": text})
    code = [folder for load in loads for folder in _code_folders(load)]
    known = [*code, *(str(Path(load.weights_path).parent) for load in loads if load.weights_path)]
    if isinstance(error, EsrbenchError):
        text, advice = relative(error.message, known), error.advice
    else:
        print(traceback_of(error, code), file=sys.stderr)  # noqa: T201 - the log
        place = place_of(error, code)
        text = relative(f"{type(error).__name__}: {error}", known)[:PLACED_CHARACTERS]
        text, advice = f"{text} ({place})" if place else text, None
        if isinstance(error, ModuleNotFoundError) and loads:
            advice = module_advice(loads[-1].descriptor, str(error.name))
        if (need := needs_cuda(error)) and not torch.cuda.is_available():
            text = f"{need} needs CUDA, which a run on the CPU does not have ({text})"
            advice = "Run it with --device cuda on a machine with an NVIDIA GPU."
    return Failed(kind=classify(error, default), message=text[:MESSAGE_CHARACTERS], advice=advice)


def _code_folders(load: Load | LoadSecond) -> Iterator[str]:
    """Where an entry's code lies, unless it is installed."""
    with suppress(EsrbenchError):
        for path in view_paths(load.descriptor)[0]:
            yield str(path if path.is_dir() else path.parent)


def answer(worker: Worker, request: object, send: Callable[[Reply], None]) -> tuple[Reply, bytes]:
    """Answer one request after loading; ``send`` takes what comes before the answer."""
    reply: Reply
    content = b""
    match request:
        case CountComplexity():
            reply = worker.count()
        case MeasureBlocks():
            reply, content = Account(), worker.measure_blocks(request.depth)
        case Upscale():
            reply = worker.upscale(request)
        case Forward():
            reply = worker.forward(request, send)
        case LoadSecond():
            reply = worker.load_second(request)
        case TimePairs():
            reply = worker.time_pairs(request)
        case ReadMemory():
            reply, content = Account(), worker.read_memory()
        case _:
            reply = Failed(kind="protocol", message=f"unexpected request {request!r}"[:400])
    return reply, content


def serve(channel: Channel, areas: PixelAreas) -> None:
    """Answer requests until told to stop or the evaluator is gone."""
    worker: Worker | None = None
    beat = _beats(channel)

    def send(reply: Reply, content: bytes = b"") -> None:
        channel.send(reply.model_dump(mode="json"), content)

    while True:
        try:
            message, _ = channel.receive()
        except ChannelClosedError:
            return
        request = REQUEST.validate_python(message)
        try:
            if isinstance(request, Stop):
                return
            if isinstance(request, ConvertWeights):
                send(*_converted(request))
            elif isinstance(request, Load):
                worker = Worker(request, areas, beat)
                send(worker.opened.ready)
            elif worker is None:
                send(Failed(kind="protocol", message="the first request must be load"))
            else:
                send(*answer(worker, request, send))
        except Exception as error:  # noqa: BLE001 - a stranger's network may raise anything
            loading = isinstance(request, Load | LoadSecond | ConvertWeights)
            loads: list[Load | LoadSecond] = [worker.load] if worker else []
            loads += [request] if isinstance(request, Load | LoadSecond) else []
            send(failure(error, "load-error" if loading else "forward-error", loads))


def _converted(request: ConvertWeights) -> tuple[Converted, bytes]:
    from esrbench.weights.conversion import convert

    report, content = convert(
        Path(request.path), key=request.key, prefix=request.prefix, renames=request.renames
    )
    return Converted(report=report), content


def _beats(channel: Channel) -> Callable[[], None]:
    """A function that tells the evaluator that work goes on, but not too often."""
    last = time.monotonic()

    def beat() -> None:
        nonlocal last
        if time.monotonic() - last >= BEAT_SECONDS:
            last = time.monotonic()
            channel.send(Working().model_dump(mode="json"))

    return beat


def main(arguments: Sequence[str]) -> None:
    """Serve on descriptors: requests, answers, LR area, SR area."""
    requests, answers, lr_fd, sr_fd = map(int, arguments)
    serve(Channel(requests, answers, trusted=True), PixelAreas.open(lr_fd, sr_fd))

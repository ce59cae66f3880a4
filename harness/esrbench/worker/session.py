"""A session with a worker: load a network, count it, upscale with it, time it."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Literal, TypeVar

from pydantic import TypeAdapter, ValidationError

from esrbench.backends import get_backend
from esrbench.data.resize import upscale
from esrbench.devices import DEVICES
from esrbench.entries.sources import view_paths
from esrbench.environment import available_cpus, cpus_available
from esrbench.errors import EsrbenchError, MeasurementError
from esrbench.probes.telemetry import SHORTEST_SECONDS, Monitor, watch
from esrbench.processes import family
from esrbench.protocol import EAGER, Frozen
from esrbench.records import Absent, Memory, PairedBatch
from esrbench.worker.building import is_module
from esrbench.worker.channel import FrameError, read_json
from esrbench.worker.messages import (
    BLOCKS,
    MEMORY,
    Account,
    Build,
    Built,
    Calibrate,
    Compiled,
    Converted,
    ConvertWeights,
    CountComplexity,
    Counted,
    Done,
    Export,
    Exported,
    Forward,
    Greet,
    Load,
    LoadSecond,
    MeasureBlocks,
    PairsTimed,
    ReadCompiled,
    ReadMemory,
    Ready,
    Settled,
    TimePairs,
    Upscale,
)
from esrbench.worker.pixels import OversizeError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    import numpy as np
    import numpy.typing as npt

    from esrbench.entries.descriptor import ModelDescriptor
    from esrbench.entries.networks import ResolvedWeights
    from esrbench.protocol import ForwardPolicy, Protocol
    from esrbench.records import Block, Complexity, RaceSide
    from esrbench.weights.conversion import ConversionReport
    from esrbench.worker.messages import Request
    from esrbench.worker.process import ReplyT, WorkerProcess

    Pixels = npt.NDArray[np.uint8]

AccountT = TypeVar("AccountT")

MOST_SETTLING_SECONDS = 10.0
"""Seconds for checks after forwards, added to the time of the forwards."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """The result of one timed forward.

    Attributes:
        sr: the evaluator's copy, uint8 (scale*h, scale*w, 3) RGB.
        seconds: time from before LR was revealed until this copy was complete, by the evaluator's
            monotonic clock.
        claimed_seconds: time of the network alone, as the worker claims.
        preparation_seconds: time of enlarging the LR image, which the evaluator does before the
            clock starts; None for networks that do not need it.
        settling_seconds: time from then until the worker had finished its checks, by the
            evaluator's clock.
    """

    sr: Pixels
    seconds: float
    claimed_seconds: float
    preparation_seconds: float | None
    settling_seconds: float = 0.0

    def without_pixels(self) -> Delivery:
        """The same times without the SR image."""
        return replace(self, sr=self.sr[:0, :0].copy())


class WorkerSession:
    """One worker process and its requests, alive within a ``with`` block.

    Every request raises ``WorkerError`` if the worker fails or its answer is impossible.

    Args:
        process: the worker, not yet started.

    Attributes:
        output_range: lowest and highest value of the network's last untimed output, as the worker
            reports; None if it reported nothing.
    """

    def __init__(self, process: WorkerProcess) -> None:
        self.process = process
        self.output_range: tuple[float, float] | None = None
        self._forward_seconds = self._settling_seconds = 0.0
        self._scale = 1
        self._input: Literal["lr", "bicubic-hr"] = "lr"
        self._enlarges = False
        self._protocol: Protocol | None = None
        self._sequence = 0
        self._monitor = Monitor(())

    def __enter__(self) -> Self:
        """Start the process."""
        self.process.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Ask the process to stop, and kill it if it does not."""
        self.process.__exit__(kind, value, trace)

    @property
    def log_tail(self) -> str:
        """The last output of the worker."""
        return self.process.log_tail

    def cpu_seconds(self) -> float | None:
        """CPU seconds of the worker and all its processes so far; None if unknown."""
        return self.process.cpu_seconds()

    def greet(self) -> None:
        """Wait until the worker has imported its modules; then it is idle until the next request.

        The time limit of the worker begins then, because it may have waited for another entry's
        pass.
        """
        self._ask(Greet(), Settled)
        self.process.begin_life()

    def load(
        self,
        descriptor: ModelDescriptor,
        scale: int,
        *,
        weights: ResolvedWeights,
        protocol: Protocol,
        state: bytes | None = None,
        graph: Path | None = None,
    ) -> Ready:
        """Build the network in the worker and load its weights.

        Args:
            descriptor: descriptor of the network.
            scale: upscaling factor.
            weights: which weights.
            protocol: settings.
            graph: folder of the graph that the backend runs instead of the network's code.
            state: the weights as safetensors, empty for random ones, if the worker cannot read
                their file; otherwise None.
        """
        self._scale, self._input = scale, descriptor.input
        self._enlarges = descriptor.input == "bicubic-hr" or descriptor.color == "y"
        named = None if graph is None else str(graph)
        request = partial(Load, converted=state is not None, graph=named)
        return self._load(
            request, descriptor, scale, weights=weights, protocol=protocol, state=state or b""
        )

    def load_second(
        self,
        descriptor: ModelDescriptor,
        scale: int,
        *,
        weights: ResolvedWeights,
        protocol: Protocol,
        side: RaceSide,
        state: bytes | None = None,
        graph: Path | None = None,
    ) -> Ready:
        """Build a second network and two copies of the baseline; each makes a forward."""
        named = None if graph is None else str(graph)
        request = partial(LoadSecond, side=side, converted=state is not None, graph=named)
        return self._load(
            request, descriptor, scale, weights=weights, protocol=protocol, state=state or b""
        )

    def _load(
        self,
        request: Callable[..., Load | LoadSecond],
        descriptor: ModelDescriptor,
        scale: int,
        *,
        weights: ResolvedWeights,
        protocol: Protocol,
        state: bytes = b"",
    ) -> Ready:
        asked = request(
            descriptor=descriptor,
            scale=scale,
            weights_path=str(weights.path) if weights.path else None,
            code=_code_folders(descriptor),
            released=weights.released,
            protocol=protocol,
        )
        ready = self._ask(asked, Ready, state)[0]
        self._protocol = protocol
        self._monitor = monitor_of(self, ready)
        untrue = impossible(ready, protocol)
        self._require_possible(untrue and f"it reported an impossible value for its {untrue}")
        return ready

    def time_pairs(
        self,
        *,
        count: int,
        self_count: int,
        discard: int,
        candidate_first: bool,
        twin_first: bool,
    ) -> PairedBatch:
        """Time the candidate against the baseline; arguments as in ``TimePairs``.

        The kernel cannot show the load during a very short time. So after a batch on the CPU, this
        waits until ``SHORTEST_SECONDS`` have passed since its start.
        """
        request = TimePairs(
            count=count,
            self_count=self_count,
            discard=discard,
            candidate_first=candidate_first,
            twin_first=twin_first,
        )
        start = self._monitor.read()
        timed = self._ask(request, PairsTimed)[0]
        end = self._monitor.read()
        missing = SHORTEST_SECONDS - (end.seconds - start.seconds)
        if missing > 0 and self._protocol and not DEVICES[self._protocol.device].gpu:
            time.sleep(missing)
            end = self._monitor.read()
        told = len(timed.pairs), len(timed.self_pairs)
        self._require_possible(
            None
            if told == (count, self_count)
            else f"it timed {told[0]} and {told[1]} pairs, not {count} and {self_count}"
        )
        return PairedBatch(
            pairs=timed.pairs,
            self_pairs=timed.self_pairs,
            conditions=self._monitor.conditions(start, end),
        )

    def count_complexity(self) -> Complexity:
        """Complexity of the loaded network."""
        complexity = self._ask(CountComplexity(), Counted)[0].complexity
        if self._protocol is not None:
            self._require_possible(impossible_counts(complexity, self._protocol))
        return complexity

    def measure_blocks(self, depth: int) -> tuple[Block, ...]:
        """Cost of the loaded network's blocks down to a depth, at the fixed input."""
        asked = MeasureBlocks(depth=depth)
        return self._account(asked, BLOCKS, "the blocks are no list of blocks")

    def _require_possible(self, untrue: str | None) -> None:
        if untrue is not None:
            raise self.process.gone("protocol", untrue)

    def upscale(self, lr: Pixels, name: str) -> Pixels:
        """Upscale one image untimed.

        Args:
            lr: (h, w, 3) RGB uint8.
            name: name of the image.

        Returns:
            (scale*h, scale*w, 3) RGB uint8, the evaluator's own copy.
        """
        self._poison(self._sr_size(lr))
        self.process.areas.reveal(lr, self._enlarged(lr))
        settled, _ = self._ask(Upscale(input_name=name, lr_size=_size(lr)), Settled)
        self.output_range = settled.output_range
        return self.process.areas.take(self._sr_size(lr))

    def forward(self, lr: Pixels) -> Delivery:
        """Upscale one image, timed from outside the worker.

        The clock starts before the worker can know the pixels and stops when they are copied
        out of its reach. Pixels that it writes after that are ignored. Work that it does before
        that is timed. If a network takes the LR image enlarged, or gives luma only, the image is
        enlarged here before the clock starts, so no network can save this work.

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
        self.process.areas.reveal(lr, enlarged)
        done = self._ask(request, Done)[0]
        sr = self.process.areas.take(size)
        seconds = time.perf_counter() - start
        if done.sequence != self._sequence:
            said = f"it answered forward {self._sequence} with number {done.sequence}"
            raise self.process.gone("protocol", said)
        self.process.receive(request, Settled)
        settling = time.perf_counter() - start - seconds
        self._require_settled(seconds, settling)
        return Delivery(sr, seconds, done.seconds, preparation, settling)

    def _require_settled(self, seconds: float, settling: float) -> None:
        """End a worker that takes too long for its checks, which no runtime contains."""
        self._forward_seconds += seconds
        self._settling_seconds += settling
        if self._settling_seconds > MOST_SETTLING_SECONDS + self._forward_seconds:
            raise self.process.gone(
                "timeout",
                f"its checks after forwards took {self._settling_seconds:.3g} s; the limit is the "
                f"forwards' time, {self._forward_seconds:.3g} s, plus {MOST_SETTLING_SECONDS:g} s",
                advice="Remove code that delays the worker's checks between forwards.",
            )

    def convert_weights(
        self,
        path: Path,
        *,
        key: str | tuple[str, ...] | None,
        prefix: str | None,
        renames: Sequence[tuple[str, str]],
    ) -> tuple[ConversionReport, bytes]:
        """Convert a weights file to safetensors in the worker; see ``ConvertWeights``."""
        request = ConvertWeights(path=str(path), key=key, prefix=prefix, renames=tuple(renames))
        reply, content = self._ask(request, Converted)
        return reply.report, content

    def build(self, folder: Path, words: Sequence[str]) -> dict[str, bytes]:
        """Compile modules with a submission's script; returns them by path in its folder."""
        request = Build(folder=str(folder), words=tuple(words))
        reply, content = self._ask(request, Built)
        made = self._files(reply.files, content)
        if not all(map(is_module, made)):
            raise self.process.gone("protocol", "it sent built files that are not compiled modules")
        return made

    def export(
        self, policy: ForwardPolicy, calibration: Sequence[Pixels] = ()
    ) -> tuple[Exported, dict[str, bytes]]:
        """Export the graph of the loaded network; returns its description, and its files by name.

        Args:
            policy: names backend and precision.
            calibration: LR images for quantisation, each (h, w, 3) RGB uint8.
        """
        for lr in calibration:
            self.process.areas.reveal(lr, self._enlarged(lr))
            self._ask(Calibrate(lr_size=_size(lr)), Settled)
        request = Export(
            backend=policy.backend,
            precision=policy.precision,
            fp32_ends=policy.quantisation is not None and policy.quantisation.fp32_ends,
        )
        reply, content = self._ask(request, Exported)
        made = self._files(reply.files, content)
        if set(made) != set(get_backend(policy.backend).files):
            raise self.process.gone(
                "protocol", f"it sent a graph that is not one of {policy.backend}"
            )
        return reply, made

    def read_compiled(self) -> bytes:
        """Output of the backend's compiler so far, for another worker of the same network."""
        return self._ask(ReadCompiled(), Compiled)[1]

    def _files(self, listed: Sequence[tuple[str, int]], content: bytes) -> dict[str, bytes]:
        """The files of a payload, by name."""
        if sum(size for _, size in listed) != len(content):
            raise self.process.gone(
                "protocol", "the length of its files differs from what it reported"
            )
        ends = list(accumulate((size for _, size in listed), initial=0))
        return {
            name: content[begin:end]
            for (name, _), (begin, end) in zip(listed, pairwise(ends), strict=True)
        }

    def read_memory(self) -> Memory | Absent:
        """Device memory of all images upscaled since loading."""
        memory = self._account(ReadMemory(), MEMORY, "no account of memory")
        if self._protocol is not None:
            self._require_possible(impossible_memory(memory, self._protocol))
        return memory

    def _sr_size(self, lr: Pixels) -> tuple[int, int]:
        return lr.shape[0] * self._scale, lr.shape[1] * self._scale

    def _poison(self, size: tuple[int, int]) -> None:
        try:
            self.process.areas.poison(size)
        except OversizeError as error:
            message = f"an SR image of {size[0]}x{size[1]} is too large to be delivered: {error}"
            raise MeasurementError(message, advice="Measure on smaller images.") from None

    def _enlarged(self, lr: Pixels) -> Pixels | None:
        """The LR image enlarged to SR size by bicubic interpolation, if the network needs it."""
        return upscale(lr, self._scale, border="mirror") if self._enlarges else None

    def _ask(
        self, request: Request, expected: type[ReplyT], content: bytes = b""
    ) -> tuple[ReplyT, bytes]:
        reply, answered = self.process.ask(request, expected, content)
        self._require_own_failures(reply, request)
        return reply, answered

    def _account(self, request: Request, form: TypeAdapter[AccountT], otherwise: str) -> AccountT:
        """Parse the JSON in an answer's payload."""
        _, content = self._ask(request, Account)
        try:
            account = form.validate_python(read_json(content, "an account"))
        except (FrameError, ValidationError) as error:
            raise self.process.gone("protocol", f"{otherwise}: {error}") from error
        self._require_own_failures(account, request)
        return account

    def _require_own_failures(self, told: object, request: Request) -> None:
        if blames_machine(told):
            said = f"its answer to {request.command} has a failure without a kind"
            raise self.process.gone("protocol", f"{said}, which only the harness may report")


def monitor_of(session: WorkerSession, ready: Ready) -> Monitor:
    """A monitor of the load of other programs on a worker's CPUs and GPU.

    Args:
        session: the worker. The CPU time of the worker and of this process is not other load, and
            the worker's processes on the GPU are not foreign.
        ready: its answer to ``Load``.
    """

    def own_seconds() -> float:
        return time.process_time() + (session.cpu_seconds() or 0.0)

    return watch(
        ready.cpus,
        ready.gpu_uuid,
        own_seconds=own_seconds,
        own_processes=lambda: family(session.process.pid),
    )


def _code_folders(descriptor: ModelDescriptor) -> tuple[str, ...]:
    """Folder of an entry's code; empty if the code is installed."""
    with suppress(EsrbenchError):
        paths = view_paths(descriptor)[0]
        return tuple(str(path if path.is_dir() else path.parent) for path in paths)
    return ()


def _size(lr: Pixels) -> tuple[int, int]:
    return lr.shape[0], lr.shape[1]


def impossible(ready: Ready, protocol: Protocol) -> str | None:
    """The impossible part of a worker's answer to ``Load``, or None.

    Args:
        ready: its answer.
        protocol: the protocol that it was given.
    """
    threads = protocol.threads or cpus_available()
    known = set(available_cpus())
    if ready.threads != threads:
        return "threads"
    if ready.cpus and (len(set(ready.cpus)) != threads or (known and not set(ready.cpus) <= known)):
        return "CPUs"
    if ready.opening is None and protocol.forward.backend != EAGER:
        return "backend"
    told = ready.accelerator or ready.gpu_uuid or ready.libraries
    if told and not DEVICES[protocol.device].gpu:
        return "GPU"
    return None


def impossible_counts(complexity: Complexity, protocol: Protocol) -> str | None:
    """The impossible part of a worker's counts, or None.

    Args:
        complexity: its answer.
        protocol: the protocol that it was given.
    """
    if set(complexity.counters) != set(protocol.counters):
        told = ", ".join(sorted(complexity.counters)) or "none"
        return f"it used the counters {told}, which are not those of the protocol"
    return None


def impossible_memory(memory: Memory | Absent, protocol: Protocol) -> str | None:
    """The impossible part of a worker's answer about memory, or None."""
    if isinstance(memory, Memory) and not DEVICES[protocol.device].gpu:
        return "it reported GPU memory, but it has no GPU"
    return None


def blames_machine(told: object) -> bool:
    """Whether a worker's answer contains a failure that blames the harness or the machine.

    Such a failure has no kind; only the evaluator may report one.
    """
    if isinstance(told, Absent):
        return told.kind == "failed" and told.failure is None
    if isinstance(told, Frozen):
        return any(blames_machine(value) for _, value in told)
    if isinstance(told, dict):
        return any(map(blames_machine, told.values()))
    return isinstance(told, list | tuple) and any(map(blames_machine, told))

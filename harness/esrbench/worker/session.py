"""A session with a worker: load a network, count it, upscale by it, time it."""

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
    """What came of one timed forward.

    Attributes:
        sr: the evaluator's own copy, uint8 (scale*h, scale*w, 3) RGB.
        seconds: from before LR was revealed until this copy was whole, by the evaluator's
            monotonic clock.
        claimed_seconds: of the network alone, by the worker's account.
        preparation_seconds: of enlarging the LR image, which the evaluator does before the clock
            starts; None for networks that do not take it enlarged.
        settling_seconds: from there until the worker had checked what the forward left behind, by
            the evaluator's clock.
    """

    sr: Pixels
    seconds: float
    claimed_seconds: float
    preparation_seconds: float | None
    settling_seconds: float = 0.0

    def without_pixels(self) -> Delivery:
        """The times alone."""
        return replace(self, sr=self.sr[:0, :0].copy())


class WorkerSession:
    """One worker process and what is asked of it, alive within a ``with`` block.

    Every request raises ``WorkerError`` where the worker fails or says what cannot be true.

    Args:
        process: the worker, not yet started.
    """

    def __init__(self, process: WorkerProcess) -> None:
        self.process = process
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
        """Stop the process, by force where asking does not help."""
        self.process.__exit__(kind, value, trace)

    @property
    def log_tail(self) -> str:
        """The last of what the worker printed."""
        return self.process.log_tail

    def cpu_seconds(self) -> float | None:
        """CPU time that the worker, and all it started, took so far; None if it is not told."""
        return self.process.cpu_seconds()

    def greet(self) -> None:
        """Wait until the worker has imported what it needs; it then rests until it is asked.

        The time that it may live begins then: another entry's pass kept it waiting.
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
            descriptor: of the network.
            scale: upscaling factor.
            weights: which weights.
            protocol: settings.
            graph: folder of what the protocol's backend runs in place of the network's code.
            state: those weights as safetensors, empty for random ones, where the worker cannot read
                their file; None where it can.
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
        """Build a second network, then two copies of the baseline; each makes a forward."""
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
        self._require_possible(untrue and f"its account of its {untrue} cannot be true")
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
        """Times of the candidate against the baseline; arguments as of ``TimePairs``.

        A batch on the CPU too short for the kernel to tell the load is followed by waiting until
        it can.
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
        """SR of one image, untimed.

        Args:
            lr: (h, w, 3) RGB uint8.
            name: of the image.

        Returns:
            (scale*h, scale*w, 3) RGB uint8, the evaluator's own copy.
        """
        self._poison(self._sr_size(lr))
        self.process.areas.reveal(lr, self._enlarged(lr))
        self._ask(Upscale(input_name=name, lr_size=_size(lr)), Settled)
        return self.process.areas.take(self._sr_size(lr))

    def forward(self, lr: Pixels) -> Delivery:
        """SR of one image, timed from outside.

        The clock starts before the worker can know the pixels and stops when they are copied
        out of its reach. Pixels that it writes after that are ignored. Work that it does before
        that is timed. If a network takes the LR image enlarged, or gives luma only, the image is
        enlarged here, before the clock starts: nobody can gain by not doing so.

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
            said = f"forward {self._sequence} was answered as {done.sequence}"
            raise self.process.gone("protocol", said)
        self.process.receive(request, Settled)
        settling = time.perf_counter() - start - seconds
        self._require_settled(seconds, settling)
        return Delivery(sr, seconds, done.seconds, preparation, settling)

    def _require_settled(self, seconds: float, settling: float) -> None:
        """End a worker that takes its time where none is measured."""
        self._forward_seconds += seconds
        self._settling_seconds += settling
        if self._settling_seconds > MOST_SETTLING_SECONDS + self._forward_seconds:
            raise self.process.gone(
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
        key: str | tuple[str, ...] | None,
        prefix: str | None,
        renames: Sequence[tuple[str, str]],
    ) -> tuple[ConversionReport, bytes]:
        """A weights file as safetensors, read in the worker; arguments as of ``ConvertWeights``."""
        request = ConvertWeights(path=str(path), key=key, prefix=prefix, renames=tuple(renames))
        reply, content = self._ask(request, Converted)
        return reply.report, content

    def build(self, folder: Path, words: Sequence[str]) -> dict[str, bytes]:
        """Compiled modules that a submission's script makes, by path in its folder."""
        request = Build(folder=str(folder), words=tuple(words))
        reply, content = self._ask(request, Built)
        made = self._files(reply.files, content)
        if not all(map(is_module, made)):
            raise self.process.gone("protocol", "the files that it built are no compiled modules")
        return made

    def export(
        self, policy: ForwardPolicy, calibration: Sequence[Pixels] = ()
    ) -> tuple[Exported, dict[str, bytes]]:
        """Contents of the graph of the loaded network, and its files by name.

        Args:
            policy: names backend and precision.
            calibration: LR images by which it is quantised, (h, w, 3) RGB uint8 each.
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
            raise self.process.gone("protocol", f"what it wrote is no graph of {policy.backend}")
        return reply, made

    def read_compiled(self) -> bytes:
        """What the backend's compiler made so far, for another worker of the same network."""
        return self._ask(ReadCompiled(), Compiled)[1]

    def _files(self, listed: Sequence[tuple[str, int]], content: bytes) -> dict[str, bytes]:
        """The files of a payload, by name."""
        if sum(size for _, size in listed) != len(content):
            raise self.process.gone("protocol", "its files are not as long as it says")
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
        """The LR image by bicubic in SR size, for networks that need it."""
        return upscale(lr, self._scale, border="mirror") if self._enlarges else None

    def _ask(
        self, request: Request, expected: type[ReplyT], content: bytes = b""
    ) -> tuple[ReplyT, bytes]:
        reply, answered = self.process.ask(request, expected, content)
        self._require_own_failures(reply, request)
        return reply, answered

    def _account(self, request: Request, form: TypeAdapter[AccountT], otherwise: str) -> AccountT:
        """The content of an answer's payload, as JSON of a given form."""
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
            raise self.process.gone("protocol", f"{said}, as only the harness may have")


def monitor_of(session: WorkerSession, ready: Ready) -> Monitor:
    """A monitor of what others do on a worker's CPUs and GPU.

    Args:
        session: the worker; neither its CPU time nor that of this process is load of others, and
            its processes are no foreign ones on the GPU.
        ready: its account.
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
    """Folder of an entry's code, unless it is installed."""
    with suppress(EsrbenchError):
        paths = view_paths(descriptor)[0]
        return tuple(str(path if path.is_dir() else path.parent) for path in paths)
    return ()


def _size(lr: Pixels) -> tuple[int, int]:
    return lr.shape[0], lr.shape[1]


def impossible(ready: Ready, protocol: Protocol) -> str | None:
    """What of a worker's account cannot be true, or None; records repeat the rest.

    Args:
        ready: its account.
        protocol: what it was told.
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
        complexity: its account.
        protocol: what it was told.
    """
    if set(complexity.counters) != set(protocol.counters):
        told = ", ".join(sorted(complexity.counters)) or "none"
        return f"it answers with the counters {told}, not those of the protocol"
    return None


def impossible_memory(memory: Memory | Absent, protocol: Protocol) -> str | None:
    """What of a worker's account of memory cannot be true, or None; arguments as above."""
    if isinstance(memory, Memory) and not DEVICES[protocol.device].gpu:
        return "it gives an account of GPU memory, and has no GPU"
    return None


def blames_machine(told: object) -> bool:
    """Whether a worker's answer holds a failure that is not its network's.

    A failure without a kind is the harness's or its machine's, which only the evaluator can tell.
    """
    if isinstance(told, Absent):
        return told.kind == "failed" and told.failure is None
    if isinstance(told, Frozen):
        return any(blames_machine(value) for _, value in told)
    if isinstance(told, dict):
        return any(map(blames_machine, told.values()))
    return isinstance(told, list | tuple) and any(map(blames_machine, told))

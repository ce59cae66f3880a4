"""What evaluator and worker say to each other. Pixels travel as payload, uint8 (H, W, 3) RGB."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from harness.catalog.registry import (  # noqa: TC001 - pydantic reads it
    ModelDescriptor,
    ReleasedWeights,
)
from harness.protocol import MAX_ROUNDS, Frozen, LatencyDesign, Protocol
from harness.records import (
    Absent,
    Block,
    Complexity,
    Conditions,
    Count,
    LatencySamples,
    Memory,
    Seconds,
    Sha256,
)

FailureKind = Literal[
    "load-error", "forward-error", "invalid-output", "oom", "timeout", "crash", "protocol"
]


class Load(Frozen):
    """Build the network, load its weights, ready the device. Always the first request.

    ``released`` is the declaration by which the weights file is read, or None for a plain one.
    """

    command: Literal["load"] = "load"
    descriptor: ModelDescriptor
    scale: int
    weights_path: str | None
    released: ReleasedWeights | None
    protocol: Protocol


class LoadBaseline(Frozen):
    """Load a second network, and a copy of it, beside the first; fields as of ``Load``."""

    command: Literal["load-baseline"] = "load-baseline"
    descriptor: ModelDescriptor
    scale: int
    weights_path: str | None
    released: ReleasedWeights | None
    protocol: Protocol


class TimePairs(Frozen):
    """Time both networks at the protocol's fixed input, pair by pair.

    Attributes:
        count: pairs.
        self_count: pairs of the baseline and its copy, interleaved with them.
        discard: pairs of either kind that are made before, to warm up.
        candidate_first: in the first pair; alternates.
        twin_first: the copy goes first in the first pair of its own; alternates.
    """

    command: Literal["time-pairs"] = "time-pairs"
    count: Annotated[int, Field(gt=0, le=MAX_ROUNDS)]
    self_count: Annotated[int, Field(ge=0, le=MAX_ROUNDS)]
    discard: Annotated[int, Field(ge=0)]
    candidate_first: bool
    twin_first: bool


class CountComplexity(Frozen):
    """Count on fresh copies of the network."""

    command: Literal["count-complexity"] = "count-complexity"


class MeasureBlocks(Frozen):
    """Count a fresh copy of the network block by block; the answer's payload is a JSON list."""

    command: Literal["measure-blocks"] = "measure-blocks"
    depth: Annotated[int, Field(ge=0)]


class Upscale(Frozen):
    """Upscale one LR image (the payload) untimed; its memory is measured where that is possible."""

    command: Literal["upscale"] = "upscale"
    input_name: str
    lr_size: tuple[int, int]


class TimeImage(Frozen):
    """Time the network on one LR image (the payload)."""

    command: Literal["time-image"] = "time-image"
    input_name: str
    lr_size: tuple[int, int]
    design: LatencyDesign


class TimeFixedInput(Frozen):
    """Time the network at the protocol's fixed input, seeded noise."""

    command: Literal["time-fixed-input"] = "time-fixed-input"
    design: LatencyDesign


class ReadMemory(Frozen):
    """Report what all images took that were upscaled; the answer's payload is JSON."""

    command: Literal["read-memory"] = "read-memory"


class Stop(Frozen):
    """End the worker."""

    command: Literal["stop"] = "stop"


class Ready(Frozen):
    """The network is loaded.

    Attributes:
        parameters: number of its parameter tensors, as it is trained.
        threads: CPU threads of its forwards.
        cpus: logical CPUs that the process is confined to.
        libraries: versions of the GPU's libraries, by name.
    """

    event: Literal["ready"] = "ready"
    parameters: Annotated[int, Field(ge=0)]
    threads: int
    cpus: tuple[Count, ...]
    accelerator: str | None
    libraries: dict[str, str] = {}
    code_sha256: Sha256 | None


class Counted(Frozen):
    """Answer to ``CountComplexity``."""

    event: Literal["counted"] = "counted"
    complexity: Complexity


class BlocksMeasured(Frozen):
    """Answer to ``MeasureBlocks``; the payload is JSON of a list of ``Block``."""

    event: Literal["blocks-measured"] = "blocks-measured"


class Upscaled(Frozen):
    """Answer to ``Upscale``; SR pixels are the payload."""

    event: Literal["upscaled"] = "upscaled"
    sr_size: tuple[int, int]


class Timed(Frozen):
    """Answer to ``TimeImage`` and ``TimeFixedInput``; conditions since loading."""

    event: Literal["timed"] = "timed"
    latency: LatencySamples
    process_conditions: Conditions


class Working(Frozen):
    """No answer yet, but another forward has ended; sent now and then in a long request."""

    event: Literal["working"] = "working"


class PairsTimed(Frozen):
    """Answer to ``TimePairs``; fields as of ``PairedBatch``."""

    event: Literal["pairs-timed"] = "pairs-timed"
    pairs: tuple[tuple[Seconds, Seconds], ...]
    self_pairs: tuple[tuple[Seconds, Seconds], ...]
    conditions: Conditions | None


class MemoryRead(Frozen):
    """Answer to ``ReadMemory``; the payload is JSON of a ``Memory`` or an ``Absent``."""

    event: Literal["memory-read"] = "memory-read"


class Failed(Frozen):
    """The request failed; the worker goes on if it can."""

    event: Literal["failed"] = "failed"
    kind: FailureKind
    message: Annotated[str, Field(max_length=4000)]
    advice: str | None = None


Request = Annotated[
    Load
    | CountComplexity
    | MeasureBlocks
    | Upscale
    | TimeImage
    | TimeFixedInput
    | LoadBaseline
    | TimePairs
    | ReadMemory
    | Stop,
    Field(discriminator="command"),
]
Reply = Annotated[
    Ready
    | Counted
    | BlocksMeasured
    | Upscaled
    | Timed
    | PairsTimed
    | MemoryRead
    | Working
    | Failed,
    Field(discriminator="event"),
]

REQUEST: TypeAdapter[Request] = TypeAdapter(Request)
REPLY: TypeAdapter[Reply] = TypeAdapter(Reply)
BLOCKS: TypeAdapter[tuple[Block, ...]] = TypeAdapter(tuple[Block, ...])
MEMORY: TypeAdapter[Memory | Absent] = TypeAdapter(Memory | Absent)

"""Messages between evaluator and worker. Pixels, uint8 (H, W, 3) RGB, travel beside it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from esrbench.entries.descriptor import (  # noqa: TC001 - pydantic reads it
    ModelDescriptor,
    ReleasedWeights,
)
from esrbench.protocol import MAX_ROUNDS, Frozen, PrecisionName, Protocol
from esrbench.records import (
    Absent,
    Block,
    Complexity,
    Count,
    FailureKind,
    Memory,
    RaceSide,
    Seconds,
    Sha256,
    WeightsLayout,
)
from esrbench.records.deployment import Text
from esrbench.weights.conversion import ConversionReport  # noqa: TC001 - pydantic reads it

Texts = Annotated[dict[Text, Text], Field(max_length=50)]


class _Loading(Frozen):
    """The network to build, and how to measure it.

    Attributes:
        code: folders of the entry's code, unless it is installed.
        released: declaration by which the weights file is read, or None for a plain one.
        graph: folder of what the backend runs in place of the network's code, if it does.
        converted: the weights, if there are any, come along as safetensors under the network's own
            names; else the file is read.
    """

    descriptor: ModelDescriptor
    scale: int
    weights_path: str | None
    code: tuple[str, ...] = ()
    released: ReleasedWeights | None
    converted: bool = False
    graph: str | None = None
    protocol: Protocol


class Load(_Loading):
    """Build the network, load its weights, ready the device. Always the first request."""

    command: Literal["load"] = "load"


class LoadSecond(_Loading):
    """Load a second network to race, and then two copies of the baseline.

    Attributes:
        side: which of the two the second network is; the first is the other one.
    """

    command: Literal["load-second"] = "load-second"
    side: RaceSide


class TimePairs(Frozen):
    """Time both networks at the protocol's fixed input, pair by pair.

    Attributes:
        count: pairs.
        self_count: pairs of two copies of the baseline, interleaved with them.
        discard: pairs of either kind that are made before, to warm up.
        candidate_first: in the first pair; alternates.
        twin_first: the one copy goes first in the first pair of copies; alternates.
    """

    command: Literal["time-pairs"] = "time-pairs"
    count: Annotated[int, Field(gt=0, le=MAX_ROUNDS)]
    self_count: Annotated[int, Field(ge=0, le=MAX_ROUNDS)]
    discard: Annotated[int, Field(ge=0)]
    candidate_first: bool
    twin_first: bool


class CountComplexity(Frozen):
    """Count the loaded network, on copies of it."""

    command: Literal["count-complexity"] = "count-complexity"


class MeasureBlocks(Frozen):
    """Count a copy of the loaded network block by block; the answer's payload is a JSON list."""

    command: Literal["measure-blocks"] = "measure-blocks"
    depth: Annotated[int, Field(ge=0)]


class Upscale(Frozen):
    """Upscale the LR image untimed; its memory is measured where that is possible."""

    command: Literal["upscale"] = "upscale"
    input_name: str
    lr_size: tuple[int, int]


class Forward(Frozen):
    """Upscale the LR image, timed.

    Attributes:
        sequence: number of the request, which its answer repeats.
    """

    command: Literal["forward"] = "forward"
    sequence: Count
    lr_size: tuple[int, int]


class ConvertWeights(Frozen):
    """Read a weights file as data and write it as safetensors, which is the answer's payload.

    Attributes:
        path: of the file.
        key: name under which the state dict is nested, or names of which the first that is there
            counts; empty for none, None to find it.
        prefix: of every key; empty for none, None to find it.
        renames: as of ``ReleasedWeights``.
    """

    command: Literal["convert-weights"] = "convert-weights"
    path: str
    key: str | tuple[str, ...] | None
    prefix: str | None
    renames: tuple[tuple[str, str], ...]


class Build(Frozen):
    """Build modules in a copy of a submission's folder; they are the answer's payload.

    Attributes:
        folder: of the submission.
        words: path of a script in it, and its arguments.
    """

    command: Literal["build"] = "build"
    folder: str
    words: Annotated[tuple[str, ...], Field(min_length=1)]


class Calibrate(Frozen):
    """Keep the LR image as an input by which the next export sets the ranges of its integers."""

    command: Literal["calibrate"] = "calibrate"
    lr_size: tuple[int, int]


class Export(Frozen):
    """Write the graph of the loaded network for a backend; its files are the answer's payload.

    Attributes:
        backend: its name.
        precision: of the graph; in integers by the inputs of ``Calibrate``.
        fp32_ends: as of ``Quantisation``.
    """

    command: Literal["export"] = "export"
    backend: str
    precision: PrecisionName = "fp32"
    fp32_ends: bool = False


class ReadMemory(Frozen):
    """Report what all images took that were upscaled; the answer's payload is JSON."""

    command: Literal["read-memory"] = "read-memory"


class Greet(Frozen):
    """Answer that all is imported, with ``Settled``; nothing is loaded for it."""

    command: Literal["greet"] = "greet"


class ReadCompiled(Frozen):
    """Give what the backend's compiler made so far; another worker of the network can load it."""

    command: Literal["read-compiled"] = "read-compiled"


class Stop(Frozen):
    """End the worker."""

    command: Literal["stop"] = "stop"


class Opening(Frozen):
    """What a worker says of the backend that runs its network; fields as of ``Deployment``."""

    versions: Texts = {}
    options: Texts = {}
    load_seconds: Seconds


class Ready(Frozen):
    """The network is loaded.

    Attributes:
        parameters: number of its parameter tensors, as it is trained.
        threads: CPU threads of its forwards.
        cpus: logical CPUs that the process is confined to.
        libraries: versions of the GPU's libraries, by name.
        gpu_uuid: of the GPU, without its kind in front; None on CPU.
        state_elements: numbers in its parameters and buffers by name, as it was loaded.
        deployed_elements: numbers in its distinct parameters in the form that is measured.
        layout: of its weights file; None where that is the network's state dict and nothing else.
        parameters_sha256: of the parameters that a file filled, whatever their names and order.
        opening: of the backend that runs it.
    """

    event: Literal["ready"] = "ready"
    parameters: Annotated[int, Field(ge=0)]
    threads: Count
    cpus: tuple[Count, ...]
    accelerator: str | None
    libraries: dict[str, str] = {}
    gpu_uuid: str | None = None
    code_sha256: Sha256 | None
    state_elements: Count | None = None
    deployed_elements: Count | None = None
    layout: WeightsLayout | None = None
    parameters_sha256: Sha256 | None = None
    opening: Opening | None = None


class Counted(Frozen):
    """Answer to ``CountComplexity``."""

    event: Literal["counted"] = "counted"
    complexity: Complexity


class Account(Frozen):
    """Answer to ``MeasureBlocks`` and ``ReadMemory``; the payload is JSON.

    Of a list of ``Block``, and of a ``Memory`` or an ``Absent``.
    """

    event: Literal["account"] = "account"


class Done(Frozen):
    """First answer to ``Forward``: SR is there.

    Attributes:
        sequence: of the request.
        seconds: that the network alone took, by the worker's account.
    """

    event: Literal["done"] = "done"
    sequence: Count
    seconds: Seconds


class Settled(Frozen):
    """Answer to ``Upscale`` and ``Calibrate``, and second one to ``Forward``.

    SR is there and finite, and everything is as the protocol fixes it.
    """

    event: Literal["settled"] = "settled"


class Converted(Frozen):
    """Answer to ``ConvertWeights``."""

    event: Literal["converted"] = "converted"
    report: ConversionReport


class Built(Frozen):
    """Answer to ``Build``; the payload is the content of all files, one after the other.

    Attributes:
        files: path in the folder and size of each.
    """

    event: Literal["built"] = "built"
    files: Annotated[tuple[tuple[str, Count], ...], Field(max_length=64)]


class Exported(Frozen):
    """Answer to ``Export``; the payload is the content of all files, one after the other.

    Attributes:
        files: name and size of each.
        parameters: numbers of floating type in the graph.
        operators: how often each occurs, by name.
        float_products: as of ``Graph``.
    """

    event: Literal["exported"] = "exported"
    files: Annotated[tuple[tuple[str, Count], ...], Field(max_length=8)]
    parameters: Count
    operators: Annotated[dict[Text, Count], Field(max_length=500)]
    float_products: Annotated[dict[Text, Count], Field(max_length=50)] = {}


class Compiled(Frozen):
    """Answer to ``ReadCompiled``; the payload is the content of ``COMPILED``."""

    event: Literal["compiled"] = "compiled"


class Working(Frozen):
    """No answer yet, but another forward has ended; sent now and then in a long request."""

    event: Literal["working"] = "working"


class PairsTimed(Frozen):
    """Answer to ``TimePairs``, in seconds; fields as of ``PairedBatch``."""

    event: Literal["pairs-timed"] = "pairs-timed"
    pairs: tuple[tuple[Seconds, Seconds], ...]
    self_pairs: tuple[tuple[Seconds, Seconds], ...]


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
    | Forward
    | LoadSecond
    | TimePairs
    | ReadMemory
    | ConvertWeights
    | Build
    | Calibrate
    | Export
    | ReadCompiled
    | Greet
    | Stop,
    Field(discriminator="command"),
]
Reply = Annotated[
    Ready
    | Counted
    | Account
    | Done
    | Settled
    | PairsTimed
    | Converted
    | Built
    | Exported
    | Compiled
    | Working
    | Failed,
    Field(discriminator="event"),
]

REQUEST: TypeAdapter[Request] = TypeAdapter(Request)
REPLY: TypeAdapter[Reply] = TypeAdapter(Reply)
BLOCKS: TypeAdapter[tuple[Block, ...]] = TypeAdapter(tuple[Block, ...])
MEMORY: TypeAdapter[Memory | Absent] = TypeAdapter(Memory | Absent)

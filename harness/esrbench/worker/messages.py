"""Messages between evaluator and worker. Pixels, uint8 (H, W, 3) RGB, use shared memory instead."""

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
        code: folders of the entry's code; empty if it is installed.
        released: declaration of the weights file's layout, or None for a plain file.
        graph: folder of the graph that the backend runs instead of the network's code, or None.
        converted: the payload contains the weights, if there are any, as safetensors under the
            network's own names; otherwise the worker reads the file.
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
    """Build the network, load its weights, prepare the device. Always the first request."""

    command: Literal["load"] = "load"


class LoadSecond(_Loading):
    """Load a second network to race, and then two copies of the baseline.

    Attributes:
        side: whether the second network is the candidate or the baseline; the first is the other.
    """

    command: Literal["load-second"] = "load-second"
    side: RaceSide


class TimePairs(Frozen):
    """Time both networks at the protocol's fixed input, pair by pair.

    Attributes:
        count: number of pairs.
        self_count: number of pairs of two copies of the baseline, interleaved with the others.
        discard: number of warm-up pairs of each kind, made first.
        candidate_first: the candidate goes first in the first pair; then the order alternates.
        twin_first: the second copy goes first in the first pair of copies; then this alternates.
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
    """Upscale the LR image untimed; its memory is measured if that is possible."""

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
        path: path of the file.
        key: name under which the state dict is nested, or several names, of which the first
            existing one counts; empty for none, None to find it.
        prefix: prefix of every key; empty for none, None to find it.
        renames: as in ``ReleasedWeights``.
    """

    command: Literal["convert-weights"] = "convert-weights"
    path: str
    key: str | tuple[str, ...] | None
    prefix: str | None
    renames: tuple[tuple[str, str], ...]


class Build(Frozen):
    """Build modules in a copy of a submission's folder; they are the answer's payload.

    Attributes:
        folder: folder of the submission.
        words: path of a script in this folder, and its arguments.
    """

    command: Literal["build"] = "build"
    folder: str
    words: Annotated[tuple[str, ...], Field(min_length=1)]


class Calibrate(Frozen):
    """Keep the LR image as a calibration input for the integer ranges of the next export."""

    command: Literal["calibrate"] = "calibrate"
    lr_size: tuple[int, int]


class Export(Frozen):
    """Write the graph of the loaded network for a backend; its files are the answer's payload.

    Attributes:
        backend: name of the backend.
        precision: precision of the graph; integers need the inputs of ``Calibrate``.
        fp32_ends: as in ``Quantisation``.
    """

    command: Literal["export"] = "export"
    backend: str
    precision: PrecisionName = "fp32"
    fp32_ends: bool = False


class ReadMemory(Frozen):
    """Report the memory of all upscaled images; the answer's payload is JSON."""

    command: Literal["read-memory"] = "read-memory"


class Greet(Frozen):
    """Answer with ``Settled`` once everything is imported; no network is loaded."""

    command: Literal["greet"] = "greet"


class ReadCompiled(Frozen):
    """Give what the backend's compiler made so far; another worker of the network can load it."""

    command: Literal["read-compiled"] = "read-compiled"


class Stop(Frozen):
    """End the worker."""

    command: Literal["stop"] = "stop"


class Opening(Frozen):
    """A worker's report about the backend of its network; fields as in ``Deployment``."""

    versions: Texts = {}
    options: Texts = {}
    load_seconds: Seconds


class Ready(Frozen):
    """The network is loaded.

    Attributes:
        parameters: number of its parameter tensors in the form in which it is trained.
        threads: number of CPU threads of its forwards.
        cpus: logical CPUs that the process may use.
        libraries: versions of the GPU's libraries, by name.
        gpu_uuid: UUID of the GPU without the prefix of its kind; None on CPU.
        state_elements: count of numbers in its named parameters and buffers after loading.
        deployed_elements: count of numbers in its distinct parameters in the measured form.
        layout: layout of its weights file; None if the file is only the network's state dict.
        parameters_sha256: digest of the parameters from the file; names and order do not matter.
        opening: report about the backend that runs it.
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

    The JSON is a list of ``Block``, or a ``Memory`` or an ``Absent``.
    """

    event: Literal["account"] = "account"


class Done(Frozen):
    """First answer to ``Forward``: SR is complete.

    Attributes:
        sequence: number of the request.
        seconds: time of the network alone, as the worker claims.
    """

    event: Literal["done"] = "done"
    sequence: Count
    seconds: Seconds


class Settled(Frozen):
    """Answer to ``Upscale`` and ``Calibrate``, and second answer to ``Forward``.

    SR is complete and finite, and all settings are as the protocol fixes them.

    Attributes:
        output_range: lowest and highest value of the output; only after ``Upscale``.
    """

    event: Literal["settled"] = "settled"
    output_range: tuple[float, float] | None = None


class Converted(Frozen):
    """Answer to ``ConvertWeights``."""

    event: Literal["converted"] = "converted"
    report: ConversionReport


class Built(Frozen):
    """Answer to ``Build``; the payload is the content of all files, one after the other.

    Attributes:
        files: path in the folder and size in bytes of each file.
    """

    event: Literal["built"] = "built"
    files: Annotated[tuple[tuple[str, Count], ...], Field(max_length=64)]


class Exported(Frozen):
    """Answer to ``Export``; the payload is the content of all files, one after the other.

    Attributes:
        files: name and size in bytes of each file.
        parameters: count of floating-point numbers in the graph.
        operators: how often each operator occurs, by name.
        float_products: as in ``Graph``.
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
    """Answer to ``TimePairs``, in seconds; fields as in ``PairedBatch``."""

    event: Literal["pairs-timed"] = "pairs-timed"
    pairs: tuple[tuple[Seconds, Seconds], ...]
    self_pairs: tuple[tuple[Seconds, Seconds], ...]


class Failed(Frozen):
    """The request failed; the worker continues if it can."""

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

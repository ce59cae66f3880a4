"""What a run leaves behind: raw samples, summaries, identity and what could not be measured.

One ``RunRecord`` is one entry measured under one protocol on one device and one data set.
Durations are seconds, sizes are bytes, FLOPs are multiply-accumulates (``macs``).
"""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - pydantic reads it at runtime
from typing import Annotated, Final, Literal

from pydantic import Field

from harness.protocol import CounterName, Frozen, Protocol

SCHEMA_VERSION: Final = 1

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(ge=0)]


class Absent(Frozen):
    """A value that was not measured, and why; never 0, never a guess.

    Attributes:
        kind: ``unavailable`` (this machine or entry cannot have it), ``skipped`` (the protocol
            leaves it out) or ``failed`` (it was tried).
        reason: one sentence.
        advice: what would make it measurable, if anything.
    """

    kind: Literal["unavailable", "skipped", "failed"]
    reason: str
    advice: str | None = None


class Notice(Frozen):
    """A typed warning about a measurement.

    Attributes:
        code: stable identifier, such as ``counter-spread``.
        message: what was seen, with figures.
        advice: what to do about it.
    """

    code: str
    message: str
    advice: str


class Interval(Frozen):
    """A confidence interval.

    Attributes:
        low: lower bound.
        high: upper bound.
        confidence: coverage; exact for ``order-statistics`` of independent samples, nominal
            for ``bootstrap``.
        method: how it was made.
    """

    low: float
    high: float
    confidence: Annotated[float, Field(ge=0, le=1)]
    method: Literal["order-statistics", "bootstrap"]


class Value(Frozen):
    """A measured value of one metric in base units, with its interval when it is noisy."""

    value: float
    interval: Interval | None = None


class CounterResult(Frozen):
    """What one counter says about one forward.

    Attributes:
        counter: which rule counted.
        version: version of the library that counted (esrbench for our own rules).
        convention: what one unit is and what is included, in words.
        input_shape: (1, C, H, W) of the network's input.
        macs: the counter's total, which is called FLOPs in the field.
        activations: elements of all convolution outputs by this counter's rule, or None where
            the rule has no such notion.
        conv_calls: convolutions executed (calls, not modules), or None likewise.
        elementwise: what elementwise operators count: kept apart from ``macs`` by ``aten``,
            contained in it by ``ntire2022``, whose rule adds them; None where not told apart.
        uncounted: operators that ran and contributed nothing, with the number of calls.
    """

    counter: CounterName
    version: str
    convention: str
    input_shape: tuple[Count, Count, Count, Count]
    macs: Count
    activations: Count | None = None
    conv_calls: Count | None = None
    elementwise: Count | None = None
    uncounted: dict[str, Count] = {}


class Complexity(Frozen):
    """Size of a network and the cost of one forward.

    Attributes:
        params: elements of all distinct parameters.
        trainable_params: those that require a gradient.
        weight_params: those of two dimensions or more, which is what papers count that leave
            biases and PReLU slopes out.
        buffer_elements: elements of all distinct buffers.
        state_bytes: bytes of parameters and buffers as held in memory.
        counters: one result a counter, or why there is none.
        notices: typed warnings, for instance a spread between counters.
    """

    params: Count
    trainable_params: Count
    weight_params: Count
    buffer_elements: Count
    state_bytes: Count
    counters: dict[CounterName, CounterResult | Absent]
    notices: tuple[Notice, ...] = ()


class Block(Frozen):
    """Cost of one module of a network, all its runs in one forward together.

    Attributes:
        name: dotted path, or ``(network)``.
        kind: class.
        output_shape: of its last output, empty if that is no tensor.
        params: elements of its parameters, those of its modules included.
        macs: multiply-accumulates by the ``aten`` counter.
        activations: elements of convolution and matrix products within.
        allocated_bytes: bytes of all tensors that its operators allocate, freed or not.
    """

    name: str
    kind: str
    output_shape: tuple[Count, ...]
    params: Count
    macs: Count
    activations: Count
    allocated_bytes: Count


class LatencySamples(Frozen):
    """Raw forward times at one input.

    Attributes:
        input_name: image name, or ``fixed`` for the protocol's fixed input.
        lr_size: LR height and width in pixels.
        clock: ``monotonic`` (host clock, CPU) or ``cuda-event``.
        warmup_seconds: times of the warm-up forwards at this shape, first one first; empty if
            an earlier input had warmed it.
        seconds: times of the measured forwards of the network alone, in order.
        preparation_seconds: times of enlarging the LR image by bicubic, for networks that take
            it enlarged; empty for others.
        stopped_by: what ended the rounds.
    """

    input_name: str
    lr_size: tuple[Count, Count]
    clock: Literal["monotonic", "cuda-event"]
    warmup_seconds: tuple[Seconds, ...]
    seconds: Annotated[tuple[Seconds, ...], Field(min_length=1)]
    preparation_seconds: tuple[Seconds, ...] = ()
    stopped_by: Literal["max-rounds", "budget"]


class Memory(Frozen):
    """Peak device memory of the forwards on the data set's images, by the allocator.

    Attributes:
        peak_bytes: highest allocated total within a forward: weights, input, features, output.
        peak_reserved_bytes: highest total held by the caching allocator within a forward.
        weights_bytes: allocated after loading, before the first forward.
    """

    peak_bytes: Count
    peak_reserved_bytes: Count
    weights_bytes: Count


class ImageScore(Frozen):
    """Scores of one image. A PSNR of None means zero error, whose PSNR is infinite."""

    image: str
    psnr_rgb: float | None
    psnr_y: float | None
    ssim_y: float


class Quality(Frozen):
    """Scores of every image and how they were computed."""

    definition: str
    images: Annotated[tuple[ImageScore, ...], Field(min_length=1)]


class WeightsIdentity(Frozen):
    """The weights that ran: a file by its hash, or a seeded random initialisation."""

    source: Literal["released", "file", "random", "none"]
    filename: str | None = None
    sha256: Sha256 | None = None
    file_bytes: Count | None = None
    data_range: float = 1.0


class EntryIdentity(Frozen):
    """Which network ran.

    Attributes:
        name: registered name.
        scale: upscaling factor.
        factory: ``module:attr`` that built it.
        origin: distribution that registered it.
        code_sha256: hash of the source files that define the factory and its modules.
        role: ``network``, or ``floor`` for interpolation that is shown but never ranked.
    """

    name: str
    scale: Annotated[int, Field(gt=0)]
    factory: str
    origin: str
    code_sha256: Sha256 | None
    role: Literal["network", "floor"]
    weights: WeightsIdentity


class DataIdentity(Frozen):
    """Which images were used.

    Attributes:
        name: declared name, or name of a folder.
        title: name in tables.
        scale: upscaling factor.
        images: number of LR/HR pairs.
        digest: covers every LR and HR pixel and their names.
        verified: the images are those of the declared data set, proven by hash.
    """

    name: str
    title: str
    scale: Annotated[int, Field(gt=0)]
    images: Count
    digest: Sha256
    verified: bool = False


class Environment(Frozen):
    """Machine and software; ``digest`` decides whether runtimes may be compared."""

    python: str
    esrbench: str
    packages: dict[str, str]
    system: str
    cpu: str
    cpus_available: Count
    threads: Count
    memory_bytes: Count | None
    accelerator: str | None
    malloc: dict[str, str]
    isolation: Literal["subprocess"]


class RunRecord(Frozen):
    """One entry measured under one protocol on one device and data set.

    Attributes:
        run_id: unique and sortable by time.
        status: ``ok``, or ``failed`` when any probe that was tried failed.
        values: every metric of ``harness.metrics.METRICS``, measured or absent with a reason.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    run_id: str
    created: datetime
    duration_seconds: Seconds
    status: Literal["ok", "failed"]
    entry: EntryIdentity
    data: DataIdentity
    protocol: Protocol
    protocol_digest: Sha256
    environment: Environment
    environment_digest: Sha256
    complexity: Complexity | Absent
    fixed_latency: LatencySamples | Absent
    image_latencies: tuple[LatencySamples, ...] | Absent
    memory: Memory | Absent
    quality: Quality | Absent
    values: dict[str, Value | Absent]
    notices: tuple[Notice, ...] = ()
    log_tail: str = ""

    def measured(self, metric: str) -> float | None:
        """Value of a metric in base units, or None when it is absent."""
        value = self.values.get(metric)
        return value.value if isinstance(value, Value) else None

    def failure(self) -> str | None:
        """Why the first failed probe failed, or None."""
        # In the order in which they are probed.
        parts: list[object] = [
            self.image_latencies,
            self.quality,
            self.memory,
            self.fixed_latency,
            self.complexity,
        ]
        if isinstance(self.complexity, Complexity):
            parts += self.complexity.counters.values()
        failed = (part for part in parts if isinstance(part, Absent) and part.kind == "failed")
        return next((part.reason for part in failed), None)

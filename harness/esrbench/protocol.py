"""The protocol: settings that must be equal for two figures to be comparable.

A protocol is a frozen record. Its digest is part of a run's identity: runs with different
digests are incomparable. Change ``PROTOCOL_VERSION`` whenever the meaning of a measurement
changes without any field changing.
"""

from __future__ import annotations

import hashlib
import json
import math
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_serializer, model_validator

if TYPE_CHECKING:
    from pydantic import SerializerFunctionWrapHandler

PROTOCOL_VERSION: Final = 2

Device = Literal["cpu", "cuda"]
PrecisionName = Literal["fp32", "tf32", "fp16", "bf16", "int8", "int8-w16"]
CounterName = Literal["ntire2022", "fvcore", "ptflops", "aten"]
COUNTERS: tuple[CounterName, ...] = ("ntire2022", "fvcore", "ptflops", "aten")

EAGER: Final = "torch"
"""The backend that runs a network as it is written."""

MAX_ROUNDS: Final = 300
"""Samples of one input must fit into one frame of the worker's channel."""

PositiveInt = Annotated[int, Field(gt=0)]


class Frozen(BaseModel):
    """Base of all stored records: immutable, no unknown keys, no NaN or infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


ADDED_LATER: Final = "added later"
"""Marks a field of ``DigestedSettings`` that stored ones may lack: they have its default."""


class DigestedSettings(Frozen):
    """Base of settings whose digest is stored, and which get further fields.

    A field that is marked with ``ADDED_LATER`` is written only where it differs from its default,
    so that digests of settings without it stay what they were.
    """

    @model_serializer(mode="wrap")
    def _without_later_defaults(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        written: dict[str, Any] = write(self)
        for name, field in type(self).model_fields.items():
            if ADDED_LATER in field.metadata and getattr(self, name) == field.default:
                written.pop(name, None)
        return written


SSIM_WINDOW = 11
"""Pixels a side of SSIM's window, and so of the smallest image that has a score."""


class QualityDefinition(DigestedSettings):
    """The definition of PSNR and SSIM on uint8 images.

    Defaults are the NTIRE challenge's RGB PSNR and the papers' Y-channel scores:
    ``psnr_y`` with unrounded luma reproduces IMDN's published Set5 figures to the last digit.

    Attributes:
        rgb_border: pixels of SR at each edge that scores of RGB leave out; ``scale`` for as many
            as the scale.
        y_border: likewise, of scores of luma.
        luma: whether it is rounded before it is scored.
        ssim_window: form, pixels, standard deviation and edges of the window of SSIM.
        metrics: keys of further scores that are asked for, such as ``ssim_rgb``.
    """

    rgb_border: Literal["scale"] | Annotated[int, Field(ge=0)] = "scale"
    y_border: Literal["scale"] | Annotated[int, Field(ge=0)] = "scale"
    luma: Literal["unrounded", "uint8"] = "unrounded"
    ssim_window: Literal["gaussian-11-1.5-valid"] = "gaussian-11-1.5-valid"
    metrics: Annotated[tuple[str, ...], ADDED_LATER] = ()

    @property
    def common(self) -> Self:
        """Without the scores that are asked for, which alter no other."""
        return self.model_copy(update={"metrics": ()})

    def border_pixels(self, channel: Literal["rgb", "y"], scale: int) -> int:
        """HR pixels cropped from each side before scoring."""
        border = self.rgb_border if channel == "rgb" else self.y_border
        return scale if border == "scale" else border

    def describe(self, scale: int) -> str:
        """One line for table footnotes."""
        luma = "unrounded luma" if self.luma == "unrounded" else "luma rounded to uint8"
        return (
            f"PSNR: uint8 RGB, border {self.border_pixels('rgb', scale)} px, mean over images; "
            f"PSNR-Y/SSIM-Y: BT.601 Y, {luma}, border {self.border_pixels('y', scale)} px"
        )


class Quantisation(Frozen):
    """How a network was quantised from float32 to integers after training.

    Attributes:
        images: number of LR images whose activations set the ranges of the integers.
        sha256: over the pixels of these images.
        fp32_ends: the first and the last convolution stay in float32.
    """

    images: PositiveInt
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    fp32_ends: bool = False

    def describe(self) -> str:
        """What tables say of it."""
        return (
            f"Quantised after training by {self.images} images ({self.sha256[:12]}), none of them "
            "scored: a class of its own."
        )


class ForwardPolicy(DigestedSettings):
    """Arithmetic and layout of every forward, set before the first and verified after each.

    Attributes:
        precision: of convolutions and matrix products. ``fp32`` has TF32 off, ``tf32`` on (CUDA
            only); ``fp16`` and ``bf16`` cast weights and input. ``int8`` has int8 weights and
            activations, ``int8-w16`` int8 weights and int16 activations; torch still loads the
            network in float32.
        channels_last: weights and input lie channels-last in memory.
        backend: what runs it: a module of ``esrbench.backends``.
        cudnn_benchmark: cuDNN tries its algorithms at each new shape (CUDA only).
        quantisation: of ``int8`` and ``int8-w16``; None for the others.
    """

    precision: PrecisionName = "fp32"
    channels_last: bool = False
    backend: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$")] = EAGER
    cudnn_benchmark: bool = False
    quantisation: Annotated[Quantisation | None, ADDED_LATER] = None

    @model_validator(mode="before")
    @classmethod
    def _of_older_records(cls, given: Any) -> Any:
        """Records from before there were backends say whether torch compiled."""
        if not isinstance(given, dict) or "compiled" not in given:
            return given
        others = {name: value for name, value in given.items() if name != "compiled"}
        return {"backend": "torch-compile", **others} if given["compiled"] else others

    @property
    def quantises(self) -> bool:
        """Whether it computes in integers."""
        return self.precision in {"int8", "int8-w16"}

    @property
    def label(self) -> str:
        """Its class in leaderboards: entries of two classes are never ranked together."""
        named = {
            "fp32 ends": self.quantisation is not None and self.quantisation.fp32_ends,
            "channels_last": self.channels_last,
            self.backend: self.backend != EAGER,
            "cudnn.benchmark": self.cudnn_benchmark,
        }
        return ", ".join([self.precision, *(name for name, on in named.items() if on)])


class LatencyDesign(Frozen):
    """Settings for timing a forward at one input, and the number of processes.

    Warm-up at a new shape stops when the last ``warmup_rounds`` forwards bring no improvement
    above ``steady_tolerance``; it takes at least ``warmup_rounds`` + 1 forwards. It ends unsteady
    after ``max_warmup_rounds``, or once ``warmup_rounds`` or more took ``budget_seconds``.

    Attributes:
        warmup_rounds: untimed forwards at each new LR shape that must bring no faster one, 0
            for no warm-up.
        max_warmup_rounds: most untimed forwards; where it equals ``warmup_rounds``, steadiness
            is never shown.
        steady_tolerance: share by which a forward must beat all before it to count as faster.
        min_rounds: timed forwards made whatever they cost.
        max_rounds: timed forwards after which timing stops.
        target_half_width: timing stops once half the width of the 95 % order-statistics
            interval of the median is at most this share of the median; 0 for never. Because we
            check after each round, actual coverage can be below 95 %.
        budget_seconds: no further round starts once this much time went into timed rounds of
            one input, delivery included (never fewer than ``min_rounds``).
        throttle_repeats: times an input is timed again when the GPU throttled meanwhile.
        processes: fresh processes that time every input; entries are interleaved between them.
        fixed_input: time the protocol's fixed input as well as the images.
    """

    warmup_rounds: Annotated[int, Field(ge=0, le=MAX_ROUNDS)] = 3
    max_warmup_rounds: Annotated[int, Field(ge=0, le=MAX_ROUNDS)] = 12
    steady_tolerance: Annotated[float, Field(ge=0, lt=1)] = 0.02
    min_rounds: PositiveInt = 6
    max_rounds: Annotated[int, Field(gt=0, le=MAX_ROUNDS)] = 30
    target_half_width: Annotated[float, Field(ge=0, lt=1)] = 0.02
    budget_seconds: Annotated[float, Field(ge=0)] = 3.0
    throttle_repeats: Annotated[int, Field(ge=0)] = 2
    processes: PositiveInt = 1
    fixed_input: bool = True

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        for low, high in (("min_rounds", "max_rounds"), ("warmup_rounds", "max_warmup_rounds")):
            if getattr(self, low) > getattr(self, high):
                message = f"{low} {getattr(self, low)} exceeds {high} {getattr(self, high)}"
                raise ValueError(message)
        return self


Effort = Literal["quick", "standard", "official"]
EFFORTS: Final[dict[Effort, LatencyDesign]] = {
    "quick": LatencyDesign(
        warmup_rounds=1,
        steady_tolerance=0.05,
        min_rounds=5,
        budget_seconds=0.5,
        fixed_input=False,
    ),
    "standard": LatencyDesign(),
    "official": LatencyDesign(processes=5),
}
"""Efforts by name: for a first look, for your own work, and for publications.

``quick`` gives intervals too. It leaves out the fixed input, which ranks nothing."""


def effort_of(design: LatencyDesign) -> Effort | None:
    """The name of a design, or None for one of the user's own."""
    return next((name for name, known in EFFORTS.items() if known == design), None)


class TrustDesign(Frozen):
    """Settings by which the evaluator checks a worker's claims, and thresholds for cheating.

    Attributes:
        null_rounds: timed rounds of the null network at each LR size, half of them before an
            entry's process and half after it, rounded up.
        claim_tolerance: share of the externally measured time by which a claim may differ,
            where three standard deviations of the null network's time are not more.
        noise_share: share of that time that these three deviations may be, at most; a network
            of which they are more has no runtime.
        repeated_rounds: pairs of rounds, one with a new input and one that repeats an input, by
            which a cache is found; fewer once they can no longer show one; 0 for none.
        caching_ratio: a cache is suspected if repeated rounds take less than this share of new
            ones. The median must show this, for any overhead within the null network's range.
        later_ratio: the later rounds of an image show parts of it again. A cache is also suspected
            if they take less than this share of the first round, in the median over images.
        scored_variants: variants an image that are scored beside it; 0 for none.
        memorising_db: by which an image may score better than variants of it; the mean over n
            images by one in sqrt(n) of that. Of released networks on 64x64 LR images it has a
            standard deviation of 0.1 dB.
        idle_cpus: CPUs that a worker may keep busy while nothing is asked of it, in the median
            over inputs.
        extra_cpus: CPUs beyond its threads that it may keep busy within a round.
        busy_share: of the CPUs' time that other processes and the hypervisor may take while an
            entry is timed; beyond, it has no runtime.
    """

    null_rounds: Annotated[int, Field(gt=1, le=MAX_ROUNDS)] = 15
    claim_tolerance: Annotated[float, Field(ge=0)] = 0.03
    noise_share: Annotated[float, Field(gt=0)] = 0.5
    repeated_rounds: Annotated[int, Field(ge=0, le=MAX_ROUNDS)] = 8
    caching_ratio: Annotated[float, Field(gt=0, le=1)] = 0.9
    later_ratio: Annotated[float, Field(gt=0, le=1)] = 0.5
    scored_variants: Annotated[int, Field(ge=0)] = 3
    memorising_db: Annotated[float, Field(ge=0)] = 0.5
    idle_cpus: Annotated[float, Field(ge=0)] = 0.3
    extra_cpus: Annotated[float, Field(ge=0)] = 0.5
    busy_share: Annotated[float, Field(ge=0)] = 0.1


class EnergyDesign(Frozen):
    """Settings for measuring the energy of an image, on the fixed input.

    Attributes:
        windows: of work, each after one of rest.
        window_seconds: length of a window of work.
        idle_seconds: length of a window of rest.
    """

    windows: Annotated[int, Field(ge=5)] = 6
    window_seconds: Annotated[float, Field(ge=10)] = 10.0
    idle_seconds: Annotated[float, Field(ge=1)] = 5.0

    @property
    def seconds(self) -> float:
        """Of all windows together."""
        return self.windows * (self.window_seconds + self.idle_seconds)


class PairDesign(Frozen):
    """Settings for racing two networks in interleaved pairs, and for ending the race.

    The median of per-pair log-ratios has a rank interval of ``z`` standard deviations of its rank.
    It is checked after ``first_look`` pairs and then every ``look_every``. The race ends when the
    interval holds neither decision line and the self-check permits a verdict. A single check
    misses the true median in at most 0.8 % of races. For independent pairs, the probability that
    at least one check so far has excluded it is 1.1 % after 70 pairs, 2.8 % after 200 and 5.1 %
    after 600.

    Attributes:
        discarded_pairs: warm-up pairs of each process.
        pairs_per_process: after which a fresh process takes over; see ``process_pairs``.
        self_pairs_per_process: as many of one copy of the baseline and another beside them.
        first_look: pairs before the first look.
        look_every: pairs between looks.
        max_pairs: pairs, judged or not, after which the race is inconclusive.
        z: half-width of the interval in standard deviations of the rank.
        decision: share by which a network must be slower, or faster, to be called so.
        self_check_half_width: half-width of the self-check's interval, as a share, above
            which nothing is judged: the machine is too noisy.
        self_check_bias: share by which the self-check's whole interval may be off a ratio of 1;
            nothing is judged where it lies further off: the machine is unfair.
        max_other_load: share of the CPUs' time that other processes and the hypervisor may
            take; pairs timed while they took more are not judged.
    """

    discarded_pairs: Annotated[int, Field(ge=0)] = 5
    pairs_per_process: Annotated[int, Field(gt=0, le=MAX_ROUNDS)] = 30
    self_pairs_per_process: Annotated[int, Field(gt=0, le=MAX_ROUNDS)] = 15
    first_look: PositiveInt = 20
    look_every: PositiveInt = 10
    max_pairs: PositiveInt = 600
    z: Annotated[float, Field(gt=0)] = 2.6
    decision: Annotated[float, Field(gt=0, lt=1)] = 0.025
    self_check_half_width: Annotated[float, Field(gt=0, lt=1)] = 0.015
    self_check_bias: Annotated[float, Field(ge=0, lt=1)] = 0.005
    max_other_load: Annotated[float, Field(ge=0)] = 0.1

    @property
    def process_pairs(self) -> int:
        """Pairs of each process: at most half of all, since two orders of loading are needed."""
        return min(self.pairs_per_process, math.ceil(self.max_pairs / 2))


class Protocol(DigestedSettings):
    """Settings of a run.

    Attributes:
        version: of these settings.
        device: where forwards run.
        forward: arithmetic and layout of the forward.
        threads: CPU threads of the forward, in a process confined to as many CPUs; None takes
            every CPU available to the process.
        seed: seeds random weights and random inputs.
        counted_input: LR height and width at which complexity is counted and the fixed-size
            latency is taken (the challenge's 256x256).
        memory_input: LR height and width at which GPU memory is predicted; 510x510 is the
            largest LR image of DIV2K validation at x4, where the challenge's peak is reached.
        counters: complexity counters, in table order.
        latency: timing design, or None to leave latency out.
        trust: how timed workers are checked.
        quality: score definition.
        energy: design of measuring energy, or None to leave it out.
    """

    version: Literal[2] = PROTOCOL_VERSION
    device: Device = "cpu"
    forward: ForwardPolicy = ForwardPolicy()
    threads: PositiveInt | None = None
    seed: Annotated[int, Field(ge=0)] = 0
    counted_input: tuple[PositiveInt, PositiveInt] = (256, 256)
    memory_input: tuple[PositiveInt, PositiveInt] = (510, 510)
    counters: tuple[CounterName, ...] = COUNTERS
    latency: LatencyDesign | None = LatencyDesign()
    trust: TrustDesign = TrustDesign()
    quality: QualityDefinition = QualityDefinition()
    energy: Annotated[EnergyDesign | None, ADDED_LATER] = None

    def digest(self) -> str:
        """SHA-256 (hex) of the canonical JSON of this protocol."""
        return digest_of(self)

    @property
    def eager(self) -> Protocol:
        """The same protocol by eager torch, which has no integers: in float32 in their place."""
        protocol = self.by(EAGER)
        return protocol.in_precision("fp32") if self.forward.quantises else protocol

    def by(self, backend: str) -> Protocol:
        """The same protocol by another backend."""
        forward = self.forward.model_copy(update={"backend": backend})
        return self.model_copy(update={"forward": forward})

    def in_precision(
        self, precision: PrecisionName, quantisation: Quantisation | None = None
    ) -> Protocol:
        """The same protocol in another arithmetic."""
        changes = {"precision": precision, "quantisation": quantisation}
        forward = self.forward.model_copy(update=changes)
        return self.model_copy(update={"forward": forward})


def size_text(size: tuple[int, int]) -> str:
    """Height and width as ``256x256``."""
    return f"{size[0]}x{size[1]}"


def digest_of(record: BaseModel) -> str:
    """SHA-256 (hex) of a record's JSON with sorted keys and no whitespace."""
    document = record.model_dump(mode="json")
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()

"""Times and memory of forwards, and the conditions under which they were measured."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from statistics import median
from typing import Annotated, Any, Literal

from pydantic import Field

from esrbench.protocol import Frozen
from esrbench.records.tabular import Tabular
from esrbench.records.values import Absent, Count, Seconds, Sha256

Share = Annotated[float, Field(ge=0)]

ClockName = Literal["monotonic", "cuda-event"]
StoppedBy = Literal["interval", "max-rounds", "budget"]


class Conditions(Frozen):
    """What else went on in the machine while an input was timed; None where it does not tell.

    Attributes:
        seconds: between the first and the last reading.
        other_load: CPU time of all other processes, as a share of the time of all CPUs that
            this process may use.
        steal: CPU time that the hypervisor gave to others, likewise.
        clock_hz: lower and higher SM clock of the GPU of two readings, before and after.
        temperature_celsius: higher of the GPU, likewise.
        power_watts: higher draw of the GPU, likewise.
        throttle_reasons: why the GPU lowered its clocks, by NVML's names, sorted.
        repeats: times the input was timed again because the GPU throttled.
        foreign_processes: that computed on the GPU and are not the worker's, the larger number of
            two readings. Programs that draw do not count. None also where NVML does not list the
            worker itself: a container sees other process numbers.
    """

    seconds: Seconds
    other_load: Share | None = None
    steal: Share | None = None
    clock_hz: tuple[float, float] | None = None
    temperature_celsius: float | None = None
    power_watts: Share | None = None
    throttle_reasons: tuple[str, ...] = ()
    repeats: Count = 0
    foreign_processes: Count | None = None


class VariantScores(Frozen):
    """Scores of delivered SR, for the image as it is and for variants of it.

    A variant is a window, of the LR image's own size, of the image mirrored at its borders, and
    then flipped or not; its HR is known exactly. Both means are over the same HR pixels, none of
    them near the edge of a window, where a network lacks what lies beyond.

    Attributes:
        rounds: variants that were scored.
        clean_psnr_rgb: mean over variants of the PSNR of the image's own SR on the pixels that
            the variant shows of it, dB; None where one of them has no error.
        variant_psnr_rgb: of the variants' SR on these pixels, likewise.
        impossible: SR is HR without any error, although the LR image does not hold all of it.
        window_psnr_rgb: of the whole SR of one of these variants, edges and what it shows of the
            mirrored image included, dB; None if not tried or without error.
        untimed_psnr_rgb: of the same variant upscaled again, untimed, in another process, likewise.
    """

    rounds: Count
    clean_psnr_rgb: float | None
    variant_psnr_rgb: float | None
    impossible: bool = False
    window_psnr_rgb: float | None = None
    untimed_psnr_rgb: float | None = None


class LatencySamples(Tabular):
    """Raw forward times at one input size, each round with an input that was never seen before.

    Attributes:
        input_name: image name, or ``fixed`` for the protocol's fixed input. Rounds show variants
            of the image (``VariantScores``), once the image itself; the fixed input is another
            window of some image each round.
        lr_size: LR height and width in pixels.
        clock: what gives ``seconds`` in the worker: the host's monotonic clock, or CUDA events
            around the forward.
        first_seconds: of the very first forward at this input, whatever became of it.
        warmup_seconds: times of the warm-up forwards at this shape, with noise, as the worker
            claims them, first one first; empty if an earlier input had warmed it.
        steady: the warm-up ended because forwards had become no faster, not at its bound; true
            where an earlier input had warmed the shape.
        seconds: times of the measured forwards of the network alone, in order, as the worker
            claims them.
        delivered_seconds: of the same rounds by the evaluator's monotonic clock: from revealing
            the LR pixels to its own copy of all SR pixels as uint8.
        repeated_seconds: by the same clock, pairs of neighbouring rounds that were made
            afterwards. The first figure is that of the round with a new input. The second is that
            of the round that repeated the input of the round before it. A random draw decided
            which came first in time. Empty where that was not tried.
        preparation_seconds: times of enlarging the LR image by bicubic, which the evaluator does
            before each round, for networks that take it enlarged; empty for others.
        settling_seconds: that the worker took after these rounds, all together, to check what they
            left behind; None where that was not measured.
        stopped_by: what ended the rounds.
        conditions: of the machine meanwhile.
        output_sha256: of the SR pixels that were delivered in a timed round for the image
            itself, uint8 (H, W, 3) RGB; None for the fixed input.
        variants: what variants of the image scored beside it; None where they were not.
        clean_round: number of the round that showed the image itself, from 0, and of how many first
            rounds it was drawn; None for the fixed input.
        forward_cpus: CPU time that the worker took within the rounds, per second of them; None
            where the system does not tell.
        idle_cpus: CPU time that it took per second while nothing was asked of it, likewise.
    """

    input_name: str
    lr_size: tuple[Count, Count]
    clock: ClockName
    first_seconds: Seconds
    warmup_seconds: tuple[Seconds, ...]
    steady: bool
    seconds: Annotated[tuple[Seconds, ...], Field(min_length=1)]
    delivered_seconds: tuple[Seconds, ...] = ()
    repeated_seconds: tuple[tuple[Seconds, Seconds], ...] = ()
    preparation_seconds: tuple[Seconds, ...] = ()
    settling_seconds: Seconds | None = None
    stopped_by: StoppedBy
    conditions: Conditions | None = None
    output_sha256: Sha256 | None = None
    variants: VariantScores | None = None
    clean_round: tuple[Count, Count] | None = None
    forward_cpus: Share | None = None
    idle_cpus: Share | None = None

    def __repr_args__(self) -> Iterator[tuple[str, Any]]:
        """The timed input, and how many rounds its median has."""
        yield "lr_size", self.lr_size
        yield "rounds", len(self.seconds)
        yield "median_seconds", median(self.seconds)


class NullSamples(Frozen):
    """The overhead of a forward, measured by a null network whose own time is trusted.

    Attributes:
        lr_size: LR height and width in pixels.
        delivered_seconds: as of ``LatencySamples``, less what the null network says it took.
    """

    lr_size: tuple[Count, Count]
    delivered_seconds: Annotated[tuple[Seconds, ...], Field(min_length=1)]


class Replicate(Frozen):
    """What one fresh process timed.

    Attributes:
        index: number of the round of all entries, from 0.
        position: place in that round's random order, from 0.
        started: when the process was started.
        cpus: logical CPUs that it was confined to, as many as threads; empty where the system
            has no such notion.
        cold_start_seconds: its first forward of all, at the fixed input, by the clock of the
            samples; None where that forward failed or was not asked for.
        device: the one that ran it: UUID of a GPU, or a name that tells machines of one kind apart;
            None where that is not known.
        fixed: at the protocol's fixed input.
        images: at the images of the data set.
        conditions: of the machine from loading to the last timed input; they tell what inputs
            too short to have load and steal of their own do not.
        null: from right before and right after, for every size of these inputs.
        null_conditions: of the machine meanwhile, before and after.
        figures: runtimes in seconds by metric, in a copy of the record without samples.
    """

    index: Count
    position: Count
    started: datetime
    cpus: tuple[Count, ...]
    cold_start_seconds: Seconds | None
    device: str | None = None
    fixed: LatencySamples | Absent
    images: Annotated[tuple[LatencySamples, ...], Field(min_length=1)] | Absent
    conditions: Conditions | None = None
    null: tuple[NullSamples, ...] = ()
    null_conditions: tuple[Conditions, ...] = ()
    figures: dict[str, Seconds] = {}

    @property
    def timed_images(self) -> tuple[LatencySamples, ...]:
        """The images, or nothing where they were not timed."""
        return () if isinstance(self.images, Absent) else self.images

    @property
    def timed_fixed(self) -> tuple[LatencySamples, ...]:
        """The fixed input alone, or nothing where it was not timed."""
        return () if isinstance(self.fixed, Absent) else (self.fixed,)

    @property
    def foreign_processes(self) -> int:
        """Most processes of others seen on the GPU at a time; 0 where that is not told."""
        timed = (each.conditions for each in (*self.timed_fixed, *self.timed_images))
        told = (each for each in (self.conditions, *self.null_conditions, *timed) if each)
        return max((each.foreign_processes or 0 for each in told), default=0)


class Trust(Frozen):
    """The evaluator's own account of an entry's time, and what its tests for cheating found.

    The externally measured time is a mean over images and processes. For each, it is the median
    time from revealing a new input to having all SR pixels, minus the same median of the null
    network.

    Attributes:
        claimed_seconds: the worker's own account of the same rounds.
        trusted_seconds: the externally measured time; None where the null network was not timed.
        tolerance_seconds: within which both agree; None likewise.
        noise_seconds: standard deviation of the null network's times, from their median absolute
            deviation, mean over images and processes; None likewise.
        delivered_seconds: from revealing a fresh input to holding all SR pixels, the null network's
            time included.
        withheld_seconds: by how much claims are below delivery minus the null network's time,
            compared round by round; a mean of medians. Medians do not add up: where a worker has
            two speeds, their difference may be large although no round's claim is wrong.
        fixed_claimed_seconds: the worker's account of the fixed input; None if it was not timed.
        fixed_trusted_seconds: the evaluator's, likewise or without the null network.
        fixed_tolerance_seconds: within which both agree; None likewise.
        fixed_noise_seconds: as ``noise_seconds``; None likewise.
        fixed_delivered_seconds: as ``delivered_seconds``; None likewise.
        fixed_withheld_seconds: as ``withheld_seconds``; None likewise.
        repeated_ratio: median time of repeated rounds over that of new ones, of the input where
            that is least; None if not tried, if the effect is not significant, or where new ones
            take no longer than the null network.
        later_ratio: time of the later rounds of an image over that of its first, the median over
            images; None where chance explains how many images begin with a slow round.
        impossible_images: that were reproduced without any error.
        clean_psnr_rgb: mean over images of ``VariantScores.clean_psnr_rgb``, dB, or None.
        variant_psnr_rgb: likewise of the variants.
        variant_images: images that both means are over.
        window_psnr_rgb: mean over images of ``VariantScores.window_psnr_rgb``, dB, or None.
        untimed_psnr_rgb: likewise of the same windows when nothing was timed.
        clean_ratio: time of an image itself over that of its variants, the median over images; None
            where chance explains that images took longer.
        idle_cpus: median of ``LatencySamples.idle_cpus``, or None.
        forward_cpus: largest of ``LatencySamples.forward_cpus``, or None.
    """

    claimed_seconds: Seconds
    trusted_seconds: float | None
    tolerance_seconds: Seconds | None
    noise_seconds: Seconds | None = None
    delivered_seconds: Seconds | None = None
    withheld_seconds: float | None = None
    fixed_claimed_seconds: Seconds | None = None
    fixed_trusted_seconds: float | None = None
    fixed_tolerance_seconds: Seconds | None = None
    fixed_noise_seconds: Seconds | None = None
    fixed_delivered_seconds: Seconds | None = None
    fixed_withheld_seconds: float | None = None
    repeated_ratio: Share | None = None
    later_ratio: Share | None = None
    impossible_images: Count = 0
    clean_psnr_rgb: float | None = None
    variant_psnr_rgb: float | None = None
    variant_images: Count = 0
    window_psnr_rgb: float | None = None
    untimed_psnr_rgb: float | None = None
    clean_ratio: Share | None = None
    idle_cpus: Share | None = None
    forward_cpus: Share | None = None


class BaselineTimes(Frozen):
    """The baseline's runtime in the same rounds, one figure for each replicate of the entry.

    Rounds that the baseline did not reach are None.

    Attributes:
        name: of the baseline entry.
        images_seconds: mean over images of per-image medians as claimed, None where it failed.
        trusted_seconds: the first by the evaluator's clock, less the null network's, likewise.
        fixed_seconds: median at the fixed input, likewise.
    """

    name: str
    images_seconds: tuple[Seconds | None, ...]
    trusted_seconds: tuple[float | None, ...]
    fixed_seconds: tuple[Seconds | None, ...]


class Latency(Frozen):
    """Times between strangers: each replicate is a fresh process, entries in random order.

    Attributes:
        regime: this one. The other, ``paired``, is that of ``RaceRecord``.
        session: shared by all entries that were interleaved with one another.
        order_seed: seed of the order of entries in every round.
        entries: names of all entries of a round, sorted.
        variant_seed: drawn at random for each run; of the inputs of all rounds.
        replicates: in order.
        baseline: what the named baseline took in the same rounds.
    """

    regime: Literal["fresh-processes"] = "fresh-processes"
    session: str
    order_seed: Count
    entries: tuple[str, ...]
    variant_seed: Count
    replicates: Annotated[tuple[Replicate, ...], Field(min_length=1)]
    baseline: BaselineTimes | None = None


class ImageMemory(Frozen):
    """Device memory of one forward, in bytes as the caching allocator counts them.

    Attributes:
        image: name.
        lr_size: LR height and width in pixels.
        input_bytes: of the network's input.
        output_bytes: of its output.
        peak_bytes: highest allocated total within the forward: weights, input, features and
            output.
        peak_reserved_bytes: highest total that the allocator held meanwhile.
    """

    image: str
    lr_size: tuple[Count, Count]
    input_bytes: Count
    output_bytes: Count
    peak_bytes: Count
    peak_reserved_bytes: Count


class Memory(Frozen):
    """Device memory of one pass over the data set's images.

    Attributes:
        weights_bytes: allocated after loading, before the first forward.
        images: each with its own peak, reset before its forward.
        pass_peak_bytes: the challenge's own number: highest allocated total from loading to
            the end of the pass, conversions of pixels included, never reset in between.
    """

    weights_bytes: Count
    images: Annotated[tuple[ImageMemory, ...], Field(min_length=1)]
    pass_peak_bytes: Count

    @property
    def peak_bytes(self) -> int:
        """Highest peak within a forward."""
        return max(image.peak_bytes for image in self.images)

    @property
    def peak_reserved_bytes(self) -> int:
        """Highest total held by the allocator within a forward."""
        return max(image.peak_reserved_bytes for image in self.images)

"""Disturbances of a record's times: typed warnings with figures and advice.

Every kind of disturbance is a row of ``NOISES``: a pure function of the raw samples with a stated
threshold. A record gets at most one notice of each kind, for all its inputs and processes
together. Fewer than 5 % of quiet, honest runs get a given notice. If a cause is reported, such as
other load, its effects on the times are not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from esrbench.plaintext import series
from esrbench.probes.telemetry import THROTTLING, throttled
from esrbench.protocol import LatencyDesign
from esrbench.records import Notice
from esrbench.runs.steadiness import (
    FEWEST_ROUNDS,
    OUTLIER_DEVIATIONS,
    drift,
    half_change,
    outliers,
    spread,
)
from esrbench.statistics import mean_of_medians, median_value

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from esrbench.records import Latency, LatencySamples, Value

OUTLIERS_SHARE = 0.05
FEWEST_OUTLIERS = 3
COLD_START_RATIO = 3.0
COLD_START_SECONDS = 0.5
"""A first forward is slow if it exceeds the median by both; a few more milliseconds are normal."""
TAKEN_SHARE = 0.05
TAKEN_SHARE_OF_INPUT = 0.1
"""Shares of the CPU time that other programs take: on average, and at one input."""
LEAST_CHANGE = 0.05
"""Smallest change of a runtime between the halves of its rounds, as a share."""
WIDE_HALF_WIDTH = 0.1
"""Half-width of a wide interval, as a share of the runtime."""
FEWEST_TAKEN_SECONDS = 0.05
"""Smallest CPU time of others that counts; less is within the kernel's resolution of 10 ms."""

SHORTEST_SECONDS = {"monotonic": 5e-6, "cuda-event": 5e-5}
"""A hundred times the cost or resolution of the clock: about 50 ns for a call of the host's clock,
and about 0.5 us for a pair of CUDA events."""


@dataclass(frozen=True, slots=True)
class TimedInput:
    """The times of one input in one process.

    Attributes:
        where: name of the input in messages.
        samples: raw times.
        fixed: whether it is the fixed input, not an image.
    """

    where: str
    samples: LatencySamples
    fixed: bool

    @property
    def median(self) -> float:
        """Median seconds of a forward."""
        return float(np.median(self.samples.seconds))


@dataclass(frozen=True, slots=True)
class Timings:
    """All times of a record, in the order of processes and inputs.

    Attributes:
        latency: samples of the record.
        inputs: every input of every process that was timed.
        target_half_width: timing stops at this half-width, a share of the median.
    """

    latency: Latency
    inputs: tuple[TimedInput, ...]
    target_half_width: float

    def extent(self, count: int) -> str:
        """For example "3 of 10 inputs over 2 processes"."""
        processes = len(self.latency.replicates)
        over = f" over {processes} processes" if processes > 1 else ""
        return f"{count} of {len(self.inputs)} inputs{over}"


class Disturbance(NamedTuple):
    """A disturbance that was found: what happened, with figures, and which option helps."""

    message: str
    advice: str


@dataclass(frozen=True, slots=True)
class NoiseRule:
    """One kind of disturbance and its test.

    Attributes:
        code: code of its notice.
        examine: returns what was found, or None.
        role: ``cause`` of other kinds; ``effect``, which is not reported beside a cause; or
            ``else``.
    """

    code: str
    examine: Callable[[Timings], Disturbance | None]
    role: Literal["cause", "effect", "else"] = "else"


def noise_notices(
    latency: Latency, *, target_half_width: float = LatencyDesign().target_half_width
) -> tuple[Notice, ...]:
    """Typed warnings about the times of a record: at most one per code, in order of ``NOISES``.

    Args:
        latency: raw samples of every process.
        target_half_width: as in the protocol. There is no ``wide-interval`` if it is 0 or was
            reached.
    """
    inputs: list[TimedInput] = []
    for replicate in latency.replicates:
        suffix = f" in process {replicate.index}" if len(latency.replicates) > 1 else ""
        for fixed in (True, False):
            timed = replicate.timed_fixed if fixed else replicate.timed_images
            inputs += [
                TimedInput(
                    f"{'the fixed input' if fixed else each.input_name}{suffix}", each, fixed
                )
                for each in timed
            ]
    if not inputs:
        return ()
    timings = Timings(latency, tuple(inputs), target_half_width)
    found = [(rule, seen) for rule in NOISES if (seen := rule.examine(timings)) is not None]
    explained = any(rule.role == "cause" for rule, _ in found)
    return tuple(
        Notice(code=rule.code, message=seen.message, advice=seen.advice)
        for rule, seen in found
        if not (explained and rule.role == "effect")
    )


def _throttled(timings: Timings) -> Disturbance | None:
    """The GPU lowered its clocks in every repeat of an input."""
    slowed: list[tuple[float, TimedInput]] = []
    reasons: set[str] = set()
    repeats = 0
    for timed in timings.inputs:
        conditions = timed.samples.conditions
        if conditions is None or not throttled(conditions):
            continue
        clock = conditions.clock_hz[0] if conditions.clock_hz else math.inf
        slowed.append((-clock, timed))
        reasons.update(THROTTLING.intersection(conditions.throttle_reasons))
        repeats = max(repeats, conditions.repeats)
    if not slowed:
        return None
    clock, worst = _worst(slowed)
    lowest = "" if math.isinf(clock) else f"; lowest SM clock {-clock / 1e6:.0f} MHz"
    return Disturbance(
        f"the GPU lowered its clocks ({', '.join(sorted(reasons))}) at "
        f"{timings.extent(len(slowed))}, with up to {repeats} repeats{lowest} at {worst.where}",
        "Lock the GPU's clocks below the limit (nvidia-smi --lock-gpu-clocks), cool it, or raise "
        "its power limit.",
    )


def _taken(
    timings: Timings, what: Literal["other_load", "steal"], phrase: str, advice: str
) -> Disturbance | None:
    """Others took ``TAKEN_SHARE`` of the CPUs on average, or a larger share at an input."""
    seen = [
        (share, timed.samples.conditions.seconds, timed)
        for timed in timings.inputs
        if timed.samples.conditions
        and (share := getattr(timed.samples.conditions, what)) is not None
    ]
    observed = [(share, seconds) for share, seconds, _ in seen]
    # Inputs too short for the kernel's ticks are judged by their whole process.
    observed = observed or [
        (share, each.conditions.seconds)
        for each in timings.latency.replicates
        if each.conditions and (share := getattr(each.conditions, what)) is not None
    ]
    taken = sum(share * seconds for share, seconds in observed)
    if taken < FEWEST_TAKEN_SECONDS:
        return None
    mean = taken / sum(seconds for _, seconds in observed)
    above = [
        (share, timed)
        for share, seconds, timed in seen
        if share >= TAKEN_SHARE_OF_INPUT and share * seconds >= FEWEST_TAKEN_SECONDS
    ]
    if mean < TAKEN_SHARE and not above:
        return None
    message = f"{phrase} {_percent(mean)} of the CPU time while inputs were timed"
    if above:
        share, worst = _worst(above)
        message += (
            f"; {_percent(TAKEN_SHARE_OF_INPUT)} or more at {timings.extent(len(above))}, "
            f"most at {worst.where}: {_percent(share)}"
        )
    return Disturbance(message, advice)


def _processes_differ(timings: Timings) -> Disturbance | None:
    """See ``esrbench.runs.steadiness.Spread.differs``."""
    replicates = timings.latency.replicates
    kinds: tuple[tuple[str, list[tuple[LatencySamples, ...]], Callable[..., Value]], ...] = (
        ("the fixed input", [e.timed_fixed for e in replicates], lambda each: median_value(*each)),
        ("the mean over images", [e.timed_images for e in replicates], mean_of_medians),
    )
    found = []
    for what, processes, summarise in kinds:
        rounds = [[samples.seconds for samples in inputs] for inputs in processes]
        long = [each for each in rounds if each and min(map(len, each)) >= FEWEST_ROUNDS]
        if (seen := spread([summarise(each) for each in long])) and seen.differs:
            found.append((seen.apart, seen.usual, what))
    if not found:
        return None
    apart, usual, what = max(found)
    return Disturbance(
        f"the slowest process took {_percent(apart)} more than the fastest at {what}; "
        f"{len(replicates)} processes of a quiet machine rarely differ by more than "
        f"{_percent(usual)}",
        "Raise --processes, because this machine has fast and slow processes. Leave a CPU free: "
        "use fewer --threads.",
    )


def _moved(timings: Timings, phrase: str, advice: str, *, slower: bool) -> Disturbance | None:
    """A trend over rounds that moves a runtime by ``LEAST_CHANGE`` or more, in one direction.

    The runtime over the images and that at the fixed input are judged separately, each by
    ``esrbench.runs.steadiness.drift``.
    """
    for fixed in (False, True):
        inputs = [timed for timed in timings.inputs if timed.fixed is fixed]
        rounds = [timed.samples.seconds for timed in inputs]
        seen, change = drift(rounds), half_change(rounds)
        if seen is None or (seen.change > 0) != slower or (change > 0) != slower:
            continue
        if abs(change) < LEAST_CHANGE:
            continue
        together = "" if seen.alone else " together"
        return Disturbance(
            f"forwards {phrase} while they were timed, at "
            f"{timings.extent(len(seen.alone or inputs))}{together}, most at "
            f"{inputs[seen.worst].where}; the second half of the rounds differs from the first by "
            f"{_percent(abs(change))}",
            advice,
        )
    return None


def _wide_interval(timings: Timings) -> Disturbance | None:
    """The runtime over the images has a wide interval, and the rounds ended at a limit."""
    widths: list[float] = []
    ends: set[str] = set()
    for replicate in timings.latency.replicates:
        images = replicate.timed_images
        value = mean_of_medians([image.seconds for image in images]) if images else None
        if value and value.interval and value.value:
            widths.append((value.interval.high - value.interval.low) / 2 / value.value)
            ends.update(image.stopped_by for image in images)
    width = float(np.median(widths)) if widths else 0.0
    target = timings.target_half_width
    knobs = [
        knob for end, knob in (("budget", "--budget"), ("max-rounds", "--rounds")) if end in ends
    ]
    if not knobs or not 0 < max(target, WIDE_HALF_WIDTH if target else 0) < width:
        return None
    return Disturbance(
        f"the rounds of a process give the runtime over the images only to {_percent(width)}, "
        "half of its 95 % interval",
        f"Raise {series(knobs)}: rounds ended at this limit.",
    )


def _outliers(timings: Timings) -> Disturbance | None:
    """More than ``OUTLIERS_SHARE`` of all forwards, and ``FEWEST_OUTLIERS``, are outliers.

    See ``esrbench.runs.steadiness.outliers``. They change p95, but hardly the median.
    """
    seen = outliers([timed.samples.seconds for timed in timings.inputs])
    if seen.count < FEWEST_OUTLIERS or seen.count <= OUTLIERS_SHARE * seen.forwards:
        return None
    worst = max(seen.farthest, key=lambda index: seen.farthest[index])
    return Disturbance(
        f"{seen.count} of {seen.forwards} forwards lie more than {OUTLIER_DEVIATIONS:.0f} standard "
        f"deviations off their median, at {timings.extent(len(seen.farthest))}; farthest at "
        f"{timings.inputs[worst].where}: by {_percent(seen.farthest[worst])} of it",
        "Use medians, not p95. With a larger --input-size, short interruptions matter less.",
    )


def _too_short(timings: Timings) -> Disturbance | None:
    """A forward takes less time than ``SHORTEST_SECONDS`` for its clock."""
    short = [
        (-timed.median, timed)
        for timed in timings.inputs
        if timed.median < SHORTEST_SECONDS[timed.samples.clock]
    ]
    if not short:
        return None
    seconds, worst = _worst(short)
    limit = SHORTEST_SECONDS[worst.samples.clock]
    return Disturbance(
        f"forwards are shorter than the {limit * 1e6:.0f} us that the clock can time to a percent "
        f"at {timings.extent(len(short))}, shortest at {worst.where}: {-seconds * 1e6:.2f} us",
        "Raise --input-size and use larger images: reading the clock is part of such times.",
    )


def _slow_first_run(timings: Timings) -> Disturbance | None:
    """The first forward took ``COLD_START_RATIO`` times the median, ``COLD_START_SECONDS`` more."""
    found = [
        (replicate.cold_start_seconds / median, replicate.cold_start_seconds - median)
        for replicate in timings.latency.replicates
        if replicate.cold_start_seconds is not None
        for fixed in replicate.timed_fixed
        if (median := float(np.median(fixed.seconds)))
    ]
    slow = [
        (ratio, extra)
        for ratio, extra in found
        if ratio >= COLD_START_RATIO and extra >= COLD_START_SECONDS
    ]
    if 2 * len(slow) <= len(found):
        return None
    ratio, extra = max(slow)
    of = f" at worst of {len(found)} processes" if len(found) > 1 else ""
    return Disturbance(
        f"the first forward of a process took {extra:.1f} s more than the median at the same "
        f"input, {ratio:.1f} times as long{of}; it counts as cold start, not as runtime",
        "Warm this network up before you use it; in tables, read its cold start too.",
    )


NOISES: tuple[NoiseRule, ...] = (
    NoiseRule("throttled", _throttled, "cause"),
    NoiseRule(
        "other-load",
        partial(
            _taken,
            what="other_load",
            phrase="other processes took",
            advice="Close other programs (`esrbench doctor` names them), and measure again.",
        ),
        "cause",
    ),
    NoiseRule(
        "steal",
        partial(
            _taken,
            what="steal",
            phrase="the hypervisor gave other machines",
            advice="Use a machine with its own CPUs, or measure at another hour and compare "
            "only within one run.",
        ),
        "cause",
    ),
    NoiseRule("processes-differ", _processes_differ, "effect"),
    NoiseRule(
        "drift",
        partial(
            _moved,
            slower=True,
            phrase="became slower",
            advice="Let the machine cool down and fix its clocks (see `esrbench doctor`); "
            "--processes 3 or more shows how much processes differ.",
        ),
        "effect",
    ),
    NoiseRule(
        "not-steady",
        partial(
            _moved,
            slower=False,
            phrase="still became faster",
            advice="Raise --warmup: every new size gets that many untimed forwards, whatever the "
            "budget.",
        ),
        "effect",
    ),
    NoiseRule("wide-interval", _wide_interval, "effect"),
    NoiseRule("outliers", _outliers, "effect"),
    NoiseRule("too-short", _too_short),
    NoiseRule("slow-first-run", _slow_first_run),
)
"""Ordered by the harm they do to a comparison, the worst first."""


def _worst(found: Sequence[tuple[float, TimedInput]]) -> tuple[float, TimedInput]:
    return max(found, key=lambda pair: pair[0])


def _percent(share: float) -> str:
    percent = share * 100
    return f"{percent:.0f} %" if percent >= 100 else f"{percent:.3g} %"  # noqa: PLR2004 - digits

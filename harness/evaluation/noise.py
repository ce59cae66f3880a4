"""What disturbed a record's times: typed warnings with figures and advice.

Every kind of disturbance is a row of ``NOISES``: a pure function of the raw samples with a
stated threshold. A record gets at most one notice of each kind, for all its inputs and
processes together, that counts the inputs concerned and names the worst.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from harness.evaluation.steadiness import (
    FEWEST_ROUNDS,
    OUTLIER_DEVIATIONS,
    drift,
    outliers,
    spread,
)
from harness.probes.telemetry import THROTTLING, throttled
from harness.protocol import LatencyDesign
from harness.records import Absent, Notice
from harness.statistics import mean_of_medians, median_value

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from harness.records import Latency, LatencySamples, Value

OUTLIERS_SHARE = 0.01
COLD_START_RATIO = 1.5
OTHER_LOAD_SHARE = 0.05
STEAL_SHARE = 0.01
FEWEST_TAKEN_SECONDS = 0.05
"""CPU time, as share times seconds, below which the kernel's ticks of 10 ms may deceive."""

SHORTEST_SECONDS = {"monotonic": 5e-6, "cuda-event": 5e-5}
"""A hundred times what the clock itself costs or resolves: about 50 ns for a call of the
host's clock, about 0.5 us for a pair of CUDA events."""


@dataclass(frozen=True, slots=True)
class Timed:
    """One input as one process timed it.

    Attributes:
        where: for messages.
        samples: raw times.
    """

    where: str
    samples: LatencySamples

    @property
    def median(self) -> float:
        """Median seconds of a forward."""
        return float(np.median(self.samples.seconds))


@dataclass(frozen=True, slots=True)
class Timings:
    """All that a record timed, in the order of processes and inputs.

    Attributes:
        latency: the record's own.
        inputs: every input of every process that was timed.
        target_half_width: of the design: the share of the median at which timing stops.
    """

    latency: Latency
    inputs: tuple[Timed, ...]
    target_half_width: float

    def extent(self, count: int) -> str:
        """How many inputs, of how many."""
        processes = len(self.latency.replicates)
        over = f" over {processes} processes" if processes > 1 else ""
        return f"{count} of {len(self.inputs)} inputs{over}"


@dataclass(frozen=True, slots=True)
class Noise:
    """One kind of disturbance.

    Attributes:
        code: of its notice.
        examine: what was seen, or None where all is quiet.
        advice: how to mend it.
    """

    code: str
    examine: Callable[[Timings], str | None]
    advice: str


def noise_notices(
    latency: Latency, *, target_half_width: float = LatencyDesign().target_half_width
) -> tuple[Notice, ...]:
    """Typed warnings about the times of a record, at most one a code, in order of ``NOISES``.

    Args:
        latency: raw samples of every process.
        target_half_width: the design's; 0 leaves ``wide-interval`` out.
    """
    several = len(latency.replicates) > 1
    inputs: list[Timed] = []
    for replicate in latency.replicates:
        suffix = f" in process {replicate.index}" if several else ""
        if not isinstance(replicate.fixed, Absent):
            inputs.append(Timed(f"the fixed input{suffix}", replicate.fixed))
        if not isinstance(replicate.images, Absent):
            inputs += [Timed(f"{image.input_name}{suffix}", image) for image in replicate.images]
    if not inputs:
        return ()
    timings = Timings(latency, tuple(inputs), target_half_width)
    found = ((noise, noise.examine(timings)) for noise in NOISES)
    return tuple(
        Notice(code=noise.code, message=message, advice=noise.advice)
        for noise, message in found
        if message is not None
    )


def _throttled(timings: Timings) -> str | None:
    """The GPU lowered its clocks although the input was timed again, as often as allowed."""
    slowed: list[tuple[float, Timed]] = []
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
    return (
        f"the GPU lowered its clocks ({', '.join(sorted(reasons))}) at "
        f"{timings.extent(len(slowed))}, with up to {repeats} repeats{lowest} at {worst.where}"
    )


def _other_load(timings: Timings) -> str | None:
    """Other processes took ``OTHER_LOAD_SHARE`` or more of the CPUs, on average or at an input."""
    return _taken(timings, "other_load", OTHER_LOAD_SHARE, "other processes took")


def _steal(timings: Timings) -> str | None:
    """The hypervisor took ``STEAL_SHARE`` or more of the CPUs, on average or at an input."""
    return _taken(timings, "steal", STEAL_SHARE, "the hypervisor gave other machines")


def _taken(
    timings: Timings, what: Literal["other_load", "steal"], threshold: float, phrase: str
) -> str | None:
    seen: list[tuple[float, float, Timed]] = []
    for timed in timings.inputs:
        conditions = timed.samples.conditions
        share = getattr(conditions, what) if conditions else None
        if conditions and share is not None:
            seen.append((share, conditions.seconds, timed))
    # Inputs too short for the kernel's ticks are judged by their whole process.
    observed = [(share, seconds) for share, seconds, _ in seen]
    observed = observed or _of_processes(timings.latency, what)
    taken = sum(share * seconds for share, seconds in observed)
    if taken < FEWEST_TAKEN_SECONDS:
        return None
    mean = taken / sum(seconds for _, seconds in observed)
    above = [
        (share, timed)
        for share, seconds, timed in seen
        if share >= threshold and share * seconds >= FEWEST_TAKEN_SECONDS
    ]
    if mean < threshold and not above:
        return None
    message = f"{phrase} {_percent(mean)} of the CPU time while inputs were timed"
    if above:
        share, worst = _worst(above)
        message += (
            f"; {_percent(threshold)} or more at {timings.extent(len(above))}, "
            f"most at {worst.where}: {_percent(share)}"
        )
    return message


def _of_processes(
    latency: Latency, what: Literal["other_load", "steal"]
) -> list[tuple[float, float]]:
    """Share and seconds of every process that was observed as a whole."""
    conditions = [each.conditions for each in latency.replicates if each.conditions is not None]
    shares = [(getattr(each, what), each.seconds) for each in conditions]
    return [(share, seconds) for share, seconds in shares if share is not None]


def _processes_differ(timings: Timings) -> str | None:
    """See ``harness.evaluation.steadiness.Spread.differs``."""
    replicates = timings.latency.replicates
    fixed = [
        median_value(replicate.fixed.seconds)
        for replicate in replicates
        if not isinstance(replicate.fixed, Absent) and len(replicate.fixed.seconds) >= FEWEST_ROUNDS
    ]
    images = [
        mean_of_medians([image.seconds for image in replicate.images])
        for replicate in replicates
        if not isinstance(replicate.images, Absent)
        and min(len(image.seconds) for image in replicate.images) >= FEWEST_ROUNDS
    ]
    found = [
        (seen.apart, seen.within, what)
        for what, values in (("the fixed input", fixed), ("the mean over images", images))
        if (seen := spread(values)) and seen.differs
    ]
    if not found:
        return None
    apart, within, what = max(found)
    return (
        f"the slowest process took {_percent(apart)} more than the fastest at {what}, where "
        f"rounds within a process leave {_percent(within)} open"
    )


def _drift(timings: Timings) -> str | None:
    """See ``harness.evaluation.steadiness.drift``."""
    seen = drift([timed.samples.seconds for timed in timings.inputs])
    if seen is None:
        return None
    change = f"{_percent(abs(seen.change))} {'slower' if seen.change > 0 else 'faster'}"
    worst = timings.inputs[seen.worst].where
    where = (
        f"at {timings.extent(len(seen.alone))}, most at {worst}: by "
        if seen.alone
        else f"over {timings.extent(len(timings.inputs))} together, most at {worst}; median change "
    )
    return f"forwards drifted from the first to the second half of the rounds {where}{change}"


def _not_steady(timings: Timings) -> str | None:
    """The warm-up reached its bound while forwards still became faster."""
    moving = [
        (timed.samples.warmup_seconds[-1] / timed.median if timed.median else 1.0, timed)
        for timed in timings.inputs
        if not timed.samples.steady and timed.samples.warmup_seconds
    ]
    if not moving:
        return None
    ratio, worst = _worst(moving)
    return (
        f"forwards still became faster when warm-up reached its bound at "
        f"{timings.extent(len(moving))}; worst at {worst.where}: the last of "
        f"{len(worst.samples.warmup_seconds)} warm-up forwards took {ratio:.2f} times the median"
    )


def _wide_interval(timings: Timings) -> str | None:
    """Rounds or budget ran out while the median's interval was wider than the target."""
    target = timings.target_half_width
    wide: list[tuple[float, Timed]] = []
    for timed in timings.inputs:
        value = median_value(timed.samples.seconds)
        if timed.samples.stopped_by == "interval" or not value.interval or not value.value:
            continue
        width = _half_width(value) / value.value
        if 0 < target < width:
            wide.append((width, timed))
    if not wide:
        return None
    width, worst = _worst(wide)
    ends = Counter(timed.samples.stopped_by for _, timed in wide)
    ended = " and ".join(f"{end} at {count}" for end, count in sorted(ends.items()))
    return (
        f"half of the median's 95 % interval is above the target of {_percent(target)} at "
        f"{timings.extent(len(wide))}, widest at {worst.where}: {_percent(width)}; "
        f"ended by {ended}"
    )


def _outliers(timings: Timings) -> str | None:
    """More than ``OUTLIERS_SHARE`` of all forwards are outliers.

    See ``harness.evaluation.steadiness.outliers``. A median bears more of them, but p95 does not.
    """
    seen = outliers([timed.samples.seconds for timed in timings.inputs])
    if seen.count <= OUTLIERS_SHARE * seen.forwards:
        return None
    worst = max(seen.farthest, key=lambda index: seen.farthest[index])
    return (
        f"{seen.count} of {seen.forwards} forwards lie more than {OUTLIER_DEVIATIONS:.0f} standard "
        f"deviations off their median, at {timings.extent(len(seen.farthest))}; farthest at "
        f"{timings.inputs[worst].where}: by {_percent(seen.farthest[worst])} of it"
    )


def _too_short(timings: Timings) -> str | None:
    """A forward takes less than ``SHORTEST_SECONDS`` of its clock."""
    short = [
        (-timed.median, timed)
        for timed in timings.inputs
        if timed.median < SHORTEST_SECONDS[timed.samples.clock]
    ]
    if not short:
        return None
    seconds, worst = _worst(short)
    limit = SHORTEST_SECONDS[worst.samples.clock]
    return (
        f"forwards are shorter than the {limit * 1e6:.0f} us that the clock can time to a percent "
        f"at {timings.extent(len(short))}, shortest at {worst.where}: {-seconds * 1e6:.2f} us"
    )


def _slow_first_run(timings: Timings) -> str | None:
    """The first forward of a process took ``COLD_START_RATIO`` times the median or more."""
    ratios = [
        (replicate.cold_start_seconds / median, replicate.cold_start_seconds)
        for replicate in timings.latency.replicates
        if replicate.cold_start_seconds is not None
        and not isinstance(replicate.fixed, Absent)
        and (median := float(np.median(replicate.fixed.seconds)))
    ]
    if not ratios or float(np.median([ratio for ratio, _ in ratios])) < COLD_START_RATIO:
        return None
    ratio, seconds = max(ratios)
    of = f" at worst of {len(ratios)} processes" if len(ratios) > 1 else ""
    return (
        f"the first forward of a process took {seconds * 1e3:.1f} ms, {ratio:.1f} times the median "
        f"at the same input{of}; it is in the cold start, not in the runtime"
    )


_QUIET = "Close other programs, run `esrbench doctor`, and measure again."

NOISES: tuple[Noise, ...] = (
    Noise(
        "throttled",
        _throttled,
        "Lock the GPU's clocks below the limit (nvidia-smi --lock-gpu-clocks), cool it, or raise "
        "its power limit.",
    ),
    Noise("other-load", _other_load, _QUIET),
    Noise(
        "steal",
        _steal,
        "Take a machine with CPUs of its own, or measure at another hour and compare only within "
        "one run.",
    ),
    Noise(
        "processes-differ",
        _processes_differ,
        "Raise --processes: what differs between them is no property of the network.",
    ),
    Noise(
        "drift",
        _drift,
        "Let the machine cool down or its clocks settle, fix the clocks, or warm up for longer.",
    ),
    Noise("not-steady", _not_steady, "Raise --warmup; the bound is twice it, and never below 12."),
    Noise(
        "wide-interval",
        _wide_interval,
        "Raise --budget and --rounds, or quieten the machine: see `esrbench doctor`.",
    ),
    Noise("outliers", _outliers, _QUIET),
    Noise(
        "too-short",
        _too_short,
        "Compare at a larger input: here the clock and the call are part of the time.",
    ),
    Noise(
        "slow-first-run",
        _slow_first_run,
        "Warm up before you serve this network; in tables, read the cold start beside the runtime.",
    ),
)
"""In order of what they cost a comparison."""


def _half_width(value: Value) -> float:
    return (value.interval.high - value.interval.low) / 2 if value.interval else math.inf


def _worst(found: Sequence[tuple[float, Timed]]) -> tuple[float, Timed]:
    return max(found, key=lambda pair: pair[0])


def _percent(share: float) -> str:
    percent = share * 100
    return f"{percent:.0f} %" if percent >= 100 else f"{percent:.3g} %"  # noqa: PLR2004 - digits

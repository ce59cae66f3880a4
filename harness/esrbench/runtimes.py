"""From raw times to runtimes: the challenge's number, its relation to a baseline, its spread.

A runtime is the larger of two times, the worker's claim and the externally measured one. So
neither can be lowered to gain a rank. With one process, the interval covers the rounds within it:
by bootstrap for means over images, by order statistics for medians. With several, each process
gives one figure and the value is their geometric mean. From three processes on, the interval is
Student's of the logarithms, so that it covers differences between processes.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Final

import numpy as np

from esrbench.records import Absent, Latency, LatencySamples, Value
from esrbench.statistics import geometric_mean, mean_of_medians, median_value

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from esrbench.records import Replicate

    Times = Callable[[Replicate, LatencySamples], Sequence[float]]

ACROSS_CLASSES: Final = "across-classes"
"""Code of the notice of a runtime in relation to a baseline of another class."""
NO_NULL = Absent(
    kind="failed",
    reason="the null network was not timed, so no time was measured externally",
    advice="Run again; if it recurs, `esrbench doctor` may tell why.",
)
NO_TIME = Absent(
    kind="unavailable",
    reason="it takes no longer than a network that does nothing",
    advice="Raise the input size, or measure on larger images.",
)


@dataclass(frozen=True, slots=True)
class SizeTimes:
    """Forwards at all images of one size, all processes together, in seconds.

    Attributes:
        lr_size: height and width in pixels.
        images: number of images of this size.
        rounds: number of forwards.
        median: of them.
        p5: 5th percentile.
        p95: 95th percentile.
    """

    lr_size: tuple[int, int]
    images: int
    rounds: int
    median: float
    p5: float
    p95: float


def claimed(_replicate: Replicate, samples: LatencySamples) -> Sequence[float]:
    """The worker's own times of the network alone."""
    return samples.seconds


def null_seconds(replicate: Replicate, size: tuple[int, int]) -> tuple[float, ...] | None:
    """Times of the null network at a size of input; None where it was not timed there."""
    return next((n.delivered_seconds for n in replicate.null if n.lr_size == size), None)


def net_seconds(replicate: Replicate, samples: LatencySamples) -> tuple[float, ...]:
    """Externally measured times of an input's rounds: delivery less the null network's median."""
    null = null_seconds(replicate, samples.lr_size)
    if null is None:
        return ()
    overhead = median(null)
    return tuple(seconds - overhead for seconds in samples.delivered_seconds)


def _larger(over: Callable[[Latency, Times], Value | Absent], latency: Latency) -> Value | Absent:
    """The larger of both accounts; claims alone where the null network was not timed."""
    claims, external = over(latency, claimed), over(latency, net_seconds)
    if isinstance(external, Absent):
        return claims if external == NO_NULL else external
    if isinstance(claims, Absent):
        return external
    return max(claims, external, key=lambda account: account.value)


def images_seconds(replicate: Replicate, times: Times = claimed) -> float | None:
    """The challenge's number of one process: mean over images of per-image medians.

    Args:
        replicate: the process.
        times: which account of its rounds.

    Returns:
        None where nothing was timed, or not by this account.
    """
    rounds = [times(replicate, samples) for samples in replicate.timed_images]
    return _mean_of_medians(rounds) if rounds and all(rounds) else None


PROCESS_METRICS: Final = ("runtime_images", "runtime_fixed")
"""Runtimes that ``process_seconds`` knows."""


def process_seconds(replicate: Replicate, metric: str) -> float | None:
    """A runtime of one process: the larger account of the images, or of the fixed input.

    Args:
        replicate: the process.
        metric: key of a runtime.

    Returns:
        None where nothing was timed, and for metrics that are not in ``PROCESS_METRICS``.
    """
    if metric in replicate.figures or metric not in PROCESS_METRICS:
        return replicate.figures.get(metric)
    inputs = replicate.timed_images if metric == "runtime_images" else replicate.timed_fixed
    accounts = ([times(replicate, each) for each in inputs] for times in (claimed, net_seconds))
    known = (_mean_of_medians(rounds) for rounds in accounts if rounds and all(rounds))
    return max(known, default=None)


def baseline_seconds(latency: Latency, metric: str) -> float | None:
    """A runtime of the baseline in the rounds of an entry: geometric mean, the larger account.

    Args:
        latency: of the entry.
        metric: key of a runtime.

    Returns:
        None where no baseline was timed beside it, and for metrics not in ``PROCESS_METRICS``.
    """
    baseline = latency.baseline
    if baseline is None or metric not in PROCESS_METRICS:
        return None
    on_images = (baseline.images_seconds, baseline.trusted_seconds)
    accounts = on_images if metric == "runtime_images" else (baseline.fixed_seconds,)
    known = [[each for each in account if each is not None] for account in accounts]
    return max(
        (geometric_mean(each).value for each in known if each and min(each) > 0), default=None
    )


def times_by_size(latency: Latency) -> tuple[SizeTimes, ...]:
    """Spread of the forwards at each size of the data set's images, smallest first."""
    seconds: dict[tuple[int, int], list[float]] = {}
    names: dict[tuple[int, int], set[str]] = {}
    for replicate in latency.replicates:
        for samples in replicate.timed_images:
            seconds.setdefault(samples.lr_size, []).extend(samples.seconds)
            names.setdefault(samples.lr_size, set()).add(samples.input_name)
    rows = []
    for size in sorted(seconds, key=lambda size: (size[0] * size[1], size)):
        p5, middle, p95 = np.percentile(seconds[size], [5, 50, 95])
        count = len(seconds[size])
        rows.append(SizeTimes(size, len(names[size]), count, float(middle), float(p5), float(p95)))
    return tuple(rows)


def _over_images(latency: Latency, times: Times) -> Value | Absent:
    """Mean over images of per-image medians."""
    processes = [
        [times(each, samples) for samples in each.timed_images] for each in latency.replicates
    ]
    if not all(all(images) for images in processes):
        return NO_NULL
    if len(processes) == 1:
        value = mean_of_medians(processes[0])
        return value if value.value > 0 else NO_TIME
    means = [_mean_of_medians(images) for images in processes]
    return geometric_mean(means) if min(means) > 0 else NO_TIME


def _mean_of_medians(images: Sequence[Sequence[float]]) -> float:
    return float(np.mean([np.median(seconds) for seconds in images]))


def _with_bicubic(latency: Latency) -> Value | Absent:
    """Enlargement and network in turn: the sum of both medians of each image."""
    if not all(samples.preparation_seconds for samples in latency.replicates[0].timed_images):
        return Absent(kind="unavailable", reason="the network takes the LR image as it is")
    sums = [
        _mean_of_medians([samples.preparation_seconds for samples in each.timed_images])
        + _mean_of_medians([samples.seconds for samples in each.timed_images])
        for each in latency.replicates
    ]
    return geometric_mean(sums)


def _over_fixed(latency: Latency, times: Times) -> Value | Absent:
    inputs = [(each, each.fixed) for each in latency.replicates]
    skipped = next((fixed for _, fixed in inputs if isinstance(fixed, Absent)), None)
    if skipped is not None:
        return skipped
    samples = [times(each, fixed) for each, fixed in inputs if isinstance(fixed, LatencySamples)]
    if not all(samples):
        return NO_NULL
    medians = [float(np.median(seconds)) for seconds in samples]
    if min(medians) <= 0:
        return NO_TIME
    return median_value(samples[0]) if len(samples) == 1 else geometric_mean(medians)


def _cold_start(latency: Latency) -> Value | Absent:
    fixed = latency.replicates[0].fixed
    if isinstance(fixed, Absent):
        return fixed
    seconds = [each.cold_start_seconds for each in latency.replicates]
    return median_value([each for each in seconds if each is not None])


def _ratio(latency: Latency) -> Value | Absent:
    """Geometric mean over rounds of the entry's runtime over the baseline's, the larger of each."""
    if latency.baseline is None:
        return Absent(
            kind="skipped", reason="no baseline ran", advice="Name one with --baseline NAME."
        )
    baseline = latency.baseline
    theirs = zip(baseline.images_seconds, baseline.trusted_seconds, strict=True)
    ours = [
        (images_seconds(each), images_seconds(each, net_seconds)) for each in latency.replicates
    ]
    quotients = [
        max(mine) / max(other)
        for one, another in zip(ours, theirs, strict=True)
        if min(mine := _known(one), default=0) > 0 and min(other := _known(another), default=0) > 0
    ]
    if not quotients:
        return Absent(kind="failed", reason=f"the baseline {latency.baseline.name} was not timed")
    return geometric_mean(quotients)


def _known(accounts: tuple[float | None, float | None]) -> list[float]:
    return [seconds for seconds in accounts if seconds is not None]


READINGS: Final[dict[str, Callable[[Latency], Value | Absent]]] = {
    "images": lambda latency: _larger(_over_images, latency),
    "with_bicubic": _with_bicubic,
    "fixed": lambda latency: _larger(_over_fixed, latency),
    "ratio": _ratio,
    "external": lambda latency: _over_images(latency, net_seconds),
    "cold_start": _cold_start,
}
"""Runtimes of raw samples in which every replicate has all its inputs, by name."""

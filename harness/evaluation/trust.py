"""What the evaluator makes of a worker's claims: trusted time, and signs of cheating."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness.records import Absent, Latency, LatencySamples, Trust

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from harness.protocol import TrustDesign
    from harness.records import Replicate, Status

LONG = 10
"""Times the null network's own time from which on rounds may be compared one by one."""
FEWEST_IMAGES = 3
"""Of which to take a median that one slow round does not move."""
MOST_CHANCE = 0.01
"""Of finding by accident what a cache would leave behind."""
LEAST_MEMORISING_DB = 0.02
"""Less than windows cost honest networks by their edges, however many images there are."""

NO_NULL = Absent(
    kind="failed",
    reason="the null network was not timed, so there is no trusted time",
    advice="Run again; if it recurs, `esrbench doctor` may tell why.",
)


@dataclass(frozen=True, slots=True)
class Finding:
    """A status other than ``ok``, and why."""

    status: Status
    cause: str
    advice: str | None


def net_seconds(replicate: Replicate, samples: LatencySamples) -> tuple[float, ...]:
    """Trusted times of an input's rounds: delivery less the null network's median."""
    null = _null(replicate, samples.lr_size)
    if null is None:
        return ()
    median = float(np.median(null))
    return tuple(seconds - median for seconds in samples.delivered_seconds)


def account(latency: Latency | Absent, design: TrustDesign) -> Trust | Absent:
    """The evaluator's account of all that was timed.

    Args:
        latency: raw samples.
        design: the tolerance of claims.

    Returns:
        Absent where nothing was timed.
    """
    if isinstance(latency, Absent):
        return latency
    timed = [(each, samples) for each in latency.replicates for samples in _images(each)]
    if not timed:
        return Absent(kind="skipped", reason="no image was timed")
    claimed, trusted, tolerance = _agreement(timed, design)
    fixed = _agreement(
        [
            (each, each.fixed)
            for each in latency.replicates
            if isinstance(each.fixed, LatencySamples)
        ],
        design,
    )
    every = [samples for each in latency.replicates for samples in _inputs(each)]
    scores = [(each.input_name, each.variants) for each in every if each.variants is not None]
    known = [
        (score.clean_psnr_rgb, score.variant_psnr_rgb)
        for _, score in scores
        if score.variant_psnr_rgb is not None
    ]
    return Trust(
        claimed_seconds=claimed or 0.0,
        trusted_seconds=trusted,
        tolerance_seconds=tolerance,
        fixed_claimed_seconds=fixed[0],
        fixed_trusted_seconds=fixed[1],
        fixed_tolerance_seconds=fixed[2],
        repeated_ratio=_repeated_ratio(latency),
        later_ratio=_later_ratio(timed),
        impossible_images=len({name for name, score in scores if score.impossible}),
        clean_psnr_rgb=_mean_known([clean for clean, _ in known]),
        variant_psnr_rgb=_mean_known([varied for _, varied in known]),
        variant_images=len({name for name, score in scores if score.variant_psnr_rgb is not None}),
        # A hypervisor that takes a CPU from a worker's last instant lets it look busy, once.
        idle_cpus=_median_known([samples.idle_cpus for samples in every]),
        forward_cpus=max(_known([samples.forward_cpus for samples in every]), default=None),
    )


def examine(trust: Trust | Absent, design: TrustDesign, *, threads: int) -> Finding | None:
    """The gravest finding, or None for an honest entry.

    Args:
        trust: the evaluator's account.
        design: thresholds.
        threads: CPU threads that the entry may use.
    """
    if isinstance(trust, Absent):
        return None
    return next((found for rule in RULES if (found := rule(trust, design, threads))), None)


def _agreement(
    timed: Sequence[tuple[Replicate, LatencySamples]], design: TrustDesign
) -> tuple[float | None, float | None, float | None]:
    """Seconds as claimed and as trusted, means of medians, and by how much they may differ."""
    if not timed:
        return None, None, None
    claimed = _mean(float(np.median(samples.seconds)) for _, samples in timed)
    if not all(_null(each, samples.lr_size) for each, samples in timed):
        return claimed, None, None
    trusted = _mean(float(np.median(net_seconds(each, samples))) for each, samples in timed)
    noise = _mean(_noise(_null(each, samples.lr_size) or ()) for each, samples in timed)
    return claimed, trusted, max(design.claim_tolerance * abs(trusted), 3 * noise)


def _memorising(trust: Trust, design: TrustDesign, _threads: int) -> Finding | None:
    if trust.impossible_images:
        return Finding(
            "suspect-memorising",
            f"{trust.impossible_images} images are reproduced without any error, though their LR "
            "images do not hold all of them",
            "Look for stored images in code and weights.",
        )
    varied = trust.variant_psnr_rgb
    if varied is None:
        return None
    # Images without error have an infinite PSNR, which no honest network has.
    clean = trust.clean_psnr_rgb
    allowed = design.memorising_db / math.sqrt(max(1, trust.variant_images))
    allowed = max(allowed, LEAST_MEMORISING_DB)
    if clean is not None and clean - varied <= allowed:
        return None
    known = "infinite" if clean is None else f"{clean:.2f} dB"
    return Finding(
        "suspect-memorising",
        f"PSNR is {known} on the images and {varied:.2f} dB on flipped and shifted windows of them",
        "Look for stored images and look-up by content in code and weights, and for forwards that "
        "do less once some were made.",
    )


def _caching(trust: Trust, design: TrustDesign, _threads: int) -> Finding | None:
    ratio, later = trust.repeated_ratio, trust.later_ratio
    if ratio is not None and ratio < design.caching_ratio:
        said = f"inputs shown again took at most {ratio:.0%} of the time of fresh ones"
    elif later is not None and later < design.later_ratio:
        said = f"after its first round an image took {later:.0%} of the time of that"
    else:
        return None
    return Finding(
        "suspect-caching",
        said,
        "Look for outputs that are kept between calls; every timed round shows a fresh input.",
    )


def _hidden_work(trust: Trust, design: TrustDesign, threads: int) -> Finding | None:
    if trust.idle_cpus is not None and trust.idle_cpus > design.idle_cpus:
        return Finding(
            "suspect-hidden-work",
            f"{trust.idle_cpus:.2f} CPUs were busy in the worker while nothing was asked of it",
            "Look for threads or processes that go on after the forward returned.",
        )
    most = threads + design.extra_cpus
    if trust.forward_cpus is not None and trust.forward_cpus > most:
        return Finding(
            "suspect-hidden-work",
            f"{trust.forward_cpus:.2f} CPUs were busy in the worker, which was given {threads}",
            "Look for threads that leave the CPUs they were given.",
        )
    return None


def _disputed(trust: Trust, _design: TrustDesign, _threads: int) -> Finding | None:
    accounts = (
        ("", trust.claimed_seconds, trust.trusted_seconds, trust.tolerance_seconds),
        (
            " at the fixed input",
            trust.fixed_claimed_seconds,
            trust.fixed_trusted_seconds,
            trust.fixed_tolerance_seconds,
        ),
    )
    for where, claimed, trusted, tolerance in accounts:
        if claimed is None or trusted is None or tolerance is None:
            continue
        if abs(claimed - trusted) > tolerance:
            return Finding(
                "timing-disputed",
                f"the worker says {claimed * 1e3:.3g} ms{where}, the evaluator "
                f"{trusted * 1e3:.3g} ms, and they may differ by {tolerance * 1e3:.3g} ms",
                "Its runtime here is the evaluator's. Run again on a quiet machine before "
                "accusing anyone.",
            )
    return None


RULES: tuple[Callable[[Trust, TrustDesign, int], Finding | None], ...] = (
    _memorising,
    _caching,
    _hidden_work,
    _disputed,
)
"""Gravest first."""


def _images(replicate: Replicate) -> tuple[LatencySamples, ...]:
    return () if isinstance(replicate.images, Absent) else replicate.images


def _inputs(replicate: Replicate) -> Iterator[LatencySamples]:
    if not isinstance(replicate.fixed, Absent):
        yield replicate.fixed
    yield from _images(replicate)


def _null(replicate: Replicate, size: tuple[int, int]) -> tuple[float, ...] | None:
    return next((null.delivered_seconds for null in replicate.null if null.lr_size == size), None)


def _repeated_ratio(latency: Latency) -> float | None:
    """Least, over inputs, of the most that a second time can be over the least of all first ones.

    Most is what is left beside the null network's shortest time, least beside its longest.
    First and second times alternate, so that a machine that becomes slower or faster makes no
    difference, and chance alone parts five of each completely once in 252 tries.
    """
    ratios = []
    for replicate in latency.replicates:
        for samples in _inputs(replicate):
            null = _null(replicate, samples.lr_size)
            if not samples.repeated_seconds or null is None:
                continue
            fresh = min(first for first, _ in samples.repeated_seconds) - max(null)
            again = max(second for _, second in samples.repeated_seconds) - min(null)
            if fresh > 0:
                ratios.append(max(0.0, again / fresh))
    return min(ratios, default=None)


def _later_ratio(timed: Sequence[tuple[Replicate, LatencySamples]]) -> float | None:
    """Median over images of the net time of later rounds over that of the first.

    None where chance explains as many slow first rounds: where load comes and goes, each round of
    an image is as likely as any other to be its slowest.
    """
    ratios, rounds, slowest = [], [], 0
    for replicate, samples in timed:
        net = net_seconds(replicate, samples)
        # Of a network no slower than what surrounds it, a first round tells nothing.
        around = float(np.median(_null(replicate, samples.lr_size) or (0.0,)))
        if len(net) > 1 and net[0] > LONG * around:
            ratios.append(max(0.0, float(np.median(net[1:])) / net[0]))
            rounds.append(len(net))
            slowest += net[0] == max(net)
    if len(ratios) < FEWEST_IMAGES or _chance(rounds, slowest) > MOST_CHANCE:
        return None
    return float(np.median(ratios))


def _chance(rounds: Sequence[int], slowest: int) -> float:
    """That of so many images, each with its number of rounds, so many begin with their slowest."""
    probabilities = np.ones(1)
    for count in rounds:
        probabilities = np.convolve(probabilities, (1 - 1 / count, 1 / count))
    return float(probabilities[slowest:].sum())


def _noise(seconds: Sequence[float]) -> float:
    return float(np.std(seconds, ddof=1)) if len(seconds) > 1 else 0.0


def _mean(values: Iterator[float]) -> float:
    return float(np.mean(list(values)))


def _known(values: Sequence[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _mean_known(values: Sequence[float | None]) -> float | None:
    known = _known(values)
    return sum(known) / len(known) if known and len(known) == len(values) else None


def _median_known(values: Sequence[float | None]) -> float | None:
    known = _known(values)
    return float(np.median(known)) if known else None

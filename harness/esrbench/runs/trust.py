"""Judges a worker's claims by externally measured time and by signs of cheating.

A record's fields call externally measured time "trusted".
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from esrbench.records import Absent, Trust
from esrbench.runtimes import net_seconds, null_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from esrbench.protocol import TrustDesign
    from esrbench.records import Latency, LatencySamples, Replicate, Status

    Timed = Sequence[tuple[Replicate, LatencySamples]]

LONG = 10
"""Single rounds are compared only if they take at least this many times as long as the null
network.
"""
FEWEST_IMAGES = 3
"""Smallest number of images that begin with a slow round; the first image of a process may include
its cold start."""
MOST_CHANCE = 0.0008
"""False-positive probability of the tests on first rounds and on rounds of the image itself. First
rounds are normally a little slower: in simulations with cold starts and load that comes and goes,
up to 4 % of honest entries were suspected at 0.01, and less than 1 % at this level."""
MOST_CHANCE_OF_PAIRS = 0.004
"""False-positive probability of the test for a cache: 8 of 8 pairs, 11 of 12 or 14 of 16."""
DEVIATIONS = 3
"""A claim is disputed only beyond this many standard deviations of the null network's times."""
SURROUNDINGS_SHARE = 0.6
"""Share of the null network's time by which a claim on a GPU may differ. There the overhead of a
forward varies between processes, by up to 55 % in runs on an H200 (``docs/gpu.md``), and the null
network's two processes may agree by chance. The larger of both times is published anyway."""
NORMAL_DEVIATIONS = 1.4826
"""Ratio of standard deviation to median absolute deviation of normal samples."""
LEAST_MEMORISING_DB = 0.02
"""Largest loss of PSNR of an honest network at the edges of windows, for any number of images."""
MOST_CLEAN_RATIO = 1.1
"""An honest network takes equally long for an image and its variants, because their sizes are
equal."""


@dataclass(frozen=True, slots=True)
class Suspicion:
    """A status other than ``ok``, and why."""

    status: Status
    cause: str
    advice: str | None


def account(latency: Latency | Absent, design: TrustDesign) -> Trust | Absent:
    """Externally measured times and signs of cheating; absent if no image was timed.

    Args:
        latency: raw samples.
        design: tolerance of claims.
    """
    if isinstance(latency, Absent):
        return latency
    images = [(each, samples) for each in latency.replicates for samples in each.timed_images]
    fixed = [(each, samples) for each in latency.replicates for samples in each.timed_fixed]
    if not images:
        return Absent(kind="skipped", reason="no image was timed")
    every = [samples for _, samples in (*fixed, *images)]
    scores = [(each.input_name, each.variants) for each in every if each.variants is not None]
    varied = [(name, score) for name, score in scores if score.variant_psnr_rgb is not None]
    windows = [
        (score.window_psnr_rgb, score.untimed_psnr_rgb)
        for _, score in scores
        if score.window_psnr_rgb is not None and score.untimed_psnr_rgb is not None
    ]
    idle = [each.idle_cpus for each in every if each.idle_cpus is not None]
    return Trust(
        **_seconds(images, design),
        **{f"fixed_{name}": value for name, value in _seconds(fixed, design).items()},
        repeated_ratio=_repeated_ratio((*fixed, *images), design),
        later_ratio=_later_ratio(images, design),
        impossible_images=len({name for name, score in scores if score.impossible}),
        clean_psnr_rgb=_mean([score.clean_psnr_rgb for _, score in varied]),
        variant_psnr_rgb=_mean([score.variant_psnr_rgb for _, score in varied]),
        variant_images=len({name for name, _ in varied}),
        window_psnr_rgb=_mean([timed for timed, _ in windows]),
        untimed_psnr_rgb=_mean([untimed for _, untimed in windows]),
        clean_ratio=_clean_ratio(images),
        # We use the median, because a hypervisor that stops a worker can make it look busy once.
        idle_cpus=median(idle) if idle else None,
        forward_cpus=max(
            (each.forward_cpus for each in every if each.forward_cpus is not None), default=None
        ),
    )


def examine(
    trust: Trust | Absent, design: TrustDesign, *, threads: int, loaded: bool = False
) -> Suspicion | None:
    """The most serious suspicion, or None for an honest entry.

    Args:
        trust: result of ``account``.
        design: thresholds.
        threads: CPU threads that the entry may use.
        loaded: other programs used part of the machine, so only the rules in ``LOAD_PROOF`` apply.
    """
    if isinstance(trust, Absent):
        return None
    rules = LOAD_PROOF if loaded else RULES
    return next((found for rule in rules if (found := rule(trust, design, threads))), None)


def unmeasurable(trusted: float | None, noise: float | None, design: TrustDesign) -> Absent | None:
    """Say why externally measured time is within the noise, or None if it is not.

    Args:
        trusted: externally measured seconds, from ``Trust``.
        noise: standard deviation of the null network's times, in seconds.
        design: gives the largest allowed ratio of noise to time.
    """
    if trusted is None or noise is None:
        return None
    spread = DEVIATIONS * noise
    if trusted > 0 and spread <= design.noise_share * trusted:
        return None
    return Absent(
        kind="unavailable",
        reason=f"its externally measured time, {trusted * 1e3:.3g} ms, is within the noise: the "
        f"time of a network that does nothing varies by {spread * 1e3:.3g} ms",
        advice="Raise the input size, measure on larger images, or use a quieter machine.",
    )


def _seconds(timed: Timed, design: TrustDesign) -> dict[str, Any]:
    """The fields of ``Trust`` in seconds: means of medians over inputs and processes."""
    delivered = [each.delivered_seconds for _, each in timed if each.delivered_seconds]
    found = {
        "claimed_seconds": _mean([median(samples.seconds) for _, samples in timed]),
        "delivered_seconds": _mean([median(each) for each in delivered]),
    }
    nets = [net_seconds(*each) for each in timed]
    if not nets or not all(nets):
        unknown = ("trusted_seconds", "tolerance_seconds", "noise_seconds", "withheld_seconds")
        return dict.fromkeys(unknown) | found
    nulls = [null_seconds(each, samples.lr_size) or () for each, samples in timed]
    trusted = float(np.mean([median(net) for net in nets]))
    noise = float(np.mean([_deviation(null) for null in nulls]))
    around, withheld = [], []
    for null, (_, samples) in zip(nulls, timed, strict=True):
        around.append(median(null) if samples.clock == "cuda-event" else 0.0)
        rounds = zip(samples.delivered_seconds, samples.seconds, strict=False)
        withheld.append(median([whole - claim for whole, claim in rounds]) - median(null))
    excused = max(DEVIATIONS * noise, SURROUNDINGS_SHARE * float(np.mean(around)))
    excused = min(excused, design.noise_share * max(0.0, trusted))
    return found | {
        "trusted_seconds": trusted,
        "tolerance_seconds": max(design.claim_tolerance * abs(trusted), excused),
        "noise_seconds": noise,
        # Time of the rounds that the claims do not include.
        "withheld_seconds": _mean(withheld),
    }


def _memorising(trust: Trust, design: TrustDesign, _threads: int) -> Suspicion | None:
    if trust.impossible_images:
        return Suspicion(
            "suspect-memorising",
            f"{trust.impossible_images} images are reproduced without any error, although their LR "
            "images do not contain all the details",
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
    return Suspicion(
        "suspect-memorising",
        f"PSNR is {known} on the images and {varied:.2f} dB on flipped and shifted windows of them",
        "Look in code and weights for stored images and for look-up by content. Look also for "
        "forwards that do less work after the first ones.",
    )


def _sparing(trust: Trust, _design: TrustDesign, _threads: int) -> Suspicion | None:
    """Report timed rounds that do less work than the image's own round or untimed forwards."""
    timed, untimed = trust.window_psnr_rgb, trust.untimed_psnr_rgb
    if timed is not None and untimed is not None and untimed - timed > LEAST_MEMORISING_DB:
        said = (
            f"PSNR of flipped and shifted windows, edges included, is {timed:.2f} dB in timed "
            f"rounds and {untimed:.2f} dB when the same windows were upscaled untimed"
        )
    elif trust.clean_ratio is not None and trust.clean_ratio > MOST_CLEAN_RATIO:
        said = (
            f"images took {trust.clean_ratio:.2f} times as long as flipped and shifted windows of "
            "them, in rounds that were drawn at random"
        )
    else:
        return None
    return Suspicion(
        "suspect-memorising",
        said,
        "Look for forwards that do less work on flipped and shifted windows than on images, or "
        "at the edges of windows.",
    )


def _caching(trust: Trust, design: TrustDesign, _threads: int) -> Suspicion | None:
    ratio, later = trust.repeated_ratio, trust.later_ratio
    if ratio is not None and ratio < design.caching_ratio:
        said = f"repeated inputs took {ratio:.0%} of the time of new ones"
    elif later is not None and later < design.later_ratio:
        said = f"later rounds of an image took {later:.0%} of the time of its first round"
    else:
        return None
    return Suspicion(
        "suspect-caching",
        said,
        "Look for outputs that are kept between calls; every timed round shows a new input.",
    )


def _idle_work(trust: Trust, design: TrustDesign, _threads: int) -> Suspicion | None:
    if trust.idle_cpus is not None and trust.idle_cpus > design.idle_cpus:
        return Suspicion(
            "suspect-hidden-work",
            f"{trust.idle_cpus:.2f} CPUs were busy in the worker while it had no request",
            "Look for threads or processes that go on after the forward has returned.",
        )
    return None


def _extra_cpus(trust: Trust, design: TrustDesign, threads: int) -> Suspicion | None:
    most = threads + design.extra_cpus
    if trust.forward_cpus is not None and trust.forward_cpus > most:
        return Suspicion(
            "suspect-hidden-work",
            f"{trust.forward_cpus:.2f} CPUs were busy in the worker, which was given {threads}",
            "Look for threads that use other CPUs than those given to the worker.",
        )
    return None


def _disputed(trust: Trust, design: TrustDesign, _threads: int) -> Suspicion | None:
    """A claim below externally measured time, or above the time until all pixels had arrived.

    A claim between the two has no advantage, because the larger time is published; the overhead may
    also be larger for the null network than for the entry. Both the medians and most rounds must
    disagree.
    """
    for prefix, where in (("", ""), ("fixed_", " at the fixed input")):
        claimed, trusted, tolerance, noise, delivered, withheld = (
            getattr(trust, f"{prefix}{name}_seconds")
            for name in ("claimed", "trusted", "tolerance", "noise", "delivered", "withheld")
        )
        if claimed is None or trusted is None or tolerance is None:
            continue
        if unmeasurable(trusted, noise, design):
            continue
        if claimed < trusted - tolerance and (withheld is None or withheld > tolerance):
            return Suspicion(
                "timing-disputed",
                f"the worker reports {claimed * 1e3:.3g} ms{where}, but the evaluator measured "
                f"{trusted * 1e3:.3g} ms; they may differ by {tolerance * 1e3:.3g} ms",
                "Its runtime here is the larger of both. Run again on a quiet machine before "
                "accusing anyone.",
            )
        if delivered is not None and claimed > delivered * (1 + design.claim_tolerance):
            return Suspicion(
                "timing-disputed",
                f"the worker reports {claimed * 1e3:.3g} ms{where}, but all pixels arrived after "
                f"{delivered * 1e3:.3g} ms",
                "Its runtime here is the larger of both. Look for code that changes the clock.",
            )
    return None


RULES: tuple[Callable[[Trust, TrustDesign, int], Suspicion | None], ...] = (
    _memorising,
    _sparing,
    _caching,
    _idle_work,
    _extra_cpus,
    _disputed,
)
"""Ordered by seriousness, the most serious first."""
LOAD_PROOF = (_memorising, _sparing, _extra_cpus)
"""Rules that load cannot explain: they use scores, rounds drawn at random, and the worker's own CPU
time."""


def can_show_cache(pairs: int) -> bool:
    """Whether pairs of rounds can show a cache, if the repeated round is faster in all of them."""
    return _chance_of_faster(pairs, pairs) <= MOST_CHANCE_OF_PAIRS


def _chance_of_faster(faster: int, pairs: int) -> float:
    """Probability that the repeated round is by chance the faster one in so many pairs or more."""
    return float(sum(math.comb(pairs, count) for count in range(faster, pairs + 1)) / 2**pairs)


def _repeated_ratio(timed: Timed, design: TrustDesign) -> float | None:
    """Median time of repeated rounds divided by that of new rounds; the smallest over all inputs.

    To be conservative, the null network's longest time is subtracted from the slower round and its
    shortest from the faster one. None if the effect is not significant: a sign test over the pairs
    whose rounds differ by more than the design's ratio, of all inputs and processes. A random draw
    chose which round of a pair was the repeated one, so the test is exact under any load. A few
    slow repeated rounds do not remove a suspicion.
    """
    ratios = []
    faster = slower = 0
    for replicate, samples in timed:
        null = null_seconds(replicate, samples.lr_size)
        if not samples.repeated_seconds or null is None:
            continue
        fresh, again = np.median(samples.repeated_seconds, axis=0)
        if fresh > max(null):
            ratios.append(_ratio(again, fresh, null))
        for new, repeated in samples.repeated_seconds:
            faster += _ratio(repeated, new, null) < design.caching_ratio
            slower += _ratio(new, repeated, null) < design.caching_ratio
    chance = _chance_of_faster(faster, faster + slower)
    return min(ratios, default=None) if chance <= MOST_CHANCE_OF_PAIRS else None


def _ratio(fast: float, slow: float, null: tuple[float, ...]) -> float:
    """Ratio of two net times, the largest that the null network's range allows."""
    net = slow - max(null)
    return max(0.0, fast - min(null)) / net if net > 0 else math.inf


def _later_ratio(timed: Timed, design: TrustDesign) -> float | None:
    """Net time of later rounds divided by that of the first round; the median over images.

    A round is slow if the median later round takes less than the design's share of it. None if the
    number of images that begin with a slow round is not significant. With changing load, each
    round of an image is equally likely to be a slow one. If there are more slow rounds, a slow
    first round is more likely by chance, but an entry can still be suspicious.
    """
    # `timing.MOST_SHIFT` makes this hold for a disturbance with a period of two rounds as well.
    ratios, chances, begun_slow = [], [], 0
    for replicate, samples in timed:
        net = net_seconds(replicate, samples)
        around = median(null_seconds(replicate, samples.lr_size) or (0.0,))
        if len(net) > 1 and net[0] > 0 and max(net) > LONG * around:
            later = max(0.0, median(net[1:]))
            slow = [later < design.later_ratio * seconds for seconds in net]
            ratios.append(later / net[0])
            share = sum(slow) / len(slow)
            chances.append(np.array((1 - share, share)))
            begun_slow += slow[0]
    if begun_slow < FEWEST_IMAGES or _chance(chances, begun_slow) > MOST_CHANCE:
        return None
    return median(ratios)


def _clean_ratio(timed: Timed) -> float | None:
    """Net time of an image itself divided by that of its variants; the median over images.

    The round that shows the image is drawn at random among the first ones. So under any load, all
    ranks of this round among the first ones are equally likely. None if the result is not
    significant.
    """
    # The place is drawn for each image, so ranks are uniform even with periodic disturbances.
    ratios, chances, faster = [], [], 0
    for replicate, samples in timed:
        net = net_seconds(replicate, samples)
        if samples.clean_round is None:
            continue
        clean, count = samples.clean_round
        others = [seconds for number, seconds in enumerate(net[:count]) if number != clean]
        if clean < len(net) and others and (usual := median(others)) > 0:
            ratios.append(max(0.0, net[clean]) / usual)
            chances.append(np.full(len(others) + 1, 1 / (len(others) + 1)))
            faster += sum(seconds < net[clean] for seconds in others)
    return median(ratios) if ratios and _chance(chances, faster) <= MOST_CHANCE else None


def _chance(distributions: Sequence[npt.NDArray[np.float64]], count: int) -> float:
    """Probability that independent counts, given those of 0, 1, ..., sum to ``count`` or more."""
    summed = np.ones(1)
    for probabilities in distributions:
        summed = np.convolve(summed, probabilities)
    return float(summed[count:].sum())


def _deviation(seconds: Sequence[float]) -> float:
    """Robust estimate of the standard deviation, from the median absolute deviation."""
    middle = median(seconds)
    return NORMAL_DEVIATIONS * median([abs(each - middle) for each in seconds])


def _mean(values: Sequence[float | None]) -> float | None:
    """The mean; None if there are no values or one is None."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None

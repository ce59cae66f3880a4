"""What the evaluator makes of a worker's claims: trusted time, and signs of cheating."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from esrbench.records import Absent, Latency, LatencySamples, Trust
from esrbench.runtimes import net_seconds, null_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy.typing as npt

    from esrbench.protocol import TrustDesign
    from esrbench.records import Replicate, Status

LONG = 10
"""Times the null network's own time from which on rounds may be compared one by one."""
FEWEST_IMAGES = 3
"""That must begin with a slow round: of a process's first image that may be the cold start."""
MOST_CHANCE = 0.0008
"""Of as many slow first rounds by accident. First rounds are slower by nature, those of a process's
first image above all: in simulations with such starts and load that comes and goes, up to 4 % of
honest entries were suspected at 0.01 and less than 1 % at this."""
MOST_CHANCE_OF_PAIRS = 0.004
"""False-positive probability of the test for a cache: 8 of 8 pairs, 11 of 12 or 14 of 16."""
DEVIATIONS = 3
"""Of the null network's times that excuse a claim, and within which nothing is measured."""
SURROUNDINGS_SHARE = 0.6
"""Of the null network's time, which excuses a claim on a GPU. There what surrounds a forward varies
between processes, by up to 0.55 of itself in runs on an H200 (``docs/gpu.md``), and the null
network's two processes may agree by chance. It gains nothing: the larger account is published."""
NORMAL_DEVIATIONS = 1.4826
"""Standard deviation of normal samples over their median absolute deviation."""
LEAST_MEMORISING_DB = 0.02
"""Less than windows cost honest networks by their edges, however many images there are."""

MOST_CLEAN_RATIO = 1.1
"""Images have the size of their variants, and cost honest networks what these cost."""


@dataclass(frozen=True, slots=True)
class Suspicion:
    """A status other than ``ok``, and why."""

    status: Status
    cause: str
    advice: str | None


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
    claimed, trusted, noise = _agreement(timed)
    at_fixed = [
        (each, each.fixed) for each in latency.replicates if isinstance(each.fixed, LatencySamples)
    ]
    fixed = _agreement(at_fixed)
    windows = [
        (variants.window_psnr_rgb, variants.untimed_psnr_rgb)
        for _, samples in timed
        if (variants := samples.variants)
        and variants.window_psnr_rgb is not None
        and variants.untimed_psnr_rgb is not None
    ]
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
        tolerance_seconds=_tolerance(timed, trusted, noise, design),
        noise_seconds=noise,
        delivered_seconds=_delivered(timed),
        withheld_seconds=_withheld(timed),
        fixed_claimed_seconds=fixed[0],
        fixed_trusted_seconds=fixed[1],
        fixed_tolerance_seconds=_tolerance(at_fixed, fixed[1], fixed[2], design),
        fixed_noise_seconds=fixed[2],
        fixed_delivered_seconds=_delivered(at_fixed),
        fixed_withheld_seconds=_withheld(at_fixed),
        repeated_ratio=_repeated_ratio(latency, design),
        later_ratio=_later_ratio(timed, design),
        impossible_images=len({name for name, score in scores if score.impossible}),
        clean_psnr_rgb=_mean_known([clean for clean, _ in known]),
        variant_psnr_rgb=_mean_known([varied for _, varied in known]),
        variant_images=len({name for name, score in scores if score.variant_psnr_rgb is not None}),
        window_psnr_rgb=_mean_known([then for then, _ in windows]),
        untimed_psnr_rgb=_mean_known([again for _, again in windows]),
        clean_ratio=_clean_ratio(timed),
        # A hypervisor that takes a CPU from a worker's last instant lets it look busy, once.
        idle_cpus=_median_known([samples.idle_cpus for samples in every]),
        forward_cpus=max(_known([samples.forward_cpus for samples in every]), default=None),
    )


def examine(
    trust: Trust | Absent, design: TrustDesign, *, threads: int, loaded: bool = False
) -> Suspicion | None:
    """The gravest finding, or None for an honest entry.

    Args:
        trust: the evaluator's account.
        design: thresholds.
        threads: CPU threads that the entry may use.
        loaded: others took part of the machine, so that only what load cannot explain is found.
    """
    if isinstance(trust, Absent):
        return None
    rules = LOAD_PROOF if loaded else RULES
    return next((found for rule in rules if (found := rule(trust, design, threads))), None)


def unmeasurable(trusted: float | None, noise: float | None, design: TrustDesign) -> Absent | None:
    """Why a trusted time says nothing, or None.

    Args:
        trusted: seconds, as of ``Trust``; None says nothing of its own.
        noise: standard deviation of the null network's times, seconds.
        design: the largest share of trusted time that noise may be.
    """
    if trusted is None or noise is None:
        return None
    spread = DEVIATIONS * noise
    if trusted > 0 and spread <= design.noise_share * trusted:
        return None
    return Absent(
        kind="unavailable",
        reason=f"trusted time is {trusted * 1e3:.3g} ms beside a network that does nothing, whose "
        f"own time varies by {spread * 1e3:.3g} ms, so the difference cannot be measured",
        advice="Raise the input size, measure on larger images, or use a quieter machine.",
    )


def _agreement(
    timed: Sequence[tuple[Replicate, LatencySamples]],
) -> tuple[float | None, float | None, float | None]:
    """Seconds as claimed and as trusted, means of medians, and the null network's deviation."""
    if not timed:
        return None, None, None
    claimed = _mean(float(np.median(samples.seconds)) for _, samples in timed)
    if not all(null_seconds(each, samples.lr_size) for each, samples in timed):
        return claimed, None, None
    trusted = _mean(float(np.median(net_seconds(each, samples))) for each, samples in timed)
    noise = _mean(_deviation(null_seconds(each, samples.lr_size) or ()) for each, samples in timed)
    return claimed, trusted, noise


def _delivered(timed: Sequence[tuple[Replicate, LatencySamples]]) -> float | None:
    """Seconds until all pixels were there, mean of medians."""
    medians = [float(np.median(s.delivered_seconds)) for _, s in timed if s.delivered_seconds]
    return sum(medians) / len(medians) if medians else None


def _withheld(timed: Sequence[tuple[Replicate, LatencySamples]]) -> float | None:
    """Seconds that claims leave out of their own rounds, mean of medians."""
    means = []
    for replicate, samples in timed:
        null = null_seconds(replicate, samples.lr_size)
        rounds = zip(samples.delivered_seconds, samples.seconds, strict=False)
        around = [delivered - claimed for delivered, claimed in rounds]
        if not null or not around:
            return None
        means.append(float(np.median(around) - np.median(null)))
    return sum(means) / len(means) if means else None


def _tolerance(
    timed: Sequence[tuple[Replicate, LatencySamples]],
    trusted: float | None,
    noise: float | None,
    design: TrustDesign,
) -> float | None:
    """By how many seconds a claim may differ from trusted time."""
    if trusted is None or noise is None:
        return None
    surroundings = _mean(
        float(np.median(null_seconds(each, samples.lr_size) or (0.0,)))
        if samples.clock == "cuda-event"
        else 0.0
        for each, samples in timed
    )
    excused = max(DEVIATIONS * noise, SURROUNDINGS_SHARE * surroundings)
    excused = min(excused, design.noise_share * max(0.0, trusted))
    return max(design.claim_tolerance * abs(trusted), excused)


def _memorising(trust: Trust, design: TrustDesign, _threads: int) -> Suspicion | None:
    if trust.impossible_images:
        return Suspicion(
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
    return Suspicion(
        "suspect-memorising",
        f"PSNR is {known} on the images and {varied:.2f} dB on flipped and shifted windows of them",
        "Look for stored images and look-up by content in code and weights, and for forwards that "
        "do less once some were made.",
    )


def _sparing(trust: Trust, _design: TrustDesign, _threads: int) -> Suspicion | None:
    """Less is done in timed rounds than on images, or than when nothing is timed."""
    timed, untimed = trust.window_psnr_rgb, trust.untimed_psnr_rgb
    if timed is not None and untimed is not None and untimed - timed > LEAST_MEMORISING_DB:
        said = (
            f"PSNR of flipped and shifted windows, edges included, is {timed:.2f} dB as they were "
            f"timed and {untimed:.2f} dB as the same ones were upscaled untimed"
        )
    elif trust.clean_ratio is not None and trust.clean_ratio > MOST_CLEAN_RATIO:
        said = (
            f"images took {trust.clean_ratio:.2f} times as long as flipped and shifted windows of "
            "them, in rounds that were drawn by chance"
        )
    else:
        return None
    return Suspicion(
        "suspect-memorising",
        said,
        "Look for forwards that do less on flipped and shifted windows than on images, or at "
        "their edges.",
    )


def _caching(trust: Trust, design: TrustDesign, _threads: int) -> Suspicion | None:
    ratio, later = trust.repeated_ratio, trust.later_ratio
    if ratio is not None and ratio < design.caching_ratio:
        said = f"inputs shown again took {ratio:.0%} of the time of fresh ones"
    elif later is not None and later < design.later_ratio:
        said = f"after its first round an image took {later:.0%} of the time of that"
    else:
        return None
    return Suspicion(
        "suspect-caching",
        said,
        "Look for outputs that are kept between calls; every timed round shows a fresh input.",
    )


def _idle_work(trust: Trust, design: TrustDesign, _threads: int) -> Suspicion | None:
    if trust.idle_cpus is not None and trust.idle_cpus > design.idle_cpus:
        return Suspicion(
            "suspect-hidden-work",
            f"{trust.idle_cpus:.2f} CPUs were busy in the worker while nothing was asked of it",
            "Look for threads or processes that go on after the forward returned.",
        )
    return None


def _extra_cpus(trust: Trust, design: TrustDesign, threads: int) -> Suspicion | None:
    most = threads + design.extra_cpus
    if trust.forward_cpus is not None and trust.forward_cpus > most:
        return Suspicion(
            "suspect-hidden-work",
            f"{trust.forward_cpus:.2f} CPUs were busy in the worker, which was given {threads}",
            "Look for threads that leave the CPUs they were given.",
        )
    return None


def _disputed(trust: Trust, design: TrustDesign, _threads: int) -> Suspicion | None:
    """A claim below trusted time, or above the time after which all pixels were there.

    A claim between the two gains nothing, since the larger account is published: the null network
    may be surrounded by more than the entry is. Neither does one that lies below trusted time in
    fewer than half of the rounds, so that both the medians and most rounds must disagree.
    """
    accounts = (
        (
            "",
            trust.claimed_seconds,
            trust.trusted_seconds,
            trust.tolerance_seconds,
            trust.noise_seconds,
            trust.delivered_seconds,
            trust.withheld_seconds,
        ),
        (
            " at the fixed input",
            trust.fixed_claimed_seconds,
            trust.fixed_trusted_seconds,
            trust.fixed_tolerance_seconds,
            trust.fixed_noise_seconds,
            trust.fixed_delivered_seconds,
            trust.fixed_withheld_seconds,
        ),
    )
    for where, claimed, trusted, tolerance, noise, delivered, withheld in accounts:
        if claimed is None or trusted is None or tolerance is None:
            continue
        if unmeasurable(trusted, noise, design):
            continue
        if claimed < trusted - tolerance and (withheld is None or withheld > tolerance):
            return Suspicion(
                "timing-disputed",
                f"the worker says {claimed * 1e3:.3g} ms{where}, the evaluator "
                f"{trusted * 1e3:.3g} ms, and they may differ by {tolerance * 1e3:.3g} ms",
                "Its runtime here is the larger of both. Run again on a quiet machine before "
                "accusing anyone.",
            )
        if delivered is not None and claimed > delivered * (1 + design.claim_tolerance):
            return Suspicion(
                "timing-disputed",
                f"the worker says {claimed * 1e3:.3g} ms{where}, but all pixels were there after "
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
"""Gravest first."""
LOAD_PROOF = (_memorising, _sparing, _extra_cpus)
"""Those that no load explains: scores, rounds drawn by chance, and CPU time of the worker's own."""


def _images(replicate: Replicate) -> tuple[LatencySamples, ...]:
    return () if isinstance(replicate.images, Absent) else replicate.images


def _inputs(replicate: Replicate) -> Iterator[LatencySamples]:
    if not isinstance(replicate.fixed, Absent):
        yield replicate.fixed
    yield from _images(replicate)


def _repeated_ratio(latency: Latency, design: TrustDesign) -> float | None:
    """Least, over inputs, of the median time of repeated rounds over that of new ones.

    To be conservative, the null network's longest time is subtracted from the slower time and its
    shortest from the faster one. None if the effect is not significant: a sign test over the pairs
    whose rounds differ by more than the design's ratio, of all inputs and processes. A coin chose
    which round of a pair was the repeated one, so the test is exact whatever the machine does. A
    few slow repeated rounds do not clear an entry.
    """
    ratios = []
    faster = slower = 0
    for replicate in latency.replicates:
        for samples in _inputs(replicate):
            null = null_seconds(replicate, samples.lr_size)
            if not samples.repeated_seconds or null is None:
                continue
            fresh, again = np.median(samples.repeated_seconds, axis=0)
            if fresh > max(null):
                ratios.append(_ratio(again, fresh, null))
            for new, repeated in samples.repeated_seconds:
                faster += _ratio(repeated, new, null) < design.caching_ratio
                slower += _ratio(new, repeated, null) < design.caching_ratio
    pairs = faster + slower
    chance = sum(math.comb(pairs, count) for count in range(faster, pairs + 1)) / 2**pairs
    return min(ratios, default=None) if chance <= MOST_CHANCE_OF_PAIRS else None


def _ratio(fast: float, slow: float, null: tuple[float, ...]) -> float:
    """Ratio of two net times, the largest that the null network's range allows."""
    net = slow - max(null)
    return max(0.0, fast - min(null)) / net if net > 0 else math.inf


def _later_ratio(
    timed: Sequence[tuple[Replicate, LatencySamples]], design: TrustDesign
) -> float | None:
    """Median over images of the net time of later rounds over that of the first.

    A round is slow if its median later round takes less than the design's share of it. None
    where chance explains how many images begin with a slow round: where load comes and goes,
    every round of an image is as likely as any other to be one of its slow rounds. Slow rounds
    in between make that likelier, but do not clear an entry.
    """
    # `timing.MOST_SHIFT` makes this hold for a disturbance with a period of two rounds as well.
    ratios, chances, begun_slow = [], [], 0
    for replicate, samples in timed:
        net = net_seconds(replicate, samples)
        # Of a network no slower than what surrounds it, rounds tell nothing.
        around = float(np.median(null_seconds(replicate, samples.lr_size) or (0.0,)))
        if len(net) > 1 and net[0] > 0 and max(net) > LONG * around:
            later = max(0.0, float(np.median(net[1:])))
            slow = [later < design.later_ratio * seconds for seconds in net]
            ratios.append(later / net[0])
            share = sum(slow) / len(slow)
            chances.append(np.array((1 - share, share)))
            begun_slow += slow[0]
    if begun_slow < FEWEST_IMAGES or _chance(chances, begun_slow) > MOST_CHANCE:
        return None
    return float(np.median(ratios))


def _clean_ratio(timed: Sequence[tuple[Replicate, LatencySamples]]) -> float | None:
    """Median over images of the net time of an image itself over that of its variants.

    The round that shows the image is drawn by chance among the first ones, so that it is as likely
    as any of them to be the slowest, the second slowest and so on, whatever load does. None where
    chance explains how slow these rounds are among the others.
    """
    # Its place is drawn anew for each image, so the ranks are uniform beside periodic disturbances.
    ratios, chances, faster = [], [], 0
    for replicate, samples in timed:
        net = net_seconds(replicate, samples)
        if samples.clean_round is None:
            continue
        clean, count = samples.clean_round
        others = [seconds for number, seconds in enumerate(net[:count]) if number != clean]
        if clean < len(net) and others and (usual := float(np.median(others))) > 0:
            ratios.append(max(0.0, net[clean]) / usual)
            chances.append(np.full(len(others) + 1, 1 / (len(others) + 1)))
            faster += sum(seconds < net[clean] for seconds in others)
    if not ratios or _chance(chances, faster) > MOST_CHANCE:
        return None
    return float(np.median(ratios))


def _chance(distributions: Sequence[npt.NDArray[np.float64]], count: int) -> float:
    """That independent counts, each with the probabilities of 0, 1, ..., sum to so many or more."""
    summed = np.ones(1)
    for probabilities in distributions:
        summed = np.convolve(summed, probabilities)
    return float(summed[count:].sum())


def _deviation(seconds: Sequence[float]) -> float:
    """Standard deviation of normal samples by the median absolute deviation: robust."""
    values = np.asarray(seconds, dtype=np.float64)
    return NORMAL_DEVIATIONS * float(np.median(np.abs(values - np.median(values))))


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

"""Whether the machine was too busy for the times of a run, whatever its network did."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from esrbench.records import Absent

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from esrbench.protocol import TrustDesign
    from esrbench.records import Conditions, Latency, LatencySamples, Replicate

FEWEST_TAKEN_SECONDS = 0.05
"""CPU time of others, below which the kernel's ticks of 10 ms may deceive."""
FEWEST_ROUNDS = 5
"""Of an image, to tell two kinds of rounds from each other."""
SCATTER = 2
"""Times the 25th percentile of its rounds that an image's 90th may take: among honest rounds on a
quiet machine no tenth takes twice as long as the usual ones."""
ADVICE = "Run again with --resume on a quiet machine; `esrbench doctor` tells what keeps it busy."


def foreign_load(latency: Latency | Absent, design: TrustDesign) -> str | None:
    """What others took of the CPUs while a run was timed, in words, if it was too much.

    The null network's times count: an honest entry beside a slowed null network is disputed.

    Args:
        latency: raw samples.
        design: the largest share that others may take.
    """
    if isinstance(latency, Absent):
        return None
    most = max((_share(replicate) for replicate in latency.replicates), default=0.0)
    if most <= design.busy_share:
        return None
    return f"others took {most:.0%} of the CPUs while it was timed"


def scatter(latency: Latency | Absent) -> str | None:
    """How far rounds of the same image lie apart, in words, if they are of two kinds.

    Load that no counter tells does this, and a network that works in some rounds only. Neither has
    a runtime, and neither is accused.
    """
    if isinstance(latency, Absent):
        return None
    for replicate in latency.replicates:
        images = () if isinstance(replicate.images, Absent) else replicate.images
        apart = [_apart(samples) for samples in images]
        known = [each for each in apart if each is not None]
        if known and (usual := float(np.median(known))) > SCATTER:
            return (
                f"a tenth of an image's rounds took {usual:.1f} times as long as its fastest "
                "quarter, or more, which is load, or work that is not done in every round"
            )
    return None


def _share(replicate: Replicate) -> float:
    """Largest share of the CPUs that others took at the fixed input, images or null network."""
    fixed = () if isinstance(replicate.fixed, Absent) else (replicate.fixed,)
    images = () if isinstance(replicate.images, Absent) else replicate.images
    parts = [
        _mean_share(each.conditions for each in fixed),
        _mean_share(each.conditions for each in images),
        _mean_share(replicate.null_conditions),
    ]
    if parts[:2] == [None, None]:
        # Inputs too short for the kernel's ticks are judged by their whole process.
        parts.append(_mean_share([replicate.conditions]))
    return max((share for share in parts if share is not None), default=0.0)


def _mean_share(conditions: Iterable[Conditions | None]) -> float | None:
    """Share of the CPU time that others and the hypervisor took; None where nothing tells."""
    told = [
        (sum(part for part in (each.other_load, each.steal) if part is not None), each.seconds)
        for each in conditions
        if each is not None and not (each.other_load is None and each.steal is None)
    ]
    seconds = sum(each for _, each in told)
    taken = sum(share * each for share, each in told)
    if not seconds:
        return None
    return taken / seconds if taken >= FEWEST_TAKEN_SECONDS else 0.0


def _apart(samples: LatencySamples) -> float | None:
    seconds: Sequence[float] = samples.delivered_seconds
    if len(seconds) < FEWEST_ROUNDS:
        return None
    fast, slow = np.quantile(seconds, (0.25, 0.9))
    return float(slow / fast) if fast > 0 else None

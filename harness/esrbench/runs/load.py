"""Whether the machine was too busy for the times of a run, whatever its network did."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from esrbench.records import Absent
from esrbench.runs.noise import FEWEST_TAKEN_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from esrbench.protocol import TrustDesign
    from esrbench.records import Conditions, Latency, Replicate

FEWEST_ROUNDS = 5
"""Fewest rounds of an image that can show two kinds of rounds."""
SCATTER = 2
"""Most that an image's 90th percentile may be, in multiples of its 25th. On a quiet machine no
tenth of honest rounds takes twice as long as the usual ones."""
ADVICE = "Run again with --resume on a quiet machine; `esrbench doctor` tells what keeps it busy."


def foreign_load(latency: Latency | Absent, design: TrustDesign) -> str | None:
    """Say what others took of the CPUs or the GPU while a run was timed, if it was too much.

    The null network's rounds count as well: beside a slowed one an honest entry is disputed.

    Args:
        latency: raw samples.
        design: the largest share of the CPUs that others may take.
    """
    if isinstance(latency, Absent):
        return None
    foreign = max(replicate.foreign_processes for replicate in latency.replicates)
    if foreign:
        return f"other processes computed on the GPU while it was timed: {foreign}"
    most = max(_share(replicate) for replicate in latency.replicates)
    return (
        f"others took {most:.0%} of the CPUs while it was timed"
        if most > design.busy_share
        else None
    )


def scatter(latency: Latency | Absent) -> str | None:
    """Say how far rounds of the same image lie apart, if they are of two kinds.

    Two causes look alike: load that no counter shows, and a network that works in some rounds
    only. Both have no runtime, and neither is accused.
    """
    if isinstance(latency, Absent):
        return None
    for replicate in latency.replicates:
        apart = []
        for samples in replicate.timed_images:
            if len(samples.delivered_seconds) >= FEWEST_ROUNDS:
                fast, slow = np.quantile(samples.delivered_seconds, (0.25, 0.9))
                apart.append(slow / fast)
        if apart and (usual := float(np.median(apart))) > SCATTER:
            return (
                f"a tenth of an image's rounds took {usual:.1f} times as long as its fastest "
                "quarter, or more, which is load, or work that is not done in every round"
            )
    return None


def _share(replicate: Replicate) -> float:
    """Largest share of the CPUs that others took at the fixed input, images or null network."""
    fixed = _mean_share(each.conditions for each in replicate.timed_fixed)
    images = _mean_share(each.conditions for each in replicate.timed_images)
    parts = [fixed, images, _mean_share(replicate.null_conditions)]
    if fixed is None and images is None:
        # Inputs too short for the kernel's ticks are judged by their whole process.
        parts.append(_mean_share([replicate.conditions]))
    return max((share for share in parts if share is not None), default=0.0)


def _mean_share(conditions: Iterable[Conditions | None]) -> float | None:
    """Share of the CPU time that others and the hypervisor took; None where nothing tells."""
    told = [
        ((each.other_load or 0.0) + (each.steal or 0.0), each.seconds)
        for each in conditions
        if each is not None and not (each.other_load is None and each.steal is None)
    ]
    seconds = sum(each for _, each in told)
    taken = sum(share * each for share, each in told)
    if not seconds:
        return None
    return taken / seconds if taken >= FEWEST_TAKEN_SECONDS else 0.0

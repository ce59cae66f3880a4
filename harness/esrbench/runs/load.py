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
"""Fewest rounds of an image in which slow and fast rounds can be told apart."""
SCATTER = 2
"""Largest ratio of an image's 90th to its 25th percentile. On a quiet machine, fewer than a tenth
of honest rounds take twice as long as usual."""
ADVICE = "Run again with --resume on a quiet machine; `esrbench doctor` shows what keeps it busy."


def foreign_load(latency: Latency | Absent, design: TrustDesign) -> str | None:
    """Say how much of the CPUs or the GPU other programs used during timing, if it was too much.

    The rounds of the null network count as well: if load slows it, an honest entry looks disputed.

    Args:
        latency: raw samples.
        design: gives the largest share of the CPUs that others may take.
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
    """Say how far rounds of the same image lie apart, if slow and fast rounds can be told apart.

    There are two possible causes: load that no counter shows, and a network that works only in some
    rounds. In both cases the run has no runtime, and the entry is not accused.
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
                "quarter, or more: the cause is load, or work that is not done in every round"
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
    """Share of the CPU time that others and the hypervisor took; None if no counter shows it."""
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

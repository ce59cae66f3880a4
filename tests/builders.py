"""Valid records with plain values: a test states only the fields that it is about."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np

from esrbench.records import Latency, LatencySamples, NullSamples, Replicate

SMALL, LARGE = (8, 8), (8, 16)
NULL = {SMALL: (0.010, 0.012, 0.014), LARGE: (0.020, 0.021, 0.030)}
"""Delivery of the null network: medians 12 and 21 ms, median absolute deviations 2 and 1 ms."""


def samples(name: str = "fixed", size: tuple[int, int] = SMALL, **fields: Any) -> LatencySamples:
    """Times of an honest network that takes 100 ms beyond the null network's time."""
    median = float(np.median(NULL.get(size, 0.0)))
    given: dict[str, Any] = {
        "input_name": name,
        "lr_size": size,
        "clock": "monotonic",
        "first_seconds": 0.3,
        "warmup_seconds": (0.3,),
        "steady": True,
        "seconds": (0.099, 0.1, 0.104),
        "delivered_seconds": (0.098 + median, 0.1 + median, 0.105 + median),
        "stopped_by": "max-rounds",
    }
    return LatencySamples(**(given | fields))


def replicate(*images: LatencySamples, **fields: Any) -> Replicate:
    """A process that timed the fixed input and these images, or one of either size."""
    given: dict[str, Any] = {
        "index": 0,
        "position": 0,
        "started": datetime(2026, 1, 1, tzinfo=UTC),
        "cpus": (0,),
        "cold_start_seconds": 0.3,
        "fixed": samples("fixed"),
        "images": images or (samples("a"), samples("b", LARGE)),
        "null": tuple(
            NullSamples(lr_size=size, delivered_seconds=each) for size, each in NULL.items()
        ),
    }
    return Replicate(**(given | fields))


def latency(*replicates: Replicate, **fields: Any) -> Latency:
    """These processes of an entry, or one."""
    given: dict[str, Any] = {
        "session": "one",
        "order_seed": 0,
        "entries": ("net",),
        "variant_seed": 0,
        "replicates": replicates or (replicate(),),
    }
    return Latency(**(given | fields))

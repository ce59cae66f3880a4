"""Whole runs of honest networks: whether both clocks agree, and whether anyone is accused.

Each run is one of ``esrbench run``: workers in the strongest sandbox there is, times by the
worker's events and by the evaluator's clock, the null network subtracted.
"""

from __future__ import annotations

import time
from itertools import cycle
from typing import TYPE_CHECKING

import numpy as np

from esrbench.api import run
from esrbench.protocol import LatencyDesign, Protocol
from esrbench.records import Absent, Latency, Memory, Trust
from gpu_steps.day import SCALE, reason
from gpu_steps.mosaics import write_mosaics

if TYPE_CHECKING:
    from collections.abc import Iterator

    from esrbench.records import LatencySamples, Replicate, RunRecord
    from gpu_steps.day import Day, Found

NETWORKS = ("rfdn", "imdn-challenge", "srresnet", "span")
SIZES = ((64, 64), (128, 128), (256, 256), (339, 510))
WANTED_RUNS = 20


def measure(day: Day) -> Iterator[Found]:
    """Runs of all networks in turn, again and again; a row a run, and one an image of it."""
    names = NETWORKS[:1] if day.tiny else NETWORKS
    sizes = ((24, 24), (24, 32)) if day.tiny else SIZES
    folder = write_mosaics(day.pairs(), sizes, day.out / "mosaics")
    design = LatencyDesign(max_rounds=6) if day.tiny else LatencyDesign()
    protocol = Protocol(
        device=day.device,
        threads=1 if day.tiny else None,
        counted_input=sizes[0],
        memory_input=sizes[0],
        counters=("aten",),
        latency=design,
    )
    weights = {name: path for name in names if (path := day.weights_of(name).path) is not None}
    made, longest = 0, 0.0
    # One network a run: its row is there before the next one begins.
    for name in cycle(names):
        if made == (1 if day.tiny else WANTED_RUNS) or day.left() <= longest:
            return
        start = time.monotonic()
        try:
            (record,) = run(
                name,
                data=str(folder),
                scale=SCALE,
                weights={key: path for key, path in weights.items() if key == name},
                protocol=protocol,
                results=day.out / "results",
            )
        except Exception as error:  # noqa: BLE001 - what stops a run is a finding
            yield "stopped", {"network": name, "reason": reason(error)}
            return
        made, longest = made + 1, max(longest, time.monotonic() - start)
        yield "runs", _run(record)
        if isinstance(record.latency, Latency):
            for replicate in record.latency.replicates:
                for samples in () if isinstance(replicate.images, Absent) else replicate.images:
                    yield "clocks", _clocks(record, replicate, samples)


def _run(record: RunRecord) -> dict[str, object]:
    trust, memory = record.trust, record.memory
    known = isinstance(trust, Trust)
    return {
        "network": record.entry.name,
        "status": record.status,
        "cause": record.cause,
        "sandbox": record.environment.isolation,
        "psnr_db": record.measured("psnr_rgb"),
        "claimed_ms": trust.claimed_seconds * 1e3 if known else None,
        "trusted_ms": trust.trusted_seconds * 1e3 if known and trust.trusted_seconds else None,
        "tolerance_ms": trust.tolerance_seconds * 1e3
        if known and trust.tolerance_seconds
        else None,
        "peak_bytes": memory.peak_bytes if isinstance(memory, Memory) else None,
        "pass_peak_bytes": memory.pass_peak_bytes if isinstance(memory, Memory) else None,
        "notices": " ".join(sorted({notice.code for notice in record.notices})),
        "duration_s": record.duration_seconds,
    }


def _clocks(record: RunRecord, replicate: Replicate, samples: LatencySamples) -> dict[str, object]:
    null = next((n.delivered_seconds for n in replicate.null if n.lr_size == samples.lr_size), ())
    claimed = float(np.median(samples.seconds))
    delivered = float(np.median(samples.delivered_seconds))
    around = float(np.median(null)) if null else None
    trusted = None if around is None else delivered - around
    conditions = samples.conditions
    clock = conditions.clock_hz if conditions else None
    return {
        "network": record.entry.name,
        "lr_height": samples.lr_size[0],
        "lr_width": samples.lr_size[1],
        "claimed_ms": claimed * 1e3,
        "delivered_ms": delivered * 1e3,
        "null_ms": None if around is None else around * 1e3,
        "null_spread_ms": float(np.std(null, ddof=1)) * 1e3 if len(null) > 1 else None,
        "trusted_ms": None if trusted is None else trusted * 1e3,
        "gap": None if trusted is None else trusted / claimed - 1,
        "first_ms": samples.first_seconds * 1e3,
        "rounds": len(samples.seconds),
        "clock_low_mhz": clock[0] / 1e6 if clock else None,
        "clock_high_mhz": clock[1] / 1e6 if clock else None,
        "celsius": conditions.temperature_celsius if conditions else None,
        "watts": conditions.power_watts if conditions else None,
        "throttled": " ".join(conditions.throttle_reasons) if conditions else "",
        "repeats": conditions.repeats if conditions else None,
        "other_load": conditions.other_load if conditions else None,
        "idle_cpus": samples.idle_cpus,
    }

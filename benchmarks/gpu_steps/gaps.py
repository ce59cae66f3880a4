"""How far the evaluator's clock and the worker's events lie apart, by forward, size and process.

The gap is what surrounds a forward: messages, copies of pixels between host and GPU, conversions.
The harness subtracts the gap of its null network, so both clocks agree as far as the gap depends
neither on how long a forward takes nor on the process. Processes are timed one after the other, as
the harness does it: what a round leaves behind is another process's concern where they take turns.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import trivial_networks

from esrbench.entries.descriptor import ModelDescriptor
from esrbench.entries.networks import ResolvedWeights
from esrbench.entries.registry import default_registry
from esrbench.protocol import Protocol
from esrbench.records import WeightsIdentity
from esrbench.runs.null_times import null_descriptor
from esrbench.runs.timing import noise
from esrbench.worker.launcher import open_launcher
from gpu_steps.day import SCALE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from esrbench.worker.session import WorkerSession
    from gpu_steps.day import Day, Found, Row

WORK_SECONDS = (0.001, 0.003, 0.01, 0.03)
SIZES = ((64, 64), (128, 128), (256, 256), (339, 510))
NETWORKS = ("rfdn", "imdn-challenge")
NULL_PROCESSES, WORKING_PROCESSES, NETWORK_PROCESSES = 6, 3, 5
LOADING = 12
"""Workers that load at a time."""
ROUNDS = 20
WARM_UP = 5


def measure(day: Day) -> Iterator[Found]:
    """A row a process and size; at each size processes come in a random order."""
    protocol = Protocol(device=day.device, threads=1 if day.tiny else None)
    launcher, rng = open_launcher(), np.random.default_rng(0)
    entries = list(_entries(day))
    with ExitStack() as stack:
        sessions = [
            stack.enter_context(launcher.worker((descriptor, weights), protocol=protocol))
            for _, _, descriptor, weights in entries
        ]
        with ThreadPoolExecutor(LOADING) as pool:
            loading = [
                pool.submit(session.load, descriptor, SCALE, weights=weights, protocol=protocol)
                for session, (_, _, descriptor, weights) in zip(sessions, entries, strict=True)
            ]
            for each in loading:
                each.result()
        for size in SIZES[:1] if day.tiny else SIZES:
            for index in rng.permutation(len(entries)):
                if not day.left():
                    return
                name, process, _, _ = entries[index]
                row: Row = {"forward": name, "process": process}
                rounds = 3 if day.tiny else ROUNDS
                yield "gaps", row | _times(sessions[index], size, rounds, rng)


def _entries(day: Day) -> Iterator[tuple[str, int, ModelDescriptor, ResolvedWeights]]:
    """Name, number of the process, network and weights of each."""
    nothing = ResolvedWeights(WeightsIdentity(source="none"))
    null = null_descriptor(default_registry().get("rfdn"), SCALE, 1.0)
    for process in range(1 if day.tiny else NULL_PROCESSES):
        yield "null network", process, null, nothing
    for seconds in WORK_SECONDS[:1] if day.tiny else WORK_SECONDS:
        working = ModelDescriptor(
            name=f"working-{seconds * 1e6:.0f}",
            summary="works for some time",
            scales=(SCALE,),
            factory=f"{Path(trivial_networks.__file__).resolve()}:Working",
            options={"work_seconds": seconds},
        )
        for process in range(1 if day.tiny else WORKING_PROCESSES):
            yield f"{seconds * 1e3:g} ms", process, working, nothing
    for name in () if day.tiny else NETWORKS:
        for process in range(NETWORK_PROCESSES):
            yield name, process, default_registry().get(name), day.weights_of(name)


def _times(
    session: WorkerSession, size: tuple[int, int], rounds: int, rng: np.random.Generator
) -> Row:
    claims, delivered = [], []
    for _ in range(WARM_UP + rounds):
        delivery = session.forward(noise(rng, size))
        claims.append(delivery.claimed_seconds)
        delivered.append(delivery.seconds)
    claims, delivered = claims[WARM_UP:], delivered[WARM_UP:]
    low, middle, high = np.percentile(np.subtract(delivered, claims), [25, 50, 75])
    return {
        "lr_height": size[0],
        "lr_width": size[1],
        "claimed_ms": float(np.median(claims)) * 1e3,
        "delivered_ms": float(np.median(delivered)) * 1e3,
        "gap_ms": float(middle) * 1e3,
        "quartile_1_ms": float(low) * 1e3,
        "quartile_3_ms": float(high) * 1e3,
    }

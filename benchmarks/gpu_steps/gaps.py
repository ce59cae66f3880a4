"""How far the evaluator's clock and the worker's events lie apart, by length of a forward and size.

The gap is what surrounds a forward: messages, copies of pixels between host and GPU, conversions.
The harness subtracts the gap of its null network, so both clocks agree as far as the gap does not
depend on how long a forward takes.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import trivial_networks

from esrbench.entries.networks import ResolvedWeights
from esrbench.entries.registry import ModelDescriptor, default_registry
from esrbench.probes.null import null_descriptor
from esrbench.protocol import Protocol
from esrbench.records import WeightsIdentity
from esrbench.runs.timing import noise
from esrbench.worker.launcher import open_launcher
from gpu_steps.day import SCALE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from esrbench.worker.session import WorkerSession
    from gpu_steps.day import Day, Found

WORK_SECONDS = (0.001, 0.003, 0.01, 0.03)
SIZES = ((64, 64), (128, 128), (256, 256), (339, 510))
ROUNDS = 30
WARM_UP = 5
NULL = "null network"


def measure(day: Day) -> Iterator[Found]:
    """A row a length of forward and size; rounds of all lengths take turns."""
    protocol = Protocol(device=day.device, threads=1)
    launcher, nothing = open_launcher(), ResolvedWeights(WeightsIdentity(source="none"))
    described = {NULL: null_descriptor(default_registry().get("rfdn"), SCALE, 1.0)}
    for seconds in WORK_SECONDS[:1] if day.tiny else WORK_SECONDS:
        described[f"{seconds * 1e3:g} ms"] = ModelDescriptor(
            name=f"working-{seconds * 1e6:.0f}",
            summary="works for some time",
            scales=(SCALE,),
            factory=f"{Path(trivial_networks.__file__).resolve()}:Working",
            options={"work_seconds": seconds},
        )
    with ExitStack() as stack:
        sessions = {
            name: stack.enter_context(launcher.worker((descriptor, nothing), protocol=protocol))
            for name, descriptor in described.items()
        }
        with ThreadPoolExecutor(len(sessions)) as pool:
            loading = [
                pool.submit(sessions[name].load, each, SCALE, weights=nothing, protocol=protocol)
                for name, each in described.items()
            ]
            for each in loading:
                each.result()
        for size in SIZES[:1] if day.tiny else SIZES:
            if not day.left():
                return
            yield from (("gaps", row) for row in _rows(sessions, size, 3 if day.tiny else ROUNDS))


def _rows(
    sessions: dict[str, WorkerSession], size: tuple[int, int], rounds: int
) -> Iterator[dict[str, object]]:
    rng = np.random.default_rng(0)
    gaps: dict[str, list[float]] = {name: [] for name in sessions}
    claims: dict[str, list[float]] = {name: [] for name in sessions}
    for number in range(WARM_UP + rounds):
        for name, session in sessions.items():
            delivery = session.forward(noise(rng, size))
            if number >= WARM_UP:
                gaps[name].append(delivery.seconds - delivery.claimed_seconds)
                claims[name].append(delivery.claimed_seconds)
    null = float(np.median(gaps[NULL]))
    for name, each in gaps.items():
        low, middle, high = np.percentile(each, [25, 50, 75])
        claimed = float(np.median(claims[name]))
        yield {
            "forward": name,
            "lr_height": size[0],
            "lr_width": size[1],
            "claimed_ms": claimed * 1e3,
            "gap_ms": middle * 1e3,
            "quartile_1_ms": low * 1e3,
            "quartile_3_ms": high * 1e3,
            "disagreement": None if name == NULL else (middle - null) / claimed,
        }

"""What the sandbox costs, as a Markdown table: starting a worker, and one image there and back.

    python benchmarks/isolation_overhead.py [--starts N] [--images N]

Starts are from before the process is made until the worker says that it confined itself, and
until it says that torch is imported. Images are LR 339x510 to SR 1356x2040 by a network that does
nothing, by the evaluator's clock, in one thread; the tiers take turns. A line is a median and, in
brackets, the smallest and the largest.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from esrbench.entries.networks import ResolvedWeights
from esrbench.entries.registry import default_registry
from esrbench.protocol import Protocol
from esrbench.records import WeightsIdentity
from esrbench.runs.null_times import null_descriptor
from esrbench.sandbox.limits import Limits
from esrbench.sandbox.tiers import SANDBOXES, obstacle
from esrbench.sandbox.view import View
from esrbench.worker.launcher import Launcher

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from esrbench.records import Tier
    from esrbench.worker.session import WorkerSession

TIERS = tuple(reversed(SANDBOXES))
LR_SIZE = (339, 510)
SCALE = 4
WARM_UP = 3
WORKER = """
import os, sys
def main(arguments):
    os.write(1, b"c")
    import torch
    os.write(1, b"t")
"""


def start_seconds(tier: Tier, folder: Path) -> tuple[float, float]:
    """Seconds until a worker is confined, and until it has imported torch."""
    sandbox = SANDBOXES[tier](entry="starts:main")
    read, write = os.pipe()
    begin = time.perf_counter()
    process = sandbox.start(
        [],
        View(readable=(), python_path=(folder,)),
        Limits(),
        pass_fds=(),
        log_fd=write,
        variables={"OMP_NUM_THREADS": "1"},
    )
    os.close(write)
    marks: dict[bytes, float] = {}
    while said := os.read(read, 1):
        marks[said] = time.perf_counter() - begin
    os.close(read)
    sandbox.kill(process)
    return marks[b"c"], marks[b"t"]


def exchange(session: WorkerSession, lr: np.ndarray) -> float:
    """Seconds that an image took there and back, less the null network's own work."""
    delivery = session.forward(lr)
    return delivery.seconds - delivery.claimed_seconds


def image_rounds(tiers: Sequence[Tier], images: int) -> dict[Tier, list[float]]:
    """Seconds of forwards of the null network at each tier, one of each in turn."""
    null = null_descriptor(default_registry().get("rfdn"), SCALE, 1.0)
    nothing = ResolvedWeights(WeightsIdentity(source="none"))
    protocol = Protocol(threads=1)
    generator = np.random.default_rng(0)
    seconds: dict[Tier, list[float]] = {tier: [] for tier in tiers}
    with contextlib.ExitStack() as stack:
        forwards: dict[Tier, Callable[[np.ndarray], float]] = {}
        for tier in tiers:
            launcher = Launcher(SANDBOXES[tier](), ())
            session = stack.enter_context(launcher.worker((null, nothing), protocol=protocol))
            session.load(null, SCALE, weights=nothing, protocol=protocol)
            forwards[tier] = partial(exchange, session)
        for number in range(WARM_UP + images):
            lr = generator.integers(0, 256, (*LR_SIZE, 3), dtype=np.uint8)
            for tier, forward in forwards.items():
                taken = forward(lr)
                if number >= WARM_UP:
                    seconds[tier].append(taken)
    return seconds


def told(seconds: Sequence[float]) -> str:
    median, least, most = (
        f"{value * 1e3:.0f}" if value >= 0.1 else f"{value * 1e3:.1f}"
        for value in (statistics.median(seconds), min(seconds), max(seconds))
    )
    return f"{median} ({least} to {most})"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--starts", type=int, default=15)
    parser.add_argument("--images", type=int, default=60)
    options = parser.parse_args()
    tiers = [tier for tier in TIERS if obstacle(tier) is None]
    for tier in set(TIERS) - set(tiers):
        found = obstacle(tier)
        sys.stderr.write(f"{tier}: {found.reason if found else ''}\n")
    starts: dict[Tier, list[tuple[float, float]]] = {tier: [] for tier in tiers}
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "starts.py").write_text(WORKER)
        for _ in range(options.starts):
            for tier in tiers:
                starts[tier].append(start_seconds(tier, Path(name)))
    images = image_rounds(tiers, options.images)
    rows = [
        "| tier | start to confined [ms] | start to torch imported [ms] | one image [ms] |",
        "|---|---|---|---|",
    ]
    for tier in tiers:
        confined, imported = zip(*starts[tier], strict=True)
        rows.append(f"| {tier} | {told(confined)} | {told(imported)} | {told(images[tier])} |")
    sys.stdout.write("\n".join(rows) + "\n")


if __name__ == "__main__":
    main()

"""What whole runs of tiny networks share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness.catalog.datasets import open_dataset
from harness.catalog.networks import resolve_weights
from harness.evaluation.evaluator import Entry
from harness.evaluation.suite import Suite
from harness.isolation.wall import open_wall
from harness.protocol import LatencyDesign, Protocol, TrustDesign

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from harness.catalog.registry import ModelDescriptor


@pytest.fixture(scope="session")
def quick() -> Protocol:
    """One warm-up and two rounds at small inputs."""
    return Protocol(
        threads=1,
        counted_input=(16, 16),
        memory_input=(16, 16),
        counters=("ntire2022", "aten"),
        latency=LatencyDesign(
            warmup_rounds=1,
            max_warmup_rounds=1,
            min_rounds=2,
            max_rounds=2,
            target_half_width=0,
        ),
        # Of networks of microseconds on a busy machine no verdict holds; verdicts have tests of
        # their own.
        trust=TrustDesign(
            claim_tolerance=1e6,
            caching_ratio=1e-9,
            later_ratio=1e-9,
            memorising_db=1e3,
            idle_cpus=1e6,
            extra_cpus=1e6,
        ),
    )


@pytest.fixture
def make_suite(pair_folder: Path, quick: Protocol) -> Callable[..., Suite]:
    """A suite of descriptors on two small pairs."""

    def build(*descriptors: ModelDescriptor, protocol: Protocol = quick, **fields: object) -> Suite:
        pairs = open_dataset(str(pair_folder), 4)
        entries = tuple(
            Entry(descriptor, 4, resolve_weights(descriptor, 4)) for descriptor in descriptors
        )
        data = ((pairs, pairs.identity()),)
        return Suite(entries, data, protocol, open_wall(), **fields)  # type: ignore[arg-type]

    return build

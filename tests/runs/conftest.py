"""What whole runs of tiny networks share."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from esrbench.data.datasets import open_dataset
from esrbench.entries.networks import resolve_weights
from esrbench.protocol import LatencyDesign, Protocol, TrustDesign
from esrbench.runs.evaluator import Entry
from esrbench.runs.plan import Suite
from esrbench.worker.launcher import Launcher, open_launcher

if TYPE_CHECKING:
    from collections.abc import Callable

    from esrbench.entries.descriptor import ModelDescriptor


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
            noise_share=1e9,
            caching_ratio=1e-9,
            later_ratio=1e-9,
            memorising_db=1e3,
            scored_variants=0,
            idle_cpus=1e6,
            extra_cpus=1e6,
            busy_share=1e6,
        ),
    )


@pytest.fixture(scope="session")
def make_suite(shared_pair_folder: Path, quick: Protocol) -> Callable[..., Suite]:
    """A suite of descriptors on two small pairs."""

    def build(*descriptors: ModelDescriptor, protocol: Protocol = quick, **fields: object) -> Suite:
        pairs = open_dataset(str(shared_pair_folder), 4)
        entries = tuple(
            Entry(descriptor, 4, resolve_weights(descriptor, 4)) for descriptor in descriptors
        )
        data = ((pairs, pairs.identity()),)
        return Suite(entries, data, protocol, open_launcher(), **fields)  # type: ignore[arg-type]

    return build


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> Any:  # fake_worker.Workers
    """Workers that answer at once instead of all others; tells what was started."""
    path = Path(__file__).with_name("fake_worker.py")
    spec = importlib.util.spec_from_file_location("fake_worker", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(Launcher, "worker", Launcher.worker)  # put back afterwards
    for wait in ("SETTLING_SECONDS", "IDLE_SECONDS"):
        monkeypatch.setattr(f"esrbench.runs.timing.{wait}", 0.0)
    workers = module.Workers()
    module.use_fake_workers(workers)
    return workers

"""Two networks in one real worker."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness.catalog.networks import resolve_weights
from harness.isolation.failure import WorkerError
from harness.isolation.wall import open_wall
from harness.probes.telemetry import SHORTEST_SECONDS
from harness.protocol import Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.catalog.registry import ModelDescriptor

SMALL = Protocol(threads=1, counted_input=(16, 24), latency=None)


def test_two_networks_in_one_worker(describe: Callable[..., ModelDescriptor]) -> None:
    ours, theirs = describe("Nearest"), describe("Plain")
    asked = {"discard": 1, "candidate_first": True, "twin_first": False}
    with open_wall().worker((ours, None), (theirs, None)) as session:
        first = session.load(ours, 4, weights=resolve_weights(ours, 4), protocol=SMALL)
        with pytest.raises(WorkerError, match="there is no baseline to time against"):
            session.time_pairs(count=3, self_count=2, **asked)
        second = session.load_baseline(
            theirs, 4, weights=resolve_weights(theirs, 4), protocol=SMALL
        )
        assert (first.parameters, second.parameters) == (2, 0)
        assert first.threads == second.threads == 1
        assert first.cpus == second.cpus
        assert second.code_sha256 is not None
        timed = session.time_pairs(count=3, self_count=2, **asked)
    assert (len(timed.pairs), len(timed.self_pairs)) == (3, 2)
    assert all(0 < seconds < 10 for pair in timed.pairs + timed.self_pairs for seconds in pair)
    # A short batch waits until the kernel's clock can tell the load.
    assert timed.conditions is not None
    assert timed.conditions.seconds >= SHORTEST_SECONDS

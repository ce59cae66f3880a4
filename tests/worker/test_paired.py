"""Two networks in one real worker."""

from __future__ import annotations

from statistics import median

import pytest

from esrbench.entries.networks import resolve_weights
from esrbench.probes.telemetry import SHORTEST_SECONDS
from esrbench.protocol import Protocol
from esrbench.worker.failure import WorkerError
from esrbench.worker.launcher import open_launcher

SMALL = Protocol(threads=1, counted_input=(16, 24), latency=None)


def test_two_networks_in_one_worker(describe):
    ours, theirs = describe("Nearest"), describe("Plain")
    asked = {"discard": 1, "candidate_first": True, "twin_first": False}
    with open_launcher().worker((ours, None), (theirs, None)) as session:
        first = session.load(ours, 4, weights=resolve_weights(ours, 4), protocol=SMALL)
        with pytest.raises(WorkerError, match="there is no second network to race"):
            session.time_pairs(count=3, self_count=2, **asked)
        second = session.load_second(
            theirs, 4, weights=resolve_weights(theirs, 4), protocol=SMALL, side="baseline"
        )
        assert (first.parameters, second.parameters) == (2, 0)
        assert first.threads == second.threads == 1
        assert first.cpus == second.cpus
        assert second.code_sha256 is not None
        timed = session.time_pairs(count=3, self_count=2, **asked)
    assert (len(timed.pairs), len(timed.self_pairs)) == (3, 2)
    assert all(seconds > 0 for pair in timed.pairs + timed.self_pairs for seconds in pair)
    # A short batch waits until the kernel's clock can tell the load.
    assert timed.conditions is not None
    assert timed.conditions.seconds >= SHORTEST_SECONDS


def test_copies_are_of_the_baseline_whichever_is_loaded_first(describe):
    """Forty convolutions beside one, in turns in one process: the machine's load meets both."""
    many = describe("Convolutions", options={"count": 40})
    one = describe("Convolutions", options={"count": 1})
    loads = (
        (one, many, "baseline"),
        (many, one, "candidate"),
    )
    for first, second, side in loads:
        with open_launcher().worker((first, None), (second, None)) as session:
            session.load(first, 4, weights=resolve_weights(first, 4), protocol=SMALL)
            session.load_second(
                second, 4, weights=resolve_weights(second, 4), protocol=SMALL, side=side
            )
            timed = session.time_pairs(
                count=9, self_count=9, discard=1, candidate_first=True, twin_first=True
            )
        candidate, baseline = (median(times) for times in zip(*timed.pairs, strict=True))
        copies = [median(times) for times in zip(*timed.self_pairs, strict=True)]
        assert min(baseline, *copies) > 2 * candidate

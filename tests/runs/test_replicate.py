"""Times of one entry in a worker of its own, real and scripted."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Self

import pytest

from esrbench.data.datasets import open_dataset
from esrbench.entries.networks import resolve_weights
from esrbench.errors import MeasurementError
from esrbench.protocol import LatencyDesign, Protocol, TrustDesign
from esrbench.records import Absent, LatencySamples
from esrbench.runs.evaluator import Entry, effective_weights
from esrbench.runs.passes import UntimedPass
from esrbench.runs.replicate import time_replicate
from esrbench.runs.timing import Plan
from esrbench.worker.failure import WorkerError
from esrbench.worker.messages import Ready
from esrbench.worker.session import Delivery

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np

    from esrbench.entries.descriptor import ModelDescriptor
    from esrbench.runs.passes import TimedPass

DESIGN = LatencyDesign(
    warmup_rounds=1, max_warmup_rounds=1, min_rounds=2, max_rounds=2, target_half_width=0
)
PROTOCOL = Protocol(
    threads=1,
    counted_input=(16, 16),
    latency=DESIGN,
    trust=TrustDesign(repeated_rounds=0, scored_variants=1),
)
READY = Ready(parameters=0, threads=1, cpus=(), accelerator=None, code_sha256="0" * 64)


class Session:
    """A worker that upscales by nearest neighbours, or raises."""

    log_tail = "its last words"

    def __init__(self, failure: MeasurementError | None = None, on: int = 0) -> None:
        self.failure = failure
        self.on = on
        self.forwards = 0
        self.ready = READY

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def load(self, *_: object, **__: object) -> Ready:
        return self.ready

    def cpu_seconds(self) -> None:
        return None

    def forward(self, lr: np.ndarray) -> Delivery:
        self.forwards += 1
        if self.failure is not None and self.forwards > self.on:
            raise self.failure
        return Delivery(lr.repeat(4, axis=0).repeat(4, axis=1), 0.5, 0.4, None)


@pytest.fixture
def replicate(
    describe: Callable[..., ModelDescriptor], pair_folder: Path
) -> Callable[..., TimedPass]:
    descriptor = describe("Plain")
    entry = Entry(descriptor, 4, resolve_weights(descriptor, 4, None))
    # That it has no parameters was found when it was loaded to be scored.
    as_found = effective_weights(entry.weights, READY).identity

    def run(session: Session, *, index: int = 0, **fields: Any) -> TimedPass:
        launcher: Any = SimpleNamespace(worker=lambda *_, **__: session)
        untimed = UntimedPass(weights=as_found, ready=READY, **fields)
        pairs = open_dataset(str(pair_folder), 4)
        plan = Plan(PROTOCOL, DESIGN, launcher, 3)
        return time_replicate(entry, pairs, plan, untimed=untimed, index=index, position=5)

    return run


@pytest.mark.parametrize("index", [0, 1, 4])
def test_variants_are_scored_in_every_process(
    replicate: Callable[..., TimedPass], index: int
) -> None:
    """A worker can tell the first process from others; in none may it do less."""
    timed = replicate(Session(), index=index, output_sha256={"image0": "0" * 64})
    assert not timed.failed
    assert timed.log_tail == "its last words"
    assert (timed.replicate.index, timed.replicate.position) == (index, 5)
    assert isinstance(timed.replicate.images, tuple)
    for samples in timed.replicate.images:
        assert samples.variants is not None
        assert samples.variants.rounds == 1
    assert [score.image for score in timed.rescored] == ["image0", "image1"]
    assert timed.replicate.cold_start_seconds == 0.4


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (WorkerError("crash", "gone", fatal=True), "crash"),
        (WorkerError("forward-error", "raised", fatal=False), "forward-error"),
        # Not the network's fault, and no reason to end the run of others.
        (MeasurementError("an SR image of 9x9 is too large to be delivered"), None),
    ],
)
def test_a_failure_ends_its_entry_alone(
    replicate: Callable[..., TimedPass], failure: MeasurementError, kind: str | None
) -> None:
    timed = replicate(Session(failure))
    assert timed.failed
    assert isinstance(timed.replicate.fixed, Absent)
    assert timed.replicate.fixed.kind == "failed"
    assert timed.replicate.fixed.failure == kind
    assert timed.replicate.cold_start_seconds is None
    # The fixed input takes three forwards; then the images fail.
    later = replicate(Session(failure, on=3))
    assert isinstance(later.replicate.fixed, LatencySamples)
    assert isinstance(later.replicate.images, Absent)
    assert later.replicate.images.failure == kind
    assert later.replicate.cold_start_seconds == 0.4


def test_code_that_changed_since_it_was_scored_is_not_timed(
    replicate: Callable[..., TimedPass],
) -> None:
    session = Session()
    session.ready = READY.model_copy(update={"code_sha256": "1" * 64})
    timed = replicate(session)
    assert timed.failed
    assert isinstance(timed.replicate.fixed, Absent)
    assert "the network's code changed during the run" in timed.replicate.fixed.reason
    # The hash is the worker's own: a run that the machine failed would be repeated for ever.
    assert timed.replicate.fixed.failure == "load-error"
    assert session.forwards == 0

"""Time one entry in a fresh process of its own, and the null network in another."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from harness.catalog.networks import ResolvedWeights
from harness.errors import MeasurementError
from harness.evaluation.evaluator import NOT_REACHED, failed, raise_if_fatal
from harness.evaluation.timing import InputTimer, noise
from harness.isolation.failure import WorkerError
from harness.probes.latency import warm_up
from harness.probes.null import null_descriptor
from harness.records import (
    Absent,
    LatencySamples,
    NullSamples,
    Replicate,
    WeightsIdentity,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from harness.catalog.datasets import ImagePairs
    from harness.catalog.registry import ModelDescriptor
    from harness.evaluation.evaluator import Entry, Step, UntimedPass
    from harness.evaluation.timing import Plan
    from harness.isolation.messages import Ready
    from harness.records import Conditions, ImageScore

NO_WEIGHTS = ResolvedWeights(WeightsIdentity(source="none"))
TIMED_STEPS_BESIDE_IMAGES = 2
"""Load, fixed input."""


@dataclass(frozen=True, slots=True)
class TimedPass:
    """What one timed pass found.

    Attributes:
        replicate: the times.
        log_tail: last of what the worker printed.
        rescored: scores of timed SR images that are not those that were scored untimed.
    """

    replicate: Replicate
    log_tail: str
    rescored: tuple[ImageScore, ...] = ()

    @property
    def failed(self) -> bool:
        """Whether it lacks anything."""
        return isinstance(self.replicate.fixed, Absent) or isinstance(self.replicate.images, Absent)


def time_null(
    like: ModelDescriptor,
    scale: int,
    sizes: Iterable[tuple[int, int]],
    plan: Plan,
    *,
    data_range: float,
) -> tuple[NullSamples, ...]:
    """Time what is not the network: a null network at each size, in a worker like any other.

    Args:
        like: a network whose form of input and output it takes.
        scale: upscaling factor.
        sizes: LR heights and widths.
        plan: how.
        data_range: value of white that the other network's weights want.

    Raises:
        WorkerError: it failed, which is the machine's fault or the harness's.
    """
    null = null_descriptor(like, scale, data_range)
    samples = []
    rng = np.random.default_rng(plan.variant_seed)
    with plan.wall.worker(
        (null, NO_WEIGHTS), protocol=plan.protocol, timeout_seconds=plan.timeout_seconds
    ) as session:
        session.load(null, scale, weights=NO_WEIGHTS, protocol=plan.protocol)
        for size in dict.fromkeys(sizes):

            def forward(size: tuple[int, int] = size) -> float:
                delivery = session.forward(noise(rng, size))
                return delivery.seconds - delivery.claimed_seconds

            warm_up(forward, plan.design)
            seconds = tuple(forward() for _ in range(plan.protocol.trust.null_rounds))
            samples.append(NullSamples(lr_size=size, delivered_seconds=seconds))
    return tuple(samples)


def time_replicate(
    entry: Entry,
    pairs: ImagePairs,
    plan: Plan,
    *,
    null: tuple[NullSamples, ...],
    untimed: UntimedPass,
    index: int,
    position: int,
    on_step: Step = lambda _: None,
) -> TimedPass:
    """Time an entry in a fresh process: the fixed input first, then every image.

    Args:
        entry: network and weights.
        pairs: checked LR and HR images.
        plan: how.
        null: of this round.
        untimed: what the entry gave when it was scored; that pass loaded it.
        index: number of the round.
        position: of the entry in the round.
        on_step: told the name of each step, ``len(pairs) + TIMED_STEPS_BESIDE_IMAGES`` in all.

    Raises:
        DataError: an image changed since it was checked.
    """
    started = datetime.now(UTC)
    cpus: tuple[int, ...] = ()
    conditions: Conditions | None = None
    fixed: LatencySamples | Absent = NOT_REACHED
    images: tuple[LatencySamples, ...] | Absent = NOT_REACHED
    rescored: tuple[ImageScore, ...] = ()
    with plan.wall.worker(
        (entry.descriptor, entry.weights),
        protocol=plan.protocol,
        timeout_seconds=plan.timeout_seconds,
    ) as session:
        try:
            on_step("loading to be timed")
            ready = session.load(
                entry.descriptor, entry.scale, weights=entry.weights, protocol=plan.protocol
            )
            cpus = ready.cpus
            _require_same_code(ready, untimed)
        except MeasurementError as failure:
            fixed = images = failed(failure)
        else:
            # In every process: a worker can tell the first from the others, and do less there.
            known = untimed.output_sha256 if untimed.entry.scored else None
            timer = InputTimer(session, ready, plan, index, known)
            with suppress(WorkerError):
                on_step("timing the fixed input")
                try:
                    fixed = timer.fixed(pairs)
                except MeasurementError as failure:
                    fixed = failed(failure)
                    raise_if_fatal(failure)
                try:
                    images = timer.images(pairs, on_step)
                except MeasurementError as failure:
                    images = failed(failure)
            conditions = timer.conditions()
            rescored = tuple(timer.rescored)
    return TimedPass(
        Replicate(
            index=index,
            position=position,
            started=started,
            cpus=cpus,
            cold_start_seconds=None if isinstance(fixed, Absent) else fixed.first_seconds,
            fixed=fixed,
            images=images,
            conditions=conditions,
            null=null,
        ),
        session.log_tail,
        rescored,
    )


def _require_same_code(ready: Ready, untimed: UntimedPass) -> None:
    if untimed.ready is None or ready.code_sha256 != untimed.ready.code_sha256:
        raise MeasurementError(
            "load-error: the network's code changed during the run",
            advice="Run again and leave its files alone.",
        )

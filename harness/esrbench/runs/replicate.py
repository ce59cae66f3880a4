"""Time one entry in a fresh process of its own."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from esrbench.errors import MeasurementError
from esrbench.records import (
    Absent,
    LatencySamples,
    Replicate,
)
from esrbench.runs.evaluator import NOT_REACHED, failed, raise_if_fatal
from esrbench.runs.timing import InputTimer
from esrbench.worker.failure import WorkerError

if TYPE_CHECKING:
    from esrbench.data.datasets import ImagePairs
    from esrbench.records import Conditions, ImageScore, NullSamples
    from esrbench.runs.evaluator import Entry, Step, UntimedPass
    from esrbench.runs.timing import Plan
    from esrbench.runs.untimed_windows import TimedWindow
    from esrbench.worker.messages import Ready


@dataclass(frozen=True, slots=True)
class TimedPass:
    """What one timed pass found.

    Attributes:
        replicate: the times.
        log_tail: last of what the worker printed.
        rescored: scores of timed SR images that are not those that were scored untimed.
        windows: variants that were timed and can be compared with untimed ones; not stored.
    """

    replicate: Replicate
    log_tail: str
    rescored: tuple[ImageScore, ...] = ()
    windows: tuple[TimedWindow, ...] = ()

    @property
    def failed(self) -> bool:
        """Whether it lacks anything."""
        return isinstance(self.replicate.fixed, Absent) or isinstance(self.replicate.images, Absent)

    def with_null(
        self, null: tuple[NullSamples, ...], conditions: tuple[Conditions, ...]
    ) -> TimedPass:
        """The same with times of the null network, and of the machine meanwhile."""
        around = {"null": null, "null_conditions": conditions}
        return replace(self, replicate=self.replicate.model_copy(update=around))


def time_replicate(
    entry: Entry,
    pairs: ImagePairs,
    plan: Plan,
    *,
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
        untimed: what the entry gave when it was scored; that pass loaded it.
        index: number of the round.
        position: of the entry in the round.
        on_step: told the name of each step, ``len(pairs)`` and load and fixed input in all.

    Raises:
        DataError: an image changed since it was checked.
    """
    started = datetime.now(UTC)
    cpus: tuple[int, ...] = ()
    conditions: Conditions | None = None
    fixed: LatencySamples | Absent = NOT_REACHED
    images: tuple[LatencySamples, ...] | Absent = NOT_REACHED
    rescored: tuple[ImageScore, ...] = ()
    windows: tuple[TimedWindow, ...] = ()
    with plan.launcher.worker(
        (entry.descriptor, entry.weights),
        protocol=plan.protocol,
        timeout_seconds=plan.timeout_seconds,
        limit_seconds=plan.limit_seconds,
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
            rescored, windows = tuple(timer.rescored), tuple(timer.windows)
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
        ),
        session.log_tail,
        rescored,
        windows,
    )


def _require_same_code(ready: Ready, untimed: UntimedPass) -> None:
    if untimed.ready is None or ready.code_sha256 != untimed.ready.code_sha256:
        # The worker's own account: it must not pass for a failure of the machine.
        raise WorkerError(
            "load-error",
            "the network's code changed during the run",
            advice="Run again and leave its files alone.",
            fatal=False,
        )

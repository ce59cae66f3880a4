"""Time the null network right before and right after each entry."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Self

import numpy as np

from esrbench.devices import DEVICES
from esrbench.entries.descriptor import ModelDescriptor
from esrbench.entries.networks import ResolvedWeights
from esrbench.errors import MeasurementError
from esrbench.probes.latency import warm_up
from esrbench.records import NullSamples, WeightsIdentity
from esrbench.runs.timing import noise
from esrbench.worker.session import monitor_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from esrbench.probes.telemetry import Monitor
    from esrbench.protocol import Protocol
    from esrbench.records import Conditions
    from esrbench.runs.evaluator import Entry, Step
    from esrbench.runs.passes import TimedPass
    from esrbench.runs.timing import Plan
    from esrbench.sandbox.interpreters import Interpreter
    from esrbench.worker.session import WorkerSession

    Size = tuple[int, int]
    Form = tuple[str, str, float, Interpreter | None, str]
    Times = dict[Size, tuple[float, ...]]

NO_WEIGHTS = ResolvedWeights(WeightsIdentity(source="none"))


def null_descriptor(like: ModelDescriptor, scale: int, data_range: float) -> ModelDescriptor:
    """A null network with the input and output format of another network.

    Args:
        like: the other network.
        scale: upscaling factor.
        data_range: data range of the other network's weights.
    """
    return ModelDescriptor(
        name="null",
        summary="does nothing",
        scales=(scale,),
        factory="esrbench.probes.null:Null",
        options={
            "enlarged": like.input == "bicubic-hr",
            "channels": 3 if like.color == "rgb" else 1,
        },
        data_range=data_range,
        color=like.color,
        input=like.input,
    )


@dataclass(slots=True)
class _NullWorker:
    """A worker with the null network for one format of input and output and one arithmetic."""

    session: WorkerSession
    ending: ExitStack
    monitor: Monitor
    warm: set[Size] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class _Side:
    """Times before or after an entry, and the state of the machine during them."""

    seconds: Times = field(default_factory=dict)
    conditions: Conditions | None = None


class NullTimes:
    """Times the null network around entries. On CPUs its workers stay until all entries are timed.

    The overhead around a forward changes with the load. So with times from long before, honest
    entries would look disputed. The null network is never timed while the process of an entry
    lives, because that process could slow it down to its own advantage.

    Args:
        plan: how inputs are timed.
        sizes: LR heights and widths of all inputs.
    """

    def __init__(self, plan: Plan, sizes: Sequence[Size]) -> None:
        self._plan = plan
        self._sizes = tuple(dict.fromkeys(sizes))
        self._rng = np.random.default_rng(plan.variant_seed)
        self._workers: dict[Form, _NullWorker] = {}
        self._latest: tuple[Form, _Side] | None = None

    def __enter__(self) -> Self:
        """Begin the block; workers start when they are needed."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop all workers."""
        while self._workers:
            _, worker = self._workers.popitem()
            worker.ending.__exit__(kind, value, trace)

    def _rest(self) -> None:
        """Close workers on a GPU, because a GPU may allow only one process at a time."""
        while self._workers and DEVICES[self._plan.protocol.device].gpu:
            _, worker = self._workers.popitem()
            worker.ending.close()

    def around(
        self, entry: Entry, protocol: Protocol, timed: Callable[[], TimedPass], on_step: Step
    ) -> TimedPass:
        """Make a timed pass of an entry, with times of the null network before and after it.

        Times after one entry are used as times before the next entry of the same form. If the null
        network fails, its times are missing: then the machine or the harness is at fault.

        Args:
            entry: the null network gets its format of input and output.
            protocol: both run in its arithmetic.
            timed: makes the pass.
            on_step: called before the null network is timed.
        """
        before = self.known(entry, protocol) or self._times(entry, protocol)
        found = timed()
        on_step("timing the null network")
        after = self._times(entry, protocol)
        self._latest = (_form(entry, protocol), after)
        seconds = {
            size: before.seconds.get(size, ()) + after.seconds.get(size, ()) for size in self._sizes
        }
        return found.with_null(
            tuple(
                NullSamples(lr_size=size, delivered_seconds=each)
                for size, each in seconds.items()
                if each
            ),
            tuple(side.conditions for side in (before, after) if side.conditions is not None),
        )

    def known(self, entry: Entry, protocol: Protocol) -> _Side | None:
        """The latest times, if they can be used as times before this entry."""
        form, latest = self._latest or (None, _Side())
        return latest if form == _form(entry, protocol) and latest.seconds else None

    def _times(self, entry: Entry, protocol: Protocol) -> _Side:
        form = _form(entry, protocol)
        try:
            worker = self._worker(entry, protocol)
            begun = worker.monitor.read()
            seconds = {size: self._seconds(worker, size) for size in self._sizes}
            conditions = worker.monitor.conditions(begun, worker.monitor.read())
        except MeasurementError as failure:
            broken = self._workers.pop(form, None)
            if broken is not None:
                broken.ending.__exit__(type(failure), failure, failure.__traceback__)
            return _Side()
        self._rest()
        return _Side(seconds, conditions)

    def _worker(self, entry: Entry, protocol: Protocol) -> _NullWorker:
        form = _form(entry, protocol)
        if form not in self._workers:
            plan = self._plan
            data_range = entry.weights.identity.data_range
            null = null_descriptor(entry.descriptor, entry.scale, data_range)
            eager = protocol.eager
            with ExitStack() as ending:
                session = ending.enter_context(
                    plan.launcher.worker(
                        (null, NO_WEIGHTS),
                        protocol=eager,
                        interpreter=entry.interpreter,
                        timed=True,
                        timeout_seconds=plan.timeout_seconds,
                    )
                )
                state = None if entry.state is None else b""
                twin = replace(entry.eager, descriptor=null, weights=NO_WEIGHTS, state=state)
                ready = twin.load(session, eager)
                monitor = monitor_of(session, ready)
                self._workers[form] = _NullWorker(session, ending.pop_all(), monitor)
        return self._workers[form]

    def _seconds(self, worker: _NullWorker, size: Size) -> tuple[float, ...]:
        def forward() -> float:
            delivery = worker.session.forward(noise(self._rng, size))
            return delivery.seconds - delivery.claimed_seconds

        if size not in worker.warm:
            warm_up(forward, self._plan.design)
            worker.warm.add(size)
        # Half of the rounds come before the entry, half after it.
        rounds = (self._plan.protocol.trust.null_rounds + 1) // 2
        return tuple(forward() for _ in range(rounds))


def _form(entry: Entry, protocol: Protocol) -> Form:
    """The settings that an entry's null network must have."""
    return *entry.form, protocol.forward.precision

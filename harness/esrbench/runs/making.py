"""Make one pass from its plan entry, independently of the other passes of the suite."""

from __future__ import annotations

import math
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from esrbench.data.codecs import read_size
from esrbench.entries.submissions import precision_notice
from esrbench.errors import UsageError
from esrbench.runs.evaluator import measure_untimed
from esrbench.runs.lock import WAITING, device_lock
from esrbench.runs.null_times import NullTimes
from esrbench.runs.passes import Pass, TimedPass, UntimedPass
from esrbench.runs.replicate import compare_untimed, time_replicate
from esrbench.runs.store import record_id
from esrbench.runs.timing import Plan
from esrbench.worker.process import DEFAULT_TIMEOUT_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from esrbench.runs.plan import PlannedPass
    from esrbench.worker.session import WorkerSession


@dataclass(frozen=True, slots=True)
class Maker:
    """Makes passes in one session. The caller makes each inside a block of ``alone``.

    Attributes:
        session: id of the session; a resumed suite has a new one.
        machine: name of this machine, if several machines make passes, or None.
        on_step: called with the entry and the step when a step begins.
        timeout_seconds: deadline of each request to a worker.
    """

    session: str
    machine: str | None = None
    on_step: Callable[[str, str], None] = lambda _entry, _step: None
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS

    def worker(self, planned: PlannedPass, limit_seconds: float = math.inf) -> WorkerSession:
        """A worker that can make a pass. Starting it before its turn saves the time of imports.

        Args:
            planned: the pass.
            limit_seconds: longest life of the worker.
        """
        return planned.entry.worker(
            planned.launcher,
            planned.protocol,
            timed=planned.index is not None or planned.protocol.energy is not None,
            timeout_seconds=self.timeout_seconds,
            limit_seconds=max(0.0, limit_seconds),
        )

    def untimed(
        self,
        planned: PlannedPass,
        limit_seconds: float = math.inf,
        *,
        started: WorkerSession | None = None,
        start_next: Callable[[], None] = lambda: None,
    ) -> Pass[UntimedPass]:
        """Score an entry, measure its memory and count it.

        Args:
            planned: what is to be measured.
            limit_seconds: longest life of the worker.
            started: its worker, if it was started before.
            start_next: starts the worker of the next pass. It is called once the network is loaded,
                unless energy is measured.

        Raises:
            DataError: an image changed since it was checked.
            RecordError: an SR image cannot be written.
        """
        created, start = datetime.now(UTC), time.monotonic()
        entry, name = planned.entry, planned.entry.descriptor.name

        def on_loaded(_session: WorkerSession) -> None:
            if planned.protocol.energy is None:
                start_next()

        found = measure_untimed(
            entry,
            planned.pairs,
            planned.protocol,
            launcher=planned.launcher,
            sr_folder=planned.sr_folder,
            crops=planned.crops,
            on_step=partial(self.on_step, name),
            on_loaded=on_loaded,
            started=started,
            timeout_seconds=self.timeout_seconds,
            limit_seconds=max(0.0, limit_seconds),
        )
        notice = precision_notice(entry.descriptor, planned.protocol.forward.precision)
        return Pass[UntimedPass](
            run_id=record_id(created, f"{name}-x{entry.scale}", planned.data.name),
            entry=entry.identify(found.ready.code_sha256 if found.ready else None, found.weights),
            created=created,
            seconds=time.monotonic() - start,
            notices=(notice,) if notice else (),
            found=found,
            **self._header(planned),
        )

    def timed(
        self,
        planned: PlannedPass,
        untimed: Pass[UntimedPass],
        null: NullTimes,
        limit_seconds: float = math.inf,
        *,
        started: WorkerSession | None = None,
        start_next: Callable[[], None] = lambda: None,
    ) -> Pass[TimedPass]:
        """Time an entry once, between times of the null network.

        Args:
            planned: what is to be measured.
            untimed: untimed pass of the entry, which loaded its network.
            null: a timer from ``null_times``.
            limit_seconds: longest life of the workers.
            started: its worker, if it was started before.
            start_next: starts the worker of the next pass; called when this pass has ended timing.

        Raises:
            DataError: an image changed since it was checked.
        """
        created, start = datetime.now(UTC), time.monotonic()
        on_step = partial(self.on_step, planned.entry.descriptor.name)
        plan = self._plan(planned, limit_seconds)
        timed_pass = partial(
            time_replicate,
            planned.entry,
            planned.pairs,
            plan,
            untimed=untimed.found,
            index=planned.index or 0,
            position=planned.position,
            on_step=on_step,
            started=started,
        )
        found = null.around(planned.entry, planned.protocol, timed_pass, on_step)
        left = plan.limit_seconds - (time.monotonic() - start)
        again = replace(plan, limit_seconds=max(0.0, left))
        start_next()
        found = compare_untimed(planned.entry, planned.pairs, again, found, on_step)
        device = found.replicate.device or self.machine
        replicate = found.replicate.model_copy(update={"device": device})
        found = found.model_copy(update={"replicate": replicate})
        return Pass[TimedPass](
            run_id=untimed.run_id,
            entry=untimed.entry,
            created=created,
            seconds=time.monotonic() - start,
            found=found,
            **self._header(planned),
        )

    @contextmanager
    def alone(self, planned: PlannedPass) -> Iterator[None]:
        """Be the only process that measures on the device of a pass; see ``device_lock``."""

        def on_wait(who: str) -> None:
            self.on_step(planned.entry.descriptor.name, f"{WAITING} {who}")

        with device_lock(planned.protocol.device, planned.launcher.gpu, on_wait=on_wait):
            yield

    def _header(self, planned: PlannedPass) -> dict[str, Any]:
        """The fields that the file of a pass copies from its plan entry."""
        taken = ("fingerprint", "data", "protocol", "environment", "rounds")
        return {name: getattr(planned, name) for name in taken} | {"session": self.session}

    def null_times(self, planned: PlannedPass) -> NullTimes:
        """A timer of the null network for all passes on the data of a planned one."""
        plan = self._plan(planned)
        sizes = [read_size(pair.lr) for pair in planned.pairs.pairs]
        if plan.design.fixed_input:
            sizes.insert(0, planned.protocol.counted_input)
        return NullTimes(plan, sizes)

    def _plan(self, planned: PlannedPass, limit_seconds: float = math.inf) -> Plan:
        design = planned.protocol.latency
        if design is None:
            raise UsageError("the protocol leaves latency out, so nothing can be timed")
        return Plan(
            planned.protocol,
            design,
            planned.launcher,
            planned.rounds.variant_seed,
            self.timeout_seconds,
            max(0.0, limit_seconds),
        )

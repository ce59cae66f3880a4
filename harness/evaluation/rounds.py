"""Entries interleaved between fresh processes, so that all of them meet the same machine."""

from __future__ import annotations

import random
import secrets
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from harness.evaluation.assembly import assemble, baseline_times
from harness.evaluation.evaluator import (
    NOT_TIMED,
    TimedPass,
    measure_untimed,
    time_replicate,
)
from harness.records import Absent, Latency
from harness.store import record_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from harness.catalog.datasets import ImagePairs
    from harness.evaluation.evaluator import Entry, UntimedPass
    from harness.evaluation.suite import Suite
    from harness.records import DataIdentity, RunRecord

INTERRUPTED = Absent(kind="skipped", reason="the run was interrupted before anything was timed")


@dataclass(slots=True)
class _Progress:
    """How far an entry is."""

    entry: Entry
    created: datetime = field(default_factory=lambda: datetime.now(UTC))
    run_id: str = ""
    seconds: float = 0.0
    untimed: UntimedPass | None = None
    timed: list[TimedPass] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.entry.descriptor.name

    @property
    def failed(self) -> bool:
        """Nothing more is asked of an entry that did not load, or that failed once."""
        loaded = self.untimed is None or self.untimed.ready is not None
        return not loaded or any(timed.failed for timed in self.timed)

    @property
    def log_tail(self) -> str:
        """What the worker printed whose pass failed; the untimed one's if none did."""
        logs = [timed.log_tail for timed in self.timed if timed.failed]
        return logs[0] if logs else self.untimed.log_tail if self.untimed else ""


class Rounds:
    """The rounds of a suite on one data set.

    Args:
        suite: entries and settings.
        pairs: checked images.
        data: their identity.
        on_step: told entry and step as each step begins.
        timeout_seconds: deadline of each request to a worker.
    """

    def __init__(
        self,
        suite: Suite,
        pairs: ImagePairs,
        data: DataIdentity,
        *,
        on_step: Callable[[str, str], None],
        timeout_seconds: float,
    ) -> None:
        self._suite = suite
        self._pairs = pairs
        self._data = data
        self._on_step = on_step
        self._timeout_seconds = timeout_seconds
        self._entries = {entry.descriptor.name: _Progress(entry) for entry in suite.entries}
        self._recorded: set[str] = set()
        self._session = secrets.token_hex(8)

    @property
    def _count(self) -> int:
        latency = self._suite.protocol.latency
        return latency.processes if latency is not None else 0

    def run(self) -> Iterator[RunRecord]:
        """Records in the order in which entries come to their end.

        All entries are scored and counted first, so that nothing but timed processes lies
        between an entry and the baseline.
        """
        order = list(self._entries.values())
        for progress in order:
            self._begin(progress)
            yield from self._finished()
        shuffled = random.Random(self._suite.order_seed)  # noqa: S311 - an order, not a secret
        for index in range(self._count):
            shuffled.shuffle(order)
            for position, progress in enumerate(order):
                if not progress.failed:
                    self._time(progress, index, position)
                    yield from self._finished()

    def unfinished(self) -> Iterator[RunRecord]:
        """Records of what is there when a run is cut short; nothing of entries not begun."""
        for progress in self._entries.values():
            if progress.name not in self._recorded and progress.untimed is not None:
                yield self._record(progress, progress.untimed)

    def _begin(self, progress: _Progress) -> None:
        start = time.monotonic()
        progress.created = datetime.now(UTC)
        progress.run_id = record_id(
            progress.created,
            f"{progress.name}-x{progress.entry.scale}",
            self._data.name,
        )
        folder = self._suite.sr_folder
        progress.untimed = measure_untimed(
            progress.entry,
            self._pairs,
            self._suite.protocol,
            sr_folder=folder and folder / self._data.name / progress.name,
            on_step=partial(self._on_step, progress.name),
            timeout_seconds=self._timeout_seconds,
        )
        progress.seconds += time.monotonic() - start

    def _time(self, progress: _Progress, index: int, position: int) -> None:
        design = self._suite.protocol.latency
        if design is None or progress.untimed is None or progress.untimed.ready is None:
            return
        start = time.monotonic()
        timed = time_replicate(
            progress.entry,
            self._pairs,
            self._suite.protocol,
            design,
            code_sha256=progress.untimed.ready.code_sha256,
            index=index,
            position=position,
            on_step=partial(self._on_step, progress.name),
            timeout_seconds=self._timeout_seconds,
        )
        progress.timed.append(timed)
        progress.seconds += time.monotonic() - start

    def _complete(self, progress: _Progress) -> bool:
        return progress.untimed is not None and (
            progress.failed or len(progress.timed) == self._count
        )

    def _finished(self) -> Iterator[RunRecord]:
        """Records that can be made now: a runtime in relation to the baseline needs both."""
        baseline = self._suite.baseline
        if baseline is not None and not self._complete(self._entries[baseline]):
            return
        for progress in self._entries.values():
            if progress.name in self._recorded or progress.untimed is None:
                continue
            if self._complete(progress):
                yield self._record(progress, progress.untimed)
                # Only now has it been stored.
                self._recorded.add(progress.name)

    def _record(self, progress: _Progress, untimed: UntimedPass) -> RunRecord:
        return assemble(
            untimed,
            self._latency(progress, untimed),
            self._data,
            self._suite.protocol,
            run_id=progress.run_id,
            created=progress.created,
            duration_seconds=progress.seconds,
            log_tail=progress.log_tail,
        )

    def _latency(self, progress: _Progress, untimed: UntimedPass) -> Latency | Absent:
        if self._suite.protocol.latency is None:
            return NOT_TIMED
        if untimed.ready is None and isinstance(untimed.complexity, Absent):
            return untimed.complexity
        if not progress.timed:
            return INTERRUPTED
        count = len(progress.timed)
        baseline = self._suite.baseline
        return Latency(
            session=self._session,
            order_seed=self._suite.order_seed,
            entries=tuple(sorted(self._entries)),
            replicates=tuple(timed.replicate for timed in progress.timed),
            baseline=None
            if baseline is None
            else baseline_times(
                baseline,
                [timed.replicate for timed in self._entries[baseline].timed[:count]],
                rounds=count,
            ),
        )

"""Entries interleaved between fresh processes, so that all of them meet the same machine."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from harness.evaluation.assembly import assemble, baseline_times
from harness.evaluation.evaluator import NOT_TIMED, Timed, measure_untimed, time_replicate
from harness.records import Absent, Latency

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from harness.catalog.datasets import ImagePairs
    from harness.evaluation.evaluator import Entry, Untimed
    from harness.evaluation.suite import Suite
    from harness.records import DataIdentity, RunRecord

INTERRUPTED = Absent(kind="failed", reason="the run was interrupted before anything was timed")


@dataclass(slots=True)
class _Progress:
    """How far an entry is."""

    entry: Entry
    created: datetime = field(default_factory=lambda: datetime.now(UTC))
    seconds: float = 0.0
    untimed: Untimed | None = None
    timed: list[Timed] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.entry.descriptor.name

    @property
    def failed(self) -> bool:
        """Nothing more is asked of an entry that did not load, or that failed once."""
        loaded = self.untimed is None or self.untimed.ready is not None
        return not loaded or any(timed.failed for timed in self.timed)


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

    @property
    def _count(self) -> int:
        latency = self._suite.protocol.latency
        return latency.processes if latency is not None else 0

    def run(self) -> Iterator[RunRecord]:
        """Records in the order in which entries come to their end."""
        shuffled = random.Random(self._suite.order_seed)  # noqa: S311 - an order, not a secret
        order = list(self._entries.values())
        # Without timing there is one round all the same, which scores and counts.
        for index in range(max(self._count, 1)):
            shuffled.shuffle(order)
            for position, progress in enumerate(order):
                self._measure(progress, index, position)
                yield from self._finished()

    def unfinished(self) -> Iterator[RunRecord]:
        """Records of what is there when a run is interrupted; nothing of entries not begun."""
        for progress in self._entries.values():
            if progress.name not in self._recorded and progress.untimed is not None:
                yield self._record(progress, progress.untimed)

    def _measure(self, progress: _Progress, index: int, position: int) -> None:
        suite, on_step = self._suite, partial(self._on_step, progress.name)
        start = time.monotonic()
        if index == 0:
            progress.created = datetime.now(UTC)
            folder = suite.sr_folder
            progress.untimed = measure_untimed(
                progress.entry,
                self._pairs,
                suite.protocol,
                sr_folder=folder and folder / self._data.name / progress.name,
                on_step=on_step,
                timeout_seconds=self._timeout_seconds,
            )
        if suite.protocol.latency is not None and not progress.failed:
            timed = time_replicate(
                progress.entry,
                self._pairs,
                suite.protocol,
                suite.protocol.latency,
                index=index,
                position=position,
                on_step=on_step,
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
                self._recorded.add(progress.name)
                yield self._record(progress, progress.untimed)

    def _record(self, progress: _Progress, untimed: Untimed) -> RunRecord:
        return assemble(
            untimed,
            self._latency(progress, untimed),
            self._data,
            self._suite.protocol,
            created=progress.created,
            duration_seconds=progress.seconds,
            log_tail=progress.timed[-1].log_tail if progress.timed else untimed.log_tail,
        )

    def _latency(self, progress: _Progress, untimed: Untimed) -> Latency | Absent:
        if self._suite.protocol.latency is None:
            return NOT_TIMED
        if untimed.ready is None and isinstance(untimed.complexity, Absent):
            return untimed.complexity
        if not progress.timed:
            return INTERRUPTED
        count = len(progress.timed)
        baseline = self._suite.baseline
        return Latency(
            order_seed=self._suite.order_seed,
            entries=tuple(sorted(self._entries)),
            replicates=tuple(timed.replicate for timed in progress.timed),
            baseline=None
            if baseline is None
            else baseline_times(
                baseline,
                [timed.replicate for timed in self._entries[baseline].timed[:count]],
            ),
        )

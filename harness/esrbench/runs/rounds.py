"""Entries interleaved between fresh processes, so that all of them meet the same machine."""

from __future__ import annotations

import math
import random
import secrets
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from esrbench.data.codecs import read_size
from esrbench.errors import MeasurementError
from esrbench.records import Absent, Latency, Notice
from esrbench.runs.assembly import assemble, baseline_times
from esrbench.runs.evaluator import measure_untimed
from esrbench.runs.journal import Timed, Untimed
from esrbench.runs.null_times import NullTimes
from esrbench.runs.refusal import Refusal
from esrbench.runs.replicate import time_replicate
from esrbench.runs.store import record_id
from esrbench.runs.timing import Plan
from esrbench.runs.untimed_windows import compare_untimed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from esrbench.data.datasets import ImagePairs
    from esrbench.records import DataIdentity, RunRecord
    from esrbench.runs.evaluator import Entry, UntimedPass
    from esrbench.runs.journal import Journal
    from esrbench.runs.replicate import TimedPass
    from esrbench.runs.suite import Suite
    from esrbench.worker.launcher import Launcher

TIMED_STEPS_BESIDE_IMAGES = 4
"""Load, fixed input, null network, untimed windows."""
NOT_TIMED = Absent(kind="skipped", reason="the protocol leaves latency out")
INTERRUPTED = Absent(kind="skipped", reason="the run was interrupted before anything was timed")


@dataclass(slots=True)
class _Progress:
    """How far an entry is."""

    entry: Entry
    fingerprint: str
    created: datetime = field(default_factory=lambda: datetime.now(UTC))
    run_id: str = ""
    seconds: float = 0.0
    untimed: UntimedPass | None = None
    timed: list[TimedPass] = field(default_factory=list)
    sittings: set[str] = field(default_factory=set)

    def take_up(self, journal: Journal, rounds: int) -> None:
        """Take over what is kept of it."""
        kept = journal.untimed(self.fingerprint, self.entry)
        if kept is None:
            return
        self.run_id, self.created, self.untimed = kept.run_id, kept.created, kept.found
        self.seconds = kept.seconds
        for timed in journal.timed(self.fingerprint, rounds):
            self.add(timed)

    def add(self, timed: Timed) -> None:
        """Count in a timed pass."""
        self.timed.append(timed.found)
        self.seconds += timed.seconds
        self.sittings.add(timed.sitting)

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
        fingerprints: of the run of each entry, by name.
        journal: what is kept of these rounds, and where every pass goes as soon as it is made.
        on_step: told entry and step as each step begins.
        timeout_seconds: deadline of each request to a worker.
        entry_seconds: that all workers of an entry may take together.
    """

    def __init__(
        self,
        suite: Suite,
        pairs: ImagePairs,
        data: DataIdentity,
        *,
        fingerprints: Mapping[str, str],
        journal: Journal,
        on_step: Callable[[str, str], None],
        timeout_seconds: float,
        entry_seconds: float,
    ) -> None:
        self._suite = suite
        self._pairs = pairs
        self._data = data
        self._on_step = on_step
        self._timeout_seconds = timeout_seconds
        self._entry_seconds = entry_seconds
        self._journal = journal
        self._shared = journal.beginning.rounds[data.digest]
        self._sitting = secrets.token_hex(8)
        self._recorded: set[str] = set()
        self._entries: dict[str, _Progress] = {}
        for entry in suite.entries:
            name = entry.descriptor.name
            self._entries[name] = _Progress(entry, fingerprints[name])
            self._entries[name].take_up(journal, self._count)
        self._launcher = suite.launcher.hiding(hidden_images(pairs))

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
            if progress.untimed is None:
                self._begin(progress)
            yield from self._finished()
        plan = self._plan()
        if plan is None:
            return
        sizes = [self._suite.protocol.counted_input]
        sizes += [read_size(pair.lr) for pair in self._pairs.pairs]
        shuffled = random.Random(self._suite.order_seed)  # noqa: S311 - an order, not a secret
        with NullTimes(plan, sizes) as null:
            for index in range(self._count):
                shuffled.shuffle(order)
                for position, progress in enumerate(order):
                    if not progress.failed and len(progress.timed) <= index:
                        self._time(progress, null, index, position)
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
            launcher=self._launcher_of(progress.entry),
            sr_folder=folder and folder / self._data.name / progress.name,
            on_step=partial(self._on_step, progress.name),
            timeout_seconds=self._timeout_seconds,
            limit_seconds=self._entry_seconds,
        )
        progress.seconds = time.monotonic() - start
        kept = Untimed(progress.run_id, progress.created, progress.seconds, progress.untimed)
        self._journal.keep_untimed(progress.fingerprint, kept)

    def _time(self, progress: _Progress, null: NullTimes, index: int, position: int) -> None:
        plan = self._plan(progress.entry, self._entry_seconds - progress.seconds)
        if plan is None or progress.untimed is None or progress.untimed.ready is None:
            return
        start = time.monotonic()
        on_step = partial(self._on_step, progress.name)
        timed_pass = partial(
            time_replicate,
            progress.entry,
            self._pairs,
            plan,
            untimed=progress.untimed,
            index=index,
            position=position,
            on_step=on_step,
        )
        found = null.around(progress.entry, timed_pass, on_step)
        left = plan.limit_seconds - (time.monotonic() - start)
        again = replace(plan, limit_seconds=max(0.0, left))
        found = compare_untimed(progress.entry, self._pairs, again, found, on_step)
        timed = Timed(found, time.monotonic() - start, self._sitting)
        progress.add(timed)
        self._journal.keep_timed(progress.fingerprint, timed)

    def _plan(self, entry: Entry | None = None, limit_seconds: float = math.inf) -> Plan | None:
        design = self._suite.protocol.latency
        if design is None:
            return None
        return Plan(
            self._suite.protocol,
            design,
            self._launcher if entry is None else self._launcher_of(entry),
            self._shared.variant_seed,
            self._timeout_seconds,
            max(0.0, limit_seconds),
        )

    def _launcher_of(self, entry: Entry) -> Launcher:
        """What this entry may not see of the others."""
        folders = [other.descriptor.folder for other in self._suite.entries if other is not entry]
        return self._launcher.hiding(Path(folder) for folder in folders if folder)

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
        try:
            return self._assembled(progress, untimed)
        except (ValueError, ArithmeticError, LookupError, TypeError) as error:
            # A stranger's worker may answer what no network can: that is its failure alone.
            entry, tier = progress.entry, self._launcher.sandbox.tier
            said = MeasurementError(f"protocol: its worker's answers make no record: {error}")
            refusal = Refusal(progress.name, entry.scale, said, "protocol")
            return refusal.record(self._data, self._suite.protocol, tier)

    def _assembled(self, progress: _Progress, untimed: UntimedPass) -> RunRecord:
        record = assemble(
            untimed,
            self._latency(progress, untimed),
            self._data,
            self._suite.protocol,
            rescored=[score for timed in progress.timed for score in timed.rescored],
            tier=self._launcher.sandbox.tier,
            fingerprint=progress.fingerprint,
            run_id=progress.run_id,
            created=progress.created,
            duration_seconds=progress.seconds,
            log_tail=progress.log_tail,
        )
        if len(progress.sittings) > 1:
            notices = (*record.notices, _resumed(len(progress.timed), len(progress.sittings)))
            return record.model_copy(update={"notices": notices})
        return record

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
            session=self._shared.session,
            order_seed=self._suite.order_seed,
            entries=tuple(sorted(self._entries)),
            variant_seed=self._shared.variant_seed,
            replicates=tuple(timed.replicate for timed in progress.timed),
            baseline=None
            if baseline is None
            else baseline_times(
                baseline,
                [timed.replicate for timed in self._entries[baseline].timed[:count]],
                rounds=count,
            ),
        )


def _resumed(processes: int, sittings: int) -> Notice:
    return Notice(
        code="resumed",
        message=f"its {processes} timed processes ran in {sittings} sittings, since the suite was "
        "cut short and taken up again",
        advice="Compare their times; where they differ, measure again without --resume.",
    )


def hidden_images(pairs: ImagePairs) -> Iterator[Path]:
    """The folders of a data set's images, which no worker may see."""
    for pair in pairs.pairs:
        yield from {pair.hr.resolve().parent, pair.lr.resolve().parent}

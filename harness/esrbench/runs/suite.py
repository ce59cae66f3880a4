"""The efficiency suite: every pass and every record is stored as it is made."""

from __future__ import annotations

import secrets
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from esrbench.data.crops import CropFolder, crops_of
from esrbench.errors import MeasurementError, RecordError
from esrbench.runs.assembly import assemble
from esrbench.runs.fingerprint import expected_environment, fingerprint
from esrbench.runs.making import Maker
from esrbench.runs.passes import Pass, PassFolder, SharedRounds, TimedPass, UntimedPass
from esrbench.runs.plan import plan_passes
from esrbench.runs.progress import Progress, seconds_left
from esrbench.runs.rejected import RejectedEntry
from esrbench.runs.store import SuiteGoneError
from esrbench.worker.process import DEFAULT_ENTRY_SECONDS, DEFAULT_TIMEOUT_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from esrbench.data.datasets import ImagePairs
    from esrbench.records import DataIdentity, Environment, Notice, RunRecord
    from esrbench.runs.evaluator import Entry
    from esrbench.runs.null_times import NullTimes
    from esrbench.runs.plan import PlannedPass, Suite
    from esrbench.runs.progress import Key
    from esrbench.runs.store import Store

UNFINISHED = frozenset({"interrupted", "infra-error", "busy-machine"})
"""Statuses of runs that are to be made again."""


def run_suite(
    suite: Suite,
    store: Store,
    *,
    resume: bool = False,
    on_step: Callable[[str, str], None] = lambda _entry, _step: None,
    on_known: Callable[[RunRecord], None] = lambda _record: None,
    on_notice: Callable[[Notice], None] = lambda _notice: None,
    on_progress: Callable[[Progress], None] = lambda _progress: None,
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
    entry_seconds: float = DEFAULT_ENTRY_SECONDS,
) -> Iterator[RunRecord]:
    """Measure and store one record after the other.

    On each data set all entries are scored and counted, and then timed once a round, each in a
    fresh process, in a random order that every round draws anew. A record is made as soon as
    its entry, and the baseline if there is one, have all their rounds.

    Every pass is kept in the store as soon as it is made. A suite that was cut short, in whatever
    way, can be resumed: the newest of the same plan that did not end is taken up, with its seeds
    and order, and only passes are made that it lacks, or whose fingerprint has changed. Where all
    suites of this plan ended, resuming leaves out what has a finished record of the same
    fingerprint, of whichever suite. Finished is any status but ``interrupted``,
    ``infra-error`` and ``busy-machine``. Without ``resume`` everything is measured.

    Args:
        suite: the plan.
        store: where each record goes as soon as it is made. Other suites may write there too; those
            of the same plan that resume share one another's passes.
        resume: measure only what is not there yet. With an ``sr_folder``, only a suite that did
            not end can be resumed, since records hold no SR images.
        on_step: told entry and step as each step begins.
        on_known: told the records that were there.
        on_notice: told what of an earlier suite could not be read; it is measured again.
        on_progress: told how far the suite is as each pass begins.
        timeout_seconds: deadline of each request to a worker.
        entry_seconds: that all workers of an entry may take together, on each data set.

    Yields:
        Each record once it is stored. A run that is cut short, by whatever is raised, leaves
        records of what was timed so far, with the status ``interrupted``, in the store.

    Raises:
        RecordError: a record cannot be stored, those before it are.
    """
    store.require_writable()
    suite = replace(
        suite, launcher=suite.launcher.hiding(folder.resolve() for folder in store.folders)
    )
    session = _Session(
        suite,
        store,
        Maker(secrets.token_hex(8), on_step, timeout_seconds),
        expected_environment(suite.protocol, suite.launcher.sandbox.tier),
        entry_seconds,
        on_known,
        on_progress,
    )
    yield from session.run(resume=resume, on_notice=on_notice)


@dataclass(frozen=True, slots=True)
class _Session:
    """One session of a suite, which it begins or resumes."""

    suite: Suite
    store: Store
    maker: Maker
    environment: Environment
    entry_seconds: float
    on_known: Callable[[RunRecord], None]
    on_progress: Callable[[Progress], None]

    def run(self, *, resume: bool, on_notice: Callable[[Notice], None]) -> Iterator[RunRecord]:
        """Records as they are stored; those that were there are passed to ``on_known``."""
        suite = self.suite
        # As files are before anything runs.
        fingerprints = {
            data.digest: {
                entry.descriptor.name: self._fingerprint(entry, data) for entry in suite.entries
            }
            for _, data in suite.data
        }
        stored, notices = self.store.load_measured() if resume else ([], [])
        for notice in notices:
            on_notice(notice)
        finished = {each.fingerprint: each for each in stored if each.status not in UNFINISHED}
        before = {each.run_id: each for each in stored}
        ours = {one for of_data in fingerprints.values() for one in of_data.values()}
        ours |= {
            each.fingerprint(data, suite.protocol_of(each.name))
            for each in suite.rejected
            for _, data in suite.data
        }
        folder = PassFolder.find(suite.digest(), self.store, on_notice) if resume else None
        if folder is None:
            known = set() if suite.sr_folder else ours & set(finished)
            folder = PassFolder.begin(suite.digest(), self.store, known, on_notice)
        told: set[str] = set()
        try:
            with self.store.working_on(folder.name):
                for record in self._records(folder, fingerprints, before, finished):
                    told.add(record.run_id)
                    if before.get(record.run_id) == record:
                        self.on_known(record)
                    else:
                        yield record
                folder.end()
        except SuiteGoneError:
            # Another process was faster, and has made the records that are left.
            for record in self.store.load()[0]:
                newer = record.created >= folder.beginning.created
                if record.fingerprint in ours and newer and record.run_id not in told:
                    self.on_known(record)

    def _records(
        self,
        folder: PassFolder,
        fingerprints: Mapping[str, Mapping[str, str]],
        stored: Mapping[str, RunRecord],
        finished: Mapping[str, RunRecord],
    ) -> Iterator[RunRecord]:
        """All records of the suite, once they are stored; those that were there among them."""
        suite = self.suite
        all_images = sum(len(pairs.pairs) for pairs, _ in suite.data)
        images = 0
        for pairs, data in suite.data:
            yield from self._rejected(data, folder, stored, finished)
            of_data = fingerprints[data.digest]
            before = {
                name: finished[one]
                for name, one in of_data.items()
                if one in folder.beginning.known and one in finished
            }
            left = of_data.keys() - before.keys()
            if left and suite.baseline is not None:
                # Runtimes are set in relation to the baseline's of the same rounds.
                left.add(suite.baseline)
            yield from (record for name, record in before.items() if name not in left)
            plan = self._plan(pairs, data, left, of_data, folder)
            images += len(pairs.pairs)
            on_data = _OnData(
                plan,
                folder,
                self.maker,
                self.entry_seconds,
                self.on_progress,
                finished=len(suite.rejected) + len(before.keys() - left),
                later=(all_images - images) / len(pairs.pairs),
            )
            yield from self._measured(on_data, stored)

    def _fingerprint(self, entry: Entry, data: DataIdentity) -> str:
        protocol = self.suite.protocol_of(entry.descriptor.name)
        gpu = self.suite.launcher.gpu
        return fingerprint(entry, data, protocol, entry.environment(self.environment), gpu)

    def _rejected(
        self,
        data: DataIdentity,
        folder: PassFolder,
        stored: Mapping[str, RunRecord],
        finished: Mapping[str, RunRecord],
    ) -> Iterator[RunRecord]:
        suite = self.suite
        for rejected in suite.rejected:
            protocol = suite.protocol_of(rejected.name)
            fingerprint = rejected.fingerprint(data, protocol)
            if fingerprint in folder.beginning.known and fingerprint in finished:
                yield finished[fingerprint]
                continue
            name = f"{fingerprint}.untimed"
            untimed = folder.load(name, Pass[UntimedPass])
            if untimed is None:
                tier = suite.launcher.sandbox.tier
                untimed = folder.put(name, rejected.untimed(data, protocol, tier))
            yield self._stored(assemble(untimed), stored)

    def _stored(self, record: RunRecord, stored: Mapping[str, RunRecord]) -> RunRecord:
        """A record, once it is stored."""
        if stored.get(record.run_id) != record:
            self.store.put(record)
        return record

    def _plan(
        self,
        pairs: ImagePairs,
        data: DataIdentity,
        names: Collection[str],
        fingerprints: Mapping[str, str],
        folder: PassFolder,
    ) -> list[PlannedPass]:
        """Passes of the entries of some names."""
        suite = self.suite
        entries = tuple(entry for entry in suite.entries if entry.descriptor.name in names)
        rounds_id, variant_seed = folder.beginning.drawn(data.digest)
        rounds = SharedRounds(
            id=rounds_id,
            variant_seed=variant_seed,
            order_seed=suite.order_seed,
            entries=tuple(sorted(names)),
            baseline=suite.baseline,
        )
        planned = plan_passes(
            replace(suite, entries=entries),
            pairs,
            data,
            rounds=rounds,
            environment=self.environment,
            fingerprints=fingerprints,
        )
        if not data.verified or data.hidden:
            return planned  # its images may be nobody's to show
        try:
            crops = crops_of(pairs, self.store.crops_of(data.digest))
        except OSError as error:
            message = f"{error.filename}: crops cannot be written: {error.strerror or error}"
            advice = "Free space, or give --results a folder you can write to."
            raise RecordError(message, advice=advice) from error
        return [
            replace(each, crops=CropFolder(self.store.crops_of(each.fingerprint), crops))
            for each in planned
        ]

    def _measured(self, on_data: _OnData, stored: Mapping[str, RunRecord]) -> Iterator[RunRecord]:
        try:
            for record in on_data.records():
                yield self._stored(record, stored)
        except SuiteGoneError:
            raise
        except BaseException:
            # Ctrl-C, a full disk or an image that changed: hours of other entries are kept.
            for record in on_data.unfinished():
                with suppress(RecordError):
                    self.store.put(record)
            raise


@dataclass(slots=True)
class _Made:
    """Passes of one entry."""

    untimed: Pass[UntimedPass] | None = None
    timed: dict[int, Pass[TimedPass]] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """That they took."""
        untimed = self.untimed.seconds if self.untimed else 0.0
        return untimed + sum(each.seconds for each in self.timed.values())

    @property
    def failed(self) -> bool:
        """Nothing more is asked of an entry that did not load, or that failed once."""
        loaded = self.untimed is None or not self.untimed.found.failed
        return not loaded or any(each.found.failed for each in self.timed.values())

    def has(self, index: int | None) -> bool:
        """Whether the timed pass of a round is there, or for None the untimed one."""
        return self.untimed is not None if index is None else index in self.timed

    @property
    def rounds(self) -> list[Pass[TimedPass]]:
        """Timed passes in the order of their rounds."""
        return [self.timed[index] for index in sorted(self.timed)]


@dataclass(slots=True)
class _OnData:
    """The passes of a suite on one data set, and the records that can be made of them.

    Attributes:
        plan: all passes, in order.
        folder: where they are kept.
        maker: makes what is missing.
        entry_seconds: that all workers of an entry may take together.
        on_progress: told how far the suite is as each pass begins.
        finished: entries of the suite that are not in the plan.
        later: images of later data sets, as a multiple of this one's.
        made: passes that there are, by name of the entry; those in the folder are taken over.
        recorded: names of entries whose records are stored.
    """

    plan: Sequence[PlannedPass]
    folder: PassFolder
    maker: Maker
    entry_seconds: float
    on_progress: Callable[[Progress], None]
    finished: int = 0
    later: float = 0.0
    made: dict[str, _Made] = field(default_factory=dict)
    recorded: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        """Take over what is kept."""
        for planned in self.plan:
            self._take_over(planned)

    def _take_over(self, planned: PlannedPass) -> bool:
        """Look for a pass, which another process may have made; whether it is there."""
        made = self.made.setdefault(planned.entry.descriptor.name, _Made())
        if made.has(planned.index):
            return True
        if planned.index is None:
            made.untimed = self.folder.load(planned.name, Pass[UntimedPass])
        elif made.untimed and (timed := self.folder.load(planned.name, Pass[TimedPass])):
            made.timed[planned.index] = timed
        return made.has(planned.index)

    def records(self) -> Iterator[RunRecord]:
        """Make what is missing; records in the order in which entries come to their end."""
        with ExitStack() as ending:
            null: NullTimes | None = None
            for number, planned in enumerate(self.plan):
                made = self.made[planned.entry.descriptor.name]
                wanted = planned.index is None or (made.untimed is not None and not made.failed)
                if wanted and not self._take_over(planned):
                    self.folder.require()
                    self.on_progress(self._progress(number))
                    limit = self.entry_seconds - made.seconds
                    if planned.index is None:
                        untimed = self.maker.untimed(planned, limit)
                        made.untimed = self.folder.put(planned.name, untimed)
                    elif made.untimed is not None:
                        if null is None:
                            null = ending.enter_context(self.maker.null_times(planned))
                        timed = self.maker.timed(planned, made.untimed, null, limit)
                        made.timed[planned.index] = self.folder.put(planned.name, timed)
                yield from self._finished()

    def _progress(self, number: int) -> Progress:
        """How far the suite is as a pass of the plan begins."""
        planned, entries = self.plan[number], len(self.made)
        took: dict[Key, list[float]] = {}
        for name, made in self.made.items():
            took[name, False] = [made.untimed.seconds] if made.untimed else []
            took[name, True] = [each.seconds for each in made.timed.values()]
        left = [
            (each.entry.descriptor.name, each.index is not None)
            for each in self.plan[number:]
            if not self.made[each.entry.descriptor.name].has(each.index)
        ]
        ended = [name for name, made in self.made.items() if made.failed]
        seconds = seconds_left(left, took, ended)
        if seconds is not None:
            seconds += self.later * (seconds + sum(map(sum, took.values())))
        return Progress(
            entry=planned.entry.descriptor.name,
            number=self.finished + number % entries + 1,
            count=self.finished + entries,
            round=0 if planned.index is None else planned.index + 1,
            rounds=planned.protocol.latency.processes if planned.protocol.latency else 0,
            seconds_left=seconds,
            seconds_to_timing=seconds_left([key for key in left if not key[1]], took, ended),
        )

    def unfinished(self) -> Iterator[RunRecord]:
        """Records of what is there when a run is cut short; nothing of entries not begun.

        Nothing either where another process has ended the suite, whose records are complete.
        """
        with suppress(SuiteGoneError):
            self.folder.require()
            for planned in self.plan:
                self._take_over(planned)
            yield from self._unfinished()

    def _unfinished(self) -> Iterator[RunRecord]:
        for name, made in self.made.items():
            if name not in self.recorded and made.untimed is not None:
                yield self._record(made, made.untimed)

    def _complete(self, name: str) -> bool:
        made, design = self.made[name], self.plan[0].protocol.latency
        count = design.processes if design else 0
        return made.untimed is not None and (made.failed or len(made.timed) == count)

    def _finished(self) -> Iterator[RunRecord]:
        """Records that can be made now: a runtime in relation to the baseline needs both."""
        baseline = self.plan[0].rounds.baseline
        if baseline is not None and not self._complete(baseline):
            return
        for name, made in self.made.items():
            if name not in self.recorded and made.untimed is not None and self._complete(name):
                yield self._record(made, made.untimed)
                # Only now has it been stored.
                self.recorded.add(name)

    def _record(self, made: _Made, untimed: Pass[UntimedPass]) -> RunRecord:
        baseline = self.plan[0].rounds.baseline
        beside = [] if baseline is None else self.made[baseline].rounds
        try:
            attempts = self.folder.attempts(untimed.fingerprint)
            return assemble(untimed, made.rounds, beside, attempts=attempts)
        except (ValueError, ArithmeticError, LookupError, TypeError) as error:
            # A stranger's worker may answer what no network can: that is its failure alone.
            said = MeasurementError(f"protocol: its worker's answers make no record: {error}")
            entry, tier = untimed.entry, untimed.environment.isolation
            rejected = RejectedEntry(entry.name, entry.scale, said, "protocol")
            failed = rejected.untimed(untimed.data, untimed.protocol, tier)
            same = {"run_id": untimed.run_id, "created": untimed.created}
            return assemble(failed.model_copy(update=same))

"""The efficiency suite: every pass and every record is stored as it is made."""

from __future__ import annotations

import os
import platform
import secrets
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Final

from esrbench.data.crops import CropFolder, crops_of
from esrbench.devices import device_name
from esrbench.errors import MeasurementError, RecordError, UsageError
from esrbench.records import Notice
from esrbench.runs.assembly import assemble
from esrbench.runs.cells import InProcess, cut, phases
from esrbench.runs.fingerprint import anywhere, expected_environment, fingerprint
from esrbench.runs.making import Maker
from esrbench.runs.passes import CellReport, Pass, PassFolder, SharedRounds, TimedPass, UntimedPass
from esrbench.runs.plan import plan_passes
from esrbench.runs.plan_file import plan_file, read_plan, suite_of
from esrbench.runs.progress import Progress, Took, progress_of
from esrbench.runs.rejected import RejectedEntry
from esrbench.runs.store import Store, SuiteGoneError
from esrbench.worker.process import DEFAULT_ENTRY_SECONDS, DEFAULT_TIMEOUT_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from esrbench.data.datasets import ImagePairs
    from esrbench.records import DataIdentity, Environment, RunRecord
    from esrbench.runs.cells import Cell, CellState, Engine
    from esrbench.runs.null_times import NullTimes
    from esrbench.runs.passes import FoundT
    from esrbench.runs.plan import PlannedPass, Suite
    from esrbench.runs.plan_file import PlanFile
    from esrbench.runs.progress import Key, State

UNFINISHED = frozenset({"interrupted", "infra-error", "busy-machine"})
"""Statuses of runs that are to be made again."""
KILLED_BEFORE_FAILED = 2
"""Attempts at a pass whose worker was killed; after another one its entry has failed."""
LACKING = frozenset({"interrupted", "infra-error"})
"""Statuses of runs that lack sound passes: an engine's suite goes on with those that there are."""
STATES: Final[Mapping[str, State]] = {
    "waiting": "waiting",
    "running": "running",
    "ended": "failed",  # or done, which the passes tell
}
"""What progress says of the states of an engine."""


def run_suite(
    suite: Suite,
    store: Store,
    *,
    resume: bool = False,
    engine: Engine | None = None,
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
        engine: makes the passes elsewhere, on machines that see this store and all files of the
            plan under the same paths; None for this process.
        on_step: told entry and step as each step begins in this process.
        on_known: told the records that were there.
        on_notice: told what of an earlier suite could not be read and is measured again, and which
            cells of an engine failed.
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
        Maker(secrets.token_hex(8), on_step=on_step, timeout_seconds=timeout_seconds),
        expected_environment(suite.protocol, suite.launcher.sandbox.tier),
        entry_seconds,
        on_known,
        on_progress,
        on_notice,
        engine,
    )
    yield from session.run(resume=resume)


def run_cell(
    path: Path,
    cell_id: str,
    *,
    gpu: int = 0,
    on_step: Callable[[str, str], None] = lambda _entry, _step: None,
) -> int:
    """Make what is missing of a cell, on this machine, beside whoever else makes passes.

    Args:
        path: of the plan, in the folder of its suite.
        cell_id: of the cell.
        gpu: number of the GPU, where the protocol asks for one.
        on_step: told entry and step as each step begins.

    Returns:
        How many passes it made.

    Raises:
        UsageError: the plan has no such cell, or one process makes all of it, or as of
            ``suite_of``.
        SuiteGoneError: the suite has ended.
        MeasurementError, DataError, RecordError: as of ``suite_of`` and ``run_suite``.
    """
    plan = read_plan(path)
    cell = next((each for each in plan.cells if each.id == cell_id), None)
    if cell is None:
        message = f"{path}: there is no cell {cell_id}"
        raise UsageError(message, advice=f"It has {len(plan.cells)}: {plan.cells[0].id} to ...")
    if not plan.anywhere:
        message = f"{path}: one process makes all of this plan, which began without an engine"
        raise UsageError(message, advice="Begin it with --engine local, slurm or ray.")
    store = Store(path.resolve().parents[2])
    folder = PassFolder.open(store, path.resolve().parent.name, lambda _: None)
    environment = expected_environment(plan.protocol, plan.tier)
    suite = suite_of(plan, cell.entries, environment, gpu=gpu)
    suite = replace(suite, launcher=suite.launcher.hiding(each.resolve() for each in store.folders))
    ((pairs, data),) = suite.data
    on_data = _OnData(
        plan,
        path,
        _planned(
            suite,
            store,
            folder,
            environment=environment,
            pairs=pairs,
            data=data,
            fingerprints=plan.data.fingerprints,
        ),
        folder,
        Maker(secrets.token_hex(8), platform.node(), on_step, plan.timeout_seconds),
    )
    with store.working_on(folder.name):
        try:
            made = sum(1 for _ in on_data.passes(cell))
        finally:
            on_data.close()
    if lacking := sum(1 for _ in on_data.missing(cell)):
        message = f"{cell_id}: {lacking} passes need others that are not there yet, or were spoilt"
        raise MeasurementError(message, advice="Make the untimed cells first.")
    return made


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
    on_notice: Callable[[Notice], None]
    engine: Engine | None

    def run(self, *, resume: bool) -> Iterator[RunRecord]:
        """Records as they are stored; those that were there are passed to ``on_known``."""
        suite, on_notice = self.suite, self.on_notice
        # As files are before anything runs.
        fingerprints = expected_fingerprints(
            suite, self.environment, elsewhere=self.engine is not None
        )
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
        complete = True
        try:
            with self.store.working_on(folder.name):
                for record in self._records(folder, fingerprints, before, finished):
                    told.add(record.run_id)
                    complete = complete and (self.engine is None or record.status not in LACKING)
                    if before.get(record.run_id) == record:
                        self.on_known(record)
                    else:
                        yield record
                if complete:
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
            wanted = {name: of_data[name] for name in of_data if name in left}
            plan = _planned(
                suite,
                self.store,
                folder,
                environment=self.environment,
                pairs=pairs,
                data=data,
                fingerprints=wanted,
            )
            images += len(pairs.pairs)
            if not plan:
                continue
            document = plan_file(
                suite,
                pairs,
                data,
                wanted,
                cells=cut(plan, 1 if self.engine is None else self.engine.width),
                environment=self.environment,
                anywhere=self.engine is not None,
                finished=len(suite.rejected) + len(before.keys() - left),
                later=(all_images - images) / len(pairs.pairs),
                entry_seconds=self.entry_seconds,
                timeout_seconds=self.maker.timeout_seconds,
            )
            on_data = _OnData(
                document,
                folder.put_plan(document.name, document),
                plan,
                folder,
                self.maker,
                self.on_progress,
                self.on_notice,
                self.engine,
            )
            yield from self._measured(on_data, stored)

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

    def _measured(self, on_data: _OnData, stored: Mapping[str, RunRecord]) -> Iterator[RunRecord]:
        try:
            for record in on_data.records():
                yield self._stored(record, stored)
            if on_data.gave_up:
                for record in on_data.unfinished():
                    yield self._stored(record, stored)
        except SuiteGoneError:
            raise
        except BaseException:
            # Ctrl-C, a full disk or an image that changed: hours of other entries are kept.
            for record in on_data.unfinished():
                with suppress(RecordError):
                    self.store.put(record)
            raise


def expected_fingerprints(
    suite: Suite, environment: Environment, *, elsewhere: bool
) -> dict[str, dict[str, str]]:
    """Fingerprints of all runs of a suite before any is made, by data set and entry.

    Args:
        suite: the plan.
        environment: as it is known before anything runs.
        elsewhere: an engine makes the passes, on whatever machine.
    """
    own = anywhere(environment) if elsewhere else environment
    gpu = 0 if elsewhere else suite.launcher.gpu
    return {
        data.digest: {
            name: fingerprint(entry, data, suite.protocol_of(name), entry.environment(own), gpu)
            for entry in suite.entries
            for name in (entry.descriptor.name,)
        }
        for _, data in suite.data
    }


def _planned(
    suite: Suite,
    store: Store,
    folder: PassFolder,
    *,
    environment: Environment,
    pairs: ImagePairs,
    data: DataIdentity,
    fingerprints: Mapping[str, str],
) -> list[PlannedPass]:
    """Passes of the entries that have a fingerprint, the same on every machine."""
    entries = tuple(entry for entry in suite.entries if entry.descriptor.name in fingerprints)
    rounds_id, variant_seed = folder.beginning.drawn(data.digest)
    rounds = SharedRounds(
        id=rounds_id,
        variant_seed=variant_seed,
        order_seed=suite.order_seed,
        entries=tuple(sorted(fingerprints)),
        baseline=suite.baseline,
    )
    planned = plan_passes(
        replace(suite, entries=entries),
        pairs,
        data,
        rounds=rounds,
        environment=environment,
        fingerprints=fingerprints,
    )
    if not data.verified or data.hidden:
        return planned  # its images may be nobody's to show
    try:
        crops = crops_of(pairs, store.crops_of(data.digest))
    except OSError as error:
        message = f"{error.filename}: crops cannot be written: {error.strerror or error}"
        advice = "Free space, or give --results a folder you can write to."
        raise RecordError(message, advice=advice) from error
    return [
        replace(each, crops=CropFolder(store.crops_of(each.fingerprint), crops)) for each in planned
    ]


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
        document: the plan as a file.
        path: of that file.
        plan: all passes, in order.
        folder: where they are kept.
        maker: makes what is missing.
        on_progress: told how far the suite is as each pass begins.
        on_notice: told which cells failed, and where.
        engine: has the cells made; None for this process.
        states: what is known of cells, by id.
        null: times the null network, in this process.
        by_name: passes of the plan, by name of the entry and number of the round.
        gave_up: some cells were submitted as often as the engine tries, and lack passes.
        made: passes that there are, by name of the entry; those in the folder are taken over.
        recorded: names of entries whose records are stored.
    """

    document: PlanFile
    path: Path
    plan: Sequence[PlannedPass]
    folder: PassFolder
    maker: Maker
    on_progress: Callable[[Progress], None] = lambda _: None
    on_notice: Callable[[Notice], None] = lambda _: None
    engine: Engine | None = None
    states: dict[str, State] = field(default_factory=dict)
    gave_up: bool = False
    null: NullTimes | None = None
    by_name: dict[tuple[str, int | None], PlannedPass] = field(default_factory=dict)
    made: dict[str, _Made] = field(default_factory=dict)
    recorded: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        """Take over what is kept."""
        for planned in self.plan:
            self.by_name[planned.entry.descriptor.name, planned.index] = planned
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
        """Have made what is missing; records in the order in which entries come to their end."""
        engine = self.engine or InProcess(self.passes)
        try:
            for cells in phases(self.document.cells):
                yield from self._made_by(engine, cells)
        finally:
            self.close()

    def _made_by(self, engine: Engine, cells: Sequence[Cell]) -> Iterator[RunRecord]:
        """Submit cells until nothing of them is missing, each as often as the engine tries."""
        left = {cell.id: cell for cell in cells if any(self.missing(cell))}
        tries = dict.fromkeys(left, 1)
        engine.submit(self.path, tuple(left.values()))
        try:
            yield from self._finished()
            while left:
                states = engine.poll()
                self.states.update((key, STATES[each.state]) for key, each in states.items())
                self._take_over_new()
                yield from self._finished()
                for cell in tuple(left.values()):
                    state = states.get(cell.id)
                    if not any(self.missing(cell)):
                        del left[cell.id]
                    elif state is None or state.state == "ended":
                        self._tell(cell, state, tries[cell.id], engine.tries)
                        if tries[cell.id] < engine.tries:
                            tries[cell.id] += 1
                            engine.submit(self.path, (cell,))
                        else:
                            self._give_up(left.pop(cell.id))
                time.sleep(engine.pause if left else 0.0)
        finally:
            engine.cancel(left)

    def passes(self, cell: Cell) -> Iterator[None]:
        """Make what is missing of a cell in this process, one pass after the other."""
        number = self.plan[0].launcher.gpu
        report = CellReport(
            plan=self.document.name,
            cell=cell.id,
            session=self.maker.session,
            machine=platform.node(),
            device=device_name(self.document.protocol.device, number, os.environ),
            created=datetime.now(UTC),
        )
        with self.folder.at_work(report):
            self.states[cell.id] = "running"
            yield from self._passes(cell)

    def _passes(self, cell: Cell) -> Iterator[None]:
        for planned in self._of(cell):
            if not self._wanted(planned) or self._take_over(planned):
                continue
            made = self.made[planned.entry.descriptor.name]
            self.folder.require()
            self.on_progress(self._progress(planned))
            with self.maker.alone(planned):
                # Another process may have made it while this one waited for the device.
                if self._take_over(planned):
                    continue
                limit = self.document.entry_seconds - made.seconds
                if planned.index is None:
                    made.untimed = self._made_sound(
                        planned, partial(self.maker.untimed, planned, limit)
                    )
                elif made.untimed is None:
                    continue  # what it needs is not there
                else:
                    if self.null is None:
                        self.null = self.maker.null_times(planned).__enter__()
                    timed = partial(self.maker.timed, planned, made.untimed, self.null, limit)
                    made.timed[planned.index] = self._made_sound(planned, timed)
            yield

    def _made_sound(self, planned: PlannedPass, make: Callable[[], Pass[FoundT]]) -> Pass[FoundT]:
        """Make a pass and store it; again where its worker was killed.

        A kernel without memory and people kill innocent workers.
        """
        made = make()
        while made.found.killed and self.folder.tries(planned.name) < KILLED_BEFORE_FAILED:
            self.folder.put_attempt(planned.name, made)
            made = make()
        return self.folder.put(planned.name, made)

    def close(self) -> None:
        """End the workers of the null network."""
        if self.null is not None:
            self.null.__exit__(*sys.exc_info())
            self.null = None

    def _of(self, cell: Cell) -> list[PlannedPass]:
        """The passes of a cell, in order."""
        passes = [self.by_name[name, cell.replicate] for name in cell.entries]
        return sorted(passes, key=lambda planned: planned.position)

    def _wanted(self, planned: PlannedPass) -> bool:
        """Whether a pass is to be made: it is missing, and its entry has not failed."""
        made = self.made[planned.entry.descriptor.name]
        return not made.has(planned.index) and (planned.index is None or not made.failed)

    def missing(self, cell: Cell) -> Iterator[PlannedPass]:
        """Passes of a cell that are to be made."""
        return (planned for planned in self._of(cell) if self._wanted(planned))

    def _take_over_new(self) -> None:
        """Look for passes that were made elsewhere, by one read of the folder."""
        names = self.folder.names()
        if not names:
            self.folder.require()
        new = [
            planned
            for planned in self.plan
            if self._wanted(planned) and planned.name in names and self._take_over(planned)
        ]
        if new and self.engine is not None:
            self.on_progress(self._progress(new[-1]))

    def _tell(self, cell: Cell, state: CellState | None, tried: int, tries: int) -> None:
        if self.engine is None:
            return
        lacks = len(list(self.missing(cell)))
        where = f" on {state.where}" if state and state.where else ""
        said = f": {state.said}" if state and state.said else ""
        message = f"cell {cell.id} ended{where} and lacks {lacks} passes (try {tried} of {tries})"
        self.folder.put_report(
            CellReport(
                plan=self.document.name,
                cell=cell.id,
                machine=state.where if state else "",
                created=datetime.now(UTC),
                said=(state.said if state else "") or "it ended without a word",
            )
        )
        advice = "It is submitted again." if tried < tries else "The others go on; use --resume."
        self.on_notice(Notice(code="cell-failed", message=f"{message}{said}", advice=advice))

    def _give_up(self, cell: Cell) -> None:
        """Go on without passes: the last attempts at them, if there are any, say why."""
        self.gave_up = True
        for planned in self.missing(cell):
            made = self.made[planned.entry.descriptor.name]
            if planned.index is None:
                made.untimed = self.folder.attempt(planned.name, Pass[UntimedPass])
            elif attempt := self.folder.attempt(planned.name, Pass[TimedPass]):
                made.timed[planned.index] = attempt

    def _progress(self, planned: PlannedPass) -> Progress:
        """How far the suite is with a pass of the plan."""
        took: dict[Key, Took] = {}
        for name, made in self.made.items():
            if made.untimed is not None:
                took[name, None] = Took(made.untimed.seconds, made.failed)
            for index, timed in made.timed.items():
                took[name, index] = Took(timed.seconds, made.failed)
        return progress_of(
            self.document.cells,
            took,
            self.states,
            finished=self.document.finished,
            later=self.document.later,
            entry=planned.entry.descriptor.name,
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

"""A suite on one data set: its passes, how its cells are made, and its records."""

from __future__ import annotations

import os
import platform
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from esrbench.data.crops import CropFolder, crops_of
from esrbench.devices import device_name
from esrbench.errors import EsrbenchError, MeasurementError, RecordError
from esrbench.plaintext import plural
from esrbench.records import Notice
from esrbench.runs.assembly import assemble
from esrbench.runs.cells import InProcess, phases
from esrbench.runs.events import SILENT
from esrbench.runs.passes import INTERRUPTED, CellReport, Pass, SharedRounds, TimedPass, UntimedPass
from esrbench.runs.plan import plan_passes
from esrbench.runs.progress import SuiteProgress, Took, progress_of
from esrbench.runs.rejected import RejectedEntry
from esrbench.runs.store import SuiteGoneError
from esrbench.worker.failure import WorkerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from esrbench.data.datasets import ImagePairs
    from esrbench.records import DataIdentity, Environment, RunRecord
    from esrbench.runs.cells import Cell, CellState, Engine
    from esrbench.runs.events import SuiteEvents
    from esrbench.runs.making import Maker
    from esrbench.runs.null_times import NullTimes
    from esrbench.runs.passes import FoundT, PassFolder
    from esrbench.runs.plan import PlannedPass, Suite
    from esrbench.runs.plan_file import PlanFile
    from esrbench.runs.progress import Key, State
    from esrbench.runs.store import Store
    from esrbench.worker.session import WorkerSession

KILLED_BEFORE_FAILED = 2
"""A pass is made again this often if its worker was killed; then its entry has failed."""
STATES: Final[Mapping[str, State]] = {
    "waiting": "waiting",
    "running": "running",
    "ended": "failed",  # unless all its passes exist
}
"""Words of the progress line for the states that an engine reports."""


def planned_on_data(
    suite: Suite,
    store: Store,
    folder: PassFolder,
    *,
    environment: Environment,
    pairs: ImagePairs,
    data: DataIdentity,
    fingerprints: Mapping[str, str],
) -> list[PlannedPass]:
    """Plan the passes of all entries with a fingerprint; every machine gets the same plan."""
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
        return planned  # its images may not be published
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
        """Seconds that they took together."""
        untimed = self.untimed.seconds if self.untimed else 0.0
        return untimed + sum(each.seconds for each in self.timed.values())

    @property
    def failed(self) -> bool:
        """Whether the entry failed; then no further pass of it is made."""
        loaded = self.untimed is None or not self.untimed.found.failed
        return not loaded or any(each.found.failed for each in self.timed.values())

    def has(self, index: int | None) -> bool:
        """Whether the timed pass of a round exists, or the untimed pass for None."""
        return self.untimed is not None if index is None else index in self.timed

    @property
    def rounds(self) -> list[Pass[TimedPass]]:
        """Timed passes in the order of their rounds."""
        return [self.timed[index] for index in sorted(self.timed)]


@dataclass(slots=True)
class SuiteOnData:
    """The passes of a suite on one data set, and the records that can be made of them.

    Attributes:
        document: content of the plan's file.
        path: path of that file.
        plan: all passes, in order.
        folder: holds the passes.
        maker: makes missing passes.
        events: functions that are called while the passes are made.
        engine: has the cells made; None for this process.
        states: known states of cells, by id.
        null: times the null network, in this process.
        by_name: passes of the plan, by name of the entry and number of the round.
        gave_up: some cells used up all tries of the engine and still lack passes.
        made: passes that exist, by name of the entry; at first those in the folder.
        recorded: names of entries whose records are stored.
        ahead: name of the next pass, and its worker if it was started early.
    """

    document: PlanFile
    path: Path
    plan: Sequence[PlannedPass]
    folder: PassFolder
    maker: Maker
    events: SuiteEvents = SILENT
    engine: Engine | None = None
    states: dict[str, State] = field(default_factory=dict)
    gave_up: bool = False
    null: NullTimes | None = None
    by_name: dict[tuple[str, int | None], PlannedPass] = field(default_factory=dict)
    made: dict[str, _Made] = field(default_factory=dict)
    recorded: set[str] = field(default_factory=set)
    ahead: tuple[str, WorkerSession] | None = None

    def __post_init__(self) -> None:
        """Read the passes in the folder."""
        for planned in self.plan:
            self.by_name[planned.entry.descriptor.name, planned.index] = planned
            self._take_over(planned)

    def _take_over(self, planned: PlannedPass) -> bool:
        """Whether a pass exists now; it is read if another process has made it."""
        made = self.made.setdefault(planned.entry.descriptor.name, _Made())
        if made.has(planned.index):
            return True
        if planned.index is None:
            made.untimed = self.folder.load(planned.name, Pass[UntimedPass])
        elif made.untimed and (timed := self.folder.load(planned.name, Pass[TimedPass])):
            made.timed[planned.index] = timed
        return made.has(planned.index)

    def records(self) -> Iterator[RunRecord]:
        """Have the missing passes made; yield records in the order in which entries finish."""
        engine = self.engine or InProcess(self.passes)
        try:
            for cells in phases(self.document.cells):
                yield from self._made_by(engine, cells)
        finally:
            self.close()

    def _made_by(self, engine: Engine, cells: Sequence[Cell]) -> Iterator[RunRecord]:
        """Submit cells until no pass is missing or the engine's tries are used up."""
        left = {cell.id: cell for cell in cells if any(self.missing(cell))}
        tries = dict.fromkeys(left, 1)
        told: set[str] = set()
        engine.submit(self.path, tuple(left.values()))
        try:
            yield from self._finished()
            while left:
                states = engine.poll()
                self.states.update((key, STATES[each.state]) for key, each in states.items())
                self._take_over_new()
                yield from self._finished()
                waits = {each.said for each in states.values() if each.state == "waiting"}
                for said in sorted(waits - told - {""}):
                    advice = "Cells wait for some time. Start what they need, or request less."
                    self.events.on_notice(Notice(code="cells-wait", message=said, advice=advice))
                told |= waits
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
        """Make the missing passes of a cell in this process, one after the other."""
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
            try:
                yield from self._passes(cell)
            except (KeyboardInterrupt, SystemExit, GeneratorExit):
                if any(self.missing(cell)):
                    end = {"session": "", "created": datetime.now(UTC), "said": INTERRUPTED}
                    with suppress(EsrbenchError):  # the interruption must not become an error
                        self.folder.put_report(report.model_copy(update=end))
                raise

    def _passes(self, cell: Cell) -> Iterator[None]:
        for planned, following in pairwise([*self._of(cell), None]):
            if planned is None or not self._wanted(planned) or self._take_over(planned):
                continue
            made = self.made[planned.entry.descriptor.name]
            self.folder.require()
            self.events.on_progress(self._progress(planned))
            with self.maker.alone(planned):
                # Another process may have made this pass while we waited for the device.
                if self._take_over(planned):
                    continue
                start_next = partial(self._start_ahead, following)
                if planned.index is None:
                    make = partial(self.maker.untimed, planned)
                    made.untimed = self._made_sound(planned, make, start_next)
                    self.events.on_scored(self._record(made, made.untimed, self.folder.attempts()))
                elif made.untimed is None:
                    continue  # the untimed pass that it needs is missing
                else:
                    if self.null is None:
                        self.null = self.maker.null_times(planned).__enter__()
                    timed = partial(self.maker.timed, planned, made.untimed, self.null)
                    made.timed[planned.index] = self._made_sound(planned, timed, start_next)
                self._rest_ahead()
            yield

    def _made_sound(
        self,
        planned: PlannedPass,
        make: Callable[..., Pass[FoundT]],
        start_next: Callable[[], None],
    ) -> Pass[FoundT]:
        """Make a pass and store it; make it again if its worker was killed.

        A worker may be killed by the kernel when memory is short, or by a user.
        """
        limit = self._limit(planned)
        made = make(limit, started=self._started(planned), start_next=start_next)
        while made.found.killed and self.folder.tries(planned.name) < KILLED_BEFORE_FAILED:
            self.folder.put_attempt(planned.name, made)
            made = make(limit)
        return self.folder.put(planned.name, made)

    def _limit(self, planned: PlannedPass) -> float:
        """Seconds that the workers of an entry may still take."""
        return self.document.entry_seconds - self.made[planned.entry.descriptor.name].seconds

    def _start_ahead(self, planned: PlannedPass | None) -> None:
        """Start the worker of the next pass, which imports torch while nothing is timed.

        If the null network must be timed first, nothing is started, because no other worker may
        live then.
        """
        if planned is None or self._take_over(planned) or not self._wanted(planned):
            return
        if planned.index is not None and not (
            self.null and self.null.known(planned.entry, planned.protocol)
        ):
            return
        with suppress(EsrbenchError):  # the pass itself reports the error
            session = self.maker.worker(planned, self._limit(planned)).__enter__()
            self.ahead = planned.name, session

    def _rest_ahead(self) -> None:
        """Wait until a worker that was started early is idle, because timing may begin now."""
        if self.ahead is not None:
            try:
                self.ahead[1].greet()
            except WorkerError:
                self._end_ahead()

    def _started(self, planned: PlannedPass) -> WorkerSession | None:
        """The worker that was started early for this pass, or None; end one for another pass."""
        if self.ahead is None:
            return None
        name, session = self.ahead
        if name != planned.name:
            self._end_ahead()
            return None
        self.ahead = None
        return session

    def _end_ahead(self) -> None:
        if self.ahead is not None:
            self.ahead[1].__exit__(*sys.exc_info())
            self.ahead = None

    def close(self) -> None:
        """End the workers of the null network, and a worker that was started early."""
        self._end_ahead()
        if self.null is not None:
            self.null.__exit__(*sys.exc_info())
            self.null = None

    def _of(self, cell: Cell) -> list[PlannedPass]:
        """The passes of a cell, in order."""
        passes = [self.by_name[name, cell.replicate] for name in cell.entries]
        return sorted(passes, key=lambda planned: planned.position)

    def _wanted(self, planned: PlannedPass) -> bool:
        """Whether a pass must be made: it is missing, and its entry has not failed."""
        made = self.made[planned.entry.descriptor.name]
        return not made.has(planned.index) and (planned.index is None or not made.failed)

    def missing(self, cell: Cell) -> Iterator[PlannedPass]:
        """Passes of a cell that must be made."""
        return (planned for planned in self._of(cell) if self._wanted(planned))

    def _take_over_new(self) -> None:
        """Look for passes of other processes, by one read of the folder."""
        names = self.folder.names()
        if not names:
            self.folder.require()
        new = [
            planned
            for planned in self.plan
            if self._wanted(planned) and planned.name in names and self._take_over(planned)
        ]
        if new and self.engine is not None:
            self.events.on_progress(self._progress(new[-1]))

    def _tell(self, cell: Cell, state: CellState | None, tried: int, tries: int) -> None:
        if self.engine is None:
            return
        lacks = len(list(self.missing(cell)))
        where = f" on {state.where}" if state and state.where else ""
        said = f": {state.said}" if state and state.said else ""
        of = f"(try {tried} of {tries})"
        message = f"cell {cell.id} ended{where} and lacks {plural(lacks, 'pass')} {of}"
        self.folder.put_report(
            CellReport(
                plan=self.document.name,
                cell=cell.id,
                machine=state.where if state else "",
                created=datetime.now(UTC),
                said=(state.said if state else "") or "it ended without a message",
            )
        )
        advice = "It is submitted again." if tried < tries else "Other cells go on; use --resume."
        self.events.on_notice(Notice(code="cell-failed", message=f"{message}{said}", advice=advice))

    def _give_up(self, cell: Cell) -> None:
        """Go on without the passes of a cell; their last attempts, if any, give the reason."""
        self.gave_up = True
        for planned in self.missing(cell):
            made = self.made[planned.entry.descriptor.name]
            if planned.index is None:
                made.untimed = self.folder.attempt(planned.name, Pass[UntimedPass])
            elif attempt := self.folder.attempt(planned.name, Pass[TimedPass]):
                made.timed[planned.index] = attempt

    def _progress(self, planned: PlannedPass) -> SuiteProgress:
        """Progress of the suite at a pass of the plan."""
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
        """Records of the passes that exist when a run is interrupted.

        Entries that have not begun have none. If another process has ended the suite, its records
        are complete, and nothing is yielded.
        """
        with suppress(SuiteGoneError):
            self.folder.require()
            for planned in self.plan:
                self._take_over(planned)
            yield from self._unfinished()

    def _unfinished(self) -> Iterator[RunRecord]:
        attempts = self.folder.attempts()
        for name, made in self.made.items():
            if name not in self.recorded and made.untimed is not None:
                yield self._record(made, made.untimed, attempts)

    def _complete(self, name: str) -> bool:
        made, design = self.made[name], self.plan[0].protocol.latency
        count = design.processes if design else 0
        return made.untimed is not None and (made.failed or len(made.timed) == count)

    def _finished(self) -> Iterator[RunRecord]:
        """Records of complete entries, once the baseline is complete as well."""
        baseline = self.plan[0].rounds.baseline
        if baseline is not None and not self._complete(baseline):
            return
        ready = [name for name in self.made if name not in self.recorded and self._complete(name)]
        attempts = self.folder.attempts() if ready else {}
        for name in ready:
            made = self.made[name]
            assert made.untimed is not None  # noqa: S101 - else it would not be complete
            yield self._record(made, made.untimed, attempts)
            # The caller has stored the record when it asks for the next one.
            self.recorded.add(name)

    def _record(
        self, made: _Made, untimed: Pass[UntimedPass], attempts: Mapping[str, int]
    ) -> RunRecord:
        baseline = self.plan[0].rounds.baseline
        beside = [] if baseline is None else self.made[baseline].rounds
        try:
            others = attempts.get(untimed.fingerprint, 0)
            return assemble(untimed, made.rounds, beside, attempts=others)
        except (ValueError, ArithmeticError, LookupError, TypeError) as error:
            # A hostile worker may give impossible answers; then only its own entry fails.
            said = MeasurementError(f"protocol: its worker gave impossible answers: {error}")
            entry, tier = untimed.entry, untimed.environment.isolation
            rejected = RejectedEntry(entry.name, entry.scale, said, "protocol")
            failed = rejected.untimed(untimed.data, untimed.protocol, tier)
            same = {"run_id": untimed.run_id, "created": untimed.created}
            return assemble(failed.model_copy(update=same))

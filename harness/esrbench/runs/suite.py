"""The efficiency suite: every pass and every record is stored as it is made."""

from __future__ import annotations

import platform
import secrets
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from esrbench.errors import MeasurementError, RecordError, UsageError
from esrbench.plaintext import plural
from esrbench.records import Latency
from esrbench.runs.assembly import assemble
from esrbench.runs.cells import cut
from esrbench.runs.events import SILENT
from esrbench.runs.fingerprint import anywhere, expected_environment, fingerprint
from esrbench.runs.making import Maker
from esrbench.runs.passes import Pass, PassFolder, UntimedPass
from esrbench.runs.plan_file import plan_file, read_plan, suite_of
from esrbench.runs.store import Store, SuiteGoneError
from esrbench.runs.suite_on_data import SuiteOnData, planned_on_data
from esrbench.worker.process import DEFAULT_ENTRY_SECONDS, DEFAULT_TIMEOUT_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from esrbench.records import DataIdentity, Environment, RunRecord
    from esrbench.runs.cells import Engine
    from esrbench.runs.events import SuiteEvents
    from esrbench.runs.plan import Suite

UNFINISHED = frozenset({"interrupted", "infra-error", "busy-machine"})
"""Statuses of runs that are made again."""
LACKING = frozenset({"interrupted", "infra-error"})
"""Statuses of runs that lack valid passes; an engine's suite continues with the passes it has."""


def run_suite(
    suite: Suite,
    store: Store,
    *,
    resume: bool = False,
    engine: Engine | None = None,
    events: SuiteEvents = SILENT,
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
    entry_seconds: float = DEFAULT_ENTRY_SECONDS,
) -> Iterator[RunRecord]:
    """Measure and store one record after the other.

    On each data set, all entries are first scored and counted. Then each round times all of them,
    each in a fresh process, in a new random order. A record is made as soon as its entry, and the
    baseline if there is one, have all their rounds.

    Every pass is kept in the store as soon as it is made, so any interrupted suite can be resumed.
    Resuming takes up the newest suite of the same plan that did not end, with its seeds and order.
    It makes only the passes that are missing or whose fingerprint has changed. If all suites of
    this plan ended, resuming leaves out entries with a finished record of the same fingerprint, of
    any suite. Finished is any status except ``interrupted``, ``infra-error`` and ``busy-machine``.
    Without ``resume`` everything is measured.

    Args:
        suite: the plan.
        store: receives each record as soon as it is made. Other suites may write there too. Resumed
            suites of one plan share their passes.
        resume: measure only what is missing. With an ``sr_folder``, only a suite that did
            not end can be resumed, because records have no SR images.
        engine: makes the passes elsewhere, on machines that see this store and all files of the
            plan under the same paths; None for this process.
        events: functions that are called while the suite runs.
        timeout_seconds: deadline of each request to a worker.
        entry_seconds: longest time of all workers of an entry together, on each data set.

    Yields:
        Each record after it is stored. If anything is raised, the store keeps records of what was
        timed so far, with the status ``interrupted``.

    Raises:
        RecordError: a record cannot be stored; earlier records are stored.
    """
    store.require_writable()
    suite = replace(
        suite, launcher=suite.launcher.hiding(folder.resolve() for folder in store.folders)
    )
    session = _Session(
        suite,
        store,
        Maker(secrets.token_hex(8), on_step=events.on_step, timeout_seconds=timeout_seconds),
        expected_environment(suite.protocol, suite.launcher.sandbox.tier),
        entry_seconds,
        events,
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
    """Make the missing passes of a cell on this machine; other processes may make passes too.

    Args:
        path: file of the plan, in the folder of its suite.
        cell_id: id of the cell.
        gpu: number of the GPU, if the protocol asks for one.
        on_step: called with the entry and the step when a step begins.

    Returns:
        The number of passes that it made.

    Raises:
        UsageError: the plan has no such cell, or a single process must make the whole plan, or as
            in ``suite_of``.
        SuiteGoneError: the suite has ended.
        MeasurementError, DataError, RecordError: as in ``suite_of`` and ``run_suite``.
    """
    plan = read_plan(path)
    cell = next((each for each in plan.cells if each.id == cell_id), None)
    if cell is None:
        message = f"{path}: this plan has no cell {cell_id}"
        listed = (
            f"It has {plural(len(plan.cells), 'cell')}: {plan.cells[0].id} to {plan.cells[-1].id}."
        )
        raise UsageError(message, advice=listed)
    if not plan.anywhere:
        message = (
            f"{path}: this plan was begun without an engine, so one process must make all of it"
        )
        raise UsageError(message, advice="Begin the suite with --engine local, slurm or ray.")
    store = Store(path.resolve().parents[2])
    folder = PassFolder.open(store, path.resolve().parent.name, lambda _: None)
    environment = expected_environment(plan.protocol, plan.tier)
    suite = suite_of(plan, cell.entries, environment, gpu=gpu)
    suite = replace(suite, launcher=suite.launcher.hiding(each.resolve() for each in store.folders))
    ((pairs, data),) = suite.data
    on_data = SuiteOnData(
        plan,
        path,
        planned_on_data(
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
        message = f"{cell_id}: {plural(lacking, 'pass')} cannot be made before others"
        raise MeasurementError(
            message, advice="Make the untimed cells first. If they are made, run this cell again."
        )
    return made


@dataclass(frozen=True, slots=True)
class _Session:
    """One session of a suite, which it begins or resumes."""

    suite: Suite
    store: Store
    maker: Maker
    environment: Environment
    entry_seconds: float
    events: SuiteEvents
    engine: Engine | None

    def run(self, *, resume: bool) -> Iterator[RunRecord]:
        """Yield records after they are stored; existing records are passed to ``on_known``."""
        suite, on_notice = self.suite, self.events.on_notice
        # Fingerprints describe the files before anything runs.
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
                    complete = complete and (self.engine is None or not _lacks_passes(record))
                    if before.get(record.run_id) == record:
                        self.events.on_known(record)
                    else:
                        yield record
                if complete:
                    folder.end()
        except SuiteGoneError:
            # Another process was faster and has made the remaining records.
            for record in self.store.load()[0]:
                newer = record.created >= folder.beginning.created
                if record.fingerprint in ours and newer and record.run_id not in told:
                    self.events.on_known(record)

    def _records(
        self,
        folder: PassFolder,
        fingerprints: Mapping[str, Mapping[str, str]],
        stored: Mapping[str, RunRecord],
        finished: Mapping[str, RunRecord],
    ) -> Iterator[RunRecord]:
        """All records of the suite after they are stored, with those that existed before."""
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
                # Runtimes are divided by those of the baseline in the same rounds.
                left.add(suite.baseline)
            yield from (record for name, record in before.items() if name not in left)
            wanted = {name: of_data[name] for name in of_data if name in left}
            plan = planned_on_data(
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
                device_class=None if self.engine is None else self.engine.device_class,
                finished=len(suite.rejected) + len(before.keys() - left),
                later=(all_images - images) / len(pairs.pairs),
                entry_seconds=self.entry_seconds,
                timeout_seconds=self.maker.timeout_seconds,
            )
            on_data = SuiteOnData(
                document,
                folder.put_plan(document.name, document),
                plan,
                folder,
                self.maker,
                self.events,
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
        """Store a record, unless it is stored already, and return it."""
        if stored.get(record.run_id) != record:
            self.store.put(record)
        return record

    def _measured(
        self, on_data: SuiteOnData, stored: Mapping[str, RunRecord]
    ) -> Iterator[RunRecord]:
        try:
            for record in on_data.records():
                yield self._stored(record, stored)
            if on_data.gave_up:
                for record in on_data.unfinished():
                    yield self._stored(record, stored)
        except SuiteGoneError:
            raise
        except BaseException:
            # After Ctrl-C, a full disk or a changed image, hours of work on other entries are kept.
            for record in on_data.unfinished():
                with suppress(RecordError):
                    self.store.put(record)
            raise


def _lacks_passes(record: RunRecord) -> bool:
    """Whether passes of a record are missing or spoilt."""
    latency = record.latency
    spoilt = isinstance(latency, Latency) and any(r.foreign_processes for r in latency.replicates)
    return spoilt or record.status in LACKING


def expected_fingerprints(
    suite: Suite, environment: Environment, *, elsewhere: bool
) -> dict[str, dict[str, str]]:
    """Fingerprints of all runs of a suite before any is made, by data set and entry.

    Args:
        suite: the plan.
        environment: the environment, as far as it is known before anything runs.
        elsewhere: an engine makes the passes, possibly on other machines.
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

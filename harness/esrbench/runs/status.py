"""Progress, machines and failures of a running suite, read from its folder.

This works on any machine that sees the folder of results. Passes show what is done, and reports of
cells show which machine makes them. A try of a cell runs as long as its lock is held.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from esrbench.records import Notice
from esrbench.runs.passes import INTERRUPTED, REPORT, CellReport, Pass, TimedPass, UntimedPass
from esrbench.runs.plan_file import PLAN, PlanFile
from esrbench.runs.progress import Took, progress_of
from esrbench.runs.store import ATTEMPT

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from datetime import datetime

    from pydantic import BaseModel

    from esrbench.runs.progress import State, SuiteProgress
    from esrbench.runs.store import Store

DIED: Final = "it ended without a message"
"""Reason of a try that stopped without a message."""


@dataclass(frozen=True, slots=True)
class DeviceProgress:
    """The work of one device of a machine for a suite on a data set.

    Attributes:
        name: name of the machine; empty if no report says who made a pass.
        device: device of the machine.
        cells: number of tries of cells that it began.
        running: ids of the cells that it makes now.
        passes: number of its passes that count.
        newest: when the newest of these passes ended; None if there is none.
    """

    name: str
    device: str
    cells: int = 0
    running: tuple[str, ...] = ()
    passes: int = 0
    newest: datetime | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """A failure of an entry or of cells.

    Attributes:
        kind: an entry whose network failed, or cells that ended without all their passes.
        names: name of the entry, or ids of the cells; a cell that failed twice is listed twice.
        where: machine, or the engine's name of the node; empty if unknown.
        why: reason.
        done: another try made the cells.
    """

    kind: str
    names: tuple[str, ...]
    where: str
    why: str
    done: bool = False


@dataclass(frozen=True, slots=True)
class SuiteStatus:
    """Progress of a suite on a data set.

    Attributes:
        suite: name of the suite's folder.
        data: title of the data set.
        progress: passes, entries, cells and time left.
        machines: machines that make or made a part of it, by name.
        failures: failures of entries, then of cells.
        in_use: a process works on the suite; also true if files cannot be locked, so nobody knows.
    """

    suite: str
    data: str
    progress: SuiteProgress
    machines: tuple[DeviceProgress, ...]
    failures: tuple[Failure, ...]
    in_use: bool


@dataclass(frozen=True, slots=True)
class MadePass:
    """The facts about a pass that the status needs, without its samples.

    Attributes:
        entry: name.
        fingerprint: fingerprint of the run.
        data: digest of the images.
        session: id of the session that made it.
        ended: when it ended.
        took: how long it took, and whether its entry failed.
        index: number of the round, or None for the untimed pass.
        why: reason of the failure, or an empty string.
    """

    entry: str
    fingerprint: str
    data: str
    session: str
    ended: datetime
    took: Took
    index: int | None
    why: str

    @classmethod
    def of(cls, made: Pass[Any]) -> MadePass:
        """The facts about a pass."""
        found, failure = made.found, made.found.failure
        return cls(
            made.entry.name,
            made.fingerprint,
            made.data.digest,
            made.session,
            made.created + timedelta(seconds=made.seconds),
            Took(made.seconds, found.failed),
            found.replicate.index if isinstance(found, TimedPass) else None,
            f"{failure.failure}: {failure.reason}" if failure else "",
        )


class Onlooker:
    """Reads the status of suites. It reads each document once, because documents never change.

    Args:
        store: holds the suites.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[tuple[str, str], BaseModel | MadePass] = {}

    def look(self) -> list[SuiteStatus]:
        """The status of each suite in use, or of the newest suite if none is in use.

        There is one status for each data set on which the suite has begun.
        """
        suites = self._store.suites()
        used = [name for name in suites if self._store.in_use(name)]
        newest = sorted(suites, key=lambda name: name.partition("-")[2])[-1:]
        return [status for name in used or newest for status in self._look(name, in_use=bool(used))]

    def _look(self, suite: str, *, in_use: bool) -> list[SuiteStatus]:
        names = sorted(name for name in self._store.names_of(suite) if ATTEMPT not in name)
        found = {name: self._read(suite, name) for name in names}
        reports = [each for each in found.values() if isinstance(each, CellReport)]
        passes = [each for each in found.values() if isinstance(each, MadePass)]
        of_data: dict[str, dict[str, PlanFile]] = {}
        for name, plan in found.items():
            if isinstance(plan, PlanFile):
                of_data.setdefault(plan.data.identity.digest, {})[name] = plan
        statuses = []
        for digest, plans in of_data.items():
            # A resumed suite may have another plan, with other cells.
            newest = max(plans, key=lambda name: self._used(suite, name, reports))
            theirs = [each for each in reports if each.plan in plans]
            made = [each for each in passes if each.data == digest]
            status = self._status(suite, newest, plans[newest], theirs, made, in_use=in_use)
            statuses.append(status)
        return statuses

    def _used(self, suite: str, plan: str, reports: Sequence[CellReport]) -> float:
        """When a plan was last used, in seconds since 1970."""
        begun = [each.created.timestamp() for each in reports if each.plan == plan]
        with suppress(OSError):
            begun.append(self._store.path_of(suite, plan).stat().st_mtime)
        return max(begun, default=0.0)

    def _read(self, suite: str, name: str) -> BaseModel | MadePass | None:
        """A document, or None if it is of another kind or not readable."""
        if (suite, name) not in self._known:
            kind: type[BaseModel] = Pass[UntimedPass]
            if name.startswith(PLAN):
                kind = PlanFile
            elif name.startswith(REPORT):
                kind = CellReport
            elif ".timed" in name:
                kind = Pass[TimedPass]
            elif ".untimed" not in name:
                return None
            found = self._store.load_pass(suite, name, kind)
            if found is None or isinstance(found, Notice):
                return None
            self._known[suite, name] = MadePass.of(found) if isinstance(found, Pass) else found
        return self._known[suite, name]

    def _status(
        self,
        suite: str,
        name: str,
        plan: PlanFile,
        reports: Sequence[CellReport],
        passes: Sequence[MadePass],
        *,
        in_use: bool,
    ) -> SuiteStatus:
        """The status of a plan.

        Args:
            suite: name of the suite's folder.
            name: name of the plan.
            plan: the passes to be made.
            reports: reports of cells on its data set, also of cells of earlier plans.
            passes: passes on its data set.
            in_use: as in ``SuiteStatus``.
        """
        ours = plan.data.fingerprints
        # Passes of an entry that has changed since do not count; those of rejected entries do not
        # belong to the plan.
        passes = [each for each in passes if ours.get(each.entry) in {each.fingerprint, None}]
        failed = {each.entry for each in passes if each.took.failed}
        counted = [each for each in passes if each.entry in ours]
        made = {
            (each.entry, each.index): Took(each.took.seconds, each.entry in failed)
            for each in counted
        }
        reports = sorted(reports, key=lambda each: each.created)
        done = progress_of(plan.cells, made, {}).cells
        busy = {
            each.part
            for each in reports
            if each.session
            and done.get(each.cell) != "done"
            and self._store.in_use(suite, each.part)
        }
        states: dict[str, State] = {}
        for each in reports:
            if each.plan == name and states.get(each.cell) != "running":
                ended: State = "interrupted" if each.said == INTERRUPTED else "failed"
                states[each.cell] = "running" if each.part in busy else ended
        progress = progress_of(plan.cells, made, states, finished=plan.finished, later=plan.later)
        return SuiteStatus(
            suite,
            plan.data.identity.title,
            progress,
            tuple(_machines(reports, counted, busy)),
            (*_failed_entries(passes), *_failed_cells(name, reports, progress.cells)),
            in_use,
        )


def _machines(
    reports: Sequence[CellReport], passes: Sequence[MadePass], busy: Collection[str]
) -> Iterator[DeviceProgress]:
    """The devices that make cells, found by the sessions of passes."""
    begun = [each for each in reports if each.session]
    who = {each.session: (each.machine, each.device) for each in begun}
    makers = [who.get(each.session, ("", "")) for each in passes]
    for key in sorted({*who.values(), *makers}):
        cells = [each for each in begun if who[each.session] == key]
        ended = [each.ended for each, maker in zip(passes, makers, strict=True) if maker == key]
        running = tuple(each.cell for each in cells if each.part in busy)
        yield DeviceProgress(*key, len(cells), running, len(ended), max(ended, default=None))


def _failed_entries(passes: Sequence[MadePass]) -> Iterator[Failure]:
    why: dict[str, str] = {}
    for each in passes:
        if each.why:
            why.setdefault(each.entry, each.why)
    return (Failure("entry", (name,), "", said) for name, said in why.items())


def _failed_cells(
    plan: str, reports: Sequence[CellReport], states: Mapping[str, State]
) -> Iterator[Failure]:
    """Tries that ended without all their passes, grouped by machine and reason."""
    found: dict[tuple[str, str], list[str]] = {}
    newest = {each.cell: each for each in reports if each.plan == plan}
    for each in reports:
        died = each is newest.get(each.cell) and states.get(each.cell) == "failed"
        if each.said or died:
            found.setdefault((each.machine, each.said or DIED), []).append(each.cell)
    for (machine, said), cells in found.items():
        done = all(states.get(cell, "done") == "done" for cell in cells)
        yield Failure("cells", tuple(cells), machine, said, done)

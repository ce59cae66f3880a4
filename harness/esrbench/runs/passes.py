"""Passes: one thing measured of one entry each, written once, as it was made.

The passes of a suite under way lie in one folder of the store. A suite that was cut short is
resumed by making the passes whose files are missing, and several processes may do so at the same
time. A pass that infrastructure spoilt, or that another process made first, is kept as an attempt.
"""

from __future__ import annotations

import hashlib
import secrets
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Final, Generic, Literal, Self, TypeVar

from pydantic import BaseModel, Field

from esrbench.protocol import Frozen, Protocol
from esrbench.records import (
    SCHEMA_VERSION,
    Absent,
    Complexity,
    Conditions,
    Count,
    DataIdentity,
    Deployment,
    Energy,
    EntryIdentity,
    Environment,
    ImageScore,
    Memory,
    Notice,
    NullSamples,
    Quality,
    Replicate,
    Seconds,
    Sha256,
    Software,
    WeightsIdentity,
    first_failure,
)
from esrbench.runs.store import ATTEMPT, SuiteGoneError, record_id
from esrbench.runs.variants import TimedWindow  # noqa: TC001 - pydantic reads it
from esrbench.worker.failure import KILLED
from esrbench.worker.messages import Ready  # noqa: TC001 - likewise

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from pathlib import Path

    from esrbench.runs.store import Store

NOT_REACHED = Absent(kind="failed", reason="an earlier step ended the worker")
NO_FIXED_INPUT = Absent(
    kind="skipped",
    reason="the protocol does not time the fixed input",
    advice="Run with --effort standard.",
)
_NOT_TIMED = Absent(kind="skipped", reason="nothing was timed yet")
_BEGINNING = "suite"
REPORT: Final = "cell-"
"""Prefix of the name of a report of a cell."""
_PLAN_LENGTH = 16


class UntimedPass(BaseModel, extra="forbid", allow_inf_nan=False):
    """Scores, memory and counts; each part starts absent and is replaced by what is found.

    Attributes:
        weights: as the worker found them.
        ready: what the worker reported when it had loaded the network, or None if it had not.
        stored_elements: numbers in the weights file as the evaluator reads it, or None where
            there is no file or only unpickling would tell.
        output_sha256: of the SR pixels, by image.
        ran_with: as in a record.
        counted_with: likewise.
        log_tail: last of what the worker printed.
        deployment: as in a record.
        energy: likewise.
    """

    weights: WeightsIdentity
    ready: Ready | None = None
    stored_elements: Count | None = None
    quality: Quality | Absent = NOT_REACHED
    memory: Memory | Absent = NOT_REACHED
    complexity: Complexity | Absent = NOT_REACHED
    output_sha256: dict[str, Sha256] = {}
    ran_with: Software | None = None
    counted_with: Software | None = None
    log_tail: str = ""
    deployment: Deployment | None = None
    energy: Energy | Absent | None = None

    @property
    def scored(self) -> bool:
        """Whether SR images mean anything: with random weights they do not."""
        return self.weights.source != "random"

    @property
    def failed(self) -> bool:
        """Whether nothing can be timed."""
        return self.ready is None

    @property
    def killed(self) -> bool:
        """Whether its worker was killed: by its own network, or by anybody on the machine."""
        return _killed(self.quality, self.memory, self.complexity)

    @property
    def failure(self) -> Absent | None:
        """The first part that failed, or None."""
        return first_failure(self.quality, self.memory, self.complexity, _NOT_TIMED)

    @property
    def spoilt(self) -> bool:
        """Whether the harness or its machine failed, not the network."""
        return self.failure is not None and self.failure.failure is None


class TimedPass(Frozen):
    """One timed replicate.

    Attributes:
        replicate: the times.
        log_tail: last of what the worker printed.
        rescored: scores of timed SR images that are not those that were scored untimed.
        windows: variants that were timed and can be compared with untimed ones; not stored.
    """

    replicate: Replicate
    log_tail: str
    rescored: tuple[ImageScore, ...] = ()
    windows: Annotated[tuple[TimedWindow, ...], Field(exclude=True)] = ()

    @property
    def failed(self) -> bool:
        """Whether it lacks anything that was asked for."""
        return self.failure is not None

    @property
    def killed(self) -> bool:
        """As of ``UntimedPass``."""
        return _killed(self.replicate.fixed, self.replicate.images)

    @property
    def spoilt(self) -> bool:
        """Whether the harness or its machine failed, not the network."""
        return (
            not self.replicate.null
            or self.replicate.foreign_processes > 0
            or (self.failure is not None and self.failure.failure is None)
        )

    @property
    def failure(self) -> Absent | None:
        """The first of what was asked for that it lacks, or None."""
        probes = (self.replicate.fixed, self.replicate.images)
        lacks = (each for each in probes if isinstance(each, Absent) and each.kind != "skipped")
        return next(lacks, None)

    def with_null(
        self, null: tuple[NullSamples, ...], conditions: tuple[Conditions, ...]
    ) -> TimedPass:
        """The same with times of the null network, and of the machine meanwhile."""
        around = {"null": null, "null_conditions": conditions}
        return self.model_copy(update={"replicate": self.replicate.model_copy(update=around)})


def _killed(*parts: object) -> bool:
    by = f"{KILLED} SIGKILL "
    return any(
        isinstance(each, Absent) and each.failure == "crash" and by in each.reason for each in parts
    )


class SharedRounds(Frozen):
    """Settings that all entries timed in the same rounds share, also if a suite is resumed.

    Attributes:
        id: of these rounds.
        variant_seed: of all inputs.
        order_seed: of the order of entries in every round.
        entries: their names, sorted.
        baseline: name of the entry to which runtimes are set in relation, or None.
    """

    id: str
    variant_seed: Count
    order_seed: Count
    entries: tuple[str, ...]
    baseline: str | None


FoundT = TypeVar("FoundT", UntimedPass, TimedPass)


class Pass(Frozen, Generic[FoundT]):
    """What the file of a pass holds; it says itself what was measured, and by whom.

    Attributes:
        run_id: of the record that it is part of.
        fingerprint: of the run.
        entry: as the worker found it.
        data: on which it ran.
        protocol: settings.
        environment: as it was known before anything ran.
        rounds: what it shares with other entries; None where nothing is timed.
        session: in which it was made; a suite that is resumed is in another.
        created: when it was begun.
        seconds: that it took.
        notices: of the entry under this protocol.
        found: what was measured.
    """

    schema_version: Literal[2] = SCHEMA_VERSION
    run_id: str
    fingerprint: Sha256
    entry: EntryIdentity
    data: DataIdentity
    protocol: Protocol
    environment: Environment
    rounds: SharedRounds | None = None
    session: str
    created: datetime
    seconds: Seconds
    notices: tuple[Notice, ...] = ()
    found: FoundT


class Beginning(Frozen):
    """What a suite began with.

    Attributes:
        plan: SHA-256 of what it is to measure.
        created: when it began.
        secret: of which the seeds of all inputs are made.
        known: fingerprints of runs that were stored before it began, and that it leaves out.
    """

    schema_version: Literal[2] = SCHEMA_VERSION
    plan: Sha256
    created: datetime
    secret: str
    known: tuple[Sha256, ...]

    def drawn(self, data: str) -> tuple[str, int]:
        """Id and seed of the rounds on a data set, by its digest."""
        digest = hashlib.sha256(f"{self.secret} {data}".encode()).hexdigest()
        return digest[:16], int(digest[16:32], 16) >> 1


class CellReport(Frozen):
    """The record of a try at a cell; its passes are stored separately.

    Attributes:
        plan: name of the plan.
        cell: id of the cell.
        session: in which its passes are made; empty where only the engine tells of it.
        machine: that makes it.
        device: likewise.
        created: when the try was begun, or when it was found to have failed.
        said: why it failed, as far as its engine knows; empty where it begins.
    """

    schema_version: Literal[2] = SCHEMA_VERSION
    plan: str
    cell: str
    session: str = ""
    machine: str = ""
    device: str = ""
    created: datetime
    said: str = ""

    @property
    def part(self) -> str:
        """Part of the suite; it shows whether the try is running: see ``Store.in_use``."""
        return f"{self.cell}-{self.session}"


@dataclass(frozen=True, slots=True)
class PassFolder:
    """The passes of one suite, in the store.

    Attributes:
        store: where they lie.
        name: of the suite.
        beginning: what the suite began with.
        on_notice: told of a file that is not readable; its pass is made again.
    """

    store: Store
    name: str
    beginning: Beginning
    on_notice: Callable[[Notice], None]

    @classmethod
    def begin(
        cls, plan: str, store: Store, known: Collection[str], on_notice: Callable[[Notice], None]
    ) -> Self:
        """A new one; those of earlier suites of this plan stay until this one ends.

        Raises:
            RecordError: it cannot be stored.
        """
        created = datetime.now(UTC)
        beginning = Beginning(
            plan=plan, created=created, secret=secrets.token_hex(16), known=tuple(sorted(known))
        )
        name = f"{plan[:_PLAN_LENGTH]}-{record_id(created)}"
        store.begin_suite(name, _BEGINNING, beginning)
        return cls(store, name, beginning, on_notice)

    @classmethod
    def find(cls, plan: str, store: Store, on_notice: Callable[[Notice], None]) -> Self | None:
        """That of the newest suite of this plan that did not end, or None."""
        for name in reversed(_names(store, plan)):
            beginning = store.load_pass(name, _BEGINNING, Beginning)
            if isinstance(beginning, Notice):
                on_notice(beginning)
            elif beginning is not None and beginning.plan == plan:
                return cls(store, name, beginning, on_notice)
        return None

    def load(self, name: str, kind: type[Pass[FoundT]]) -> Pass[FoundT] | None:
        """A pass, or None where it must be made (again)."""
        kept = self.store.load_pass(self.name, name, kind)
        if isinstance(kept, Notice):
            self.on_notice(kept)
            return None
        return None if kept is None or kept.found.spoilt else kept

    def put(self, name: str, made: Pass[FoundT]) -> Pass[FoundT]:
        """Store a pass.

        Returns:
            The pass that counts: another one where somebody was faster.

        Raises:
            SuiteGoneError: somebody has ended this suite.
            RecordError: it cannot be stored.
        """
        if made.found.spoilt:
            self.put_attempt(name, made)
        elif not self.store.put_pass(self.name, name, made):
            return self.load(name, type(made)) or made
        return made

    def put_attempt(self, name: str, made: Pass[FoundT]) -> None:
        """Keep a pass that does not count.

        Raises:
            SuiteGoneError, RecordError: as of ``put``.
        """
        self.store.put_attempt(self.name, name, made)

    @classmethod
    def open(cls, store: Store, name: str, on_notice: Callable[[Notice], None]) -> Self:
        """That of a suite under way, by its name.

        Raises:
            SuiteGoneError: it has ended.
        """
        beginning = store.load_pass(name, _BEGINNING, Beginning)
        if not isinstance(beginning, Beginning):
            raise _gone(store, name)
        return cls(store, name, beginning, on_notice)

    def names(self) -> frozenset[str]:
        """Names of all that is there; one read of the folder."""
        return frozenset(self.store.names_of(self.name))

    def put_plan(self, name: str, plan: BaseModel) -> Path:
        """Store a plan of what is missing, and return its file; a plan is named by its content."""
        if name not in self.names():
            self.store.put_pass(self.name, name, plan)
        return self.store.path_of(self.name, name)

    def put_report(self, report: CellReport) -> None:
        """Store what is known of a try at a cell.

        Raises:
            SuiteGoneError, RecordError: as of ``put``.
        """
        self.store.put_pass(self.name, f"{REPORT}{report.cell}-{secrets.token_hex(4)}", report)

    @contextmanager
    def at_work(self, report: CellReport) -> Iterator[None]:
        """Say for the time of a block who makes a cell.

        Raises:
            SuiteGoneError, RecordError: as of ``put``.
        """
        # While the try runs, readers of the report find it in use.
        with self.store.working_on(self.name, report.part):
            self.put_report(report)
            yield

    def attempt(self, name: str, kind: type[Pass[FoundT]]) -> Pass[FoundT] | None:
        """The newest attempt at a pass that does not count, or None."""
        found = [
            kept
            for each in self.names()
            if each.startswith(f"{name}{ATTEMPT}")
            and isinstance(kept := self.store.load_pass(self.name, each, kind), Pass)
        ]
        return max(found, key=lambda kept: kept.created, default=None)

    def tries(self, name: str) -> int:
        """Number of attempts at a pass that do not count."""
        return sum(each.startswith(f"{name}{ATTEMPT}") for each in self.names())

    def made(self, fingerprint: str) -> int:
        """Number of passes of a run that count."""
        return sum(
            name.startswith(f"{fingerprint}.") and ATTEMPT not in name for name in self.names()
        )

    def attempts(self) -> Counter[str]:
        """Numbers of passes that were made and do not count, by fingerprint of their run."""
        return Counter(name.partition(".")[0] for name in self.names() if ATTEMPT in name)

    def require(self) -> None:
        """Raise ``SuiteGoneError`` where another process has ended this suite."""
        if self.store.load_pass(self.name, _BEGINNING, Beginning) is None:
            raise _gone(self.store, self.name)

    def end(self) -> None:
        """Remove it, and those of earlier suites of its plan that nobody works on.

        All is in records now.

        Raises:
            RecordError: it cannot be removed.
        """
        for name in _names(self.store, self.beginning.plan):
            if name == self.name or (name < self.name and not self.store.in_use(name)):
                self.store.drop_suite(name)


def _gone(store: Store, name: str) -> SuiteGoneError:
    message = f"{store.passes / name}: this suite is not under way; another process has ended it"
    return SuiteGoneError(message, advice="Its records are in the folder of results.")


def _names(store: Store, plan: str) -> list[str]:
    """Folders of suites of a plan, oldest first."""
    return [name for name in store.suites() if name.startswith(f"{plan[:_PLAN_LENGTH]}-")]

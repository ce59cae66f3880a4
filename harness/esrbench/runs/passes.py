"""Passes: each is one measurement of one entry, and its file is written once.

The passes of an unfinished suite lie in one folder of the store. A suite that was cut short is
resumed by making the passes whose files are missing, and several processes may do so at the same
time. A pass that the machine spoilt, or that another process made first, is kept as an attempt.
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
from esrbench.runs.likeness import UnlikeSr  # noqa: TC001 - pydantic reads it
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
"""Prefix of the names of reports of cells."""
INTERRUPTED: Final = "it was interrupted"
"""Said of a cell whose process was asked to end, as by Ctrl-C or by an engine."""
_PLAN_LENGTH = 16


class UntimedPass(BaseModel, extra="forbid", allow_inf_nan=False):
    """Scores, memory and counts. Each part is absent at first; its result replaces that.

    Attributes:
        weights: the weights that the worker found.
        ready: what the worker reported when it had loaded the network, or None if it had not.
        stored_elements: count of numbers that the evaluator finds in the weights file; None without
            a file, or if only unpickling would show it.
        output_sha256: digests of the SR pixels, by image.
        ran_with: as in ``RunRecord``.
        counted_with: as in ``RunRecord``.
        log_tail: the last output of the worker.
        deployment: as in ``RunRecord``.
        energy: as in ``RunRecord``.
        unlike: an SR image that does not resemble its LR image, if the first images do not.
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
    unlike: UnlikeSr | None = None

    @property
    def scored(self) -> bool:
        """Whether SR images can be scored; with random weights they cannot."""
        return self.weights.source != "random"

    @property
    def failed(self) -> bool:
        """Whether nothing can be timed."""
        return self.ready is None

    @property
    def killed(self) -> bool:
        """Whether its worker was killed, by its own network or by another process."""
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
        log_tail: the last output of the worker.
        rescored: scores of timed SR images that differ from the untimed ones.
        windows: timed variants, to be compared with untimed ones; not stored.
    """

    replicate: Replicate
    log_tail: str
    rescored: tuple[ImageScore, ...] = ()
    windows: Annotated[tuple[TimedWindow, ...], Field(exclude=True)] = ()

    @property
    def failed(self) -> bool:
        """Whether any requested part is missing."""
        return self.failure is not None

    @property
    def killed(self) -> bool:
        """Whether its worker was killed, by its own network or by another process."""
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
        """The first requested part that is missing, or None."""
        probes = (self.replicate.fixed, self.replicate.images)
        lacks = (each for each in probes if isinstance(each, Absent) and each.kind != "skipped")
        return next(lacks, None)

    def with_null(
        self, null: tuple[NullSamples, ...], conditions: tuple[Conditions, ...]
    ) -> TimedPass:
        """A copy with the times of the null network and the state of the machine during them."""
        around = {"null": null, "null_conditions": conditions}
        return self.model_copy(update={"replicate": self.replicate.model_copy(update=around)})


def _killed(*parts: object) -> bool:
    by = f"{KILLED} SIGKILL "
    return any(
        isinstance(each, Absent) and each.failure == "crash" and by in each.reason for each in parts
    )


class SharedRounds(Frozen):
    """Settings that all entries of the same rounds share, also after a suite is resumed.

    Attributes:
        id: name of these rounds.
        variant_seed: seed of all inputs.
        order_seed: seed of the order of entries in every round.
        entries: names of the entries, sorted.
        baseline: name of the entry by whose runtime others are divided, or None.
    """

    id: str
    variant_seed: Count
    order_seed: Count
    entries: tuple[str, ...]
    baseline: str | None


FoundT = TypeVar("FoundT", UntimedPass, TimedPass)


class Pass(Frozen, Generic[FoundT]):
    """Content of the file of a pass, with all facts about what was measured and where.

    Attributes:
        run_id: id of the record that the pass belongs to.
        fingerprint: fingerprint of the run.
        entry: the entry that the worker found.
        data: the images.
        protocol: settings.
        environment: the environment, as far as it was known before anything ran.
        rounds: settings shared with other entries; None if nothing is timed.
        session: id of the session that made it; a resumed suite has a new one.
        created: when it was begun.
        seconds: how long it took.
        notices: notices about the entry under this protocol.
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
    """The facts that a suite fixes when it begins.

    Attributes:
        plan: SHA-256 of what the suite will measure.
        created: when it began.
        secret: the seeds of all inputs are derived from it.
        known: fingerprints of runs that were stored before the suite began and are left out.
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
    """The record of one try of a cell; its passes are stored separately.

    Attributes:
        plan: name of the plan.
        cell: id of the cell.
        session: session that makes its passes; empty if only the engine reported the try.
        machine: machine that makes it.
        device: device of that machine.
        created: when the try was begun, or when it was found to have failed.
        said: why it failed, as far as its engine knows; empty when the try begins.
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
        """Name of the part for ``Store.in_use``, which shows whether the try is running."""
        return f"{self.cell}-{self.session}"


@dataclass(frozen=True, slots=True)
class PassFolder:
    """The passes of one suite, in the store.

    Attributes:
        store: holds the passes.
        name: name of the suite.
        beginning: the facts that were fixed when the suite began.
        on_notice: called for each unreadable file; its pass is made again.
    """

    store: Store
    name: str
    beginning: Beginning
    on_notice: Callable[[Notice], None]

    @classmethod
    def begin(
        cls, plan: str, store: Store, known: Collection[str], on_notice: Callable[[Notice], None]
    ) -> Self:
        """A new folder; folders of earlier suites of this plan stay until this suite ends.

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
        """The folder of the newest unfinished suite of this plan, or None."""
        for name in reversed(_names(store, plan)):
            beginning = store.load_pass(name, _BEGINNING, Beginning)
            if isinstance(beginning, Notice):
                on_notice(beginning)
            elif beginning is not None and beginning.plan == plan:
                return cls(store, name, beginning, on_notice)
        return None

    def load(self, name: str, kind: type[Pass[FoundT]]) -> Pass[FoundT] | None:
        """A stored pass, or None if it must be made (again)."""
        kept = self.store.load_pass(self.name, name, kind)
        if isinstance(kept, Notice):
            self.on_notice(kept)
            return None
        return None if kept is None or kept.found.spoilt else kept

    def put(self, name: str, made: Pass[FoundT]) -> Pass[FoundT]:
        """Store a pass.

        Returns:
            The pass that counts: if another process was faster, its pass.

        Raises:
            SuiteGoneError: another process has ended this suite.
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
        """The folder of an unfinished suite, by its name.

        Raises:
            SuiteGoneError: it has ended.
        """
        beginning = store.load_pass(name, _BEGINNING, Beginning)
        if not isinstance(beginning, Beginning):
            raise _gone(store, name)
        return cls(store, name, beginning, on_notice)

    def names(self) -> frozenset[str]:
        """Names of all documents, from one read of the folder."""
        return frozenset(self.store.names_of(self.name))

    def put_plan(self, name: str, plan: BaseModel) -> Path:
        """Store a plan of the missing passes, and return its file; its content decides its name."""
        if name not in self.names():
            self.store.put_pass(self.name, name, plan)
        return self.store.path_of(self.name, name)

    def put_report(self, report: CellReport) -> None:
        """Store the report of a try of a cell.

        Raises:
            SuiteGoneError, RecordError: as of ``put``.
        """
        self.store.put_pass(self.name, f"{REPORT}{report.cell}-{secrets.token_hex(4)}", report)

    @contextmanager
    def at_work(self, report: CellReport) -> Iterator[None]:
        """Store who makes a cell, and mark it as running for the time of a block.

        Raises:
            SuiteGoneError, RecordError: as of ``put``.
        """
        # Until the block ends, readers of the report see that the try is running.
        with self.store.working_on(self.name, report.part):
            self.put_report(report)
            yield

    def attempt(self, name: str, kind: type[Pass[FoundT]]) -> Pass[FoundT] | None:
        """The newest stored attempt that does not count, or None."""
        found = [
            kept
            for each in self.names()
            if each.startswith(f"{name}{ATTEMPT}")
            and isinstance(kept := self.store.load_pass(self.name, each, kind), Pass)
        ]
        return max(found, key=lambda kept: kept.created, default=None)

    def tries(self, name: str) -> int:
        """Number of stored attempts that do not count."""
        return sum(each.startswith(f"{name}{ATTEMPT}") for each in self.names())

    def made(self, fingerprint: str) -> int:
        """Number of passes of a run that count."""
        return sum(
            name.startswith(f"{fingerprint}.") and ATTEMPT not in name for name in self.names()
        )

    def attempts(self) -> Counter[str]:
        """Number of attempts that do not count, by fingerprint of their run."""
        return Counter(name.partition(".")[0] for name in self.names() if ATTEMPT in name)

    def require(self) -> None:
        """Raise ``SuiteGoneError`` if another process has ended this suite."""
        if self.store.load_pass(self.name, _BEGINNING, Beginning) is None:
            raise _gone(self.store, self.name)

    def end(self) -> None:
        """Remove this folder, and folders of earlier suites of its plan that no process uses.

        The records now contain all results.

        Raises:
            RecordError: a folder cannot be removed.
        """
        for name in _names(self.store, self.beginning.plan):
            if name == self.name or (name < self.name and not self.store.in_use(name)):
                self.store.drop_suite(name)


def _gone(store: Store, name: str) -> SuiteGoneError:
    message = f"{store.passes / name}: this suite is over; another process has ended it"
    return SuiteGoneError(message, advice="Look for its records in the folder of results.")


def _names(store: Store, plan: str) -> list[str]:
    """Folders of suites of a plan, oldest first."""
    return [name for name in store.suites() if name.startswith(f"{plan[:_PLAN_LENGTH]}-")]

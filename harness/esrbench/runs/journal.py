"""What a suite under way has measured, so that one that is cut short can be taken up again.

Every pass is stored as soon as it is made, under the fingerprint of its entry. A journal belongs
to a plan: the same entries, data, protocol, baseline and order. It ends when the suite ends.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeVar

from esrbench.protocol import Frozen
from esrbench.records import (
    SCHEMA_VERSION,
    Absent,
    Complexity,
    Count,
    ImageScore,
    Memory,
    Notice,
    Quality,
    Replicate,
    Seconds,
    Sha256,
    WeightsIdentity,
    first_failure,
)
from esrbench.runs.evaluator import UntimedPass
from esrbench.runs.replicate import TimedPass
from esrbench.runs.store import record_id
from esrbench.worker.messages import Ready  # noqa: TC001 - pydantic reads it

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from esrbench.runs.evaluator import Entry
    from esrbench.runs.store import Store
    from esrbench.runs.suite import Suite

_BEGINNING = "suite"
_KEY_LENGTH = 16
_NOTHING = Absent(kind="skipped", reason="nothing was timed yet")


class Shared(Frozen):
    """What all entries of a data set's rounds share, however often these are taken up."""

    session: str
    variant_seed: Count


class Beginning(Frozen):
    """What a suite began with.

    Attributes:
        plan: SHA-256 of what it is to measure.
        created: when it began.
        rounds: by digest of the data set.
        known: fingerprints of runs that were stored before it began, and that it leaves out.
    """

    schema_version: Literal[2] = SCHEMA_VERSION
    plan: Sha256
    created: datetime
    rounds: dict[str, Shared]
    known: tuple[Sha256, ...]


class UntimedPart(Frozen):
    """An ``UntimedPass``, and the name of the record that it will be part of."""

    schema_version: Literal[2] = SCHEMA_VERSION
    run_id: str
    created: datetime
    seconds: Seconds
    weights: WeightsIdentity
    ready: Ready | None
    quality: Quality | Absent
    memory: Memory | Absent
    complexity: Complexity | Absent
    output_sha256: dict[str, Sha256]
    log_tail: str


class TimedPart(Frozen):
    """A ``TimedPass``, and in which sitting it was made."""

    schema_version: Literal[2] = SCHEMA_VERSION
    seconds: Seconds
    sitting: str
    replicate: Replicate
    rescored: tuple[ImageScore, ...]
    log_tail: str


PartT = TypeVar("PartT", UntimedPart, TimedPart)


class Untimed(NamedTuple):
    """A kept untimed pass, and what is known of its record."""

    run_id: str
    created: datetime
    seconds: float
    found: UntimedPass


class Timed(NamedTuple):
    """A timed pass, what it took, and the sitting: a suite taken up again is in another."""

    found: TimedPass
    seconds: float
    sitting: str


class Journal:
    """The passes of one suite, in the store.

    Args:
        store: where they lie.
        name: of the journal.
        beginning: what the suite began with.
        on_notice: told of a part that is not readable; its pass is made again.
    """

    def __init__(
        self, store: Store, name: str, beginning: Beginning, on_notice: Callable[[Notice], None]
    ) -> None:
        self.beginning = beginning
        self._store = store
        self._name = name
        self._on_notice = on_notice

    @classmethod
    def begin(
        cls,
        suite: Suite,
        store: Store,
        known: Collection[str] = (),
        *,
        on_notice: Callable[[Notice], None],
    ) -> Journal:
        """A new one; those of earlier suites of this plan stay until this one ends.

        Args:
            suite: the plan.
            store: where it will lie.
            known: fingerprints of runs that the suite leaves out.
            on_notice: as of the class.

        Raises:
            RecordError: it cannot be stored.
        """
        plan, created = plan_sha256(suite), datetime.now(UTC)
        rounds = {
            data.digest: Shared(
                session=secrets.token_hex(8),
                variant_seed=secrets.randbits(63),
            )
            for _, data in suite.data
        }
        beginning = Beginning(plan=plan, created=created, rounds=rounds, known=tuple(sorted(known)))
        name = f"{plan[:_KEY_LENGTH]}-{record_id(created)}"
        store.put_pass(name, _BEGINNING, beginning)
        return cls(store, name, beginning, on_notice)

    @classmethod
    def find(
        cls, suite: Suite, store: Store, *, on_notice: Callable[[Notice], None]
    ) -> Journal | None:
        """The newest of a suite of this plan that did not end, or None."""
        plan = plan_sha256(suite)
        for name in reversed(_names(store, plan)):
            beginning = store.load_pass(name, _BEGINNING, Beginning)
            if isinstance(beginning, Notice):
                on_notice(beginning)
            elif beginning is not None and beginning.plan == plan:
                return cls(store, name, beginning, on_notice)
        return None

    def keep_untimed(self, fingerprint: str, kept: Untimed) -> None:
        """Store an untimed pass.

        Raises:
            RecordError: it cannot be stored.
        """
        found = kept.found
        part = UntimedPart(
            run_id=kept.run_id,
            created=kept.created,
            seconds=kept.seconds,
            weights=found.entry.weights.identity,
            ready=found.ready,
            quality=found.quality,
            memory=found.memory,
            complexity=found.complexity,
            output_sha256=found.output_sha256,
            log_tail=found.log_tail,
        )
        self._store.put_pass(self._name, f"{fingerprint}.untimed", part)

    def keep_timed(self, fingerprint: str, kept: Timed) -> None:
        """Store a timed pass.

        Raises:
            RecordError: it cannot be stored.
        """
        found = kept.found
        part = TimedPart(
            seconds=kept.seconds,
            sitting=kept.sitting,
            replicate=found.replicate,
            rescored=found.rescored,
            log_tail=found.log_tail,
        )
        self._store.put_pass(self._name, _timed_name(fingerprint, found.replicate.index), part)

    def untimed(self, fingerprint: str, entry: Entry) -> Untimed | None:
        """The kept untimed pass, or None; none where the harness or its machine had failed."""
        part = self._load(f"{fingerprint}.untimed", UntimedPart)
        if part is None:
            return None
        weights = replace(entry.weights, identity=part.weights)
        found = UntimedPass(
            replace(entry, weights=weights),
            ready=part.ready,
            quality=part.quality,
            memory=part.memory,
            complexity=part.complexity,
            output_sha256=dict(part.output_sha256),
            log_tail=part.log_tail,
        )
        failure = first_failure(found.quality, found.memory, found.complexity, _NOTHING)
        if failure is not None and failure.failure is None:
            return None
        return Untimed(part.run_id, part.created, part.seconds, found)

    def timed(self, fingerprint: str, count: int) -> Iterator[Timed]:
        """Kept timed passes of the first rounds, up to the first that must be made (again).

        Args:
            fingerprint: of the run.
            count: rounds in all.
        """
        for index in range(count):
            part = self._load(_timed_name(fingerprint, index), TimedPart)
            if part is None or not part.replicate.null:
                return
            found = TimedPass(part.replicate, part.log_tail, part.rescored)
            failures = [
                probe
                for probe in (part.replicate.fixed, part.replicate.images)
                if isinstance(probe, Absent)
            ]
            if failures and failures[0].failure is None:
                return
            yield Timed(found, part.seconds, part.sitting)

    def end(self) -> None:
        """Remove it, and those of earlier suites of its plan: all is in records now.

        Raises:
            RecordError: it cannot be removed.
        """
        for name in _names(self._store, self.beginning.plan):
            if name <= self._name:
                self._store.drop_suite(name)

    def _load(self, name: str, kind: type[PartT]) -> PartT | None:
        part = self._store.load_pass(self._name, name, kind)
        if isinstance(part, Notice):
            self._on_notice(part)
            return None
        return part


def plan_sha256(suite: Suite) -> str:
    """SHA-256 (hex) of what a suite is to measure, whatever becomes of its files."""
    names = [entry.descriptor.name for entry in suite.entries]
    parts = {
        "entries": sorted([*names, *(refusal.name for refusal in suite.refusals)]),
        "scales": sorted({entry.scale for entry in suite.entries}),
        "data": [data.digest for _, data in suite.data],
        "protocol": suite.protocol.digest(),
        "baseline": suite.baseline,
        "order_seed": suite.order_seed,
        "sr_folder": suite.sr_folder and str(suite.sr_folder.resolve()),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _names(store: Store, plan: str) -> list[str]:
    """Of journals of a plan, oldest first."""
    return [name for name in store.suites() if name.startswith(f"{plan[:_KEY_LENGTH]}-")]


def _timed_name(fingerprint: str, index: int) -> str:
    return f"{fingerprint}.timed-{index:03}"

"""Two networks raced against each other in interleaved pairs: what was timed, what follows."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from esrbench.protocol import Frozen, PairDesign, Protocol
from esrbench.records.run import SCHEMA_VERSION, EntryIdentity, Environment, Software
from esrbench.records.tabular import Tabular
from esrbench.records.timing import Conditions
from esrbench.records.values import Absent, Count, Interval, Notice, Seconds, Sha256

RaceVerdict = Literal["faster", "slower", "unchanged", "inconclusive"]
RaceSide = Literal["candidate", "baseline"]
Pair = tuple[Seconds, Seconds]


class PairedBatch(Frozen):
    """Pairs timed without a break; a pair is two forwards of the same input in a row.

    Attributes:
        pairs: (candidate, baseline) seconds; counted through the batches of a process, what was
            loaded first goes first in even pairs, the other one in odd pairs.
        self_pairs: (copy of the baseline, another copy) seconds, interleaved with ``pairs``; the
            one copy goes first by the same rule, counted by itself. In records of 0.1 the other
            is the baseline itself.
        conditions: of the machine meanwhile.
        set_aside: why none of these pairs is judged, or None where they are.
    """

    pairs: Annotated[tuple[Pair, ...], Field(min_length=1)]
    self_pairs: tuple[Pair, ...]
    conditions: Conditions | None = None
    set_aside: str | None = None


class PairedProcess(Frozen):
    """What one fresh process timed.

    Attributes:
        loaded_first: which network was loaded, and made its first forward, before the other. It
            alternates from process to process, and the order of the copies does too. It does not
            alternate while the other order has fewer pairs, because some were set aside.
        cpus: logical CPUs it was pinned to; empty where the system has no such notion.
        batches: in order.
    """

    loaded_first: RaceSide = "candidate"
    cpus: tuple[Count, ...]
    batches: Annotated[tuple[PairedBatch, ...], Field(min_length=1)]


class PairedEstimate(Frozen):
    """Median of per-pair ratios of seconds, with the rank interval of its logarithm.

    Attributes:
        ratio: 1.05 means 5 % slower than the baseline.
        interval: of the ratio.
        pairs: number of pairs that it rests on.
    """

    ratio: Annotated[float, Field(gt=0)]
    interval: Interval
    pairs: Count


class RaceRecord(Tabular):
    """Two networks that we trust, timed in one process in interleaved pairs.

    Attributes:
        regime: this one. The other, ``fresh-processes``, is that of ``RunRecord``.
        estimate: candidate over baseline, of the judged pairs, free of the order of loading as
            ``esrbench.statistics.balance`` says; absent where they are too few for an interval.
        self_check: one copy of the baseline over another, from the same batches, likewise.
        baseline_backend: that ran the baseline; None in records that do not say, where it was the
            protocol's.
        ran_with: of networks in an interpreter of their own, what that is; None for the harness's.
        verdict: against the design's decision ratio; ``inconclusive`` where the interval still
            holds that line when the pairs are used up, or the self-check forbids to judge.
        reason: why this verdict, in words with figures.
        notices: typed warnings.
    """

    schema_version: Literal[2] = SCHEMA_VERSION
    regime: Literal["paired"] = "paired"
    race_id: str
    created: datetime
    duration_seconds: Seconds
    candidate: EntryIdentity
    baseline: EntryIdentity
    baseline_backend: str | None = None
    protocol: Protocol
    design: PairDesign
    environment: Environment
    environment_digest: Sha256
    ran_with: Software | None = None
    processes: Annotated[tuple[PairedProcess, ...], Field(min_length=1)]
    estimate: PairedEstimate | Absent
    self_check: PairedEstimate | Absent
    verdict: RaceVerdict
    reason: str
    notices: tuple[Notice, ...] = ()

    def __repr_args__(self) -> Iterator[tuple[str, Any]]:
        """Who raced, and the verdict."""
        yield "candidate", self.candidate.name
        yield "baseline", self.baseline.name
        yield "verdict", self.verdict
        yield "race_id", self.race_id

    @property
    def timed_pairs(self) -> int:
        """Pairs that were timed, judged or set aside."""
        return sum(len(batch.pairs) for process in self.processes for batch in process.batches)

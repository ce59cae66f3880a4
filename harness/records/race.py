"""Two networks raced against each other in interleaved pairs: what was timed, what follows."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from harness.protocol import Frozen, PairDesign, Protocol
from harness.records.run import EntryIdentity, Environment
from harness.records.timing import Conditions
from harness.records.values import Count, Interval, Notice, Seconds, Sha256

RaceVerdict = Literal["faster", "slower", "unchanged", "inconclusive"]


class PairedProcess(Frozen):
    """What one fresh process timed; a pair is two forwards of the same input in a row.

    Attributes:
        cpus: logical CPUs it was pinned to; empty where the system has no such notion.
        pairs: (candidate, baseline) seconds; the candidate goes first in even pairs of even
            processes and in odd pairs of odd ones.
        self_pairs: (copy of the baseline, baseline) seconds, interleaved with ``pairs``.
        conditions: of the machine meanwhile.
    """

    cpus: tuple[Count, ...]
    pairs: Annotated[tuple[tuple[Seconds, Seconds], ...], Field(min_length=1)]
    self_pairs: tuple[tuple[Seconds, Seconds], ...]
    conditions: Conditions | None = None


class PairedEstimate(Frozen):
    """Median of per-pair ratios of seconds, with the rank interval of its logarithm.

    Attributes:
        ratio: 1.05 means 5 % slower than the baseline.
        interval: of the ratio.
        pairs: number of pairs.
    """

    ratio: Annotated[float, Field(gt=0)]
    interval: Interval
    pairs: Count


class RaceRecord(Frozen):
    """Two networks that we trust, timed in one process in interleaved pairs.

    Attributes:
        regime: this one. The other, ``fresh-processes``, is that of ``RunRecord``.
        estimate: candidate over baseline.
        self_check: copy of the baseline over the baseline, from the same processes.
        verdict: against the design's decision ratio; ``inconclusive`` where the interval still
            holds that line when the pairs are used up, or the self-check forbids to judge.
        reason: why this verdict, in words with figures.
        notices: typed warnings.
    """

    regime: Literal["paired"] = "paired"
    race_id: str
    created: datetime
    duration_seconds: Seconds
    candidate: EntryIdentity
    baseline: EntryIdentity
    protocol: Protocol
    design: PairDesign
    environment: Environment
    environment_digest: Sha256
    processes: Annotated[tuple[PairedProcess, ...], Field(min_length=1)]
    estimate: PairedEstimate
    self_check: PairedEstimate
    verdict: RaceVerdict
    reason: str
    notices: tuple[Notice, ...] = ()

"""Rank stability: intervals of runtimes over processes, and ties within the noise."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from esrbench.metrics import METRICS
from esrbench.ranking.blocks import spread_within_devices
from esrbench.records import Absent, Interval, Latency, Value
from esrbench.statistics import CONFIDENCE, STUDENT_SAMPLES, student_quantile

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from esrbench.ranking.rule import Track
    from esrbench.ranking.standings import Contestant, Ranks, Standing
    from esrbench.records import RunRecord

    Span = tuple[float, float]
    Ints = np.ndarray[Any, np.dtype[np.int64]]
    End = tuple[float, ...]
    """Sort key of an entry; smaller is better. Later elements separate equal earlier ones."""
    Ends = dict[str, tuple[End, End]]
    """Best and worst sort key of each entry."""
    Drawn = Mapping[str, np.ndarray[Any, np.dtype[np.float64]]]
    """Drawn runtimes of each entry in seconds, float64 (N,)."""

FEWEST_PROCESSES = STUDENT_SAMPLES
"""Fewer processes cannot predict the next one."""

PROVISIONAL = Absent(
    kind="unavailable",
    reason=f"fewer than {FEWEST_PROCESSES} timed processes cannot show how stable a rank is",
    advice=f"Give --processes {FEWEST_PROCESSES} or more; official runs take 5.",
)
"""Reason for provisional ranks."""


@dataclass(frozen=True, slots=True)
class Stability:
    """The ranks that are possible within the noise.

    Attributes:
        low: best rank: 1 plus the number of entries that are ahead beyond noise.
        high: worst rank: the number of entries minus those that are behind beyond noise.
        held: share of resamples that gave the printed rank; None without resampling.
    """

    low: int
    high: int
    held: float | None = None

    @property
    def tied(self) -> bool:
        """Whether noise may change the rank."""
        return self.low < self.high


@dataclass(frozen=True, slots=True)
class RankStability:
    """How stable the ranks of a table are.

    Attributes:
        metrics: possible ranks by runtime metric, then by entry; provisional metrics are left out.
        tracks: possible ranks by track, then by entry; provisional tracks are left out.
        spans: bounds of the interval in seconds by runtime metric, then by entry; provisional
            metrics are left out.
        provisional_metrics: runtimes that too few processes measured.
        provisional_tracks: keys of tracks whose ranks depend on such a runtime.
    """

    metrics: Mapping[str, Mapping[str, Stability]] = field(default_factory=dict)
    tracks: Mapping[str, Mapping[str, Stability]] = field(default_factory=dict)
    spans: Mapping[str, Mapping[str, Span]] = field(default_factory=dict)
    provisional_metrics: frozenset[str] = frozenset()
    provisional_tracks: frozenset[str] = frozenset()


def processes_of(record: RunRecord) -> int:
    """Number of fresh processes that timed an entry; 0 if none is recorded."""
    return len(record.latency.replicates) if isinstance(record.latency, Latency) else 0


def across_processes(records: Sequence[RunRecord], metric: str) -> list[Value | Absent]:
    """A runtime of each record, with an interval that predicts other processes.

    With fewer than ``FEWEST_PROCESSES`` there is no interval, because the rounds of one process do
    not predict the next process. Otherwise the interval is the wider of two. The first is Student's
    interval of the record's own processes. The second uses the standard deviation of logarithms
    over the processes of all records, because a few processes may agree by chance. Its half-width
    is half of the Bonferroni bound for all pairs: with a probability of 95 %, the intervals of
    copies of one network all overlap. If all records ran on the same devices of one kind, only the
    second is used, and differences between devices are removed from it.

    Args:
        records: comparable records, one for each entry.
        metric: key of a runtime.

    Returns:
        Runtimes in the order of the records; only intervals change.
    """
    values = [record.value(metric) for record in records]
    known = {
        index: (value, processes_of(record))
        for index, (record, value) in enumerate(zip(records, values, strict=True))
        if isinstance(value, Value) and processes_of(record) >= FEWEST_PROCESSES
    }
    within = spread_within_devices([records[index] for index in known], metric)
    if within is None:
        square = sum((n - 1) * _deviation(value, n) ** 2 for value, n in known.values())
        freedom = sum(n - 1 for _, n in known.values())
    else:
        square, freedom = within
    quantile = _simultaneous_quantile(len(known), freedom) if known else 0.0
    found: list[Value | Absent] = []
    for index, value in enumerate(values):
        if index in known:
            half = quantile * math.sqrt(square / freedom / known[index][1])
            own, _ = known[index]
            found.append(_widened(own if within is None else Value(value=own.value), half))
        elif isinstance(value, Value):
            of_processes = value.interval is not None and value.interval.method == "student"
            found.append(value if of_processes else Value(value=value.value))
        else:
            found.append(value)
    return found


def _deviation(value: Value, processes: int) -> float:
    """Standard deviation of logarithms over processes, from Student's interval; 0 without one."""
    if value.interval is None or value.interval.method != "student":
        return 0.0
    half = math.log(value.interval.high / value.interval.low) / 2
    quantile = student_quantile(processes - 1, 1 - value.interval.confidence)
    return half / quantile * math.sqrt(processes)


def _simultaneous_quantile(entries: int, freedom: int) -> float:
    """Half-width of an interval in standard errors, so that overlap is a test of all pairs."""
    pairs = max(entries * (entries - 1) // 2, 1)
    of_pairs = student_quantile(freedom, (1 - CONFIDENCE) / pairs) / math.sqrt(2)
    return max(of_pairs, student_quantile(freedom, 1 - CONFIDENCE))


def _widened(value: Value, half: float) -> Value:
    """A value whose interval extends at least ``half`` to either side, in logarithms."""
    low, high = value.value * math.exp(-half), value.value * math.exp(half)
    interval = value.interval
    if half == 0 or (interval is not None and interval.low <= low and interval.high >= high):
        return value
    if interval is not None:
        low, high = min(low, interval.low), max(high, interval.high)
    return Value(
        value=value.value,
        interval=Interval(low=low, high=high, confidence=CONFIDENCE, method="student"),
    )


@dataclass(frozen=True, slots=True)
class Noise:
    """The noise of a table's runtimes, as far as it is known.

    Attributes:
        runtimes: results of ``across_processes`` by entry, then by metric, for the contestants and
            the baseline.
        processes: smallest number of processes that timed one of these entries.
        baseline: entry whose runtime is the reference of scores, or None.
        drawn: result of ``drawn_runtimes`` by metric; empty without resampling.
    """

    runtimes: Mapping[str, Mapping[str, Value | Absent]]
    processes: int
    baseline: str | None
    drawn: Mapping[str, Drawn] = field(default_factory=dict)


def rank_stability(
    contestants: Sequence[Contestant],
    ranks: Ranks,
    places: Mapping[str, Mapping[str, Standing]],
    tracks: Sequence[Track],
    references: Mapping[str, Mapping[str, float]],
    *,
    noise: Noise,
) -> RankStability:
    """Ranks in runtime and in tracks that are possible within the noise.

    Two entries are tied in a runtime if their intervals overlap. In a track, an entry is ahead
    beyond noise if its total is better in the worst case: its runtime at the worse end of its
    interval, and the other entry's at the better end.

    Args:
        contestants: ranked entries.
        ranks: their ranks by metric.
        places: their places by track.
        tracks: ranked tracks.
        references: reference figures by track.
        noise: noise of the runtimes.
    """
    noisy = [metric for metric in ranks if METRICS[metric].noisy]
    few = noise.processes < FEWEST_PROCESSES
    if few or len(contestants) < 2:  # noqa: PLR2004 - one has no rival
        return _provisional(noisy if few else [], tracks, places)
    spans = {
        metric: {
            name: _span(value)
            for name, values in noise.runtimes.items()
            if isinstance(value := values[metric], Value)
        }
        for metric in noisy
    }
    held = {
        metric: _possible(
            [{name: ((low,), (high,)) for name, (low, high) in spans[metric].items()}],
            ranks[metric],
        )
        for metric in noisy
    }
    spread = _Spread(ranks, spans, held, noise.baseline)
    noisy_ends: dict[str, list[Ends]] = {}
    tracks_held: dict[str, dict[str, Stability]] = {}
    for track in tracks:
        printed = {name: standing.rank for name, standing in places[track.key].items()}
        before = noisy_ends.get(track.ties_by or "")
        if before is None and not set(track.metrics) & set(spans):
            tracks_held[track.key] = {n: Stability(r, r) for n, r in printed.items()}
            continue
        corners = spread.corners(references.get(track.key, {}))
        ends = [spread.ends(contestants, track, at) for at in corners]
        noisy_ends[track.key] = ends if before is None else _chained(ends, before)
        tracks_held[track.key] = _possible(noisy_ends[track.key], printed)
    return RankStability(metrics=held, tracks=tracks_held, spans=spans)


def _chained(ends: Sequence[Ends], before: Sequence[Ends]) -> list[Ends]:
    """Append to the sort keys of a track those of the track that separates its equal totals."""
    return [
        {name: (best + first[name][0], worst + first[name][1]) for name, (best, worst) in o.items()}
        for o, first in product(ends, before)
    ]


def _possible(cases: Sequence[Ends], printed: Mapping[str, int]) -> dict[str, Stability]:
    """Possible ranks of each entry; they always include the printed rank.

    Args:
        cases: best and worst sort keys, in each case. An entry is ahead of another beyond noise if
            its worst key is better than the other's best in every case.
        printed: printed rank of each entry.
    """
    # Position of each sort key in sorted order, int64 (entries, best and worst, cases).
    places = np.empty((len(printed), 2, len(cases)), dtype=np.int64)
    for case, ends in enumerate(cases):
        found = np.array([ends[name] for name in printed])
        known = found.reshape(-1, found.shape[-1])
        order = np.lexsort(known.T[::-1])
        further = (known[order[1:]] != known[order[:-1]]).any(axis=1)
        codes = np.empty(len(known), dtype=np.int64)
        codes[order] = np.concatenate([[0], further.cumsum()])
        places[:, :, case] = codes.reshape(-1, 2)
    best, worst = places[:, 0], places[:, 1]
    ahead, behind = _points_below(worst, best), _points_below(-best, -worst)
    return {
        name: Stability(min(1 + before, rank), max(len(printed) - after, rank))
        for (name, rank), before, after in zip(printed.items(), ahead, behind, strict=True)
    }


def _points_below(points: Ints, bounds: Ints) -> list[int]:
    """Number of points that are below each bound in all columns; both are int64 (N, columns)."""
    points = points[points[:, 0].argsort()]
    counts: list[int] = np.searchsorted(points[:, 0], bounds[:, 0]).tolist()
    if points.shape[1] == 1:
        return counts
    below = (points[:count, 1:] < bound[1:] for count, bound in zip(counts, bounds, strict=True))
    return [int(each.all(axis=1).sum()) for each in below]


def _provisional(
    noisy: Sequence[str],
    tracks: Sequence[Track],
    places: Mapping[str, Mapping[str, Standing]],
) -> RankStability:
    """Rank stability of a table whose runtimes too few processes measured."""
    found: set[str] = set()
    for track in tracks:
        totals = [standing.total.order for standing in places[track.key].values()]
        separated = track.ties_by in found and len(set(totals)) < len(totals)
        if separated or set(track.metrics) & set(noisy):
            found.add(track.key)
    return RankStability(provisional_metrics=frozenset(noisy), provisional_tracks=frozenset(found))


def _span(value: Value) -> Span:
    if value.interval is None:
        return value.value, value.value
    return value.interval.low, value.interval.high


@dataclass(frozen=True, slots=True)
class _Spread:
    """Ranges of a formula's inputs within the noise; fields as in ``rank_stability``."""

    ranks: Ranks
    spans: Mapping[str, Mapping[str, Span]]
    held: Mapping[str, Mapping[str, Stability]]
    baseline: str | None

    def corners(self, reference: Mapping[str, float]) -> list[dict[str, float]]:
        """A track's references, with the baseline's runtimes at both ends of their intervals."""
        noisy = [m for m in reference if m in self.spans and self.baseline in self.spans[m]]
        ends = [self.spans[metric][self.baseline or ""] for metric in noisy]
        return [{**reference, **dict(zip(noisy, corner, strict=True))} for corner in product(*ends)]

    def ends(
        self, contestants: Sequence[Contestant], track: Track, reference: Mapping[str, float]
    ) -> Ends:
        """Sort keys of entries, with runtimes at the better and at the worse end of intervals."""
        fixed = [(m, self.ranks[m]) for m in track.metrics if m not in self.spans]
        noisy = [(m, self.spans[m], self.held[m]) for m in track.metrics if m in self.spans]
        found: Ends = {}
        for entry in contestants:
            name = entry.name
            theirs = entry.relative_to(reference)
            values = {metric: entry.values[metric] for metric in track.metrics}
            ranks = {metric: known[name] for metric, known in fixed}
            orders: list[End] = []
            for end in (0, 1):
                for metric, spans, held in noisy:
                    # The ratio of the baseline to itself has no noise.
                    same = name == self.baseline and metric in theirs
                    values[metric] = theirs[metric] if same else spans[name][end]
                    ranks[metric] = held[name].high if end else held[name].low
                orders.append((track.formula.total(values, ranks, theirs).order,))
            found[name] = (orders[0], orders[1])
        return found

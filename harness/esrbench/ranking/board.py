"""The records of a leaderboard: places, rows, the board itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from esrbench.ranking.rule import GateCheck, Track  # noqa: TC001 - pydantic reads it at runtime
from esrbench.ranking.stability import Stability  # noqa: TC001 - pydantic reads it at runtime
from esrbench.records import Absent, Notice, Software, Tabular, Value

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Place:
    """An entry's place in a track.

    Attributes:
        rank: 1 is the best; None for entries that are shown but not ranked, such as a baseline.
        rank_sum: sum of ranks, in tracks with such sums.
        score: score, in tracks with scores; absent if it exceeds the largest float.
        log_score: natural logarithm of the score, if the score is not 0.
        stability: ranks that are possible within the noise; None if not known.
        provisional: the rank depends on runtimes that fewer than three processes measured.
    """

    rank: int | None
    rank_sum: int | None = None
    score: float | Absent | None = None
    log_score: float | None = None
    stability: Stability | None = None
    provisional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaderboardEntry:
    """One entry of a leaderboard.

    Attributes:
        entry: name of the entry.
        run_id: id of the record; None for published entries.
        weights: source of the weights; ``published`` for published entries.
        status: status of the record; ``published`` for published entries.
        ran_with: software of an entry with its own interpreter.
        values: values of the board's columns, measured or absent. Intervals of runtimes predict
            another process.
        ranks: ranks by metric, for ranked entries and ranked metrics.
        rank_stability: ranks that are possible within the noise, by runtime metric; without metrics
            for which they are not known.
        provisional_ranks: runtime metrics whose rank fewer than three processes decided.
        places: places by track, for ranked entries.
        gates: checks of the entry against every gate that applies.
        other_scores: PSNR in dB on further data, by title.
        other_runtimes: seconds on single splits or further data, by title.
        cold_start: seconds of a cold start that the published runtime includes, or None.
        pareto: whether it is on the Pareto front of the board's metrics; provisional if a rank is.
            None for unranked entries.
        disagreements: differences between the publication and its own rule.
        unranked_because: reason, or None for ranked entries.
    """

    entry: str
    run_id: str | None
    weights: str
    status: str
    ran_with: Software | None = None
    values: dict[str, Value | Absent]
    ranks: dict[str, int] = field(default_factory=dict)
    rank_stability: dict[str, Stability] = field(default_factory=dict)
    provisional_ranks: tuple[str, ...] = ()
    places: dict[str, Place] = field(default_factory=dict)
    gates: tuple[GateCheck, ...] = ()
    other_scores: dict[str, float] = field(default_factory=dict)
    other_runtimes: dict[str, float] = field(default_factory=dict)
    cold_start: float | None = None
    pareto: bool | None = None
    disagreements: tuple[str, ...] = ()
    unranked_because: str | None = None

    @property
    def tightest(self) -> GateCheck | None:
        """The PSNR gate with the smallest margin."""
        quality = [gate for gate in self.gates if gate.of_quality]
        return min(quality, key=lambda gate: gate.margin, default=None)


class Leaderboard(Tabular):
    """A ranking of comparable records, or of published entries.

    Attributes:
        rule: name of the edition's rule.
        title: title of the table.
        data: title of the data set.
        split: short title of the data of the PSNR column.
        device: device that measured.
        forward_class: precision, layout and compilation that all entries share; None for published
            ones.
        banner: a warning for every reader, or None.
        gate: sentence about the quality gate.
        columns: metric keys.
        other_columns: titles of further data with a PSNR.
        tracks: tracks that could be ranked, main track first.
        pareto_metrics: metrics of the Pareto front.
        stability: why rank stability is not known, or None if it is.
        ranked: ranked entries, in the order of the first ranked track.
        unranked: other entries, with their reasons.
        notes: sentences that a reader must know.
        details: sentences about how the figures were measured.
        notices: typed warnings, for instance records left out as incomparable.
    """

    rule: str
    title: str
    data: str
    split: str = ""
    device: str
    forward_class: str | None
    banner: str | None = None
    gate: str
    columns: tuple[str, ...]
    other_columns: tuple[str, ...] = ()
    tracks: tuple[Track, ...]
    pareto_metrics: tuple[str, ...] = ()
    stability: Absent | None = None
    ranked: tuple[LeaderboardEntry, ...]
    unranked: tuple[LeaderboardEntry, ...]
    notes: tuple[str, ...]
    details: tuple[str, ...] = ()
    notices: tuple[Notice, ...] = ()

    def __repr_args__(self) -> Iterator[tuple[str, Any]]:
        """Title and leader, for ``repr``."""
        yield "title", self.title
        yield "data", self.data
        yield "ranked", tuple(row.entry for row in self.ranked)
        yield "unranked", len(self.unranked)

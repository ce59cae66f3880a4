"""The nouns of a leaderboard: places, rows, the board itself."""

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
        rank: 1 the best; None for what is shown beside the ranking, such as a baseline.
        rank_sum: of tracks that sum ranks.
        score: of tracks that score; absent where it exceeds the largest float.
        log_score: natural logarithm of the score, where it is not 0.
        stability: ranks that noise leaves possible; None where that is not known.
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
        entry: name.
        run_id: of the record; None for published entries.
        weights: source of the weights; ``published`` for published entries.
        status: of the record; ``published`` likewise.
        ran_with: of an entry in an interpreter of its own.
        values: the board's columns, measured or absent; intervals of runtimes hold for another
            process.
        ranks: per metric, for ranked entries and ranked metrics.
        rank_stability: by runtime metric, ranks that noise leaves possible; without metrics for
            which that is not known.
        provisional_ranks: runtime metrics whose rank fewer than three processes decided.
        places: per track, likewise.
        gates: the entry held against every gate that applies.
        other_scores: PSNR in dB on further data, by title.
        other_runtimes: seconds on single splits or further data, by title.
        cold_start: seconds of a cold start that the published runtime holds, if it holds one.
        pareto: it lies on the Pareto front of the board's metrics, provisionally where a rank is
            provisional; None for unranked entries.
        disagreements: where the publication departs from its own rule.
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
        """The gate of PSNR with the least margin."""
        quality = [gate for gate in self.gates if gate.of_quality]
        return min(quality, key=lambda gate: gate.margin, default=None)


class Leaderboard(Tabular):
    """A ranking of entries measured alike, or of published ones.

    Attributes:
        rule: name of the edition's rule.
        title: of the table.
        data: title of the data set.
        split: short title of the data that the column of PSNR is of.
        device: what it was measured on.
        forward_class: precision, layout and compilation that all entries share; None for
            published ones.
        banner: a warning that everybody must see, if any.
        gate: what is claimed of the quality gate, in words.
        columns: metric keys.
        other_columns: titles of further data with a PSNR.
        tracks: those that could be ranked, main track first.
        pareto_metrics: of the Pareto front.
        stability: why it is not known which ranks noise explains, or None where it is.
        ranked: ordered by the first ranked track.
        unranked: with their reasons.
        notes: what a reader must know.
        details: how the figures were taken.
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
        """What it ranks, and who leads."""
        yield "title", self.title
        yield "data", self.data
        yield "ranked", tuple(row.entry for row in self.ranked)
        yield "unranked", len(self.unranked)

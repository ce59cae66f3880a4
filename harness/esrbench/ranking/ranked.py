"""Rows with their ranks, places and Pareto membership."""

from __future__ import annotations

from typing import TYPE_CHECKING

from esrbench.ranking.board import Place, Row
from esrbench.ranking.formulas import RankSum, Total
from esrbench.ranking.stability import RankStability
from esrbench.ranking.standings import pareto_front, place_in_tracks, rank_metrics
from esrbench.records import Absent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from esrbench.ranking.rule import Rule, Track
    from esrbench.ranking.stability import Stability
    from esrbench.ranking.standings import Contestant

OVERFLOW = Absent(
    kind="unavailable", reason="the score exceeds the largest float; its logarithm is given"
)


def place_of(
    total: Total,
    track: Track,
    rank: int | None,
    stability: Stability | None = None,
    *,
    provisional: bool = False,
) -> Place:
    """An entry's place from its total."""
    if isinstance(track.formula, RankSum):
        return Place(
            rank=rank,
            rank_sum=int(total.order),
            stability=stability,
            provisional=provisional,
        )
    return Place(
        rank=rank,
        score=OVERFLOW if total.value is None else total.value,
        log_score=total.log,
        stability=stability,
        provisional=provisional,
    )


def rank_rows(
    rows: Sequence[Row],
    contestants: Sequence[Contestant],
    metrics: Sequence[str],
    tracks: Sequence[Track],
    references: Mapping[str, Mapping[str, float]],
    *,
    stability: RankStability | None = None,
) -> tuple[Row, ...]:
    """Give rows their ranks and places and set them in order.

    Args:
        rows: to be ranked, one a contestant.
        contestants: by the rows' names.
        metrics: that are ranked; all that the tracks read.
        tracks: main track first; without any, the first metric orders the rows.
        references: by track.
        stability: of the ranks; None where no rank reads a runtime.
    """
    ranks = rank_metrics(contestants, metrics)
    places = place_in_tracks(contestants, ranks, tracks, references)
    held = stability or RankStability()
    front = pareto_front(contestants, metrics, held.spans) if metrics else frozenset[str]()
    ranked = [
        row.model_copy(
            update={
                "ranks": {metric: by_entry[row.entry] for metric, by_entry in ranks.items()},
                "rank_stability": {
                    metric: by_entry[row.entry] for metric, by_entry in held.metrics.items()
                },
                "provisional_ranks": tuple(
                    metric for metric in metrics if metric in held.provisional_metrics
                ),
                "places": {
                    track.key: place_of(
                        places[track.key][row.entry].total,
                        track,
                        places[track.key][row.entry].rank,
                        held.tracks.get(track.key, {}).get(row.entry),
                        provisional=track.key in held.provisional_tracks,
                    )
                    for track in tracks
                },
                "pareto": row.entry in front if metrics else None,
            }
        )
        for row in rows
    ]

    def order(row: Row) -> tuple[int, str]:
        if tracks:
            return row.places[tracks[0].key].rank or 0, row.entry
        return row.ranks[metrics[0]] if metrics else 0, row.entry

    return tuple(sorted(ranked, key=order))


def ranked_in_table(rule: Rule, tracks: Sequence[Track], usable: Sequence[str]) -> tuple[str, ...]:
    """Metrics to rank: those of the tracks, and those ranked alone where they are usable."""
    used = {metric for track in tracks for metric in track.metrics}
    used.update(metric for metric in rule.ranked_alone if metric in usable)
    return tuple(metric for metric in rule.columns if metric in used)

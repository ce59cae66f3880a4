"""Compute ranks per metric, places per track and the Pareto front from figures."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from esrbench.metrics import METRICS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from esrbench.ranking.formulas import Total
    from esrbench.ranking.rule import Track

_SIGN = {"lower": 1, "higher": -1}
RIVALS: Final = 64
"""Number of entries that are compared at once with the remaining front."""

Ranks = dict[str, dict[str, int]]
"""Ranks by metric, then by entry."""


@dataclass(frozen=True, slots=True)
class Contestant:
    """One entry that is ranked.

    Attributes:
        name: unique name.
        values: metrics in base units.
        ties: order among entries whose printed, rounded values are equal, by metric.
        own_baseline: the baseline's runtime in the entry's own rounds, divided by the track's
            reference, by metric. Metrics whose reference is from these rounds are left out.
    """

    name: str
    values: Mapping[str, float]
    ties: Mapping[str, int] = field(default_factory=dict)
    own_baseline: Mapping[str, float] = field(default_factory=dict)

    def relative_to(self, references: Mapping[str, float]) -> Mapping[str, float]:
        """Reference figures for this entry, from a track's references."""
        own = self.own_baseline
        if not own:
            return references
        return {metric: value * own.get(metric, 1.0) for metric, value in references.items()}


class Standing(NamedTuple):
    """An entry's total and rank in a track; rank 1 is the best."""

    total: Total
    rank: int


def shared_ranks(values: Mapping[str, Any]) -> dict[str, int]:
    """Rank of each name, 1 for the smallest value; equal values share the smallest rank."""
    first: dict[Any, int] = {}
    for index, value in enumerate(sorted(values.values()), start=1):
        first.setdefault(value, index)
    return {name: first[value] for name, value in values.items()}


def rank_metrics(contestants: Sequence[Contestant], metrics: Iterable[str]) -> Ranks:
    """Ranks in each metric, in the metric's own direction."""
    found: Ranks = {}
    for metric in dict.fromkeys(metrics):
        sign = _SIGN[METRICS[metric].better]
        values: dict[str, Any] = {each.name: sign * each.values[metric] for each in contestants}
        if any(metric in each.ties for each in contestants):
            values = {e.name: (values[e.name], e.ties.get(metric, 0)) for e in contestants}
        found[metric] = shared_ranks(values)
    return found


def place_in_tracks(
    contestants: Sequence[Contestant],
    ranks: Ranks,
    tracks: Sequence[Track],
    references: Mapping[str, Mapping[str, float]],
) -> dict[str, dict[str, Standing]]:
    """Totals and ranks in each track.

    Args:
        contestants: entries with every metric of the tracks.
        ranks: result of ``rank_metrics`` for every metric of the tracks.
        tracks: tracks in the rule's order. If the track that separates ties is missing, tied
            entries share the rank.
        references: reference figures by track.

    Returns:
        Places by track, then by entry.
    """
    of_entry = {
        each.name: {metric: known[each.name] for metric, known in ranks.items()}
        for each in contestants
    }
    places: dict[str, dict[str, Standing]] = {}
    for track in tracks:
        reference = references.get(track.key, {})
        totals = {
            each.name: track.formula.total(
                each.values, of_entry[each.name], each.relative_to(reference)
            )
            for each in contestants
        }
        before = places.get(track.ties_by or "")
        orders: dict[str, Any] = {name: total.order for name, total in totals.items()}
        if before:
            orders = {name: (order, before[name].rank) for name, order in orders.items()}
        order = shared_ranks(orders)
        places[track.key] = {name: Standing(total, order[name]) for name, total in totals.items()}
    return places


def pareto_front(
    contestants: Sequence[Contestant],
    metrics: Sequence[str],
    spans: Mapping[str, Mapping[str, tuple[float, float]]] | None = None,
) -> frozenset[str]:
    """Names of the entries on the Pareto front: no other is better in one metric and worse in none.

    Args:
        contestants: entries with these metrics.
        metrics: metrics to compare.
        spans: lower and upper bound of a noisy value, by metric, then by entry. Values whose
            bounds overlap count as equal.
    """

    def bounds(metric: str) -> list[tuple[float, float]]:
        """Best and worst value of each entry; smaller is better."""
        known = (spans or {}).get(metric, {})
        values = [(each.name, each.values[metric]) for each in contestants]
        found = [known.get(name, (value, value)) for name, value in values]
        if METRICS[metric].better == "lower":
            return found
        return [(-high, -low) for low, high in found]

    if not contestants:
        return frozenset()
    # Positions in sorted order, int32 (metrics, entries), are faster to compare than floats.
    spread = [np.unique(bounds(metric), return_inverse=True)[1] for metric in metrics]
    best, worst = np.array(spread, np.int32).reshape(len(metrics), -1, 2).transpose(2, 0, 1)
    # Entries that are good in most metrics come first, because they beat many others.
    order = best.argsort(axis=1).argsort(axis=1).sum(axis=0).argsort()
    front: Any = np.arange(len(contestants))
    for start in range(0, len(order), RIVALS):
        rivals = order[start : start + RIVALS, None]
        beaten = np.zeros((len(rivals), len(front)), bool)
        for ours, theirs in zip(worst, best, strict=True):
            beaten |= ours[rivals] < theirs[front]
        for ours, theirs in zip(best, worst, strict=True):
            beaten &= ours[rivals] <= theirs[front]
        front = front[~beaten.any(axis=0)]
    return frozenset(contestants[index].name for index in front)

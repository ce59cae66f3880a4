"""From figures to ranks and places: ranks per metric, totals per track, the Pareto front."""

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
"""Entries that are compared at a time with all that are left on the front."""

Ranks = dict[str, dict[str, int]]
"""By metric, then by entry."""


@dataclass(frozen=True, slots=True)
class Contestant:
    """One entry that is ranked.

    Attributes:
        name: unique.
        values: metrics in base units.
        ties: by metric, order among entries whose values are equal only because they were
            printed rounded.
        own_baseline: by metric, what the baseline took in the entry's own rounds, as a multiple of
            a track's reference; metrics whose reference is of these rounds are left out.
    """

    name: str
    values: Mapping[str, float]
    ties: Mapping[str, int] = field(default_factory=dict)
    own_baseline: Mapping[str, float] = field(default_factory=dict)

    def relative_to(self, references: Mapping[str, float]) -> Mapping[str, float]:
        """What this entry's figures are set in relation to, from a track's references."""
        own = self.own_baseline
        if not own:
            return references
        return {metric: value * own.get(metric, 1.0) for metric, value in references.items()}


class Standing(NamedTuple):
    """An entry in a track: its total and its rank, 1 the best."""

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
        contestants: with every metric of the tracks.
        ranks: as of ``rank_metrics``, of every metric of the tracks.
        tracks: in the rule's order. If the track whose order should separate ties is missing, ties
            are shared.
        references: by track, what its formula sets figures in relation to.

    Returns:
        By track, then by entry.
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
    """Names of those than which no other is better in one metric and worse in none.

    Args:
        contestants: with these metrics.
        metrics: to compare by.
        spans: by metric, then by entry, lower and upper bound of a noisy value; values whose
            bounds overlap count as equal.
    """

    def bounds(metric: str) -> list[tuple[float, float]]:
        """Best and worst of each, smaller the better."""
        known = (spans or {}).get(metric, {})
        values = [(each.name, each.values[metric]) for each in contestants]
        found = [known.get(name, (value, value)) for name, value in values]
        if METRICS[metric].better == "lower":
            return found
        return [(-high, -low) for low, high in found]

    if not contestants:
        return frozenset()
    # Places of the bounds in order, int32 (metrics, entries), are faster to compare than floats.
    spread = [np.unique(bounds(metric), return_inverse=True)[1] for metric in metrics]
    best, worst = np.array(spread, np.int32).reshape(len(metrics), -1, 2).transpose(2, 0, 1)
    # Who is good in most metrics comes first, since it beats many.
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

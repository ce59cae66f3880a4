"""How often ranks stay the same when the timed processes are resampled."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from esrbench.ranking.blocks import deviations
from esrbench.ranking.standings import place_in_tracks, rank_metrics

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from esrbench.ranking.rule import Track
    from esrbench.ranking.stability import Drawn, RankStability, Stability
    from esrbench.ranking.standings import Contestant, Ranks, Standing
    from esrbench.records import RunRecord

DRAWS: Final = 400
MOST_ENTRIES: Final = 100
"""Shares are drawn for at most this many entries, because the work grows with their number."""


def drawn_runtimes(records: Sequence[RunRecord], metric: str) -> Drawn:
    """Runtimes that other processes might have measured.

    Each draw changes an entry's runtime by the mean of some deviations, one for each of its
    processes. These are drawn from all entries, because one entry has too few.

    Args:
        records: comparable records, one for each entry.
        metric: key of a runtime.

    Returns:
        ``DRAWS`` runtimes in seconds for each entry that has the metric; empty if times of
        processes are not known.
    """
    known = [each for each in records if each.measured(metric) is not None]
    found = deviations(known, metric) if known else None
    if found is None or found.freedom < 1:
        return {}
    pool = np.concatenate(found.of_records)
    # Subtracting the means made the deviations smaller.
    pool *= math.sqrt(len(pool) / found.freedom)
    rng = np.random.default_rng(0)
    drawn = {}
    for record, own in zip(known, found.of_records, strict=True):
        moved = rng.choice(pool, (DRAWS, len(own))).mean(axis=1)
        drawn[record.entry.name] = (record.measured(metric) or 0.0) * np.exp(moved)
    return drawn


def with_shares(
    held: RankStability,
    contestants: Sequence[Contestant],
    ranks: Ranks,
    places: Mapping[str, Mapping[str, Standing]],
    *,
    tracks: Sequence[Track],
    references: Mapping[str, Mapping[str, float]],
    drawn: Mapping[str, Drawn],
    baseline: str | None,
) -> RankStability:
    """Add to ``held`` the share of draws that gave each printed rank.

    Args:
        held: possible ranks.
        contestants: ranked entries.
        ranks: their ranks by metric.
        places: their places by track.
        tracks: ranked tracks.
        references: reference figures by track.
        drawn: result of ``drawn_runtimes`` by metric.
        baseline: entry whose runtime is the reference of scores, or None.

    Returns:
        ``held`` itself if a runtime of the ranking was not drawn.
    """
    names = {each.name for each in contestants}
    if not held.metrics or any(not names <= set(drawn.get(key, ())) for key in held.metrics):
        return held
    counts: Counter[tuple[str, str]] = Counter()
    for draw in range(DRAWS):
        now = {
            metric: {name: float(seconds[draw]) for name, seconds in drawn[metric].items()}
            for metric in held.metrics
        }
        moved = [
            replace(each, values={**each.values, **{m: now[m][each.name] for m in now}})
            for each in contestants
        ]
        related = {
            key: {m: now.get(m, {}).get(baseline or "", value) for m, value in known.items()}
            for key, known in references.items()
        }
        of_draw = ranks | rank_metrics(moved, now)
        counts.update(
            (metric, name)
            for metric in now
            for name in names
            if of_draw[metric][name] == ranks[metric][name]
        )
        for key, standings in place_in_tracks(moved, of_draw, tracks, related).items():
            counts.update((key, n) for n in names if standings[n].rank == places[key][n].rank)

    def shared(possible: Mapping[str, Mapping[str, Stability]]) -> dict[str, dict[str, Stability]]:
        return {
            key: {
                name: replace(each, held=counts[key, name] / DRAWS)
                for name, each in by_entry.items()
            }
            for key, by_entry in possible.items()
        }

    return replace(held, metrics=shared(held.metrics), tracks=shared(held.tracks))

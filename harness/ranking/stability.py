"""How firmly ranks hold when runtimes are drawn anew from their samples."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from harness.protocol import Frozen
from harness.ranking.standings import place_in_tracks, rank_metrics
from harness.records import Absent
from harness.statistics import BOOTSTRAP_ROUNDS, CONFIDENCE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from harness.ranking.rule import Track
    from harness.ranking.standings import Contestant, Ranks
    from harness.records import Replicate, RunRecord

    Draws = npt.NDArray[np.float64]

RESAMPLES = 1000
SEED = 0
RESAMPLED = "runtime_images"


@dataclass(frozen=True, slots=True)
class Firmness:
    """How firmly the ranks of a table hold.

    Attributes:
        tracks: by track, then by entry.
        runtime: of the rank in runtime itself, by entry; empty where it is not ranked.
    """

    tracks: Mapping[str, Mapping[str, Stability]]
    runtime: Mapping[str, Stability]


class Stability(Frozen):
    """What becomes of a rank when runtimes are drawn anew.

    Attributes:
        low: best rank of the central 95 % of draws.
        high: worst rank of them.
        held: share of draws in which the rank was the printed one.
        draws: how many there were.
    """

    low: int
    high: int
    held: float
    draws: int


def draw_runtimes(records: Sequence[RunRecord]) -> dict[str, Draws] | Absent:
    """Each entry's runtime over its printed one, drawn anew from its samples.

    With several processes these are drawn, with their relative deviations widened by
    sqrt(n / (n - 1)) as n draws of n are too alike; entries interleaved with one another draw
    the same rounds, so that what was common to them stays so. With one process its rounds are
    drawn image by image, which says nothing of another process.

    Args:
        records: of the ranked entries; those of disputed timing are drawn from the evaluator's
            times.

    Returns:
        By entry, float64 (``RESAMPLES``,), 1 for the printed runtime; absent where an entry has
        no samples or too few.
    """
    draws: dict[str, Draws] = {}
    picked: dict[tuple[str, int], npt.NDArray[np.int64]] = {}
    rng = np.random.default_rng(SEED)
    for record in sorted(records, key=lambda record: (record.entry.name, record.run_id)):
        latency, name = record.latency, record.entry.name
        if isinstance(latency, Absent):
            return Absent(kind="unavailable", reason=f"{name} has no samples of runtime")
        disputed = record.status == "timing-disputed"
        processes = [_times(each, delivered=disputed) for each in latency.replicates]
        if not all(processes):
            return Absent(kind="unavailable", reason=f"{name} lacks samples of a process")
        if len(processes) > 1:
            key = (latency.session, len(processes))
            if key not in picked:
                picked[key] = rng.integers(0, key[1], size=(RESAMPLES, key[1]))
            draws[name] = _over_processes(processes, picked[key])
        elif min(map(len, processes[0])) < BOOTSTRAP_ROUNDS:
            reason = f"{name} has fewer than {BOOTSTRAP_ROUNDS} rounds of an image, in one process"
            return Absent(kind="unavailable", reason=reason)
        else:
            draws[name] = _over_rounds(processes[0], rng)
    return draws


def rank_stability(
    contestants: Sequence[Contestant],
    ranks: Ranks,
    tracks: Sequence[Track],
    references: Mapping[str, Mapping[str, float]],
    *,
    draws: Mapping[str, Draws],
    baseline: str | None,
) -> Firmness:
    """How often each rank of each track, and each rank in runtime, holds.

    Args:
        contestants: as they were ranked.
        ranks: of their metrics.
        tracks: as they were ranked.
        references: by track.
        draws: by entry, relative runtimes.
        baseline: name of the drawn entry whose runtime is the scores' reference, or None.
    """
    printed = place_in_tracks(contestants, ranks, tracks, references)
    seen: dict[str, dict[str, list[int]]] = {
        track.key: {each.name: [] for each in contestants} for track in tracks
    }
    in_runtime: dict[str, list[int]] = {name: [] for name in ranks.get(RESAMPLED, {})}
    for index in range(RESAMPLES):
        drawn = [_redrawn(each, float(draws[each.name][index])) for each in contestants]
        anew = {**ranks, **rank_metrics(drawn, [RESAMPLED] if RESAMPLED in ranks else [])}
        for name, found in in_runtime.items():
            found.append(anew[RESAMPLED][name])
        factor = (
            float(draws[baseline][index]) if baseline is not None and baseline in draws else 1.0
        )
        scaled = {
            key: {
                metric: value * factor if metric == RESAMPLED else value
                for metric, value in reference.items()
            }
            for key, reference in references.items()
        }
        for key, standings in place_in_tracks(drawn, anew, tracks, scaled).items():
            for name, standing in standings.items():
                seen[key][name].append(standing.rank)
    return Firmness(
        tracks={
            key: {name: _summary(found, printed[key][name].rank) for name, found in each.items()}
            for key, each in seen.items()
        },
        runtime={
            name: _summary(found, ranks[RESAMPLED][name]) for name, found in in_runtime.items()
        },
    )


def _times(replicate: Replicate, *, delivered: bool) -> list[Sequence[float]]:
    if isinstance(replicate.images, Absent):
        return []
    times = [each.delivered_seconds if delivered else each.seconds for each in replicate.images]
    return list(times) if all(times) and all(min(each) > 0 for each in times) else []


def _over_processes(
    processes: Sequence[Sequence[Sequence[float]]], picked: npt.NDArray[np.int64]
) -> Draws:
    """Of geometric means over drawn processes."""
    logs = np.log([np.mean([np.median(image) for image in images]) for images in processes])
    widened = np.sqrt(len(logs) / (len(logs) - 1))
    deviations: Draws = np.exp((logs[picked].mean(axis=1) - logs.mean()) * widened)
    return deviations


def _over_rounds(images: Sequence[Sequence[float]], rng: np.random.Generator) -> Draws:
    """Of means over images of medians over drawn rounds."""
    total: Draws = np.zeros(RESAMPLES)
    for image in images:
        samples = np.asarray(image, dtype=np.float64)
        picked = rng.integers(0, len(samples), size=(RESAMPLES, len(samples)))
        total += np.median(samples[picked], axis=1)
    relative: Draws = total / np.sum([np.median(image) for image in images])
    return relative


def _redrawn(contestant: Contestant, factor: float) -> Contestant:
    values = dict(contestant.values)
    if RESAMPLED in values:
        values[RESAMPLED] *= factor
    return replace(contestant, values=values)


def _summary(found: Sequence[int], printed: int) -> Stability:
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(found, [tail, 1 - tail], method="inverted_cdf")
    held = sum(rank == printed for rank in found) / len(found)
    return Stability(
        low=min(int(low), printed), high=max(int(high), printed), held=held, draws=len(found)
    )

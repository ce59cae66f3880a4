"""Rank stability and slow first images, from the runtimes in an edition's own log.

``times/NAME.csv`` beside the published tables holds the time of each image, from the log of one
process of each entry. Ranks are resampled: images are drawn with replacement, the same for all
entries, and all entries are ranked again. This shows how far ranks depend on the choice of images
and on noise from image to image. It does not show differences between processes or machines.
"""

from __future__ import annotations

import csv
import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from esrbench.errors import DataError
from esrbench.ranking.footnotes import COLD_START
from esrbench.ranking.stability import Stability
from esrbench.ranking.standings import Contestant, place_in_tracks, rank_metrics
from esrbench.records import Value
from esrbench.statistics import CONFIDENCE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from esrbench.ranking.board import LeaderboardEntry
    from esrbench.ranking.rule import Track

    Floats = np.ndarray[Any, np.dtype[np.float64]]
    Times = Mapping[str, Mapping[str, Floats]]
    """Seconds of each image in order, float64 (images,), by entry and split."""

RUNTIME: Final = "runtime_images"
DRAWS: Final = 1000
LAST_DIGIT: Final = 1e-4
"""Largest relative difference between a published runtime and the mean of its times."""
COLD_SECONDS: Final = 0.05
"""A first image was a cold start if it took this much longer than the median of the others."""


def read_times(path: Path, runtimes: Mapping[str, float]) -> Times:
    """The times of every image.

    Args:
        path: file of the times, which may not exist.
        runtimes: published runtimes in seconds, by entry. Each is the mean of the entry's times.

    Returns:
        Times by entry and split; empty if there is no file.

    Raises:
        DataError: a row is not as expected, or times do not belong to the table.
    """
    if not path.is_file():
        return {}
    times: dict[str, dict[str, Floats]] = {}
    problems = []
    with path.open(newline="", encoding="utf-8") as file:
        for line, row in enumerate(csv.DictReader(file), start=2):
            try:
                seconds = np.array(row["images_ms"].split(), dtype=np.float64) / 1e3
                times.setdefault(row["entry"], {})[row["split"]] = seconds
            except (KeyError, ValueError, AttributeError) as error:
                problems.append(f"line {line}: {error!r}")
    counts = [{split: len(each) for split, each in splits.items()} for splits in times.values()]
    if any(each != counts[0] for each in counts) or times.keys() != runtimes.keys():
        problems.append(
            "entries differ in their splits or numbers of images, or are not those of the table"
        )
    problems += [
        f"{entry}: the mean of its times is {1e3 * mean:.3f} ms, published is {1e3 * said:.3f} ms"
        for entry, said in runtimes.items()
        if entry in times and abs((mean := mean_of_splits(times[entry])) - said) > LAST_DIGIT * said
    ]
    if problems:
        message = f"{path}: the published times are damaged"
        raise DataError(message, problems, advice="Restore the file from the repository.")
    return times


def mean_of_splits(splits: Mapping[str, Floats], *, skipped: int = 0) -> float:
    """An edition's runtime in seconds: the mean over splits of the mean over their images.

    Args:
        splits: times by split.
        skipped: number of first images of the first split to leave out.
    """
    first, *others = splits.values()
    return float(np.mean([first[skipped:].mean(), *(each.mean() for each in others)]))


def resampled_stability(
    rows: Sequence[LeaderboardEntry],
    times: Times,
    tracks: Sequence[Track],
    references: Mapping[str, Mapping[str, float]],
) -> list[LeaderboardEntry]:
    """Ranked rows with the stability of their ranks in runtime and in all tracks.

    Args:
        rows: ranked rows; each has times.
        times: times of the images.
        tracks: tracks of the board.
        references: reference figures by track.
    """
    rng = np.random.default_rng(0)
    drawn = np.zeros((DRAWS, len(rows)))
    for split in times[rows[0].entry]:
        seconds = np.array([times[row.entry][split] for row in rows])
        count = seconds.shape[1]
        weights = rng.multinomial(count, np.full(count, 1 / count), size=DRAWS)
        drawn += weights @ seconds.T / count / len(times[rows[0].entry])
    ranks = [_ranks(rows, runtimes, tracks, references) for runtimes in drawn.tolist()]

    def held(key: str, entry: str, rank: int) -> Stability:
        of_draws = [each[key][entry] for each in ranks]
        low, high = np.quantile(
            of_draws, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], method="inverted_cdf"
        )
        return Stability(
            low=min(int(low), rank), high=max(int(high), rank), held=of_draws.count(rank) / DRAWS
        )

    return [
        replace(
            row,
            rank_stability={RUNTIME: held(RUNTIME, row.entry, row.ranks[RUNTIME])},
            places={
                key: replace(place, stability=held(key, row.entry, place.rank or 0))
                for key, place in row.places.items()
            },
        )
        for row in rows
    ]


def _ranks(
    rows: Sequence[LeaderboardEntry],
    runtimes: Sequence[float],
    tracks: Sequence[Track],
    references: Mapping[str, Mapping[str, float]],
) -> dict[str, dict[str, int]]:
    """Ranks in runtime and in each track, by entry."""
    contestants = [
        Contestant(
            row.entry,
            {metric: v.value for metric, v in row.values.items() if isinstance(v, Value)}
            | {RUNTIME: seconds},
        )
        for row, seconds in zip(rows, runtimes, strict=True)
    ]
    metrics = {RUNTIME, *(metric for track in tracks for metric in track.metrics)}
    ranks = rank_metrics(contestants, metrics)
    places = place_in_tracks(contestants, ranks, tracks, references)
    in_tracks = {
        key: {entry: standing.rank for entry, standing in by_entry.items()}
        for key, by_entry in places.items()
    }
    return {RUNTIME: ranks[RUNTIME], **in_tracks}


def cold_starts(times: Times) -> dict[str, float]:
    """Seconds of an entry's first image, for entries whose first image was a cold start."""
    firsts = {entry: next(iter(splits.values())) for entry, splits in times.items()}
    return {
        entry: float(seconds[0])
        for entry, seconds in firsts.items()
        if seconds[0] - np.median(seconds[1:]) > COLD_SECONDS
    }


def log_notes(
    rows: Sequence[LeaderboardEntry],
    times: Times,
    tracks: Sequence[Track],
    references: Mapping[str, Mapping[str, float]],
) -> Iterator[str]:
    """Sentences about rank stability and first images in the log.

    Args:
        rows: all rows of the board, with rank stability.
        times: times of the images.
        tracks: tracks of the board.
        references: reference figures by track.
    """
    splits = next(iter(times.values()))
    yield (
        f"A rank such as 1-2 is a range that holds in 95 % of {DRAWS:,} draws of the "
        f"{sum(map(len, splits.values()))} logged images, the same images for all entries. "
        "Another process or machine may differ more: the log has one process of each entry."
    )
    for track in tracks:
        shares = {
            row.entry: held.held
            for row in rows
            if (place := row.places.get(track.key)) and (held := place.stability) and held.tied
        }
        if shares:
            told = ", ".join(f"{entry} {share:.0%}" for entry, share in shares.items())
            yield f"Share of draws that keep a rank in {track.title}: {told}; others have more."
    cold = cold_starts(times)
    if not cold:
        return
    low, high = (f"{1e3 * seconds:.0f}" for seconds in (min(cold.values()), max(cold.values())))
    yield (
        f"{COLD_START} The runtime includes a cold start: the first image took {low} to {high} ms "
        f"for {len(cold)} of {len(times)} entries."
    )
    with_first, without = (
        _ranks(
            rows, [mean_of_splits(times[row.entry], skipped=n) for row in rows], tracks, references
        )
        for n in (0, 1)
    )
    passed = [
        f"{ahead.entry} is ahead of {other.entry} in {label}"
        for key, label in {RUNTIME: "runtime", **{t.key: t.title for t in tracks}}.items()
        for ahead, other in itertools.permutations(rows, 2)
        if without[key][ahead.entry] < without[key][other.entry]
        and with_first[key][ahead.entry] > with_first[key][other.entry]
    ]
    if passed:
        yield f"Without the first image of each entry, {'; '.join(passed)}."

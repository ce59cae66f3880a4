"""Read the published leaderboards, one CSV file an edition, and rank them by their own rule."""

from __future__ import annotations

import csv
import itertools
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Literal, cast, get_args

from esrbench.environment import own_packages
from esrbench.errors import DataError, UsageError
from esrbench.metrics import METRICS
from esrbench.ranking.board import Leaderboard, LeaderboardEntry
from esrbench.ranking.formulas import RealTime
from esrbench.ranking.leaderboard import INTERPOLATION, place_of, rank_rows, ranked_in_table
from esrbench.ranking.published_times import (
    RUNTIME,
    cold_starts,
    log_notes,
    read_times,
    resampled_stability,
)
from esrbench.records import Absent, Value

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from esrbench.ranking.board import Place
    from esrbench.ranking.references import References
    from esrbench.ranking.rule import Gate, GateCheck, Rule, Track

PublishedStatus = Literal["ranked", "unranked_psnr", "measured", "baseline", "floor"]
"""``measured``: published figures without a verdict; the rule's gates decide."""

NOT_PUBLISHED = Absent(kind="unavailable", reason="not published")
UNSAMPLED = Absent(kind="unavailable", reason="no samples of the published runtimes are known")
VALID, TEST = "valid", "test"
"""Splits of an edition's images, in columns of its file."""


@dataclass(frozen=True, slots=True)
class PrintedFigure:
    """A printed figure.

    Attributes:
        value: in the metric's base unit.
        step: value of one unit in the last printed digit, in the same unit.
    """

    value: float
    step: float

    @property
    def ends(self) -> tuple[float, float]:
        """Smallest and largest figure that are printed like this."""
        return self.value - self.step / 2, self.value + self.step / 2


@dataclass(frozen=True, slots=True)
class PrintedPlace:
    """Printed figures of an entry in a track; None if nothing was printed.

    Attributes:
        rank: its place.
        rank_sum: its sum of ranks.
        score: its score.
    """

    rank: int | None
    rank_sum: int | None
    score: PrintedFigure | None


@dataclass(frozen=True, slots=True)
class PublishedEntry:
    """A row of a published table.

    Attributes:
        name: team or network.
        status: verdict of the publication.
        figures: printed figures by metric.
        psnr: RGB PSNR in dB by column, such as ``psnr_test``.
        runtimes: runtimes of single splits in seconds; ``runtime_images`` is their mean.
        ranks: printed ranks by metric.
        places: printed places by track.
        note: remark of the publication, or remark about it.
    """

    name: str
    status: PublishedStatus
    figures: Mapping[str, PrintedFigure]
    psnr: Mapping[str, float]
    runtimes: Mapping[str, float]
    ranks: Mapping[str, int]
    places: Mapping[str, PrintedPlace]
    note: str


def official_folder() -> Path:
    """Folder of the published tables, in the checkout or in the installed package."""
    package = own_packages()["esrbench"]
    source_root = package.parent
    if source_root.name == "harness":
        return source_root.parent / "results" / "official"
    return package / "official"


def official_names(folder: Path | None = None) -> tuple[str, ...]:
    """Names of the editions with a table in a folder; the official one if left out."""
    return tuple(sorted(path.stem for path in (folder or official_folder()).glob("*.csv")))


def read_official(rule: Rule, folder: Path | None = None) -> tuple[PublishedEntry, ...]:
    """The published table of an edition.

    Args:
        rule: rule of the edition.
        folder: folder of the files; the official one if left out.

    Raises:
        UsageError: there is no table of that edition.
        DataError: the folder has no tables, or rows are not as expected; lists all of them.
    """
    folder = folder or official_folder()
    path = folder / f"{rule.name}.csv"
    if not path.is_file():
        known = official_names(folder)
        if not known:
            message = f"{folder}: this folder should have the published tables, but has none"
            raise DataError(
                message,
                advice="In a checkout, run `git checkout -- results/official`. Otherwise install "
                "esrbench again, from a copy that has results/official.",
            )
        message = f"no published table of {rule.name} is here"
        raise UsageError(message, advice=f"There are: {', '.join(known)}.")
    entries: list[PublishedEntry] = []
    problems: list[str] = []
    with path.open(newline="", encoding="utf-8") as file:
        for line, row in enumerate(csv.DictReader(file), start=2):
            try:
                entries.append(_entry(row, rule))
            except (KeyError, ValueError, InvalidOperation) as error:
                problems.append(f"line {line}: {error!r}")
    names = [entry.name for entry in entries]
    problems += [f"{name}: twice" for name in dict.fromkeys(names) if names.count(name) > 1]
    if problems:
        message = f"{path}: the published table is damaged"
        raise DataError(message, problems, advice="Restore the file from the repository.")
    return tuple(entries)


def _entry(row: Mapping[str, str], rule: Rule) -> PublishedEntry:
    status = row["status"]
    if status not in get_args(PublishedStatus):
        message = f"unknown status {status!r}"
        raise ValueError(message)
    given = {column: text for column, text in row.items() if text}
    columns = {key: METRICS[key].column for key in rule.columns}
    columns |= {gate.metric: psnr_column(gate) for gate in rule.quality_gates[:1]}
    return PublishedEntry(
        name=row["entry"],
        status=cast("PublishedStatus", status),
        figures={
            metric: printed(given[column], METRICS[metric].divisor)
            for metric, column in columns.items()
            if column in given
        },
        psnr={
            column: float(given[column])
            for column in ("psnr_valid", "psnr_test", "psnr_rgb")
            if column in given
        },
        runtimes={
            split: float(given[column]) * METRICS[RUNTIME].divisor
            for split in (VALID, TEST)
            if (column := f"runtime_{split}_ms") in given
        },
        ranks={
            metric: int(given[f"{metric}_rank"])
            for metric in rule.columns
            if f"{metric}_rank" in given
        },
        places={track.key: _printed_place(given, track.key) for track in rule.tracks},
        note=given.get("note", ""),
    )


def psnr_column(gate: Gate) -> str:
    """Column of the PSNR on a gate's data; the data set's name ends with the split."""
    return "psnr_rgb" if gate.data is None else f"psnr_{gate.data.rsplit('-', 1)[-1]}"


def _printed_place(given: Mapping[str, str], key: str) -> PrintedPlace:
    rank, rank_sum, score = (given.get(f"{key}_{what}") for what in ("rank", "rank_sum", "score"))
    return PrintedPlace(
        rank=int(rank) if rank else None,
        rank_sum=int(rank_sum) if rank_sum else None,
        score=printed(score, 1.0) if score else None,
    )


def printed(text: str, divisor: float) -> PrintedFigure:
    """A printed figure in base units.

    Args:
        text: decimal digits as printed.
        divisor: base units per printed unit.
    """
    number = Decimal(text)
    exponent = number.as_tuple().exponent
    if not isinstance(exponent, int):
        message = f"{text!r} is not a number"
        raise ValueError(message)  # noqa: TRY004 - infinity and NaN are bad values
    unit = Decimal(repr(divisor))
    return PrintedFigure(float(number * unit), float(Decimal(1).scaleb(exponent) * unit))


def printed_step(entries: Iterable[PublishedEntry], metric: str) -> float:
    """Finest printed step of a metric in base units; 0 if it was not printed."""
    return min((e.figures[metric].step for e in entries if metric in e.figures), default=0.0)


def published_row(
    entry: PublishedEntry, rule: Rule, columns: Sequence[str], entries: Sequence[PublishedEntry]
) -> LeaderboardEntry:
    """A published entry's row without ranks.

    Args:
        entry: entry of the table.
        rule: rule with the gates.
        columns: metrics to show.
        entries: all entries of the table.
    """
    interpolated = next((e.psnr["psnr_rgb"] for e in entries if e.status == "floor"), None)
    checks = tuple(
        gate.check(entry.psnr[column], interpolated)
        for gate in rule.quality_gates
        if entry.status != "floor" and (column := psnr_column(gate)) in entry.psnr
    )
    return LeaderboardEntry(
        entry=entry.name,
        run_id=None,
        weights="published",
        status="published",
        values={
            metric: Value(value=entry.figures[metric].value)
            if metric in entry.figures
            else NOT_PUBLISHED
            for metric in columns
        },
        gates=checks,
        other_scores={TEST: entry.psnr["psnr_test"]} if "psnr_test" in entry.psnr else {},
        other_runtimes=dict(entry.runtimes),
        unranked_because=_why_unranked(entry.status, checks),
    )


def _why_unranked(status: PublishedStatus, checks: Sequence[GateCheck]) -> str | None:
    """Why a published entry is shown below the ranking, or None."""
    said = {
        "baseline": "baseline, shown beside the ranking",
        "floor": INTERPOLATION,
        "unranked_psnr": "the publication did not rank it because of its PSNR",
        "measured": "; ".join(
            f"{check.value:.4f} dB on {check.title} is below {check.needed:.2f} dB"
            for check in checks
            if not check.rounded
        ),
    }
    return said.get(status) or None


def official_leaderboard(rule: Rule, folder: Path | None = None) -> Leaderboard:
    """Rank a published table again from its printed figures.

    Printed figures are rounded, but published ranks come from unrounded ones. So if printed
    figures are equal, the published ranks of the metric decide. Verdicts of the publication are
    kept. If it has none, the rule's gates decide.

    Args:
        rule: rule of the edition.
        folder: folder of the published tables; the official one if left out.

    Raises:
        UsageError: the edition has no published table.
        DataError: the table is damaged, or all tables are missing.
    """
    entries = read_official(rule, folder)
    columns = tuple(m for m in rule.columns if any(m in entry.figures for entry in entries))
    references = _references(rule, entries)
    tracks = [track for track in rule.tracks if track.key in references]
    metrics = ranked_in_table(rule, tracks, columns)
    rows = [published_row(entry, rule, columns, entries) for entry in entries]
    ranked, _ = rank_rows(
        rows, metrics, tracks, references, ties={entry.name: entry.ranks for entry in entries}
    )
    aside = [
        replace(row, places=_places_aside(entry, tracks, references))
        for entry, row in zip(entries, rows, strict=True)
        if row.unranked_because is not None
    ]
    times = read_times(
        (folder or official_folder()) / "times" / f"{rule.name}.csv",
        {each.name: each.figures[RUNTIME].value for each in entries if RUNTIME in each.figures},
    )
    if times:
        ranked = tuple(resampled_stability(ranked, times, tracks, references))
    cold = cold_starts(times)
    by_name = {entry.name: entry for entry in entries}
    ranked, unranked = (
        tuple(
            replace(
                row,
                disagreements=_disagreements(row, by_name[row.entry], tracks, references),
                cold_start=cold.get(row.entry),
            )
            for row in each
        )
        for each in (ranked, aside)
    )
    return Leaderboard(
        rule=rule.name,
        title=f"{rule.title}: published entries",
        data=", ".join(rule.baseline.psnr if rule.baseline else ()) or "the edition's data",
        split=VALID,
        device=f"Published figures, from {rule.device}",
        forward_class=None,
        gate=_verdicts(rule, entries),
        columns=columns,
        other_columns=(TEST,) if any("psnr_test" in entry.psnr for entry in entries) else (),
        tracks=tuple(tracks),
        pareto_metrics=metrics if ranked else (),
        stability=None if times else UNSAMPLED,
        ranked=ranked,
        unranked=unranked,
        notes=(
            *_findings([*ranked, *unranked], entries, tracks),
            *(
                log_notes([*ranked, *unranked], times, tracks, references)
                if times
                else [f"The stability of ranks is not known: {UNSAMPLED.reason}."]
            ),
            *rule.unverified,
        ),
        details=(
            *rule.inferred,
            *(f"{entry.name}: {entry.note}." for entry in entries if entry.note),
        ),
    )


def _references(rule: Rule, entries: Sequence[PublishedEntry]) -> References:
    """Reference figures by track; a track without them is left out."""
    floors = [entry for entry in entries if entry.status == "floor"]
    found: dict[str, dict[str, float]] = {}
    for track in rule.tracks:
        relative = track.formula.relative
        if track.formula.reference == "baseline":
            if set(relative) <= set(rule.published):
                found[track.key] = {metric: rule.published[metric] for metric in relative}
        elif not isinstance(track.formula, RealTime):
            found[track.key] = {}
        elif floors:
            quality = track.formula.quality
            found[track.key] = {quality: floors[0].figures[quality].value}
    return found


def _places_aside(
    entry: PublishedEntry, tracks: Sequence[Track], references: References
) -> dict[str, Place]:
    """Scores of a baseline. A baseline is not ranked, so it has no sums of ranks."""
    values = {metric: figure.value for metric, figure in entry.figures.items()}
    return {
        track.key: place_of(
            track.formula.total(values, {}, references[track.key]), track, rank=None
        )
        for track in tracks
        if entry.status == "baseline"
        and track.formula.reference != "none"
        and set(track.metrics) <= set(values)
    }


def _disagreements(
    row: LeaderboardEntry, entry: PublishedEntry, tracks: Sequence[Track], references: References
) -> tuple[str, ...]:
    """Printed ranks and scores that differ from those that the rule computes from the figures."""
    found = [
        f"{METRICS[metric].label} rank {rank}, printed {entry.ranks[metric]}"
        for metric, rank in row.ranks.items()
        if entry.ranks.get(metric, rank) != rank
    ]
    for track in tracks:
        place, said = row.places.get(track.key), entry.places[track.key]
        if place is None:
            continue
        if said.rank_sum not in {None, place.rank_sum}:
            found.append(f"{track.title} sum {place.rank_sum}, printed {said.rank_sum}")
        if said.rank not in {None, place.rank}:
            found.append(f"{track.title} rank {place.rank}, printed {said.rank}")
        if said.score is not None:
            low, high = _score_bounds(entry, track, references[track.key])
            half = said.score.step / 2
            if not low - half <= said.score.value <= high + half:
                found.append(
                    f"{track.title} {low:.2f} to {high:.2f}, printed {said.score.value:.2f}"
                )
    return tuple(found)


def _score_bounds(
    entry: PublishedEntry, track: Track, references: Mapping[str, float]
) -> tuple[float, float]:
    """Smallest and largest score that unrounded figures may have had.

    All formulas are monotonic in each figure. So the extremes are at ends of the figures'
    rounding intervals. An interpolation's PSNR is rounded like the entry's.
    """
    figures = {metric: entry.figures[metric] for metric in track.metrics if metric in entry.figures}
    interpolated = {
        metric: PrintedFigure(value, figures[metric].step)
        for metric, value in references.items()
        if track.formula.reference == "interpolation"
    }
    totals = [
        track.formula.total(
            dict(zip(figures, values, strict=True)),
            {},
            {**references, **dict(zip(interpolated, corner, strict=True))},
        )
        for values in itertools.product(*(figure.ends for figure in figures.values()))
        for corner in itertools.product(*(figure.ends for figure in interpolated.values()))
    ]
    known = [total.value for total in totals if total.value is not None]
    return min(known), max(known)


def _verdicts(rule: Rule, entries: Sequence[PublishedEntry]) -> str:
    gates = "; ".join(gate.describe() for gate in rule.gates)
    if any(entry.status == "measured" for entry in entries):
        return f"Gate: {gates}. No ranking was published: verdicts are computed."
    if any(entry.status in {"ranked", "unranked_psnr"} for entry in entries):
        return f"Announced gate: {gates}. Verdicts are from the publication."
    return f"Gate: {gates}. No team's results are public."


def _findings(
    rows: Sequence[LeaderboardEntry], entries: Sequence[PublishedEntry], tracks: Sequence[Track]
) -> list[str]:
    """Sentences on whether the publication follows its rule, and on entries that need rounding."""
    ranked = [row for row in rows if row.unranked_because is None]
    notes = [
        f"DISAGREES {row.entry}: {'; '.join(row.disagreements)}."
        for row in rows
        if row.disagreements
    ]
    places = [place for entry in entries for place in entry.places.values()]
    ranks = sum(len(entry.ranks) for entry in entries if entry.status == "ranked")
    counts = {
        "ranks": ranks + sum(place.rank is not None for place in places),
        "sums": sum(place.rank_sum is not None for place in places),
        "scores": sum(place.score is not None for place in places),
    }
    differing = sum(len(row.disagreements) for row in rows)
    if counts["ranks"] or counts["scores"]:
        what = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
        agreed = f"all but {differing} agree" if differing else "all agree"
        notes.append(f"Of the publication's {what}, {agreed} with its figures and rule.")
        if _told_apart(ranked, tracks):
            notes.append("If printed figures are equal, the published ranks decide.")
    rounded = [r.entry for r in ranked if any(g.rounded and not g.strict for g in r.gates)]
    if rounded and any(entry.status == "measured" for entry in entries):
        notes.append(
            f"{len(rounded)} of {len(ranked)} eligible entries pass by rounding only: "
            f"{', '.join(rounded)}."
        )
    return notes


def _told_apart(rows: Sequence[LeaderboardEntry], tracks: Sequence[Track]) -> bool:
    """Whether printed ranks separated entries with equal printed figures."""
    for metric in {metric for track in tracks for metric in track.metrics}:
        ranks: dict[float, set[int]] = {}
        for row in rows:
            value = row.values[metric]
            if isinstance(value, Value):
                ranks.setdefault(value.value, set()).add(row.ranks[metric])
        if any(len(each) > 1 for each in ranks.values()):
            return True
    return False

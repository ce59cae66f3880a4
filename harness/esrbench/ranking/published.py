"""Published leaderboards ranked anew by their own rule, and where they depart from it."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from esrbench.metrics import METRICS
from esrbench.ranking.board import Leaderboard, Row
from esrbench.ranking.formulas import RealTime
from esrbench.ranking.official import read_official
from esrbench.ranking.ranked import place_of, rank_rows, ranked_in_table
from esrbench.ranking.standings import Contestant
from esrbench.records import Absent, Value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from esrbench.ranking.board import Place
    from esrbench.ranking.official import Figure, PublishedEntry
    from esrbench.ranking.rule import Gate, GateCheck, Rule, Track

    References = Mapping[str, Mapping[str, float]]

NOT_PUBLISHED = Absent(kind="unavailable", reason="not published")
UNSAMPLED = Absent(kind="unavailable", reason="no samples of the published runtimes are known")
TEST = "test"


def official_leaderboard(rule: Rule, folder: Path | None = None) -> Leaderboard:
    """Rank a published table anew from its printed figures.

    Printed figures are rounded and published ranks are of unrounded ones, so where printed
    figures are equal the published ranks of the metric tell them apart. Verdicts of the
    publication are kept; where there are none the rule's gates decide.

    Args:
        rule: of the edition.
        folder: of the published tables; the official one if left out.

    Raises:
        UsageError: no table of the edition is here.
        DataError: it is damaged.
    """
    entries = read_official(rule, folder)
    columns = tuple(m for m in rule.columns if any(m in entry.figures for entry in entries))
    references = published_references(rule, entries)
    tracks = [track for track in rule.tracks if track.key in references]
    metrics = ranked_in_table(rule, tracks, columns)
    judged = [
        (entry, published_row(entry, columns, checks), why_unranked(entry, checks))
        for entry in entries
        for checks in (published_checks(entry, rule, entries),)
    ]
    ranked = rank_rows(
        [row for _, row, reason in judged if reason is None],
        [published_contestant(entry, metrics) for entry, _, reason in judged if reason is None],
        metrics,
        tracks,
        references,
    )
    by_name = {entry.name: entry for entry in entries}
    ranked = tuple(_compared(row, by_name[row.entry], tracks, references) for row in ranked)
    unranked = tuple(
        _compared(
            row.model_copy(
                update={
                    "unranked_because": reason,
                    "places": _aside(entry, tracks, references)
                    if entry.status == "baseline"
                    else {},
                }
            ),
            entry,
            tracks,
            references,
        )
        for entry, row, reason in judged
        if reason is not None
    )
    return Leaderboard(
        rule=rule.name,
        title=f"{rule.title}: published entries",
        data=", ".join(rule.baseline.psnr if rule.baseline else ()) or "the edition's data",
        device=f"Published figures, from {rule.device}",
        forward_class=None,
        gate=_verdicts(rule, entries),
        columns=columns,
        other_columns=(TEST,) if any("psnr_test" in entry.psnr for entry in entries) else (),
        tracks=tuple(tracks),
        pareto_metrics=metrics if ranked else (),
        stability=UNSAMPLED,
        ranked=ranked,
        unranked=unranked,
        notes=(
            *_findings(ranked, unranked, entries, tracks),
            f"How firmly ranks hold is not known: {UNSAMPLED.reason}.",
            *rule.inferred,
            *rule.unverified,
            *(f"{entry.name}: {entry.note}." for entry in entries if entry.note),
        ),
    )


def published_references(rule: Rule, entries: Sequence[PublishedEntry]) -> References:
    """By track, what its formula sets published figures in relation to; tracks that can be."""
    floors = [entry for entry in entries if entry.status == "floor"]
    found: dict[str, dict[str, float]] = {}
    for track in rule.tracks:
        if track.formula.reference == "baseline":
            found[track.key] = {metric: rule.published[metric] for metric in track.metrics}
        elif not isinstance(track.formula, RealTime):
            found[track.key] = {}
        elif floors:
            quality = track.formula.quality
            found[track.key] = {quality: floors[0].figures[quality].value}
    return found


def published_contestant(entry: PublishedEntry, metrics: Sequence[str]) -> Contestant:
    """A published entry with its printed ranks as order of equal figures."""
    return Contestant(
        entry.name, {metric: entry.figures[metric].value for metric in metrics}, entry.ranks
    )


def published_row(
    entry: PublishedEntry, columns: Sequence[str], checks: tuple[GateCheck, ...]
) -> Row:
    """A published entry's row without ranks."""
    return Row(
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
    )


def published_checks(
    entry: PublishedEntry, rule: Rule, entries: Sequence[PublishedEntry]
) -> tuple[GateCheck, ...]:
    """A published entry held against the rule's gates."""
    floor = next((each.psnr["psnr_rgb"] for each in entries if each.status == "floor"), None)
    if entry.status == "floor":
        return ()
    return tuple(
        gate.check(entry.psnr[column], floor)
        for gate in rule.gates
        if (column := _column(gate)) in entry.psnr
    )


def why_unranked(entry: PublishedEntry, checks: Sequence[GateCheck]) -> str | None:
    """Why a published entry is shown below the ranking, or None."""
    if entry.status == "baseline":
        return "baseline, shown beside the ranking"
    if entry.status == "floor":
        return "interpolation, shown as the floor"
    if entry.status == "unranked_psnr":
        return "left unranked by the publication for PSNR"
    if entry.status == "measured":
        failed = [check for check in checks if not check.rounded]
        if failed:
            return "; ".join(
                f"{check.value:.4f} dB on {check.title} is below {check.needed:.2f} dB"
                for check in failed
            )
    return None


def _column(gate: Gate) -> str:
    """Column of the PSNR on a gate's data, by the split that its name ends in."""
    return "psnr_rgb" if gate.data is None else f"psnr_{gate.data.rsplit('-', 1)[-1]}"


def _aside(
    entry: PublishedEntry, tracks: Sequence[Track], references: References
) -> dict[str, Place]:
    """Scores of an entry that is not ranked; sums of ranks it has none."""
    values = {metric: figure.value for metric, figure in entry.figures.items()}
    return {
        track.key: place_of(track.formula.total(values, {}, references[track.key]), track, None)
        for track in tracks
        if track.formula.reference != "none" and set(track.metrics) <= set(values)
    }


def _compared(
    row: Row, entry: PublishedEntry, tracks: Sequence[Track], references: References
) -> Row:
    """A row that names where the publication departs from what its figures and rule give."""
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
            low, high = score_bounds(entry, track, references[track.key])
            half = said.score.step / 2
            if not low - half <= said.score.value <= high + half:
                found.append(
                    f"{track.title} {low:.2f} to {high:.2f}, printed {said.score.value:.2f}"
                )
    return row.model_copy(update={"disagreements": tuple(found)})


def score_bounds(
    entry: PublishedEntry, track: Track, references: Mapping[str, float]
) -> tuple[float, float]:
    """Least and greatest score that unrounded figures may have had.

    Formulas rise or fall in every figure throughout, so the corners of the box of unrounded
    figures hold the extremes; a floor is rounded as the entry's own figure is.
    """

    def ends(figure: Figure) -> tuple[float, float]:
        return figure.value - figure.step / 2, figure.value + figure.step / 2

    metrics = [metric for metric in track.metrics if metric in entry.figures]
    floors = {
        metric: (value - entry.figures[metric].step / 2, value + entry.figures[metric].step / 2)
        for metric, value in references.items()
        if track.formula.reference == "floor"
    }
    scores = [
        total.value
        for values in itertools.product(*(ends(entry.figures[metric]) for metric in metrics))
        for corner in itertools.product(*floors.values())
        if (
            total := track.formula.total(
                dict(zip(metrics, values, strict=True)),
                {},
                {**references, **dict(zip(floors, corner, strict=True))},
            )
        ).value
        is not None
    ]
    known = [score for score in scores if score is not None]
    return min(known), max(known)


def _verdicts(rule: Rule, entries: Sequence[PublishedEntry]) -> str:
    gates = "; ".join(gate.describe() for gate in rule.gates)
    if any(entry.status == "measured" for entry in entries):
        return f"Gate: {gates}. No ranking was published: verdicts are computed."
    if any(entry.status in {"ranked", "unranked_psnr"} for entry in entries):
        return f"Announced gate: {gates}. Verdicts are those of the publication."
    return f"Gate: {gates}. No team's results are public."


def _findings(
    ranked: Sequence[Row],
    unranked: Sequence[Row],
    entries: Sequence[PublishedEntry],
    tracks: Sequence[Track],
) -> list[str]:
    """Whether the publication follows its own rule, and who passes by rounding only."""
    notes = [
        f"DISAGREES {row.entry}: {'; '.join(row.disagreements)}."
        for row in (*ranked, *unranked)
        if row.disagreements
    ]
    places = [place for entry in entries for place in entry.places.values()]
    ranks = sum(len(entry.ranks) for entry in entries if entry.status == "ranked")
    ranks += sum(place.rank is not None for place in places)
    sums = sum(place.rank_sum is not None for place in places)
    scores = sum(place.score is not None for place in places)
    differing = sum(len(row.disagreements) for row in (*ranked, *unranked))
    if ranks or scores:
        what = ", ".join(
            f"{count} {name}"
            for count, name in ((ranks, "ranks"), (sums, "sums"), (scores, "scores"))
            if count
        )
        how = "all but" if differing else "all"
        agreed = f"{how} {differing} agree" if differing else f"{how} agree"
        notes.append(f"Of the publication's {what}, {agreed} with its figures and rule.")
        if _told_apart(ranked, tracks):
            notes.append("Equal printed figures are told apart by the published ranks.")
    rounded = [r.entry for r in ranked if any(g.rounded and not g.strict for g in r.gates)]
    if rounded and any(entry.status == "measured" for entry in entries):
        notes.append(
            f"{len(rounded)} of {len(ranked)} eligible entries pass by rounding only: "
            f"{', '.join(rounded)}."
        )
    return notes


def _told_apart(rows: Sequence[Row], tracks: Sequence[Track]) -> bool:
    """Whether printed ranks separated entries of equal printed figures."""
    for metric in {metric for track in tracks for metric in track.metrics}:
        ranks: dict[float, set[int]] = {}
        for row in rows:
            value = row.values[metric]
            if isinstance(value, Value):
                ranks.setdefault(value.value, set()).add(row.ranks[metric])
        if any(len(each) > 1 for each in ranks.values()):
            return True
    return False

"""Runs set among an edition's published entries, by what does not depend on the device."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from typing import TYPE_CHECKING

from esrbench.errors import UsageError
from esrbench.metrics import METRICS
from esrbench.ranking.board import Leaderboard
from esrbench.ranking.footnotes import banner, device_statement, gate_statement, notes_on
from esrbench.ranking.leaderboard import applicable_gates, gate_checks, record_row, why_unranked
from esrbench.ranking.official import printed_step, read_official
from esrbench.ranking.published import published_checks, published_contestant, published_row
from esrbench.ranking.published import why_unranked as why_published_unranked
from esrbench.ranking.ranked import rank_rows
from esrbench.ranking.selection import select_comparable
from esrbench.ranking.standings import Contestant
from esrbench.records import Absent, Value

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from esrbench.ranking.rule import Rule
    from esrbench.records import RunRecord


def merged_leaderboard(
    records: Sequence[RunRecord],
    rule: Rule,
    *,
    forward_class: str | None = None,
    folder: Path | None = None,
) -> Leaderboard:
    """Rank runs among published entries by metrics that no device alters.

    Figures are compared as printed: runs are rounded to the published digits, and equal figures
    share the rank. Tracks are ranked where they use such metrics only.

    Args:
        records: of any data set, scale and protocol.
        rule: of the edition.
        forward_class: as for ``build_leaderboard``.
        folder: of the published tables; the official one if left out.

    Raises:
        UsageError: no records, none of that class, another scale, or no published table.
        DataError: the published table is damaged.
    """
    entries = read_official(rule, folder)
    reference, chosen, notices = select_comparable(records, forward_class=forward_class)
    scale = reference.entry.scale
    if scale not in rule.scales:
        theirs = ", ".join(f"x{each}" for each in rule.scales)
        message = f"these runs are at x{scale}, published entries of {rule.name} at {theirs}"
        raise UsageError(message, advice=f"Give --scale {rule.scales[-1]}.")
    incomparable = _incomparable(rule, reference)
    columns = tuple(
        metric
        for metric in rule.columns
        if METRICS[metric].portable and any(metric in entry.figures for entry in entries)
    )
    steps = {metric: printed_step(entries, metric) for metric in columns}
    had = {
        metric
        for metric in columns
        if metric not in incomparable
        and any(r.ranked and r.measured(metric) is not None for r in chosen)
    }
    metrics = tuple(metric for metric in rule.ranked_metrics if metric in had)
    tracks = [
        track
        for track in rule.tracks
        if track.formula.reference == "none" and set(track.metrics) <= set(metrics)
    ]
    rows = []
    contestants: list[Contestant] = []
    unranked = []
    gates = applicable_gates(rule, reference, chosen)
    for record in chosen:
        checks = gate_checks(record, gates)
        reason = why_unranked(record, metrics, gates, checks)
        row = record_row(record, columns, checks, reason)
        row = row.model_copy(update={"values": row.values | incomparable})
        if reason is not None:
            unranked.append(row)
            continue
        rows.append(row)
        contestants.append(
            Contestant(
                row.entry,
                {m: _as_printed(row.values[m], steps[m], METRICS[m].divisor) for m in metrics},
            )
        )
    taken = {row.entry for row in (*rows, *unranked)}
    for entry in entries:
        checks = published_checks(entry, rule, entries)
        row = published_row(entry, columns, checks)
        if row.entry in taken:
            row = row.model_copy(update={"entry": f"{row.entry} (published)"})
        reason = why_published_unranked(entry, checks)
        if reason is None:
            rows.append(row)
            contestants.append(Contestant(row.entry, published_contestant(entry, metrics).values))
        elif entry.status == "baseline":
            unranked.append(row.model_copy(update={"unranked_because": reason}))
    return Leaderboard(
        rule=rule.name,
        title=f"{rule.title}: runs among the published entries",
        data=f"{reference.data.title} x{scale} ({reference.data.images} images)",
        device=f"Runs: {device_statement(reference)}; published: {rule.device}",
        forward_class=reference.protocol.forward.label,
        banner=banner(chosen),
        gate=gate_statement(rule, reference, [gate for gate, _ in gates]),
        columns=columns,
        tracks=tuple(tracks),
        pareto_metrics=metrics if rows else (),
        ranked=rank_rows(rows, contestants, metrics, tracks, {}),
        unranked=tuple(unranked),
        notes=(
            *_left_out(rule, tracks=[track.key for track in tracks]),
            *dict.fromkeys(
                f"{METRICS[metric].label} of runs is not compared: {absent.reason}."
                for metric, absent in incomparable.items()
            ),
            (
                "Figures are ranked as printed: runs are rounded to the published digits, and "
                "equal figures share the rank."
            ),
            *rule.footnotes[:1],
            *notes_on(chosen),
        ),
        notices=notices,
    )


def _incomparable(rule: Rule, reference: RunRecord) -> dict[str, Absent]:
    """Columns of runs that do not compare with published ones, and why."""
    absent: dict[str, Absent] = {}
    data = rule.gates[0].data if rule.gates else None
    if not (data is not None and data == reference.data.name and reference.data.verified):
        wanted = rule.gates[0].title if rule.gates and data is not None else "the edition's data"
        named_so = data is not None and data == reference.data.name
        this = (
            "these images are not proven to be it"
            if named_so
            else f"this is {reference.data.title}"
        )
        reason = f"published PSNR is on {wanted}, {this}"
        for metric in rule.columns:
            if METRICS[metric].source == "quality":
                absent[metric] = Absent(kind="unavailable", reason=reason)
    counted = reference.protocol.counted_input
    if counted != rule.counted_input:
        ours, theirs = ("x".join(map(str, size)) for size in (counted, rule.counted_input))
        reason = f"published counts are at LR {theirs}, these at LR {ours}"
        for metric in rule.columns:
            if "counted_input" in METRICS[metric].settings:
                absent[metric] = Absent(kind="unavailable", reason=reason)
    return absent


def _left_out(rule: Rule, tracks: Sequence[str]) -> list[str]:
    """Which columns and tracks may not be compared with another device's."""
    noisy = [METRICS[metric].label for metric in rule.columns if not METRICS[metric].portable]
    notes = []
    if noisy:
        notes.append(
            f"{' and '.join(noisy)} are left out: those of another device do not compare "
            f"(published: {rule.device})."
        )
    missing = [track.title for track in rule.tracks if track.key not in tracks]
    if missing:
        notes.append(f"Not ranked for want of comparable figures: {', '.join(missing)}.")
    return notes


def _as_printed(value: Value | Absent, step: float, divisor: float) -> float:
    """A value rounded half up to a printed step, in base units as printed figures are."""
    if isinstance(value, Absent):
        message = f"a ranked entry lacks a metric: {value.reason}"
        raise TypeError(message)
    unit = Decimal(repr(divisor))
    digits = (Decimal(repr(step)) / unit).normalize()
    shown = (Decimal(repr(value.value)) / unit).quantize(digits, rounding=ROUND_HALF_UP)
    return float(shown * unit)

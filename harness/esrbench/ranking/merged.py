"""Rank runs among an edition's published entries by metrics that do not depend on the device."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from esrbench.errors import UsageError
from esrbench.metrics import METRICS
from esrbench.plaintext import plural, series
from esrbench.protocol import size_text
from esrbench.ranking.board import Leaderboard
from esrbench.ranking.footnotes import (
    banner,
    device_statement,
    gate_statement,
    measuring_notes,
    notes_on,
)
from esrbench.ranking.gates import applicable_gates
from esrbench.ranking.leaderboard import rank_rows, record_row
from esrbench.ranking.published import printed_step, published_row, read_official
from esrbench.ranking.selection import select_comparable
from esrbench.records import Absent

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from esrbench.ranking.rule import Rule, Track
    from esrbench.records import RunRecord


def merged_leaderboard(
    records: Sequence[RunRecord],
    rule: Rule,
    *,
    forward_class: str | None = None,
    folder: Path | None = None,
) -> Leaderboard:
    """Rank runs among published entries by metrics that do not depend on the device.

    Figures are compared as printed: runs are rounded to the published digits, and equal figures
    share the rank. A track is ranked only if it uses no other metrics.

    Args:
        records: records of any data set, scale and protocol.
        rule: rule of the edition.
        forward_class: as for ``build_leaderboard``.
        folder: folder of the published tables; the official one if left out.

    Raises:
        UsageError: no records, no record of that class, another scale, or no published table.
        DataError: the published table is damaged.
    """
    entries = read_official(rule, folder)
    newest, chosen, notices = select_comparable(records, forward_class=forward_class, mixed=True)
    scale = newest.entry.scale
    if scale not in rule.scales:
        theirs = ", ".join(f"x{each}" for each in rule.scales)
        message = f"these runs are at x{scale}, published entries of {rule.name} at {theirs}"
        raise UsageError(message, advice=f"Give --scale {rule.scales[-1]}.")
    incomparable = _incomparable(rule, newest)
    columns = tuple(
        metric
        for metric in rule.columns
        if METRICS[metric].portable and any(metric in entry.figures for entry in entries)
    )
    metrics = tuple(
        metric
        for metric in rule.ranked_metrics
        if metric in columns
        and metric not in incomparable
        and any(r.ranked and r.measured(metric) is not None for r in chosen)
    )
    tracks = [
        track
        for track in rule.tracks
        if track.formula.reference == "none" and set(track.metrics) <= set(metrics)
    ]
    gates = applicable_gates(rule, newest, chosen, {})
    rows = [
        replace(row, values={**row.values, **incomparable})
        for row in (record_row(record, columns, metrics, gates, {}, rule=rule) for record in chosen)
    ]
    taken = {row.entry for row in rows}
    for entry in entries:
        row = published_row(entry, rule, columns, entries)
        if row.entry in taken:
            row = replace(row, entry=f"{row.entry} (published)")
        if row.unranked_because is None or entry.status == "baseline":
            rows.append(row)
    steps = {metric: printed_step(entries, metric) for metric in metrics}
    ranked, _ = rank_rows(rows, metrics, tracks, {}, steps=steps)
    return Leaderboard(
        rule=rule.name,
        title=f"{rule.title}: runs among the published entries",
        data=f"{newest.data.title} x{scale} ({plural(newest.data.images, 'image')})",
        device=f"Runs: {device_statement(newest)}; published: {rule.device}",
        forward_class=newest.protocol.forward.label,
        banner=banner(chosen),
        gate=gate_statement(rule, newest, [gate for gate, _ in gates]),
        columns=columns,
        tracks=tuple(tracks),
        pareto_metrics=metrics if ranked else (),
        ranked=ranked,
        unranked=tuple(row for row in rows if row.unranked_because is not None),
        notes=(
            *_left_out(rule, tracks),
            *dict.fromkeys(
                f"{METRICS[metric].label} of runs is not compared: {absent.reason}."
                for metric, absent in incomparable.items()
            ),
            (
                "Figures are ranked as printed: runs are rounded to the published digits, and "
                "equal figures share the rank."
            ),
            *notes_on(chosen),
        ),
        details=(*rule.footnotes[:1], *measuring_notes(chosen, columns)),
        notices=notices,
    )


def _incomparable(rule: Rule, newest: RunRecord) -> dict[str, Absent]:
    """Reasons why columns of runs cannot be compared with published ones, by metric."""
    reasons: dict[str, str] = {}
    gate = next(iter(rule.quality_gates), None)
    data = gate.data if gate else None
    named_so = data is not None and data == newest.data.name
    if not (named_so and newest.data.verified):
        wanted = gate.title if gate and data is not None else "the edition's data"
        unproven = "these images are not proven to be it"
        this = unproven if named_so else f"this is {newest.data.title}"
        reasons["quality"] = f"published PSNR is on {wanted}, {this}"
    counted = newest.protocol.counted_input
    if counted != rule.counted_input:
        ours, theirs = size_text(counted), size_text(rule.counted_input)
        reasons["counted_input"] = f"published counts are at LR {theirs}, these at LR {ours}"
    return {
        metric: Absent(kind="unavailable", reason=reason)
        for what, reason in reasons.items()
        for metric in rule.columns
        if what in {METRICS[metric].source, *METRICS[metric].settings}
    }


def _left_out(rule: Rule, tracks: Sequence[Track]) -> Iterator[str]:
    """Sentences about columns and tracks that cannot be compared with another device's."""
    noisy = [METRICS[metric].label for metric in rule.columns if not METRICS[metric].portable]
    if noisy:
        yield (
            f"{series(noisy)} are left out: figures of different devices cannot be compared "
            f"(published: {rule.device})."
        )
    missing = [track.title for track in rule.tracks if track not in tracks]
    if missing:
        yield f"Not ranked, because comparable figures are missing: {', '.join(missing)}."

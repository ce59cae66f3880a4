"""From records to a challenge leaderboard: gates, ranks per metric, tracks, unranked entries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from esrbench.metrics import METRICS
from esrbench.ranking.board import Leaderboard, Row
from esrbench.ranking.footnotes import (
    banner,
    device_statement,
    gate_statement,
    notes_on,
    reference_notes,
    rule_notes,
    stability_notes,
)
from esrbench.ranking.ranked import rank_rows, ranked_in_table
from esrbench.ranking.references import (
    baseline_entry,
    check_relative_to,
    find_references,
    floor_psnr,
)
from esrbench.ranking.selection import select_comparable
from esrbench.ranking.stability import PROVISIONAL, across_processes, processes_of, rank_stability
from esrbench.ranking.standings import Contestant, rank_metrics
from esrbench.records import Absent, Latency, RunRecord, Value

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esrbench.ranking.rule import Gate, GateCheck, Rule, Track

__all__ = ["Leaderboard", "build_leaderboard"]


def build_leaderboard(
    records: Sequence[RunRecord],
    rule: Rule,
    *,
    forward_class: str | None = None,
    relative_to: str | None = None,
) -> Leaderboard:
    """Rank records by a rule.

    Args:
        records: of any data set, scale and protocol.
        rule: of the edition.
        forward_class: label of a ``ForwardPolicy``, to rank that class instead of the newest.
        relative_to: entry whose runtime takes the baseline's place in scores, or ``published``.

    Raises:
        UsageError: no records, none of that class, no entry of that name, or one named for a rule
            whose formulas have no baseline.
    """
    check_relative_to(rule, relative_to)
    reference, chosen, notices = select_comparable(records, forward_class=forward_class)
    columns = _columns(rule, chosen)
    gates = applicable_gates(rule, reference, chosen)
    tracks, references, notes = _rankable(chosen, rule, relative_to)
    usable = [metric for metric in rule.ranked_alone if _missing(chosen, metric) is None]
    metrics = ranked_in_table(rule, tracks, usable)
    candidates: list[RunRecord] = []
    rows: list[Row] = []
    unranked: list[Row] = []
    for record in chosen:
        checks = gate_checks(record, gates)
        reason = why_unranked(record, metrics, gates, checks)
        row = record_row(record, columns, checks, reason)
        if reason is None:
            candidates.append(record)
            rows.append(row)
        else:
            unranked.append(row)
    contestants = [_contestant(record, metrics) for record in candidates]
    relative = baseline_entry(rule, relative_to)
    others = [record for record in chosen if record not in candidates]
    runtimes = runtimes_over_processes(candidates, columns)
    for other in others:
        runtimes |= runtimes_over_processes([other], columns)
    rows, unranked = (
        [row.model_copy(update={"values": row.values | runtimes[row.entry]}) for row in each]
        for each in (rows, unranked)
    )
    stability = None
    if candidates and any(METRICS[metric].noisy for metric in metrics):
        reference_runs = [r for r in others if _scored(tracks) and r.entry.name == relative]
        compared = [*candidates, *reference_runs]
        stability = rank_stability(
            contestants,
            rank_metrics(contestants, metrics),
            tracks,
            references,
            runtimes={r.entry.name: runtimes[r.entry.name] for r in compared},
            processes=min(map(processes_of, compared)),
            baseline=relative,
        )
    unknown = PROVISIONAL if stability and stability.provisional_metrics else None
    ranked = rank_rows(rows, contestants, metrics, tracks, references, stability=stability)
    return Leaderboard(
        rule=rule.name,
        title=rule.title,
        data=f"{reference.data.title} x{reference.data.scale} ({reference.data.images} images)",
        device=device_statement(reference),
        forward_class=reference.protocol.forward.label,
        banner=banner(chosen),
        gate=gate_statement(rule, reference, [gate for gate, _ in gates]),
        columns=columns,
        tracks=tuple(tracks),
        pareto_metrics=metrics if rows else (),
        stability=unknown,
        ranked=ranked,
        unranked=tuple(unranked),
        notes=(
            *notes,
            *stability_notes(ranked, tracks, unknown),
            *reference_notes(rule, tracks, relative_to),
            *rule.footnotes,
            *rule_notes(rule, reference),
            *notes_on(chosen),
        ),
        notices=notices,
    )


def applicable_gates(
    rule: Rule, reference: RunRecord, records: Sequence[RunRecord]
) -> list[tuple[Gate, float | None]]:
    """Gates that may be claimed of a table, with the floor that they ask to beat, if any."""
    found: list[tuple[Gate, float | None]] = []
    if reference.entry.scale not in rule.scales:
        return found
    for gate in rule.gates:
        on_data = gate.data == reference.data.name and reference.data.verified
        if gate.data is not None and not on_data:
            continue
        floor = floor_psnr(records, gate.beats, gate.metric) if gate.beats else None
        if gate.beats is None or floor is not None:
            found.append((gate, floor))
    return found


def gate_checks(
    record: RunRecord, gates: Sequence[tuple[Gate, float | None]]
) -> tuple[GateCheck, ...]:
    """A record held against gates, where it has the metric."""
    return tuple(
        gate.check(value, floor)
        for gate, floor in gates
        if (value := record.measured(gate.metric)) is not None
    )


def why_unranked(
    record: RunRecord,
    metrics: Sequence[str],
    gates: Sequence[tuple[Gate, float | None]],
    checks: Sequence[GateCheck],
) -> str | None:
    """Why a record is shown below the ranking, or None."""
    if record.entry.role == "floor":
        return "interpolation, shown as the floor"
    if not record.ranked:
        failure = record.failure()
        cause = record.cause or (failure.reason if failure else None)
        if cause is None and record.status == "interrupted":
            cause = "not all processes had timed it"
        # The cause of a failure begins by its kind, which is the status.
        cause = (cause or "no cause was recorded").removeprefix(f"{record.status}: ")
        return f"{record.status}: {cause.rstrip('.')}"
    for metric in dict.fromkeys((*metrics, *(gate.metric for gate, _ in gates))):
        value = record.values[metric]
        if isinstance(value, Absent):
            return f"{METRICS[metric].label} is missing: {value.reason}"
    failed = [(gate, check) for (gate, _), check in zip(gates, checks, strict=True)]
    for gate, check in failed:
        if not check.rounded:
            label = METRICS[gate.metric].label
            bound = f"{check.needed:.{gate.decimals}f} dB"
            if gate.beats is not None:
                bound += f" of {gate.beats}{', as both are rounded' if check.strict else ''}"
                return f"{label} {check.value:.4f} dB is not above the {bound}"
            return f"{label} {check.value:.4f} dB is below {bound}"
    return None


def record_row(
    record: RunRecord, columns: Sequence[str], checks: tuple[GateCheck, ...], reason: str | None
) -> Row:
    """A record's row without ranks."""
    return Row(
        entry=record.entry.name,
        run_id=record.run_id,
        weights=record.entry.weights.source,
        status=record.status,
        values={metric: record.values[metric] for metric in columns},
        gates=checks,
        unranked_because=reason,
    )


def runtimes_over_processes(
    records: Sequence[RunRecord], columns: Sequence[str]
) -> dict[str, dict[str, Value | Absent]]:
    """Runtimes with intervals that hold for another process, by entry, then by metric."""
    noisy = [metric for metric in columns if METRICS[metric].noisy]
    by_metric = {metric: across_processes(records, metric) for metric in noisy}
    return {
        record.entry.name: {metric: values[index] for metric, values in by_metric.items()}
        for index, record in enumerate(records)
    }


_COMPANIONS = (
    ("runtime_images", "runtime_ratio"),
    ("peak_bytes", "predicted_peak_bytes"),
    ("pass_peak_bytes", "predicted_peak_bytes"),
)
"""Columns of a rule and what is shown beside them where there is something to show."""


def _columns(rule: Rule, records: Sequence[RunRecord]) -> tuple[str, ...]:
    """The rule's columns; a runtime's relation to the baseline; predicted memory without a GPU."""

    def measured(metric: str) -> bool:
        return any(record.measured(metric) is not None for record in records)

    sessions = {r.latency.session for r in records if isinstance(r.latency, Latency)}

    def shown(beside: str, new: str) -> bool:
        if new == "runtime_ratio":
            # Ratios to baselines of other rounds do not compare.
            return measured(new) and len(sessions) <= 1
        return measured(new) and not measured(beside)

    columns: dict[str, None] = {}
    for column in rule.columns:
        columns[column] = None
        for beside, new in _COMPANIONS:
            if beside == column and shown(beside, new):
                columns[new] = None
    return tuple(columns)


def _rankable(
    records: Sequence[RunRecord], rule: Rule, relative_to: str | None
) -> tuple[list[Track], dict[str, dict[str, float]], list[str]]:
    """Tracks that can be ranked, what they are relative to, and why others cannot."""
    tracks: list[Track] = []
    references: dict[str, dict[str, float]] = {}
    notes: list[str] = []
    for track in rule.tracks:
        missing = {metric: _missing(records, metric) for metric in track.metrics}
        why = [f"{METRICS[metric].label}: {reason}" for metric, reason in missing.items() if reason]
        found = find_references(records, rule, track, relative_to) if not why else {}
        if isinstance(found, Absent):
            why.append(found.reason[0].upper() + found.reason[1:])
            found = {}
        if why:
            notes.append(f"{track.title} is not ranked. {'; '.join(why)}.")
        else:
            tracks.append(track)
            references[track.key] = found
    if not rule.tracks:
        notes.append("There is no total: how the metrics made one ranking is not known.")
    return tracks, references, notes


def _missing(records: Sequence[RunRecord], metric: str) -> str | None:
    """Why no ranked record has a metric, or None where one has it."""
    values = [
        record.values[metric]
        for record in records
        if record.ranked and record.entry.role != "floor"
    ]
    absent = [value for value in values if isinstance(value, Absent)]
    return absent[0].reason if values and len(absent) == len(values) else None


def _contestant(record: RunRecord, metrics: Sequence[str]) -> Contestant:
    values = {
        metric: value.value
        for metric in metrics
        if isinstance(value := record.values[metric], Value)
    }
    return Contestant(record.entry.name, values)


def _scored(tracks: Sequence[Track]) -> bool:
    """Whether a total is relative to the baseline's figures."""
    return any(track.formula.reference == "baseline" for track in tracks)

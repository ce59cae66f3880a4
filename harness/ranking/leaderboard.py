"""From records to a challenge leaderboard: gate, ranks per metric, tracks, unranked entries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.errors import UsageError
from harness.metrics import METRICS
from harness.protocol import Frozen
from harness.ranking.footnotes import device_statement, gate_statement, notes_on
from harness.ranking.rules import Track  # noqa: TC001 - pydantic reads it at runtime
from harness.records import Absent, Latency, Notice, RunRecord, Value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness.ranking.rules import Rule


_SIGN = {"lower": 1, "higher": -1}


class Place(Frozen):
    """An entry's place in a track: its sum of ranks and its rank."""

    rank_sum: int
    rank: int


class Row(Frozen):
    """One entry of a leaderboard.

    Attributes:
        entry: name.
        run_id: of the record.
        weights: ``released``, ``file``, ``random`` or ``none``.
        values: the rule's columns, measured or absent.
        ranks: per metric, for ranked entries and ranked metrics.
        places: per track, likewise.
        unranked_because: reason, or None for ranked entries.
    """

    entry: str
    run_id: str
    weights: str
    values: dict[str, Value | Absent]
    ranks: dict[str, int] = {}
    places: dict[str, Place] = {}
    unranked_because: str | None = None


class Leaderboard(Frozen):
    """A ranking of entries measured alike.

    Attributes:
        rule: name of the edition's rule.
        title: of the table.
        data: title of the data set.
        device: what it was measured on.
        forward_class: precision, layout and compilation that all entries share.
        gate: what is claimed of the quality gate, in words.
        columns: metric keys.
        tracks: those that could be ranked, main track first.
        ranked: ordered by the first ranked track.
        unranked: with their reasons.
        notes: what a reader must know.
        notices: typed warnings, for instance records left out as incomparable.
    """

    rule: str
    title: str
    data: str
    device: str
    forward_class: str
    gate: str
    columns: tuple[str, ...]
    tracks: tuple[Track, ...]
    ranked: tuple[Row, ...]
    unranked: tuple[Row, ...]
    notes: tuple[str, ...]
    notices: tuple[Notice, ...] = ()


def shared_ranks(values: Mapping[str, float]) -> dict[str, int]:
    """Rank of each name, 1 for the smallest value; equal values share the smallest rank."""
    ordered = sorted(values.values())
    return {name: ordered.index(value) + 1 for name, value in values.items()}


def rank_tracks(
    values: Mapping[str, Mapping[str, float]], tracks: Sequence[Track]
) -> tuple[dict[str, dict[str, int]], dict[str, dict[str, Place]]]:
    """Ranks by metric and places by track.

    Args:
        values: by entry, every metric of the tracks in base units, unrounded.
        tracks: to rank.

    Returns:
        Ranks by metric then entry, and places by track then entry.
    """
    metrics = dict.fromkeys(metric for track in tracks for metric in track.metrics)
    ranks = {
        metric: shared_ranks(
            {entry: _SIGN[METRICS[metric].better] * row[metric] for entry, row in values.items()}
        )
        for metric in metrics
    }
    places: dict[str, dict[str, Place]] = {}
    for track in tracks:
        sums = {entry: sum(ranks[metric][entry] for metric in track.metrics) for entry in values}
        order = shared_ranks(sums)
        places[track.key] = {
            entry: Place(rank_sum=sums[entry], rank=order[entry]) for entry in values
        }
    return ranks, places


def select_comparable(
    records: Sequence[RunRecord], *, forward_class: str | None = None
) -> tuple[RunRecord, list[RunRecord], tuple[Notice, ...]]:
    """The newest record of each entry among those measured like the newest that went well.

    Records on another data set or scale are another table's. Those of this one that differ in
    data, protocol or environment are left out with a notice that names what differs, unless a
    comparable record of the same entry on the same images replaces them. A failed record's
    environment is not held against it.

    Args:
        records: of any data set, scale and protocol.
        forward_class: label of a ``ForwardPolicy``, to rank that class instead of the newest.

    Returns:
        The record that decides, the chosen ones, and the notices.

    Raises:
        UsageError: no records, or none of that class.
    """
    if not records:
        raise UsageError("there are no records to rank", advice="Run `esrbench run` first.")
    ordered = sorted(records, key=lambda record: record.created)
    if forward_class is not None:
        of_class = [r for r in ordered if r.protocol.forward.label == forward_class]
        if not of_class:
            known = sorted({r.protocol.forward.label for r in ordered})
            message = f"no record is of class {forward_class!r}"
            raise UsageError(message, advice=f"Stored are: {'; '.join(known)}.")
        ordered = of_class
    reference = next((r for r in reversed(ordered) if r.status == "ok"), ordered[-1])
    chosen: dict[str, RunRecord] = {}
    left_out: list[tuple[str, str]] = []
    spoiled: list[tuple[str, str]] = []
    table = (reference.data.name, reference.entry.scale)
    for record in ordered:
        if (record.data.name, record.entry.scale) != table:
            continue
        differing = differences(record, reference)
        before = chosen.get(record.entry.name)
        if not differing and before is not None and before.status == "ok" != record.status:
            spoiled.append((record.entry.name, record.status))
        elif not differing:
            chosen[record.entry.name] = record
        elif "data" in differing:
            images = f"other images called {record.data.name}"
            left_out.append((record.entry.name, images))
        else:
            left_out.append((record.entry.name, ", ".join(differing)))
    notices = tuple(
        Notice(
            code="incomparable",
            message=f"{name}: a run differs in {what} and is left out",
            advice="Measure all entries in one `esrbench run`; each class has a table of its own "
            "(`esrbench leaderboard --class`).",
        )
        for name, what in dict.fromkeys(left_out)
        if name not in chosen or what.startswith("other images")
    )
    notices += tuple(
        Notice(
            code="older-run",
            message=f"{name}: a newer run is {status}; an older one that went well is shown",
            advice="See the newest by `esrbench show`, and run it again.",
        )
        for name, status in dict.fromkeys(spoiled)
    )
    return reference, list(chosen.values()), notices


def differences(record: RunRecord, reference: RunRecord) -> tuple[str, ...]:
    """Names of the identities in which two records differ, so that they are incomparable."""
    forward, expected = record.protocol.forward, reference.protocol.forward
    other_class = forward != expected
    other_protocol = record.protocol_digest != reference.protocol_digest
    identities = [
        ("data", record.data.digest != reference.data.digest),
        (f"class ({forward.label}, not {expected.label})", other_class),
        ("protocol", other_protocol and not other_class),
    ]
    if record.status == "ok":
        differs = record.environment_digest != reference.environment_digest
        identities.append(("environment", differs))
    return tuple(name for name, differs in identities if differs)


def build_leaderboard(
    records: Sequence[RunRecord], rule: Rule, *, forward_class: str | None = None
) -> Leaderboard:
    """Rank records by a rule.

    Raises:
        UsageError: no records, or none of that class.
    """
    reference, chosen, notices = select_comparable(records, forward_class=forward_class)
    columns = _columns(rule, chosen)
    on_gate = (reference.data.name, reference.entry.scale) == (rule.gate.data, rule.gate.scale)
    gated = on_gate and reference.data.verified
    needed, tracks, notes = _rankable(chosen, rule)
    candidates: list[Row] = []
    unranked: list[Row] = []
    for record in chosen:
        reason = _why_unranked(record, rule, needed=needed, gated=gated)
        (candidates if reason is None else unranked).append(_row(record, columns, reason))
    values = {
        row.entry: {metric: _number(row.values[metric]) for metric in needed} for row in candidates
    }
    ranks, places = rank_tracks(values, tracks)
    ranked = [
        row.model_copy(
            update={
                "ranks": {metric: by_entry[row.entry] for metric, by_entry in ranks.items()},
                "places": {track: by_entry[row.entry] for track, by_entry in places.items()},
            }
        )
        for row in candidates
    ]
    first = tracks[0].key if tracks else ""
    ranked.sort(key=lambda row: (row.places[first].rank if first else 0, row.entry))
    height, width = reference.protocol.counted_input
    return Leaderboard(
        rule=rule.name,
        title=rule.title,
        data=f"{reference.data.title} x{reference.data.scale} ({reference.data.images} images)",
        device=device_statement(reference),
        forward_class=reference.protocol.forward.label,
        gate=gate_statement(rule, reference, gated=gated),
        columns=columns,
        tracks=tuple(tracks),
        ranked=tuple(ranked),
        unranked=tuple(unranked),
        notes=(
            *rule.footnotes,
            f"Complexity at LR 3x{height}x{width}.",
            f"{reference.protocol.quality.describe(reference.entry.scale)}.",
            *notes,
            *notes_on(chosen),
        ),
        notices=notices,
    )


_COMPANIONS = (
    ("runtime_images", "runtime_ratio"),
    ("peak_bytes", "predicted_peak_bytes"),
)
"""Columns of a rule and what is shown beside them where there is something to show."""


def _columns(rule: Rule, records: Sequence[RunRecord]) -> tuple[str, ...]:
    """The rule's columns; a runtime's relation to the baseline; predicted memory without a GPU."""

    def measured(metric: str) -> bool:
        return any(record.measured(metric) is not None for record in records)

    sessions = {r.latency.session for r in records if isinstance(r.latency, Latency)}
    shown = {
        # Ratios to baselines of other rounds do not compare.
        "runtime_ratio": measured("runtime_ratio") and len(sessions) <= 1,
        "predicted_peak_bytes": measured("predicted_peak_bytes") and not measured("peak_bytes"),
    }
    columns: list[str] = []
    for column in rule.columns:
        columns.append(column)
        columns += [new for beside, new in _COMPANIONS if beside == column and shown[new]]
    return tuple(columns)


def _rankable(records: Sequence[RunRecord], rule: Rule) -> tuple[set[str], list[Track], list[str]]:
    """Metrics that entries need, tracks that can be ranked, and why others cannot."""
    missing: dict[str, str] = {}
    for metric in rule.ranked_metrics:
        values = [record.values[metric] for record in records if record.status == "ok"]
        absent = [value for value in values if isinstance(value, Absent)]
        if values and len(absent) == len(values):
            missing[metric] = absent[0].reason
    tracks: list[Track] = []
    notes: list[str] = []
    needed: set[str] = set()
    for track in rule.tracks:
        lacking = [metric for metric in track.metrics if metric in missing]
        if lacking:
            why = "; ".join(f"{METRICS[metric].label}: {missing[metric]}" for metric in lacking)
            notes.append(f"{track.title} is not ranked. {why}.")
        else:
            tracks.append(track)
            needed.update(track.metrics)
    return needed, tracks, notes


def _why_unranked(record: RunRecord, rule: Rule, *, needed: set[str], gated: bool) -> str | None:
    if record.entry.role == "floor":
        return "interpolation, shown as the floor"
    if record.status != "ok":
        return record.failure() or "interrupted before all processes had timed it"
    metrics = [*needed, rule.gate.metric] if gated else [*needed]
    for metric in metrics:
        value = record.values[metric]
        if isinstance(value, Absent):
            return f"{METRICS[metric].label} is missing: {value.reason}"
    gate = rule.gate
    if gated and not gate.passes(_number(record.values[gate.metric])):
        psnr = _number(record.values[gate.metric])
        return f"{METRICS[gate.metric].label} {psnr:.4f} dB is below {gate.minimum:.2f} dB"
    return None


def _row(record: RunRecord, columns: Sequence[str], reason: str | None) -> Row:
    return Row(
        entry=record.entry.name,
        run_id=record.run_id,
        weights=record.entry.weights.source,
        values={metric: record.values[metric] for metric in columns},
        unranked_because=reason,
    )


def _number(value: Value | Absent) -> float:
    if isinstance(value, Absent):
        message = f"a ranked entry lacks a metric: {value.reason}"
        raise TypeError(message)
    return value.value

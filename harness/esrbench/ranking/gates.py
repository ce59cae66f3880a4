"""Gates of a table: which gates apply to it, and which entries pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

from esrbench.metrics import METRICS
from esrbench.protocol import size_text
from esrbench.ranking.selection import worth
from esrbench.records import Absent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from esrbench.ranking.rule import Gate, GateCheck, Rule
    from esrbench.records import RunRecord, Value

    Bounds = Sequence[tuple[Gate, float | None]]
    """Gates, each with the PSNR of the interpolation to beat, if any."""
    Elsewhere = Mapping[str, Mapping[str, RunRecord]]
    """Records on other data sets, by data set and then by entry."""


def scored_elsewhere(records: Sequence[RunRecord], rule: Rule, newest: RunRecord) -> Elsewhere:
    """The newest records on data sets that a gate needs and the table does not show.

    A record counts only if its images are verified or pinned, and if its scale, class and
    definition of scores are the table's.
    """
    found: dict[str, dict[str, RunRecord]] = {}
    for name in {gate.data for gate in rule.gates} - {None, newest.data.name}:
        there = [
            each
            for each in sorted(records, key=lambda each: each.created)
            if each.data.name == name
            and (each.data.verified or each.data.pinned)
            and each.entry.scale == newest.entry.scale
            and each.protocol.quality.common == newest.protocol.quality.common
            and (each.entry.role == "images" or each.protocol.forward == newest.protocol.forward)
        ]
        for record in there:
            if record.data.digest == there[-1].data.digest:
                by_entry = found.setdefault(record.data.name, {})
                before = by_entry.get(record.entry.name)
                if before is None or worth(before) <= worth(record):
                    by_entry[record.entry.name] = record
    return found


def applicable_gates(
    rule: Rule, newest: RunRecord, records: Sequence[RunRecord], elsewhere: Elsewhere
) -> Bounds:
    """Gates that apply to a table.

    Args:
        rule: rule with the gates.
        newest: newest record of the table.
        records: records of the table.
        elsewhere: result of ``scored_elsewhere``.
    """
    if newest.entry.scale not in rule.scales:
        return []
    found: list[tuple[Gate, float | None]] = []
    for gate in rule.gates:
        held = records
        if gate.data is not None and gate.data != newest.data.name:
            held = tuple(elsewhere.get(gate.data, {}).values())
            if not held:
                continue
        elif gate.data is not None and not (newest.data.verified or newest.data.pinned):
            continue
        psnr = interpolated_psnr(held, gate.beats, gate.metric) if gate.beats else None
        if gate.beats is None or psnr is not None:
            found.append((gate, psnr))
    return found


def held_against(record: RunRecord, gate: Gate, rule: Rule, elsewhere: Elsewhere) -> Value | Absent:
    """The figure that a gate checks; it may come from the entry's run on another data set."""
    at = record.protocol.counted_input
    if "counted_input" in METRICS[gate.metric].settings and at != rule.counted_input:
        theirs = size_text(rule.counted_input)
        reason = (
            f"the rule counts at LR {theirs}, this record at LR {size_text(at)}: `esrbench run "
            f"{record.entry.name} --input-size {theirs}` counts as the rule does"
        )
        return Absent(kind="unavailable", reason=reason)
    if gate.data in {None, record.data.name}:
        return record.value(gate.metric)
    other = elsewhere.get(gate.data or "", {}).get(record.entry.name)
    if other is None:
        reason = f"it was not measured on {gate.title}"
    elif not other.ranked:
        reason = f"its run on {gate.title} ended as {other.status}"
    elif (other.entry.code_sha256, other.entry.weights.sha256) != (
        record.entry.code_sha256,
        record.entry.weights.sha256,
    ):
        reason = f"its run on {gate.title} used other code or weights"
    else:
        return other.value(gate.metric)
    return Absent(kind="unavailable", reason=reason)


def missed(gate: Gate, check: GateCheck | Absent, record: RunRecord) -> str | None:
    """Why a record does not pass a gate, or None."""
    label = METRICS[gate.metric].label
    if isinstance(check, Absent):
        return f"{label} is missing: {check.reason}"
    if check.rounded:
        return None
    on = "" if gate.data in {None, record.data.name} else f" on {gate.title}"
    metric = METRICS[gate.metric]
    if gate.maximum is not None:
        ours, most = metric.show(check.value), metric.show(check.needed)
        if ours == most:  # rounding hides by how much
            ours, most = f"{check.value:,.15g}", f"{check.needed:,.15g}"
        return f"{label}{on} {ours} is above {most}"
    found = f"{label}{on} {check.value:.4f} {metric.unit}".strip() + " is"
    bound = f"{check.needed:.{gate.decimals}f} {metric.unit}".strip()
    if gate.beats is None:
        return f"{found} below {bound}"
    rounded = ", as both are rounded" if check.strict else ""
    return f"{found} not above the {bound} of {gate.beats}{rounded}"


def interpolated_psnr(records: Sequence[RunRecord], name: str, metric: str) -> float | None:
    """PSNR of an interpolation on the same images, dB; None if it was not measured."""
    floors = [r for r in records if r.entry.name == name and r.entry.role == "floor"]
    return next((psnr for r in floors if (psnr := r.measured(metric)) is not None), None)

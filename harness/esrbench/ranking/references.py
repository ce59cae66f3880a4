"""Reference figures of scores, or the reason why a track cannot be ranked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from esrbench.errors import UsageError
from esrbench.metrics import METRICS
from esrbench.protocol import size_text
from esrbench.ranking.formulas import RealTime
from esrbench.ranking.gates import interpolated_psnr
from esrbench.records import Latency, Value
from esrbench.runtimes import baseline_seconds

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from esrbench.ranking.rule import Rule, Track
    from esrbench.records import RunRecord

    References = Mapping[str, Mapping[str, float]]
    """Reference figures by track (or by entry), then by metric."""

PUBLISHED: Literal["published"] = "published"


def rankable(
    records: Sequence[RunRecord], rule: Rule, relative_to: str | None, another: str
) -> tuple[list[Track], References, list[str]]:
    """Tracks that can be ranked, their references, and sentences why other tracks cannot."""
    tracks: list[Track] = []
    references: dict[str, dict[str, float]] = {}
    notes: list[str] = []
    for track in rule.tracks:
        missing = {metric: why_missing(records, metric) for metric in track.metrics}
        why = [f"{METRICS[metric].label}: {reason}" for metric, reason in missing.items() if reason]
        found = {} if why else _references(records, rule, track, relative_to, another)
        if isinstance(found, str):
            why.append(found[0].upper() + found[1:])
        else:
            references[track.key] = found
        if why:
            notes.append(f"{track.title} is not ranked. {'; '.join(why)}.")
        else:
            tracks.append(track)
    if not rule.tracks:
        notes.append("There is no total: it is not known how the metrics were combined.")
    return tracks, references, notes


def why_missing(records: Sequence[RunRecord], metric: str) -> str | None:
    """Why no ranked record has a metric, or None if one has it. Networks precede images."""
    for role in ("network", "images"):
        values = (r.value(metric) for r in records if r.entry.role == role and r.ranked)
        reasons = []
        for value in values:
            if isinstance(value, Value):
                return None
            reasons.append(value.reason)
        if reasons:
            return reasons[0]
    return None


def _references(
    records: Sequence[RunRecord], rule: Rule, track: Track, relative_to: str | None, another: str
) -> dict[str, float] | str:
    """A track's reference figures by metric, base units; or a sentence on what is missing.

    Counts are relative to the baseline's published counts. Runtime and memory are relative to the
    baseline that was measured beside the others, because published ones are from another device.

    Raises:
        UsageError: ``relative_to`` is not among the records.
    """
    formula = track.formula
    if isinstance(formula, RealTime):
        psnr = interpolated_psnr(records, formula.floor, formula.quality)
        if psnr is not None:
            return {formula.quality: psnr}
        label = METRICS[formula.quality].label
        return f"the score needs the {label} of {formula.floor} on the same images: run it too"
    counted = records[0].protocol.counted_input
    if formula.relative and counted != rule.counted_input:
        theirs, ours = size_text(rule.counted_input), size_text(counted)
        return f"the rule counts at LR {theirs}, these records at LR {ours}"
    noisy = [metric for metric in formula.relative if not METRICS[metric].portable]
    found = dict(rule.published)
    if noisy and relative_to != PUBLISHED:
        measured = _measured_references(records, rule, noisy, reference_entry(rule, relative_to))
        if isinstance(measured, str):
            return f"{measured}; {another}"
        found |= measured
    unknown = [METRICS[metric].label for metric in formula.relative if metric not in found]
    if unknown:
        return f"no {', '.join(unknown)} of the baseline was published; {another}"
    return {metric: found[metric] for metric in formula.relative}


def _measured_references(
    records: Sequence[RunRecord], rule: Rule, metrics: Sequence[str], name: str | None
) -> dict[str, float] | str:
    """Figures of the entry measured beside the others; or a sentence on what is missing."""
    if name is None:
        title = rule.baseline.title if rule.baseline else "the baseline"
        return f"scores are relative to {title}, which was not measured here"
    found = next((record for record in records if record.entry.name == name), None)
    if found is None and name != (rule.baseline.entry if rule.baseline else None):
        message = f"--relative-to {name}: no such entry in this table"
        known = ", ".join(sorted(record.entry.name for record in records))
        raise UsageError(message, advice=f"Known: {known}; or `published`.")
    if found is not None and not found.ranked:
        return (
            f"scores are relative to the runtime of {name}, whose run ended as {found.status}: "
            "run it again"
        )
    measured = {metric: found.measured(metric) if found else None for metric in metrics}
    lacking = [METRICS[metric].label for metric, value in measured.items() if value is None]
    if lacking:
        return (
            f"scores are relative to the {', '.join(lacking)} of {name}: run it beside the others"
        )
    return {metric: value for metric, value in measured.items() if value is not None}


def own_baselines(
    records: Sequence[RunRecord], metrics: Sequence[str], name: str | None
) -> dict[str, dict[str, float]]:
    """Ratio of the baseline's runtime in an entry's own rounds to its newest runtime, by entry.

    Machines drift. So if an entry was not timed with the newest run of the baseline, its score uses
    the run of the baseline that was timed with it.

    Args:
        records: records of the table.
        metrics: ranked metrics.
        name: entry whose runtime is the reference of scores, or None.
    """
    newest = next((r for r in records if r.entry.name == name), None)
    if newest is None or not isinstance(newest.latency, Latency):
        return {}
    references = {metric: newest.measured(metric) for metric in metrics}
    found: dict[str, dict[str, float]] = {}
    for record in records:
        latency = record.latency
        if not isinstance(latency, Latency) or latency.session == newest.latency.session:
            continue
        if latency.baseline is not None and latency.baseline.name == name:
            own = {
                metric: seconds / reference
                for metric, reference in references.items()
                if reference and (seconds := baseline_seconds(latency, metric))
            }
            found |= {record.entry.name: own} if own else {}
    return found


def reference_entry(rule: Rule, relative_to: str | None) -> str | None:
    """Entry whose runtime is the reference of scores; None for published figures."""
    if relative_to is not None:
        return None if relative_to == PUBLISHED else relative_to
    return None if rule.baseline is None else rule.baseline.entry


def scored(tracks: Sequence[Track]) -> bool:
    """Whether any track has scores relative to the baseline."""
    return any(track.formula.reference == "baseline" for track in tracks)

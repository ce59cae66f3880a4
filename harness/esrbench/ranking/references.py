"""What the formulas of a table of records set figures in relation to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from esrbench.errors import UsageError
from esrbench.metrics import METRICS
from esrbench.ranking.formulas import RealTime
from esrbench.records import Absent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esrbench.ranking.rule import Rule, Track
    from esrbench.records import RunRecord

PUBLISHED: Literal["published"] = "published"


def check_relative_to(rule: Rule, beside: str | None) -> None:
    """Refuse an entry to be relative to where nothing is.

    Raises:
        UsageError: no track of the rule is relative to a baseline.
    """
    if beside is None or any(track.formula.reference == "baseline" for track in rule.tracks):
        return
    message = f"--relative-to {beside}: nothing in {rule.name} is relative to a baseline"
    raise UsageError(message, advice="Leave it out, or take a rule with exponential scores.")


def find_references(
    records: Sequence[RunRecord], rule: Rule, track: Track, beside: str | None
) -> dict[str, float] | Absent:
    """A track's reference figures.

    Counts are relative to the published ones of the baseline. Runtime and memory are relative to
    the baseline measured beside the others, as published ones are another device's.

    Args:
        records: of the table.
        rule: of the edition.
        track: of the rule.
        beside: name of the entry to take in the baseline's place, or ``published``.

    Returns:
        By metric, base units; absent with what is missing.

    Raises:
        UsageError: ``beside`` is not among the records.
    """
    if track.formula.reference == "none":
        return {}
    if isinstance(track.formula, RealTime):
        return _floor(records, track.formula)
    counted = records[0].protocol.counted_input
    if counted != rule.counted_input:
        ours, theirs = ("x".join(map(str, size)) for size in (counted, rule.counted_input))
        return Absent(
            kind="unavailable", reason=f"its counts are at LR {theirs}, these at LR {ours}"
        )
    published = {metric: rule.published[metric] for metric in track.metrics}
    noisy = [metric for metric in track.metrics if not METRICS[metric].portable]
    if beside == PUBLISHED or not noisy:
        return published
    return _measured(records, rule, noisy, published, baseline_entry(rule, beside))


def baseline_entry(rule: Rule, beside: str | None) -> str | None:
    """Name of the entry whose runtime scores are relative to; None for published figures."""
    if beside is not None:
        return None if beside == PUBLISHED else beside
    return None if rule.baseline is None else rule.baseline.entry


def floor_psnr(records: Sequence[RunRecord], name: str, metric: str) -> float | None:
    """What an interpolation reaches on the same images, dB; None where it was not measured."""
    return next(
        (
            psnr
            for record in records
            if record.entry.name == name
            and record.entry.role == "floor"
            and (psnr := record.measured(metric)) is not None
        ),
        None,
    )


def _floor(records: Sequence[RunRecord], formula: RealTime) -> dict[str, float] | Absent:
    psnr = floor_psnr(records, formula.floor, formula.quality)
    if psnr is None:
        label = METRICS[formula.quality].label
        reason = f"the score needs the {label} of {formula.floor} on the same images: run it too"
        return Absent(kind="unavailable", reason=reason)
    return {formula.quality: psnr}


def _measured(
    records: Sequence[RunRecord],
    rule: Rule,
    noisy: Sequence[str],
    published: dict[str, float],
    name: str | None,
) -> dict[str, float] | Absent:
    title = rule.baseline.title if rule.baseline else "the baseline"
    if name is None:
        return Absent(
            kind="unavailable",
            reason=f"scores are relative to {title}, which is not among the networks here; "
            "--relative-to NAME takes another entry's runtime, or `published`",
        )
    found = next((record for record in records if record.entry.name == name), None)
    if found is not None and not found.ranked:
        return Absent(
            kind="unavailable",
            reason=f"scores are relative to the runtime of {name}, whose run ended as "
            f"{found.status}: run it again, or give --relative-to NAME or `published`",
        )
    lacking = [metric for metric in noisy if found is None or found.measured(metric) is None]
    if found is None or lacking:
        if found is None and name != (rule.baseline.entry if rule.baseline else None):
            message = f"--relative-to {name}: no such entry in this table"
            known = ", ".join(sorted(record.entry.name for record in records))
            raise UsageError(message, advice=f"There are: {known}; or `published`.")
        what = ", ".join(METRICS[metric].label for metric in (lacking or noisy))
        return Absent(
            kind="unavailable",
            reason=f"scores are relative to the {what} of {name}: run it beside the others, or "
            "give --relative-to NAME or `published`",
        )
    measured = {metric: found.measured(metric) or 0.0 for metric in noisy}
    return published | measured

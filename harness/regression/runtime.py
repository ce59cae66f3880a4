"""Runtimes at the gate: pairs within one process, judged by the rule of a race."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from harness.errors import MeasurementError
from harness.evaluation.race import race
from harness.protocol import PairDesign, Protocol
from harness.records import Absent
from harness.regression.baseline import ratio_of
from harness.regression.comparison import KEEP, UPDATE
from harness.regression.verdicts import RUNTIME, Finding
from harness.statistics import estimate_ratio, judge, regressed

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.evaluation.evaluator import Entry
    from harness.records import RaceRecord
    from harness.regression.figures import RuntimeRatio
    from harness.regression.verdicts import Verdict

RATIO_PAIRS: Final = 90
"""Pairs, in three fresh processes, of a ratio that is kept or compared with a kept one."""
SAME_MACHINE: Final = 0.10
"""Share by which a ratio to a reference network must differ from a kept one, beyond both
intervals, to count, on the same processor with the same threads and torch."""
OTHER_MACHINE: Final = 0.50
"""The same on any other: two networks gain differently by another processor."""


def race_protocol(
    input_size: tuple[int, int], *, device: str = "cpu", threads: int | None = None
) -> Protocol:
    """The protocol of a race at the gate."""
    return Protocol.model_validate(
        {"device": device, "threads": threads, "counted_input": input_size, "latency": None}
    )


def ratio_design(pairs: int = RATIO_PAIRS) -> PairDesign:
    """A race that is looked at once, at its end: not a verdict but a ratio is wanted."""
    return PairDesign(first_look=pairs, look_every=pairs, max_pairs=pairs)


def race_entries(
    candidate: Entry,
    baseline: Entry,
    protocol: Protocol,
    design: PairDesign,
    *,
    on_pairs: Callable[[int, int], None],
    timeout_seconds: float,
) -> RaceRecord | Absent:
    """Race two entries; absent with the reason where a forward failed."""
    try:
        return race(
            candidate,
            baseline,
            protocol,
            design,
            on_pairs=on_pairs,
            timeout_seconds=timeout_seconds,
        )
    except MeasurementError as error:
        return Absent(kind="failed", reason=error.message, advice=error.advice)


def judge_race(name: str, record: RaceRecord | Absent, scale: int, *, same: bool) -> Finding:
    """The finding of a race against another network, or against an earlier version.

    Args:
        name: of the candidate.
        record: of the race, or why there is none.
        scale: upscaling factor.
        same: the baseline is an earlier version of the candidate.
    """
    if isinstance(record, Absent):
        return _failed(name, scale, record, before=1.0)
    slower = regressed(record)
    other = "the earlier version" if same else record.baseline.name
    estimate = record.estimate
    if slower is None or isinstance(estimate, Absent):
        verdict: Verdict = "inconclusive"
        said = record.reason if record.verdict == "inconclusive" else _interval(record)
    elif slower:
        verdict, said = "regressed", f"{_interval(record)}: slower than {other}"
    else:
        faster = record.verdict == "faster"
        verdict = "improved" if faster else "unchanged"
        than = f"faster than {other}" if faster else f"no slower than {other}"
        said = f"{_interval(record)}: {than}"
    found = None if isinstance(estimate, Absent) else estimate
    return Finding(
        entry=name,
        scale=scale,
        metric=RUNTIME,
        verdict=verdict,
        before=1.0,
        now=None if found is None else round(found.ratio, 4),
        interval=None if found is None else found.interval,
        reason=said,
        advice=_DOCTOR if verdict == "inconclusive" else None,
    )


def compare_ratio(
    name: str, before: RuntimeRatio, record: RaceRecord | Absent, scale: int
) -> Finding:
    """The finding of a ratio to a reference network against a kept one.

    Slower is a ratio whose interval lies wholly above the kept interval and the tolerance on top
    of it; faster likewise below; unchanged one that reaches neither line. The self-check may be
    as much coarser than a race's as the tolerance is wider than a race's line.

    Args:
        name: of the entry.
        before: the kept ratio.
        record: of the race against the same reference at the same input, or why there is none.
        scale: upscaling factor.
    """
    if isinstance(record, Absent):
        return _failed(name, scale, record, before=before.ratio)
    now = ratio_of(record)
    if now is None:
        return Finding(
            entry=name,
            scale=scale,
            metric=RUNTIME,
            verdict="inconclusive",
            before=before.ratio,
            reason=record.reason,
            advice=_DOCTOR,
        )
    others = [
        f"{field}: {getattr(before, field)} then, {getattr(now, field)} now"
        for field in ("machine", "threads", "torch")
        if getattr(before, field) != getattr(now, field)
    ]
    tolerance = OTHER_MACHINE if others else SAME_MACHINE
    ruled = record.model_copy(update={"design": _widened(record.design, tolerance)})
    slower = _beyond(ruled, lambda ours, theirs: (ours, theirs * before.high))
    faster = _beyond(ruled, lambda ours, theirs: (theirs * before.low, ours))
    verdict: Verdict = "inconclusive"
    if slower:
        verdict = "regressed"
    elif faster:
        verdict = "improved"
    elif slower is False and faster is False:
        verdict = "unchanged"
    reason = (
        f"{name} / {before.reference}: {before.ratio} [{before.low}, {before.high}] then, "
        f"{now.ratio} [{now.low}, {now.high}] now; allowed {tolerance:.0%} beyond"
    )
    if others:
        reason += f", since {'; '.join(others)}"
    doubted = doubt(ruled)
    if verdict == "inconclusive" and doubted:
        reason += f"; {doubted}"
    advice = {"inconclusive": _DOCTOR, "improved": KEEP, "regressed": UPDATE}
    return Finding(
        entry=name,
        scale=scale,
        metric=RUNTIME,
        verdict=verdict,
        before=before.ratio,
        now=now.ratio,
        interval=None if isinstance(record.estimate, Absent) else record.estimate.interval,
        reason=reason,
        advice=advice.get(verdict),
    )


def doubt(record: RaceRecord) -> str | None:
    """Why the self-check forbids to judge, or None: that of a race at a ratio of exactly 1."""
    twins = _judged(record, twin=True)
    level = [(1.0, 1.0)] * RATIO_PAIRS
    design = record.design.model_copy(update={"max_pairs": len(level)})
    judgement = judge(level, twins, design)
    return judgement.reason if judgement and judgement.verdict == "inconclusive" else None


_DOCTOR: Final = "End what else runs on this machine; `esrbench doctor` says what it sees."


def _widened(design: PairDesign, tolerance: float) -> PairDesign:
    """A design with another decision line, and a self-check that keeps its proportion to it."""
    times = tolerance / design.decision
    return design.model_copy(
        update={
            "decision": tolerance,
            "self_check_half_width": design.self_check_half_width * times,
            "self_check_bias": design.self_check_bias * times,
        }
    )


def _beyond(
    record: RaceRecord, scaled: Callable[[float, float], tuple[float, float]]
) -> bool | None:
    """Whether the judged pairs, scaled, lie beyond the line; None where that is not known."""
    estimate = estimate_ratio([scaled(*pair) for pair in _judged(record)], record.design.z)
    return regressed(record.model_copy(update={"estimate": estimate}))


def _judged(record: RaceRecord, *, twin: bool = False) -> list[tuple[float, float]]:
    return [
        pair
        for process in record.processes
        for batch in process.batches
        if batch.set_aside is None
        for pair in (batch.self_pairs if twin else batch.pairs)
    ]


def _interval(record: RaceRecord) -> str:
    estimate = record.estimate
    if isinstance(estimate, Absent):
        return estimate.reason
    low, high = estimate.interval.low, estimate.interval.high
    return f"ratio {estimate.ratio:.4f} [{low:.4f}, {high:.4f}] of {estimate.pairs} pairs"


def _failed(name: str, scale: int, absent: Absent, *, before: float) -> Finding:
    return Finding(
        entry=name,
        scale=scale,
        metric=RUNTIME,
        verdict="failed",
        before=before,
        reason=absent.reason,
        advice=absent.advice,
    )

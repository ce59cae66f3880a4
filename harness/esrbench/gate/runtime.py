"""Runtimes at the gate: pairs within one process, judged by the rule of a race."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from esrbench.environment import cpus_available, describe_environment
from esrbench.errors import MeasurementError
from esrbench.gate.baseline import ratio_of
from esrbench.gate.comparison import KEEP, UPDATE
from esrbench.gate.figures import differing_ratio_terms, ratio_terms
from esrbench.gate.verdicts import RUNTIME, Finding
from esrbench.paired.race import race
from esrbench.protocol import PairDesign, Protocol
from esrbench.records import Absent
from esrbench.statistics import doubt_of, regressed
from esrbench.worker.launcher import open_launcher

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from esrbench.gate.figures import RatioTerms, RuntimeRatio
    from esrbench.gate.verdicts import Verdict
    from esrbench.records import PairedEstimate, RaceRecord
    from esrbench.runs.evaluator import Entry

RATIO_PAIRS: Final = 120
"""Pairs, in four fresh processes, of a ratio that is kept or compared with a kept one."""
TOLERANCE: Final = 0.10
"""Share by which a ratio to a reference network must differ from a kept one, beyond both
intervals, to count. Ratios of different terms are never compared."""


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

    Ratios of another processor, thread count, torch or sandbox are incomparable, whatever they
    are. On the same terms, slower is a ratio whose interval lies wholly above the kept interval
    and the tolerance on top of it; faster likewise below; unchanged one that reaches neither
    line. The self-check may be as much coarser than a race's as the tolerance is wider than a
    race's line.

    Args:
        name: of the entry.
        before: the kept ratio.
        record: of the race against the same reference at the same input, or why there is none.
        scale: upscaling factor.
    """
    if isinstance(record, Absent):
        return _failed(name, scale, record, before=before.ratio)
    now, estimate = ratio_of(record), record.estimate
    if now is None or isinstance(estimate, Absent):
        return Finding(
            entry=name,
            scale=scale,
            metric=RUNTIME,
            verdict="inconclusive",
            before=before.ratio,
            reason=record.reason,
            advice=_DOCTOR,
        )
    differing = differing_ratio_terms(before, now)
    if differing:
        return incomparable_ratio(name, before, differing, scale, now=now.ratio)
    ruled = record.model_copy(update={"design": _widened(record.design)})
    slower = regressed(ruled.model_copy(update={"estimate": _over(estimate, before.high)}))
    inverse = _inverse(estimate)
    faster = regressed(ruled.model_copy(update={"estimate": _over(inverse, 1 / before.low)}))
    verdict: Verdict = "inconclusive"
    if slower:
        verdict = "regressed"
    elif faster:
        verdict = "improved"
    elif slower is False and faster is False:
        verdict = "unchanged"
    reason = (
        f"{name} / {before.reference}: {before.ratio} [{before.low}, {before.high}] then, "
        f"{now.ratio} [{now.low}, {now.high}] now; allowed {TOLERANCE:.0%} beyond"
    )
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
        interval=estimate.interval,
        reason=reason,
        advice=advice.get(verdict),
    )


def incomparable_ratio(
    name: str,
    before: RuntimeRatio,
    differing: Sequence[str],
    scale: int,
    *,
    now: float | None = None,
) -> Finding:
    """The finding of a kept ratio whose terms are not those of this job.

    Args:
        name: of the entry.
        before: the kept ratio.
        differing: the terms that differ, with both values.
        scale: upscaling factor.
        now: the ratio here, if it was timed.
    """
    return Finding(
        entry=name,
        scale=scale,
        metric=RUNTIME,
        verdict="incomparable",
        before=before.ratio,
        now=now,
        reason=f"{name} / {before.reference} was timed on other terms: {'; '.join(differing)}",
        advice=(
            f"Race within this job: `esrbench check {name} --baseline REVISION`, or "
            f"`--against {before.reference}`; or keep a ratio of these terms with "
            "`esrbench baseline update`."
        ),
    )


def terms_here(kept: RuntimeRatio, threads: int | None) -> RatioTerms:
    """The terms on which a race for a kept ratio on the CPU will run in this job.

    Args:
        kept: the ratio that it will be compared with.
        threads: that were asked for, or None for those of the kept ratio, as far as there are
            CPUs.
    """
    environment = describe_environment(
        threads=threads or min(kept.threads, cpus_available()),
        accelerator=None,
        tier=open_launcher("auto").sandbox.tier,
    )
    return ratio_terms(race_protocol(kept.input_size), environment)


def doubt(record: RaceRecord) -> str | None:
    """Why the self-check forbids to judge, or None."""
    return doubt_of(record.self_check, record.design)


_DOCTOR: Final = "End what else runs on this machine; `esrbench doctor` says what it sees."


def _widened(design: PairDesign) -> PairDesign:
    """A design with ``TOLERANCE`` as its line, and a self-check that keeps its proportion to it."""
    times = TOLERANCE / design.decision
    return design.model_copy(
        update={
            "decision": TOLERANCE,
            "self_check_half_width": design.self_check_half_width * times,
            "self_check_bias": design.self_check_bias * times,
        }
    )


def _over(estimate: PairedEstimate, ratio: float) -> PairedEstimate:
    """A ratio over another one that is taken as exact."""
    interval = estimate.interval
    bounds = {"low": interval.low / ratio, "high": interval.high / ratio}
    return estimate.model_copy(
        update={"ratio": estimate.ratio / ratio, "interval": interval.model_copy(update=bounds)}
    )


def _inverse(estimate: PairedEstimate) -> PairedEstimate:
    """The ratio of the same race with both sides exchanged."""
    interval = estimate.interval
    bounds = {"low": 1 / interval.high, "high": 1 / interval.low}
    return estimate.model_copy(
        update={"ratio": 1 / estimate.ratio, "interval": interval.model_copy(update=bounds)}
    )


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

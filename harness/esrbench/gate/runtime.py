"""Runtimes at the gate: pairs within one process, judged by the rule of a paired comparison."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from esrbench.environment import cpus_available, describe_environment
from esrbench.gate.baseline import ratio_of
from esrbench.gate.figures import differing_ratio_terms, ratio_terms
from esrbench.gate.verdicts import KEEP, RUNTIME, UPDATE, finding
from esrbench.paired.judging import doubt_of, regressed
from esrbench.protocol import PairDesign, Protocol
from esrbench.records import Absent
from esrbench.worker.launcher import open_launcher

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from esrbench.gate.figures import Key, RatioTerms, RuntimeRatio
    from esrbench.gate.verdicts import Finding, Verdict
    from esrbench.records import PairedEstimate, RaceRecord
    from esrbench.runs.evaluator import Entry

RATIO_PAIRS: Final = 120
"""Number of pairs, in four fresh processes, for a ratio that is kept or compared with a kept one.
"""
RATIO_DESIGN: Final = PairDesign(
    first_look=RATIO_PAIRS, look_every=RATIO_PAIRS, max_pairs=RATIO_PAIRS
)
"""The interval is checked once, at the end, because only the ratio is needed, not a verdict."""
TOLERANCE: Final = 0.10
"""A ratio to a reference network must differ from a kept one by more than this share, beyond both
intervals. Ratios with different terms are never compared."""
_WIDENING: Final = TOLERANCE / PairDesign().decision
_WIDENED: Final = {
    "decision": TOLERANCE,
    "self_check_half_width": PairDesign().self_check_half_width * _WIDENING,
    "self_check_bias": PairDesign().self_check_bias * _WIDENING,
}
"""A design with ``TOLERANCE`` as its decision line and a self-check that is coarser by the same
factor."""
_DOCTOR: Final = "Close other programs on this machine; `esrbench doctor` names them."


def gate_protocol(input_size: tuple[int, int], device: str, threads: int | None) -> Protocol:
    """The protocol of counting, scoring and racing at the gate."""
    return Protocol.model_validate(
        {"device": device, "threads": threads, "counted_input": input_size, "latency": None}
    )


def judge_race(key: Key, record: RaceRecord | Absent, *, same: bool) -> Finding:
    """The finding of a race against another network, or against an earlier version.

    Args:
        key: name and scale of the candidate.
        record: record of the race, or the reason why there is none.
        same: whether the baseline is an earlier version of the candidate.
    """
    if isinstance(record, Absent):
        return _failed(key, record, before=1.0)
    estimate = record.estimate
    if isinstance(estimate, Absent):
        return finding(key, RUNTIME, "inconclusive", record.reason, before=1.0, advice=_DOCTOR)
    slower = regressed(record)
    other = "the earlier version" if same else record.baseline.name
    low, high = estimate.interval.low, estimate.interval.high
    said = f"ratio {estimate.ratio:.4f} [{low:.4f}, {high:.4f}] of {estimate.pairs} pairs"
    verdict: Verdict
    if slower is None:
        verdict = "inconclusive"
        said = record.reason if record.verdict == "inconclusive" else said
    elif slower:
        verdict, said = "regressed", f"{said}: slower than {other}"
    elif record.verdict == "faster":
        verdict, said = "improved", f"{said}: faster than {other}"
    else:
        verdict, said = "unchanged", f"{said}: no slower than {other}"
    return finding(
        key,
        RUNTIME,
        verdict,
        said,
        before=1.0,
        now=round(estimate.ratio, 4),
        interval=estimate.interval,
        advice=_DOCTOR if verdict == "inconclusive" else None,
    )


def compare_ratio(key: Key, before: RuntimeRatio, record: RaceRecord | Absent) -> Finding:
    """The finding for a ratio to a reference network, compared with a kept one.

    Ratios with another processor, thread count, torch or sandbox are always incomparable. With
    equal terms, a candidate is slower if its whole interval lies above the kept interval plus the
    tolerance. It is faster if its whole interval lies below the kept interval minus the tolerance.
    It is unchanged if its interval reaches neither line. The tolerance is wider than that of a
    race, and the self-check may be coarser by the same factor.

    Args:
        key: name and scale of the entry.
        before: the kept ratio.
        record: record of the race against the same reference at the same input, or the reason why
            there is none.
    """
    if isinstance(record, Absent):
        return _failed(key, record, before=before.ratio)
    now, estimate = ratio_of(record), record.estimate
    if now is None or isinstance(estimate, Absent):
        reason = record.reason
        return finding(key, RUNTIME, "inconclusive", reason, before=before.ratio, advice=_DOCTOR)
    differing = differing_ratio_terms(before, now)
    if differing:
        return incomparable_ratio(key, before, differing, now=now.ratio)
    ruled = record.model_copy(update={"design": record.design.model_copy(update=_WIDENED)})
    slower, faster = (
        regressed(ruled.model_copy(update={"estimate": _changed(estimate, change)}))
        for change in (lambda ratio: ratio / before.high, lambda ratio: before.low / ratio)
    )
    verdict: Verdict = "inconclusive"
    if slower:
        verdict = "regressed"
    elif faster:
        verdict = "improved"
    elif slower is False and faster is False:
        verdict = "unchanged"
    reason = (
        f"{key[0]} / {before.reference}: {before.ratio} [{before.low}, {before.high}] then, "
        f"{now.ratio} [{now.low}, {now.high}] now; allowed {TOLERANCE:.0%} beyond"
    )
    doubt = doubt_of(ruled.self_check, ruled.design)
    if verdict == "inconclusive" and doubt:
        reason += f"; {doubt}"
    return finding(
        key,
        RUNTIME,
        verdict,
        reason,
        before=before.ratio,
        now=now.ratio,
        interval=estimate.interval,
        advice={"inconclusive": _DOCTOR, "improved": KEEP, "regressed": UPDATE}.get(verdict),
    )


def incomparable_ratio(
    key: Key, before: RuntimeRatio, differing: Sequence[str], *, now: float | None = None
) -> Finding:
    """The finding for a kept ratio whose terms differ from those of this job.

    Args:
        key: name and scale of the entry.
        before: the kept ratio.
        differing: the terms that differ, with both values.
        now: the ratio here, if it was timed.
    """
    name, _ = key
    reason = f"{name} / {before.reference} was timed with other terms: {'; '.join(differing)}"
    advice = (
        f"Race within this job: `esrbench check {name} --baseline REVISION`, or "
        f"`--against {before.reference}`; or keep a ratio with the terms of this job: run "
        "`esrbench baseline update`."
    )
    return finding(
        key, RUNTIME, "incomparable", reason, before=before.ratio, now=now, advice=advice
    )


def terms_here(kept: RuntimeRatio, threads: int | None, entry: Entry) -> RatioTerms:
    """The terms under which a race for a kept ratio on the CPU will run in this job.

    Args:
        kept: the ratio that it will be compared with.
        threads: requested threads; None for those of the kept ratio, or all CPUs if fewer.
        entry: the entry that will run.
    """
    own = describe_environment(
        threads=threads or min(kept.threads, cpus_available()),
        accelerator=None,
        tier=open_launcher("auto").sandbox.tier,
    )
    environment = entry.environment(own)
    terms = ratio_terms(gate_protocol(kept.input_size, "cpu", None), environment)
    # A race runs in the precision of its candidate, which its record contains.
    return terms.model_copy(update={"forward": kept.forward})


def _changed(estimate: PairedEstimate, change: Callable[[float], float]) -> PairedEstimate:
    """Divide or multiply a ratio by a ratio that counts as exact."""
    low, high = sorted(change(bound) for bound in (estimate.interval.low, estimate.interval.high))
    interval = estimate.interval.model_copy(update={"low": low, "high": high})
    return estimate.model_copy(update={"ratio": change(estimate.ratio), "interval": interval})


def _failed(key: Key, absent: Absent, *, before: float) -> Finding:
    return finding(key, RUNTIME, "failed", absent.reason, before=before, advice=absent.advice)

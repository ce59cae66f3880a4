"""The check against kept figures, and against another network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from esrbench.devices import DEVICES
from esrbench.errors import UsageError
from esrbench.gate.bench import COUNTED_INPUT
from esrbench.gate.comparison import compare
from esrbench.gate.figures import (
    Measured,
    differing_ratio_terms,
    entry_key,
    parse_key,
    terms_of,
)
from esrbench.gate.runtime import compare_ratio, incomparable_ratio, terms_here
from esrbench.gate.verdicts import RUNTIME, Finding, GateReport
from esrbench.protocol import Protocol
from esrbench.records import Absent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from esrbench.gate.baseline import Baseline
    from esrbench.gate.bench import Bench, Key, Request
    from esrbench.gate.figures import RuntimeRatio
    from esrbench.gate.measurement import Subject


def check_baseline(
    bench: Bench, baseline: Baseline, title: str, *, against: str | None = None
) -> GateReport:
    """Compare with kept figures.

    Args:
        bench: candidates and what is asked.
        baseline: the figures.
        title: of the baseline in sentences.
        against: network that candidates must be no slower than, instead of kept ratios.

    Raises:
        UsageError: a name that neither side has, or a protocol that this machine cannot
            follow.
        WeightsError: a weights file that is missing or altered.
    """
    request = bench.request
    keys = _baseline_keys(bench, baseline)
    measured = _measure_kept(bench, baseline, keys)
    findings: list[Finding] = []
    for key in keys:
        kept = baseline.entries.get(entry_key(*key))
        terms = None if kept is None else baseline.terms_of(kept)
        now = measured.get(key)
        if now is not None and (request.measured or isinstance(now.figures, Absent)):
            findings += compare(kept, terms, now, request.metrics)
        if RUNTIME not in request.metrics or not _registered(bench, key):
            continue
        if against is not None:
            findings += bench.race_against(key, against)
        elif kept is not None and kept.runtime is not None:
            findings.append(_ratio(bench, key, kept.runtime, baseline, measured))
        elif kept is not None and not request.measured:
            findings.append(_without_ratio(key))
    return GateReport(baseline=title, findings=tuple(findings))


def check_against(bench: Bench, against: str) -> GateReport:
    """Race candidates against another network, without a baseline.

    Raises:
        UsageError: an unknown name or scale, or no names.
        WeightsError: a weights file that is missing or altered.
    """
    if not bench.request.names:
        message = "--against without --baseline needs the names of networks"
        raise UsageError(message, advice=f"Such as `esrbench check NAME --against {against}`.")
    keys = [key for name in bench.request.names for key in bench.registered_keys(name)]
    findings = [finding for key in keys for finding in bench.race_against(key, against)]
    return GateReport(baseline=f"raced against {against}", findings=tuple(findings))


def _baseline_keys(bench: Bench, baseline: Baseline) -> list[Key]:
    request = bench.request
    kept = [parse_key(key) for key in baseline.entries]
    wanted = sorted(key for key in kept if not request.scales or key[1] in request.scales)
    if not request.names:
        if not wanted:
            message = "the baseline has no entries" + (" at these scales" if kept else "")
            raise UsageError(message, advice="Run `esrbench baseline update NAMES`.")
        return wanted
    keys: list[Key] = []
    for name in dict.fromkeys(request.names):
        keys += [key for key in wanted if key[0] == name] or bench.registered_keys(name)
    return keys


def _measure_kept(bench: Bench, baseline: Baseline, keys: Sequence[Key]) -> dict[Key, Measured]:
    """Everything that is compared with kept figures, and references of ratios."""
    references = _references(bench, baseline, keys)
    sizes: dict[tuple[int, int], list[Subject]] = {}
    measured: dict[Key, Measured] = {}
    for key in dict.fromkeys([*keys, *references]):
        name, scale = key
        kept = baseline.entries.get(entry_key(name, scale))
        if not _registered(bench, key):
            reason = f"no network is registered as {name!r} at x{scale}"
            measured[key] = _absent(key, Absent(kind="unavailable", reason=reason))
        elif kept is None:
            reason = "the baseline has no such entry"
            advice = f"Run `esrbench baseline update {name}`."
            measured[key] = _absent(key, Absent(kind="skipped", reason=reason, advice=advice))
        elif bench.request.measured or key in references:
            descriptor = bench.registry.get(name)
            scored = key in keys and bench.request.scored
            subject = bench.subject(
                descriptor,
                bench.resolve(descriptor, scale, kept.weights),
                scale,
                sorted(kept.scores) if scored else (),
            )
            size = _size(baseline.terms_of(kept).protocol.get("counted_input"))
            sizes.setdefault(size, []).append(subject)
    for size, subjects in sizes.items():
        for found in bench.measure(subjects, bench.request.protocol(size)):
            measured[found.name, found.scale] = found
    return measured


def _references(bench: Bench, baseline: Baseline, keys: Sequence[Key]) -> list[Key]:
    """What the kept ratios of these entries are taken over."""
    if RUNTIME not in bench.request.metrics:
        return []
    kept = (baseline.entries.get(entry_key(*key)) for key in keys)
    return [
        (entry.runtime.reference, scale)
        for entry, (_, scale) in zip(kept, keys, strict=True)
        if entry is not None and entry.runtime is not None
    ]


def _registered(bench: Bench, key: Key) -> bool:
    name, scale = key
    return name in bench.registry and scale in bench.registry.get(name).scales


def _absent(key: Key, why: Absent) -> Measured:
    return Measured(*key, why, terms_of(Protocol()))


def _ratio(
    bench: Bench,
    key: Key,
    kept: RuntimeRatio,
    baseline: Baseline,
    measured: Mapping[Key, Measured],
) -> Finding:
    """The ratio to a reference, if the reference is still what it was."""
    name, scale = key
    reason = None
    reference = baseline.entries.get(entry_key(kept.reference, scale))
    now = measured.get((kept.reference, scale))
    if reference is None:
        reason = f"the baseline has no entry of the reference {kept.reference} x{scale}"
    elif now is None or isinstance(now.figures, Absent):
        reason = f"the reference {kept.reference} cannot be measured"
    elif now.figures.counts.get("macs_aten") != reference.counts.get("macs_aten"):
        reason = f"the reference {kept.reference} is another: its macs_aten differ"
    if reason is not None:
        return Finding(
            entry=name,
            scale=scale,
            metric=RUNTIME,
            verdict="incomparable",
            before=kept.ratio,
            reason=reason,
            advice="Run `esrbench baseline update` for both.",
        )
    differing = _differing(kept, bench.request)
    if differing:
        return incomparable_ratio(name, kept, differing, scale)
    descriptor = bench.registry.get(name)
    record = bench.race_ratio(
        descriptor,
        kept.reference,
        scale,
        weights=bench.resolve(descriptor, scale, baseline.entries[entry_key(name, scale)].weights),
        input_size=kept.input_size,
        threads=bench.request.threads or kept.threads,
    )
    return compare_ratio(name, kept, record, scale)


def _without_ratio(key: Key) -> Finding:
    """What is said of an entry where nothing but its runtime was asked for."""
    name, scale = key
    return Finding(
        entry=name,
        scale=scale,
        metric=RUNTIME,
        verdict="incomparable",
        reason="the baseline keeps no ratio of its runtime",
        advice=(
            "Race within this job: `esrbench check NAME --baseline REVISION`, or "
            "`--against NETWORK`."
        ),
    )


def _differing(kept: RuntimeRatio, request: Request) -> list[str]:
    """Terms that are known to differ before anything is timed; a GPU's show only afterwards."""
    if kept.device != request.device:
        return [f"device: {kept.device} then, {request.device} now"]
    if DEVICES[kept.device].gpu:
        return []
    return differing_ratio_terms(kept, terms_here(kept, request.threads))


def _size(text: str | None) -> tuple[int, int]:
    height, _, width = (text or "").partition("x")
    return (int(height), int(width)) if height and width else COUNTED_INPUT

"""The check against an earlier revision of the same networks."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from esrbench.gate.comparison import UPDATES, compare
from esrbench.gate.runtime import judge_race
from esrbench.gate.verdicts import ENTRY, RUNTIME, Finding, GateReport
from esrbench.records import Absent
from esrbench.runs.evaluator import Entry

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from esrbench.gate.bench import Bench, Key
    from esrbench.gate.figures import Measured
    from esrbench.gate.revision import Revision

DEMO = "demo"
"""Data set on which revisions are scored unless others are given."""


def check_revision(bench: Bench, revision: Revision, *, against: str | None = None) -> GateReport:
    """Compare with the same networks as an earlier revision defines them.

    Both are counted, scored and raced by this esrbench, here and now. Networks of the very
    same code and weights are not measured.

    Raises:
        UsageError: a name that neither side has.
        WeightsError: a weights file that is missing or altered.
    """
    findings: list[Finding] = []
    pairs: dict[Key, tuple[Entry, Entry]] = {}
    for key in _revision_keys(bench, revision):
        found = _pair(bench, key, revision)
        if isinstance(found, Finding):
            findings.append(found)
        else:
            pairs[key] = found
    before = _measure_pairs(bench, {key: old for key, (old, _) in pairs.items()})
    now = _measure_pairs(bench, {key: new for key, (_, new) in pairs.items()})
    for key, (old, new) in pairs.items():
        if bench.request.measured:
            findings += _compare(bench, before[key], now[key])
        if RUNTIME not in bench.request.metrics:
            continue
        if against is not None:
            findings += bench.race_against(key, against)
        elif isinstance(before[key].figures, Absent) or isinstance(now[key].figures, Absent):
            continue
        else:
            record = bench.race(new, old)
            findings.append(judge_race(key[0], record, key[1], same=True))
    return GateReport(baseline=f"compared with {revision.title}", findings=tuple(findings))


def _revision_keys(bench: Bench, revision: Revision) -> list[Key]:
    keys: list[Key] = []
    names = bench.request.names or [each.name for each in revision.registry]
    for name in dict.fromkeys(names):
        known = [each for each in (bench.registry, revision.registry) if name in each]
        descriptor = (known or [bench.registry])[0].get(name)
        scales = bench.request.scales or (max(descriptor.scales),)
        keys += [(name, scale) for scale in scales if scale in descriptor.scales]
    return keys


def _pair(bench: Bench, key: Key, revision: Revision) -> tuple[Entry, Entry] | Finding:
    """Both versions of a network, or what is said where nothing needs to be measured."""
    name, scale = key
    there = name in revision.registry and scale in revision.registry.get(name).scales
    here = name in bench.registry and scale in bench.registry.get(name).scales
    if not (there and here):
        return Finding(
            entry=name,
            scale=scale,
            metric=ENTRY,
            verdict="missing",
            before="defined" if there else None,
            now="defined" if here else None,
            reason=f"only {revision.title if there else 'the candidate'} has it",
        )
    descriptor = bench.registry.get(name)
    old = revision.entry(name, scale, bench.request.weights.get(name, "auto"))
    new = Entry(descriptor, scale, bench.resolve(descriptor, scale, None))
    same_weights = old.weights.identity.sha256 == new.weights.identity.sha256
    if same_weights and revision.same_code(descriptor):
        return Finding(
            entry=name,
            scale=scale,
            metric=ENTRY,
            verdict="unchanged",
            before="defined",
            now="defined",
            reason=f"code and weights are those of {revision.title}; not measured",
        )
    return old, new


def _measure_pairs(bench: Bench, entries: Mapping[Key, Entry]) -> dict[Key, Measured]:
    """One side of a comparison of revisions, under the names that both share."""
    data = list(bench.request.data) or [DEMO]
    wanted = data if bench.request.scored else []
    subjects = []
    for (name, scale), entry in entries.items():
        trained = entry.weights.identity.source != "random"
        subject = bench.subject(entry.descriptor, entry.weights, scale, wanted if trained else [])
        subjects.append(replace(subject, name=name))
    found = bench.measure(subjects, bench.request.protocol())
    return {(each.name, each.scale): each for each in found}


def _compare(bench: Bench, before: Measured, now: Measured) -> Iterator[Finding]:
    if isinstance(before.figures, Absent):
        yield Finding(
            entry=now.name,
            scale=now.scale,
            metric=ENTRY,
            verdict="incomparable",
            reason=f"the earlier version cannot be measured: {before.figures.reason}",
            advice=before.figures.advice,
        )
        return
    for found in compare(before.figures, before.terms, now, bench.request.metrics):
        # There is no file to update.
        yield found.model_copy(update={"advice": None}) if found.advice in UPDATES else found

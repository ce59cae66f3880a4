"""Check candidates against kept figures, an earlier revision, or another network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from esrbench.devices import DEVICES
from esrbench.errors import UsageError
from esrbench.gate.baseline import read_baseline, read_results
from esrbench.gate.bench import COUNTED_INPUT, DEMO, trained
from esrbench.gate.comparison import compare
from esrbench.gate.figures import (
    Measured,
    differing_ratio_terms,
    entry_key,
    parse_key,
    terms_of,
)
from esrbench.gate.revision import open_revision
from esrbench.gate.runtime import compare_ratio, incomparable_ratio, judge_race, terms_here
from esrbench.gate.verdicts import (
    ENTRY,
    KEEP,
    RUNTIME,
    UPDATE,
    UPDATE_COMMAND,
    Finding,
    GateReport,
    finding,
)
from esrbench.protocol import Protocol
from esrbench.records import Absent

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from esrbench.gate.baseline import Baseline
    from esrbench.gate.bench import Bench, Request, Subject
    from esrbench.gate.figures import Key, RuntimeRatio
    from esrbench.gate.revision import Revision
    from esrbench.runs.evaluator import Entry

BASELINE_FILE = "esrbench-baseline.json"
"""Default file in the current folder, also for the Action and the pre-commit hook."""
"""Name of the baseline file in the current folder."""


def check(bench: Bench, baseline: str | None, against: str | None) -> GateReport:
    """Compare with the baseline or the network that the user named.

    Args:
        bench: candidates and the request.
        baseline: a file, a folder of results, or a git revision of the checkout in the current
            folder; None for the file in the current folder.
        against: network; candidates must not be slower than it.

    Raises:
        UsageError: there is no such baseline, revision or network, or it has no entries.
        RecordError: the file is no baseline.
        WeightsError: a weights file that is missing or altered.
    """
    if baseline is None:
        if against is not None:
            return check_against(bench, against)
        default = Path(BASELINE_FILE)
        if not default.is_file():
            message = f"there is no baseline: {default} does not exist"
            advice = "Give --baseline or --against, or run `esrbench baseline update`."
            raise UsageError(message, advice=advice)
        baseline = str(default)
    path = Path(baseline)
    if path.is_file():
        return check_baseline(bench, read_baseline(path), str(path), against=against)
    if path.is_dir():
        kept, notices = read_results(path)
        report = check_baseline(bench, kept, str(path), against=against)
        return report.model_copy(update={"notices": tuple(notices)})
    if path.suffix == ".json":
        message = f"there is no baseline {path}"
        raise UsageError(message, advice=UPDATE_COMMAND)
    if bench.request.interpreters:
        message = f"--baseline {baseline}: networks of a revision run only in esrbench's own Python"
        raise UsageError(message, advice="Leave --python out, or give a baseline file.")
    with open_revision(baseline, Path.cwd()) as revision:
        return check_revision(bench, revision, against=against)


def check_baseline(
    bench: Bench, baseline: Baseline, title: str, *, against: str | None = None
) -> GateReport:
    """Compare with kept figures.

    Args:
        bench: candidates and the request.
        baseline: the figures.
        title: name of the baseline in sentences.
        against: network; candidates must not be slower than it. Kept ratios are then not compared.

    Raises:
        UsageError: a name that neither side has, or a protocol that this machine cannot follow.
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
        if RUNTIME not in request.metrics or key not in bench:
            continue
        if against is not None:
            findings += bench.race_against(key, against)
        elif kept is not None and kept.runtime is not None:
            findings.append(_ratio(bench, key, kept.runtime, baseline, measured))
        elif kept is not None and not request.measured:
            reason = "the baseline has no runtime ratio of it"
            advice = "Race within this job: `esrbench check NAME --baseline REVISION`, or "
            advice += "`--against NETWORK`."
            findings.append(finding(key, RUNTIME, "incomparable", reason, advice=advice))
    return GateReport(baseline=title, findings=tuple(findings))


def check_against(bench: Bench, against: str) -> GateReport:
    """Race candidates against another network, without a baseline.

    Raises:
        UsageError: an unknown name or scale, no names, or no runtime to compare.
        WeightsError: a weights file that is missing or altered.
    """
    if RUNTIME not in bench.request.metrics:
        message = "--against without --baseline compares runtime, which these metrics leave out"
        advice = "Add runtime to --metrics, or name a baseline with --baseline."
        raise UsageError(message, advice=advice)
    if not bench.request.names:
        message = "--against without --baseline needs the names of networks"
        raise UsageError(message, advice=f"Such as `esrbench check NAME --against {against}`.")
    keys = [key for name in bench.request.names for key in bench.registered_keys(name)]
    findings = [found for key in keys for found in bench.race_against(key, against)]
    return GateReport(baseline=f"raced against {against}", findings=tuple(findings))


def check_revision(bench: Bench, revision: Revision, *, against: str | None = None) -> GateReport:
    """Compare with the same networks in an earlier revision.

    This esrbench counts, scores and races both versions, on this machine. Networks with identical
    code and weights are not measured.

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
    before = _measure_side(bench, ((key, old) for key, (old, _) in pairs.items()))
    now = _measure_side(bench, ((key, new) for key, (_, new) in pairs.items()))
    for key, (old, new) in pairs.items():
        if bench.request.measured:
            findings += _compare_sides(bench, before[key], now[key])
        if RUNTIME not in bench.request.metrics:
            continue
        if against is not None:
            findings += bench.race_against(key, against)
        elif not any(isinstance(side[key].figures, Absent) for side in (before, now)):
            findings.append(judge_race(key, bench.race(new, old), same=True))
    return GateReport(baseline=f"compared with {revision.title}", findings=tuple(findings))


def _baseline_keys(bench: Bench, baseline: Baseline) -> list[Key]:
    request = bench.request
    kept = [parse_key(key) for key in baseline.entries]
    wanted = sorted(key for key in kept if not request.scales or key[1] in request.scales)
    if not request.names:
        if not wanted:
            message = "the baseline has no entries" + (" at these scales" if kept else "")
            raise UsageError(message, advice=UPDATE_COMMAND)
        return wanted
    keys: list[Key] = []
    for name in dict.fromkeys(request.names):
        keys += [key for key in wanted if key[0] == name] or bench.registered_keys(name)
    return keys


def _measure_kept(bench: Bench, baseline: Baseline, keys: Sequence[Key]) -> dict[Key, Measured]:
    """Measure everything that is compared with kept figures, and the references of ratios."""
    references = _references(bench, baseline, keys)
    sizes: dict[tuple[int, int], list[Subject]] = {}
    measured: dict[Key, Measured] = {}
    for key in dict.fromkeys([*keys, *references]):
        name, scale = key
        kept = baseline.entries.get(entry_key(name, scale))
        if key not in bench:
            reason = f"no network is registered as {name!r} at x{scale}"
            measured[key] = _absent(key, Absent(kind="unavailable", reason=reason))
        elif kept is None:
            reason = "the baseline has no such entry"
            advice = UPDATE_COMMAND
            measured[key] = _absent(key, Absent(kind="skipped", reason=reason, advice=advice))
        elif bench.request.measured or key in references:
            scored = key in keys and bench.request.scored
            entry = bench.entry(name, scale, kept.weights)
            subject = bench.subject(name, entry, sorted(kept.scores) if scored else ())
            size = _size(baseline.terms_of(kept).protocol.get("counted_input"))
            sizes.setdefault(size, []).append(subject)
    for size, subjects in sizes.items():
        for found in bench.measure(subjects, size):
            measured[found.name, found.scale] = found
    return measured


def _references(bench: Bench, baseline: Baseline, keys: Sequence[Key]) -> list[Key]:
    """The references of the kept ratios of these entries."""
    if RUNTIME not in bench.request.metrics:
        return []
    kept = (baseline.entries.get(entry_key(*key)) for key in keys)
    return [
        (entry.runtime.reference, scale)
        for entry, (_, scale) in zip(kept, keys, strict=True)
        if entry is not None and entry.runtime is not None
    ]


def _absent(key: Key, why: Absent) -> Measured:
    return Measured(*key, why, terms_of(Protocol()))


def _size(text: str | None) -> tuple[int, int]:
    height, _, width = (text or "").partition("x")
    return (int(height), int(width)) if height and width else COUNTED_INPUT


def _ratio(
    bench: Bench,
    key: Key,
    kept: RuntimeRatio,
    baseline: Baseline,
    measured: Mapping[Key, Measured],
) -> Finding:
    """The ratio to a reference, if the reference has not changed."""
    name, scale = key
    reason = None
    reference = baseline.entries.get(entry_key(kept.reference, scale))
    now = measured.get((kept.reference, scale))
    if reference is None:
        reason = f"the baseline has no entry of the reference {kept.reference} x{scale}"
    elif now is None or isinstance(now.figures, Absent):
        reason = f"the reference {kept.reference} cannot be measured"
    elif now.figures.counts.get("macs_aten") != reference.counts.get("macs_aten"):
        reason = f"the reference {kept.reference} has changed: its macs_aten differ"
    if reason is not None:
        advice = f"Run `esrbench baseline update`, and the same for {kept.reference}."
        return finding(key, RUNTIME, "incomparable", reason, before=kept.ratio, advice=advice)
    entry = bench.entry(name, scale, baseline.entries[entry_key(name, scale)].weights)
    differing = _differing(kept, bench.request, entry)
    if differing:
        return incomparable_ratio(key, kept, differing)
    threads = bench.request.threads or kept.threads
    record = bench.race_ratio(entry, kept.reference, kept.input_size, threads)
    return compare_ratio(key, kept, record)


def _differing(kept: RuntimeRatio, request: Request, entry: Entry) -> list[str]:
    """Terms that differ, as far as known before timing; a GPU's are only known afterwards."""
    if kept.device != request.device:
        return [f"device: {kept.device} then, {request.device} now"]
    if DEVICES[kept.device].gpu:
        return []
    return differing_ratio_terms(kept, terms_here(kept, request.threads, entry))


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
    """Both versions of a network, or the finding if nothing needs to be measured."""
    name, scale = key
    there = name in revision.registry and scale in revision.registry.get(name).scales
    here = key in bench
    sides = {"before": "defined" if there else None, "now": "defined" if here else None}
    if not (there and here):
        reason = f"only {revision.title if there else 'the candidate'} has it"
        return finding(key, ENTRY, "missing", reason, **sides)
    old = revision.entry(name, scale, bench.request.weights.get(name, "auto"))
    new = bench.entry(name, scale)
    same_weights = old.weights.identity.sha256 == new.weights.identity.sha256
    if same_weights and revision.same_code(new.descriptor):
        reason = f"code and weights are those of {revision.title}, so nothing is measured"
        return finding(key, ENTRY, "unchanged", reason, **sides)
    return old, new


def _measure_side(bench: Bench, entries: Iterable[tuple[Key, Entry]]) -> dict[Key, Measured]:
    """One side of a comparison of revisions, under the names that both share."""
    data = (list(bench.request.data) or [DEMO]) if bench.request.scored else []
    subjects = [
        bench.subject(name, entry, data if trained(entry) else ()) for (name, _), entry in entries
    ]
    return {(each.name, each.scale): each for each in bench.measure(subjects)}


def _compare_sides(bench: Bench, before: Measured, now: Measured) -> Iterator[Finding]:
    if isinstance(before.figures, Absent):
        key = now.name, now.scale
        reason = f"the earlier version cannot be measured: {before.figures.reason}"
        yield finding(key, ENTRY, "incomparable", reason, advice=before.figures.advice)
        return
    for found in compare(before.figures, before.terms, now, bench.request.metrics):
        # A revision has no file that could be updated.
        yield found.model_copy(update={"advice": None}) if found.advice in {UPDATE, KEEP} else found

"""Take figures that a baseline will keep."""

from __future__ import annotations

from typing import TYPE_CHECKING

from esrbench.errors import DataError, MeasurementError, UsageError
from esrbench.gate.baseline import Baseline, ratio_of, settle
from esrbench.gate.figures import differing_ratio_terms, entry_key, parse_key
from esrbench.gate.runtime import compare_ratio, doubt
from esrbench.gate.verdicts import RUNTIME
from esrbench.records import Absent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esrbench.gate.bench import Bench, Key
    from esrbench.gate.figures import EntryFigures, RuntimeRatio, Terms

DEMO = "demo"
"""Data set on which new entries with trained weights are scored unless others are given."""


def update(bench: Bench, baseline: Baseline, *, reference: str | None = None) -> Baseline:
    """Measure entries anew and put them into a baseline.

    Figures that are equal within their tolerance keep the digits that they had.

    Without names every entry of the baseline is measured, and those that are registered no longer
    are left out; an empty baseline takes every registered network but submissions.

    Args:
        bench: candidates and what is asked; ``data`` adds data sets to those that an entry has.
        baseline: what is updated; may be empty.
        reference: network over which the runtime of the named entries is kept, beside those that
            have one already; it becomes an entry too.

    Raises:
        UsageError: an unknown name or scale.
        DataError: images of the baseline that are not here.
        WeightsError: a weights file that is missing or altered.
        MeasurementError: an entry cannot be measured, or the machine is too noisy to keep a
            runtime.
    """
    keys = _keys(bench, baseline, reference)
    gone = [key for key in keys if not _registered(bench, key)]
    kept = [key for key in keys if key not in gone]
    subjects = []
    for name, scale in kept:
        old = baseline.entries.get(entry_key(name, scale))
        descriptor = bench.registry.get(name)
        weights = bench.resolve(descriptor, scale, None if old is None else old.weights)
        sets = _data(bench, old, trained=weights.identity.source != "random")
        subject = bench.subject(descriptor, weights, scale, sets)
        for why in subject.unopened.values():
            message = f"{name} x{scale}: {why.reason}"
            advice = "Say where it is with --data NAME=PATH, or leave scores out: --no-scores."
            raise DataError(message, (), advice=why.advice or advice)
        subjects.append(subject)
    entries: dict[str, EntryFigures] = {}
    terms: dict[str, Terms] = {}
    for found in bench.measure(subjects, bench.request.protocol()):
        if isinstance(found.figures, Absent):
            message = f"{found.name} x{found.scale}: {found.figures.reason}"
            raise MeasurementError(message, advice=found.figures.advice)
        failed = [(what, why) for what, why in found.absent.items() if why.kind == "failed"]
        old = baseline.entries.get(found.key)
        for (data, metric), why in failed:
            if data is not None or (old is not None and metric in old.counts):
                message = f"{found.name} x{found.scale} {metric}: {why.reason}"
                raise MeasurementError(message, advice=why.advice)
        entries[found.key] = settle(old, _with_kept_scores(bench, old, found.figures))
        terms[found.terms.digest] = found.terms
    for key in kept:
        old = baseline.entries.get(entry_key(*key))
        runtime = _runtime(bench, key, None if old is None else old.runtime, reference)
        entries[entry_key(*key)] = entries[entry_key(*key)].model_copy(update={"runtime": runtime})
    left = {
        key: entry
        for key, entry in baseline.entries.items()
        if key not in {entry_key(*each) for each in gone}
    }
    return Baseline(terms=baseline.terms, entries=left).with_entries(entries, terms)


def _keys(bench: Bench, baseline: Baseline, reference: str | None) -> list[Key]:
    request = bench.request
    known = sorted(parse_key(key) for key in baseline.entries)
    if request.names:
        keys: list[Key] = []
        for name in dict.fromkeys(request.names):
            of_name = [key for key in known if key[0] == name]
            if request.scales and name in bench.registry:
                keys += bench.registered_keys(name)
            else:
                keys += of_name or bench.registered_keys(name)
    elif known:
        keys = [key for key in known if not request.scales or key[1] in request.scales]
    else:
        keys = [
            (each.name, scale)
            for each in bench.registry
            if each.folder is None
            for scale in (request.scales or (max(each.scales),))
            if scale in each.scales
        ]
    if not keys:
        raise UsageError("no entries at these scales", advice="Leave --scale out.")
    if reference is not None:
        of_reference = {(reference, scale) for _, scale in keys} - {*known, *keys}
        for _, scale in sorted(of_reference):
            bench.registry.get(reference).require_scale(scale)
        keys += sorted(of_reference)
    return keys


def _registered(bench: Bench, key: Key) -> bool:
    name, scale = key
    return name in bench.registry and scale in bench.registry.get(name).scales


def _data(bench: Bench, old: EntryFigures | None, *, trained: bool) -> Sequence[str]:
    if not bench.request.scored or not trained:
        return ()
    given = list(bench.request.data)
    if old is not None:
        return sorted({*old.scores, *given})
    return given or [DEMO]


def _with_kept_scores(bench: Bench, old: EntryFigures | None, now: EntryFigures) -> EntryFigures:
    """Scores that were not asked for stay if they are of the same weights and terms."""
    if bench.request.scored or old is None or not old.scores:
        return now
    if (old.terms, old.weights) != (now.terms, now.weights):
        message = "the scores that the baseline has are of other weights or other terms"
        raise UsageError(message, advice="Leave --no-scores out.")
    return now.model_copy(update={"scores": old.scores})


def _runtime(
    bench: Bench, key: Key, old: RuntimeRatio | None, reference: str | None
) -> RuntimeRatio | None:
    """The ratio to keep: the old one where the new one does not differ on the same machine."""
    name, scale = key
    if RUNTIME not in bench.request.metrics:
        return old
    asked = not bench.request.names or name in bench.request.names
    kept_over = None if old is None else old.reference
    over = reference if asked and reference is not None else kept_over
    if over is None or over == name:
        return None
    descriptor = bench.registry.get(name)
    kept = old if old is not None and old.reference == over else None
    record = bench.race_ratio(
        descriptor,
        over,
        scale,
        weights=bench.resolve(descriptor, scale, None),
        input_size=bench.request.race_size if kept is None else kept.input_size,
        threads=bench.request.threads or (None if kept is None else kept.threads),
    )
    if isinstance(record, Absent):
        message = f"{name} x{scale} runtime: {record.reason}"
        raise MeasurementError(message, advice=record.advice)
    now = ratio_of(record)
    # Of the race as it was designed: what is kept has to be better known than what is checked.
    reason = record.reason if now is None else doubt(record)
    if now is None or reason is not None:
        message = f"{name} x{scale} runtime cannot be kept: {reason}"
        raise MeasurementError(
            message, advice="End what else runs here, or leave runtimes out: --no-runtime."
        )
    if kept is None or differing_ratio_terms(kept, now):
        return now
    return kept if compare_ratio(name, kept, record, scale).verdict == "unchanged" else now

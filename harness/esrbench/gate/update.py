"""Measure the figures that a baseline keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from esrbench.errors import DataError, MeasurementError, UsageError
from esrbench.gate.baseline import Baseline, ratio_of, settle
from esrbench.gate.bench import DEMO, trained
from esrbench.gate.figures import differing_ratio_terms, entry_key, parse_key
from esrbench.gate.runtime import compare_ratio
from esrbench.gate.verdicts import RUNTIME
from esrbench.paired.judging import doubt_of
from esrbench.records import required

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esrbench.gate.bench import Bench, Subject
    from esrbench.gate.figures import EntryFigures, Key, Measured, RuntimeRatio, Terms


def update(bench: Bench, baseline: Baseline, *, reference: str | None = None) -> Baseline:
    """Measure entries again and put them into a baseline.

    Figures that are equal within their tolerance keep their old digits.

    Without names, every entry of the baseline is measured, and entries that are no longer
    registered are left out. An empty baseline then gets every registered network except
    submissions.

    Args:
        bench: candidates and the request; ``data`` adds data sets to those of an entry.
        baseline: the old baseline; may be empty.
        reference: network; the runtimes of the named entries are kept as ratios to it, instead of
            older ratios. It becomes an entry too.

    Raises:
        UsageError: an unknown name or scale.
        DataError: images of the baseline are not on this machine.
        WeightsError: a weights file is missing or altered.
        MeasurementError: an entry cannot be measured, or the machine is too noisy to keep a
            runtime.
    """
    keys = _keys(bench, baseline, reference)
    old = {key: baseline.entries.get(entry_key(*key)) for key in keys}
    kept = [key for key in keys if key in bench]
    subjects = [_subject(bench, key, old[key]) for key in kept]
    entries: dict[str, EntryFigures] = {}
    terms: dict[str, Terms] = {}
    for key, found in zip(kept, bench.measure(subjects), strict=True):
        entries[found.key] = settle(old[key], _figures(bench, old[key], found))
        terms[found.terms.digest] = found.terms
    for key in kept:
        runtime = _runtime(bench, key, old[key], reference)
        entries[entry_key(*key)] = entries[entry_key(*key)].model_copy(update={"runtime": runtime})
    gone = {entry_key(*key) for key in keys if key not in bench}
    left = {key: entry for key, entry in baseline.entries.items() if key not in gone}
    return Baseline(terms=baseline.terms, entries=left).with_entries(entries, terms)


def _keys(bench: Bench, baseline: Baseline, reference: str | None) -> list[Key]:
    request = bench.request
    known = sorted(parse_key(key) for key in baseline.entries)
    if request.names:
        keys: list[Key] = []
        for name in dict.fromkeys(request.names):
            of_name = [key for key in known if key[0] == name]
            asked = request.scales and name in bench.registry
            keys += bench.registered_keys(name) if asked or not of_name else of_name
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
        raise UsageError("there are no entries at these scales", advice="Leave --scale out.")
    if reference is not None:
        of_reference = {(reference, scale) for _, scale in keys} - {*known, *keys}
        for _, scale in sorted(of_reference):
            bench.registry.get(reference).require_scale(scale)
        keys += sorted(of_reference)
    return keys


def _subject(bench: Bench, key: Key, old: EntryFigures | None) -> Subject:
    """What to measure for an entry: everything in the baseline, and the requested data sets."""
    name, scale = key
    entry = bench.entry(name, scale, None if old is None else old.weights)
    data: Sequence[str] = ()
    if bench.request.scored and trained(entry):
        kept = () if old is None else old.scores
        data = sorted({*kept, *bench.request.data}) or [DEMO]
    subject = bench.subject(name, entry, data)
    for why in subject.unopened.values():
        advice = "Say where it is with --data NAME=PATH, or leave scores out: --no-scores."
        raise DataError(f"{name} x{scale}: {why.reason}", (), advice=why.advice or advice)
    return subject


def _figures(bench: Bench, old: EntryFigures | None, found: Measured) -> EntryFigures:
    """The complete new figures; scores that were not requested are kept.

    Raises:
        MeasurementError: the entry, or a figure that the baseline has, could not be measured.
        UsageError: the old scores have other weights or terms.
    """
    at = f"{found.name} x{found.scale}"
    now = required(found.figures, f"{at}: ")
    for (data, metric), why in found.absent.items():
        had = data is not None or (old is not None and metric in old.counts)
        if why.kind == "failed" and had:
            raise MeasurementError(f"{at} {metric}: {why.reason}", advice=why.advice)
    if bench.request.scored or old is None or not old.scores:
        return now
    if (old.terms, old.weights) != (now.terms, now.weights):
        message = f"{at}: the scores in the baseline have other weights or other terms"
        raise UsageError(message, advice="Leave --no-scores out.")
    return now.model_copy(update={"scores": old.scores})


def _runtime(
    bench: Bench, key: Key, entry: EntryFigures | None, reference: str | None
) -> RuntimeRatio | None:
    """The ratio to keep: the old one if the new one does not differ on the same machine."""
    name, scale = key
    old = None if entry is None else entry.runtime
    if RUNTIME not in bench.request.metrics:
        return old
    asked = not bench.request.names or name in bench.request.names
    kept_over = None if old is None else old.reference
    over = reference if asked and reference is not None else kept_over
    if over is None or over == name:
        return None
    kept = old if old is not None and old.reference == over else None
    raced = bench.race_ratio(
        bench.entry(name, scale),
        over,
        bench.request.race_size if kept is None else kept.input_size,
        bench.request.threads or (None if kept is None else kept.threads),
    )
    record = required(raced, f"{name} x{scale} runtime: ")
    now = ratio_of(record)
    # The self-check is that of a race, because a kept ratio must be more precise than a checked
    # one.
    reason = record.reason if now is None else doubt_of(record.self_check, record.design)
    if now is None or reason is not None:
        message = f"{name} x{scale} runtime cannot be kept: {reason}"
        advice = "Close other programs on this machine, or leave runtimes out: --no-runtime."
        raise MeasurementError(message, advice=advice)
    if kept is None or differing_ratio_terms(kept, now):
        return now
    return kept if compare_ratio(key, kept, record).verdict == "unchanged" else now

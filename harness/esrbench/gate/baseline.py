"""The baseline file: sorted, easy to review, written in one step; and the changes between two."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from pydantic import ValidationError, model_validator

from esrbench.errors import RecordError, UsageError, field_problems
from esrbench.files import replace_file
from esrbench.gate.figures import (
    EntryFigures,
    Number,
    RuntimeRatio,
    Terms,
    entry_key,
    figures_of,
    parse_key,
    ratio_terms,
)
from esrbench.metrics import METRICS
from esrbench.protocol import Frozen
from esrbench.records import Absent
from esrbench.runs.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from esrbench.records import Notice, RaceRecord

BASELINE_VERSION: Final = 1


class Baseline(Frozen):
    """Figures of entries, by name and scale.

    Attributes:
        terms: the terms under which figures were measured, by digest.
        entries: figures of entries, by ``NAME xSCALE``.
    """

    schema_version: Literal[1] = BASELINE_VERSION
    terms: dict[str, Terms] = {}
    entries: dict[str, EntryFigures] = {}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for key, entry in self.entries.items():
            parse_key(key)
            if entry.terms not in self.terms:
                message = f"entry {key}: the file has no terms {entry.terms}"
                raise ValueError(message)
        for digest, terms in self.terms.items():
            if terms.digest != digest:
                message = f"terms {digest}: they were changed; their digest is now {terms.digest}"
                raise ValueError(message)
        return self

    def terms_of(self, entry: EntryFigures) -> Terms:
        """Terms of one of the entries."""
        return self.terms[entry.terms]

    def with_entries(
        self, entries: Mapping[str, EntryFigures], terms: Mapping[str, Terms]
    ) -> Baseline:
        """A copy with some entries replaced or added, and without unused terms."""
        merged = {**self.entries, **entries}
        known = {**self.terms, **terms}
        used = {entry.terms for entry in merged.values()}
        return Baseline(
            terms={digest: known[digest] for digest in used},
            entries=merged,
        )


def read_baseline(path: Path) -> Baseline:
    """Read a baseline file.

    Raises:
        RecordError: the file is not readable, not a baseline, or of another version.
    """
    make = shlex.join(["esrbench", "baseline", "update", "--baseline", str(path)])
    try:
        content = path.read_bytes()
        document = json.loads(content)
    except (OSError, ValueError) as error:
        message = f"{path}: not readable as JSON: {error}"
        raise RecordError(message, advice=f"Make it: `{make}`.") from error
    version = document.get("schema_version") if isinstance(document, dict) else None
    if version != BASELINE_VERSION:
        message = f"{path}: baseline version {version!r}, expected {BASELINE_VERSION}"
        raise RecordError(message, advice=f"Make it again: `{make}`.")
    try:
        return Baseline.model_validate_json(content)
    except ValidationError as error:
        message = f"{path}: {field_problems(error, 'the baseline')[0]}"
        raise RecordError(message, advice="Take it from version control again.") from error


def render(baseline: Baseline) -> str:
    """JSON text: one figure per line, sorted by key, so that a diff shows only what changed."""
    document = baseline.model_dump(mode="json", exclude_defaults=True)
    document["schema_version"] = BASELINE_VERSION
    text = json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return f"{text}\n"


def write_baseline(baseline: Baseline, path: Path) -> None:
    """Write a baseline file so that a reader sees the old or the new one, never a part.

    Raises:
        RecordError: the file cannot be written; the old one is unchanged.
    """
    target = path.resolve()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        replace_file(target, render(baseline).encode())
    except OSError as error:
        message = f"{path}: the baseline cannot be written: {error.strerror or error}"
        raise RecordError(message, advice="Give --baseline a path you can write to.") from error


def read_results(folder: Path) -> tuple[Baseline, list[Notice]]:
    """Make a baseline from stored records: newest run on each data set, and newest race.

    Runs that leaderboards would not rank are left out, as are SR images without a network.

    Raises:
        UsageError: there are no such records.
    """
    store = Store(folder)
    records, notices = store.load()
    baseline = Baseline()
    for record in records:
        if not record.ranked or record.entry.role == "images":
            continue
        figures, terms = figures_of(record)
        key = entry_key(record.entry.name, record.entry.scale)
        known = baseline.entries.get(key)
        if known is not None and (known.terms, known.weights) == (figures.terms, figures.weights):
            figures = figures.model_copy(update={"scores": {**known.scores, **figures.scores}})
        baseline = baseline.with_entries({key: figures}, {terms.digest: terms})
    if not baseline.entries:
        message = f"{folder}: there are no complete runs in {store.runs}"
        raise UsageError(message, advice="Give a baseline file, or a folder that `run` wrote.")
    races, more = store.load_races()
    for race in races:
        key = entry_key(race.candidate.name, race.candidate.scale)
        ratio = ratio_of(race)
        if key in baseline.entries and ratio is not None:
            entry = baseline.entries[key].model_copy(update={"runtime": ratio})
            baseline = baseline.with_entries({key: entry}, {})
    return baseline, [*notices, *more]


def ratio_of(record: RaceRecord) -> RuntimeRatio | None:
    """The ratio of a race for a baseline, to four digits; None if the race has no result."""
    estimate = record.estimate
    if isinstance(estimate, Absent):
        return None
    terms = ratio_terms(record.protocol, record.environment)
    return RuntimeRatio(
        **terms.model_dump(),
        reference=record.baseline.name,
        ratio=round(estimate.ratio, 4),
        low=round(estimate.interval.low, 4),
        high=round(estimate.interval.high, 4),
        pairs=estimate.pairs,
        input_size=record.protocol.counted_input,
    )


def settle(before: EntryFigures | None, now: EntryFigures) -> EntryFigures:
    """The new figures; a figure keeps its old digits if it is equal within its tolerance."""
    if before is None or before.terms != now.terms:
        return now
    counts = _settled(before.counts, now.counts)
    scores = {
        name: scored.model_copy(
            update={"values": _settled(before.scores[name].values, scored.values)}
        )
        if name in before.scores and before.scores[name].digest == scored.digest
        else scored
        for name, scored in now.scores.items()
    }
    return now.model_copy(update={"counts": counts, "scores": scores})


def changes(before: Baseline, now: Baseline) -> Iterator[str]:
    """One line for each figure that differs between two baselines."""
    for key in sorted({*before.entries, *now.entries}):
        old = before.entries.get(key)
        new = now.entries.get(key)
        if old is None:
            yield f"{key}: new"
        elif new is None:
            yield f"{key}: gone"
        else:
            yield from (f"{key} {line}" for line in _entry_changes(old, new))


def _entry_changes(old: EntryFigures, new: EntryFigures) -> Iterator[str]:
    then, now = _flat(old), _flat(new)
    for field in sorted({*then, *now}):
        if then.get(field) != now.get(field):
            yield f"{field}: {_text(then.get(field))} -> {_text(now.get(field))}"


def _flat(entry: EntryFigures) -> dict[str, Any]:
    """Figures by their names in tables."""
    flat: dict[str, Any] = {"terms": entry.terms}
    flat |= {METRICS[key].label: value for key, value in entry.counts.items()}
    flat |= {f"weights {key}": value for key, value in entry.weights.model_dump().items()}
    for data, scored in entry.scores.items():
        flat[f"{data} digest"] = scored.digest
        flat |= {f"{METRICS[key].label} on {data}": n for key, n in scored.values.items()}
    if entry.runtime is not None:
        flat |= {f"runtime {key}": value for key, value in entry.runtime.model_dump().items()}
    return flat


def _settled(before: Mapping[str, Number], now: Mapping[str, Number]) -> dict[str, Number]:
    return {
        metric: before[metric]
        if metric in before and abs(before[metric] - value) <= METRICS[metric].tolerance
        else value
        for metric, value in now.items()
    }


def _text(value: Any) -> str:
    if value is None:
        return "none"
    return f"{value:,}" if isinstance(value, int) else str(value)

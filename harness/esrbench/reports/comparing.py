"""Build a comparison table from stored runs and published figures."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from esrbench.data.declarations import DATASETS, dataset_names, get_dataset
from esrbench.errors import UsageError, did_you_mean
from esrbench.metrics import METRICS
from esrbench.ranking.stability import (
    FEWEST_PROCESSES,
    across_processes,
    processes_of,
)
from esrbench.records import Absent, Notice
from esrbench.reports.comparison import CellValue, Column, Comparison, Line, grouped, places
from esrbench.reports.comparison_notes import details_on, notes_on
from esrbench.reports.comparison_sources import (
    AT_1280X720,
    DEFAULT_COLUMNS,
    choose_runs,
    published_figures,
    run_key,
)
from esrbench.reports.run_commands import filling_commands

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from esrbench.entries.descriptor import ModelDescriptor, PublishedFigure
    from esrbench.entries.registry import Registry
    from esrbench.records import Role, RunRecord, Value
    from esrbench.reports.comparison_sources import Choice, PublishedKey, RunKey, Wanted

PAPER_DATA = ("set5", "set14", "bsd100", "urban100")
PAPER_SCALES = (2, 3, 4)

NOT_RUN = "not run"
INCOMPARABLE = "no run that compares with the others"


def build_comparison(
    records: Sequence[RunRecord], wanted: Wanted, registry: Registry
) -> Comparison:
    """Compare stored runs, and published figures if they are wanted.

    Args:
        records: records of any entry, data set, scale and protocol.
        wanted: what to show.
        registry: registry of networks, with their scales and published figures.

    Raises:
        UsageError: unknown column, entry or data set; or there is nothing to show. The advice then
            has the commands that fill the table.
    """
    _check_names(records, wanted, registry)
    choice = choose_runs(records, wanted)
    runs = list(choice.runs.values())
    printed = published_figures(registry) if wanted.published else {}
    data = wanted.data or _known_data(runs) or PAPER_DATA
    scales = wanted.scales or tuple(sorted({run.entry.scale for run in runs})) or PAPER_SCALES
    columns = _columns(wanted.columns, data)
    entries = wanted.entries or _known_entries(runs, printed, columns, scales)
    roles: dict[str, Role] = {model.name: model.role for model in registry}
    roles |= {run.entry.name: run.entry.role for run in reversed(runs)}
    ordered = sorted(entries, key=lambda name: roles.get(name, "network") != "floor")
    defined = {name: registry.get(name).scales for name in entries if name in registry}
    known = {name: registry.get(name) for name in entries if name in registry}
    cells = _Cells(columns, data, choice, printed, known, display_names(entries, registry))
    lines: list[Line] = []
    for scale in scales:
        at_scale = (name for name in ordered if scale in defined.get(name, scales))
        rows = [cells.line(name, scale, roles.get(name, "network")) for name in at_scale]
        lines += _placed([row for row in rows if wanted.entries or row.filled], columns)
    if wanted.columns == DEFAULT_COLUMNS:
        columns, lines = _without_empty(AT_1280X720, columns, lines)
    titles = {name: _title(name, runs) for name in data}
    *others, last = titles.values()
    comparison = Comparison(
        title=f"Comparison on {', '.join(others)}{' and ' if others else ''}{last}",
        columns=columns,
        data=titles,
        references={
            paper.key: paper.reference
            for line in lines
            if line.entry in known and (paper := known[line.entry].paper) and paper.key
        },
        lines=tuple(lines),
        notes=(),
        notices=(*choice.notices, *_published_elsewhere(lines, columns, printed, registry)),
        commands=filling_commands(lines, data, choice, registry),
    )
    if not any(line.filled for line in lines):
        raise _empty(comparison)
    undefined = {name: [each for each in scales if each not in at] for name, at in defined.items()}
    notes = tuple(notes_on(comparison, choice, printed))
    details = tuple(details_on(comparison, choice, undefined))
    return comparison.model_copy(update={"notes": notes, "details": details})


def display_names(entries: Sequence[str], registry: Registry) -> dict[str, str]:
    """Names of entries in a table or figure; entries that share a display name show both names."""
    wished = {n: registry.get(n).display_name if n in registry else None for n in entries}
    taken = Counter(each.casefold() for each in wished.values() if each is not None)
    return {
        name: name if wish is None else wish if taken[wish.casefold()] == 1 else f"{wish} ({name})"
        for name, wish in wished.items()
    }


def _published_elsewhere(
    lines: Sequence[Line],
    columns: Sequence[Column],
    printed: Mapping[PublishedKey, PublishedFigure],
    registry: Registry,
) -> Iterator[Notice]:
    """Lines without scores, where another network of the same publication has published ones."""
    scores = [column for column in columns if column.data]
    told: dict[str, list[str]] = {}
    for line in lines:
        scored = any(
            column.data and isinstance(cell, CellValue)
            for column, cell in zip(columns, line.cells, strict=True)
        )
        if scored or line.citation is None:
            continue
        others = [
            model.name
            for model in registry
            if model.paper
            and model.paper.key == line.citation
            and any((model.name, c.metric, line.scale, c.data) in printed for c in scores)
        ]
        if others:
            told[line.entry] = others
    for entry, others in told.items():
        yield Notice(
            code="published-elsewhere",
            message=f"{entry} has no scores here; those of its publication belong to "
            f"{' and '.join(others)}",
            advice=f"To show them, write {others[0]} instead of {entry}.",
        )


def _without_empty(
    metric: str, columns: Sequence[Column], lines: Sequence[Line]
) -> tuple[tuple[Column, ...], list[Line]]:
    """Columns and lines; a metric's column is left out if no line has a figure in it."""
    kept = [
        index
        for index, column in enumerate(columns)
        if column.metric != metric
        or any(isinstance(line.cells[index], CellValue) for line in lines)
    ]
    return tuple(columns[index] for index in kept), [
        line.model_copy(update={"cells": tuple(line.cells[index] for index in kept)})
        for line in lines
    ]


def _empty(comparison: Comparison) -> UsageError:
    """The error for a table without any figure."""
    cells = (cell for line in comparison.lines for cell in line.cells)
    reasons = dict.fromkeys(cell.reason for cell in cells if isinstance(cell, Absent))
    message = f"no figure for this table: {', '.join(reasons) or 'there are no runs'}"
    advice = "Run `esrbench run`, or see `esrbench compare --help`."
    if comparison.commands:
        advice = "\n".join(["Measure first:", *comparison.commands])
    return UsageError(message, advice=advice)


def _check_names(records: Sequence[RunRecord], wanted: Wanted, registry: Registry) -> None:
    for metric in wanted.columns:
        if metric not in METRICS:
            message = f"there is no column {metric!r}"
            hint = did_you_mean(metric, METRICS)
            raise UsageError(message, advice=f"{hint}Known: {', '.join(METRICS)}.")
    stored = {record.entry.name for record in records}
    measured_on = {record.data.name for record in records}
    for name in (each for each in wanted.entries if each not in stored):
        registry.get(name)
    for name in (each for each in wanted.data if each not in measured_on):
        get_dataset(name)


def _known_data(runs: Sequence[RunRecord]) -> tuple[str, ...]:
    """Data sets that were measured on, declared ones first and in order of declaration."""
    names = {run.data.name for run in runs}
    declared = [name for name in dataset_names() if name in names]
    return (*declared, *sorted(names - set(declared)))


def _known_entries(
    runs: Sequence[RunRecord],
    printed: Mapping[PublishedKey, PublishedFigure],
    columns: Sequence[Column],
    scales: Sequence[int],
) -> tuple[str, ...]:
    """Entries with runs, or with published figures on the data sets, sorted by parameters."""
    sizes: list[tuple[str, float]] = []
    per_data = {(column.metric, column.data) for column in columns if column.data}
    for entry, metric, scale, data in printed:
        if (metric, data) in per_data and scale in scales:
            known = printed.get((entry, "params", scale, None))
            sizes.append((entry, known.value if known else math.inf))
    for run in runs:
        counted = run.measured("params")
        sizes.append((run.entry.name, math.inf if counted is None else counted))
    params = {entry: min(values) for entry, values in grouped(sizes).items()}
    return tuple(sorted(params, key=lambda entry: (params[entry], entry)))


def _columns(metrics: Iterable[str], data: Sequence[str]) -> tuple[Column, ...]:
    chosen = tuple(dict.fromkeys(metrics))
    of_data = [metric for metric in chosen if METRICS[metric].per_data]
    return (
        *(Column(metric=metric) for metric in chosen if metric not in of_data),
        *(Column(metric=metric, data=name) for name in data for metric in of_data),
    )


def _title(name: str, runs: Sequence[RunRecord]) -> str:
    if name in DATASETS:
        return DATASETS[name].title
    return next((run.data.title for run in runs if run.data.name == name), name)


@dataclass(frozen=True, slots=True)
class _Cells:
    """Makes the lines of a table from its runs and from published figures."""

    columns: tuple[Column, ...]
    data: tuple[str, ...]
    choice: Choice
    printed: Mapping[PublishedKey, PublishedFigure]
    known: Mapping[str, ModelDescriptor]
    shown: Mapping[str, str]

    def line(self, name: str, scale: int, role: Role) -> Line:
        """An entry's cells: measured if it ran on any of the data sets, otherwise published."""
        ours = [(name, scale, each) for each in self.data]
        was_run = any(at in self.choice.runs or at in self.choice.incomparable for at in ours)
        figures = [self.printed.get((name, c.metric, scale, c.data)) for c in self.columns]
        published = not was_run and any(figures)
        claimed = published and name in self.known and self.known[name].folder is not None
        missing = "not claimed" if claimed else "not published"
        runs = [self.choice.runs[at] for at in ours if at in self.choice.runs]
        paper = self.known[name].paper if name in self.known else None
        return Line(
            entry=name,
            display_name=self.shown[name],
            citation=paper.key if paper else None,
            year=paper.year if paper else None,
            scale=scale,
            role=role,
            published=published,
            claimed=claimed,
            weights=runs[0].entry.weights.source if runs else None,
            cells=tuple(
                _published(column, figure, missing)
                if published
                else self._measured(name, scale, column)
                for column, figure in zip(self.columns, figures, strict=True)
            ),
        )

    def _measured(self, name: str, scale: int, column: Column) -> CellValue | Absent:
        """One cell of an entry's runs.

        A metric that is independent of data comes from the first data set that has it. At one
        scale, all noisy metrics come from the first data set with runs, because they are comparable
        only on the same data set.
        """
        if column.data is not None:
            return self._from_run((name, scale, column.data), column.metric)
        hosts = self.data
        if not METRICS[column.metric].portable:
            run_on = {key[1:] for key in self.choice.runs}
            hosts = tuple(each for each in hosts if (scale, each) in run_on)[:1] or hosts[:1]
        found = [self._from_run((name, scale, host), column.metric) for host in hosts]
        measured = (cell for cell in found if isinstance(cell, CellValue))
        # The reason from a run is more informative than "not run".
        telling = (c for c in found if isinstance(c, Absent) and c.reason != NOT_RUN)
        return next(measured, next(telling, found[0]))

    def _from_run(self, key: RunKey, metric: str) -> CellValue | Absent:
        run = self.choice.runs.get(key)
        if run is None:
            reason = INCOMPARABLE if key in self.choice.incomparable else NOT_RUN
            return Absent(kind="unavailable", reason=reason)
        if not run.ranked:
            cause = (run.cause or "no cause is recorded").removeprefix(f"{run.status}: ")
            return Absent(kind="failed", reason=f"{run.status}: {cause}")
        value = run.value(metric)
        if isinstance(value, Absent):
            return value
        noisy = METRICS[metric].noisy
        if noisy:
            value = self._runtime(run, metric) or value
        return CellValue(
            value=value.value,
            shown=METRICS[metric].format(value.value),
            interval=value.interval,
            provisional=noisy and processes_of(run) < FEWEST_PROCESSES,
            source=run.run_id,
        )

    def _runtime(self, run: RunRecord, metric: str) -> Value | None:
        """A runtime with the interval that predicts another process, as in its leaderboard."""
        beside = [
            other
            for key, other in self.choice.runs.items()
            if key[1:] == run_key(run)[1:] and other.ranked and other.entry.role != "floor"
        ]
        group = beside if run in beside else [run]
        value = across_processes(group, metric)[group.index(run)]
        return None if isinstance(value, Absent) else value


def _published(column: Column, figure: PublishedFigure | None, missing: str) -> CellValue | Absent:
    if figure is None:
        return Absent(kind="unavailable", reason=missing)
    shown = METRICS[column.metric].format(figure.value)
    return CellValue(value=figure.value, shown=shown, source=figure.source)


def _placed(lines: Sequence[Line], columns: Sequence[Column]) -> list[Line]:
    """The lines of one scale with the best and second best of every column marked.

    Noisy metrics are comparable only on one device, so published ones take no place. If a runtime
    is provisional, none is marked as best.
    """
    cells = [list(line.cells) for line in lines]
    for index, column in enumerate(columns):
        noisy = not METRICS[column.metric].portable
        contenders = {
            row: cell
            for row, line in enumerate(lines)
            if line.role != "floor"
            and not (noisy and line.published)
            and isinstance(cell := cells[row][index], CellValue)
        }
        if any(figure.provisional for figure in contenders.values()):
            continue
        found = places(column.metric, list(contenders.values()))
        for (row, figure), place in zip(contenders.items(), found, strict=True):
            cells[row][index] = figure.model_copy(update={"place": place})
    return [
        line.model_copy(update={"cells": tuple(row)})
        for line, row in zip(lines, cells, strict=True)
    ]

"""A paper's comparison table: entries by scale, scores by data set, the best of them marked.

The layout is that of tables 1 to 3 of the AIDN paper (NTIRE 2022): rows grouped by scale, then
method; parameters and FLOPs; then a column a data set.
"""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from esrbench.data.declarations import DATASETS, dataset_names, get_dataset
from esrbench.errors import UsageError
from esrbench.metrics import METRICS
from esrbench.protocol import Frozen
from esrbench.ranking.stability import FEWEST_PROCESSES, across_processes, processes_of
from esrbench.records import Absent, Interval, Notice
from esrbench.reports.comparison_choice import choose_runs, place_of
from esrbench.reports.comparison_gaps import filling_commands
from esrbench.reports.comparison_marks import places
from esrbench.reports.comparison_notes import notes_on
from esrbench.reports.grid import Note  # noqa: TC001 - pydantic reads it at runtime
from esrbench.reports.published import published_figures
from esrbench.runs.runtimes import RUNTIMES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from esrbench.entries.registry import PublishedFigure, Registry
    from esrbench.records import RunRecord, Value
    from esrbench.reports.comparison_choice import Choice, Place, Wanted
    from esrbench.reports.published import PublishedKey

PAPER_DATA = ("set5", "set14", "bsd100", "urban100")
PAPER_SCALES = (2, 3, 4)

PER_DATA = frozenset(
    {
        "psnr_rgb",
        "psnr_y",
        "ssim_y",
        "runtime_images",
        "runtime_with_bicubic",
        "runtime_ratio",
        "runtime_trusted",
        "peak_bytes",
        "pass_peak_bytes",
    }
)
"""Metrics that are taken on a data set's images; the others belong to an entry at a scale."""

NOT_RUN = "not run"
INCOMPARABLE = "no run that compares with the others"


class Column(Frozen):
    """One metric, of one data set where it is taken on images."""

    metric: str
    data: str | None = None


class Figure(Frozen):
    """A figure of the table.

    Attributes:
        value: in base units, unrounded.
        shown: as printed; places are decided by it.
        interval: of a noisy metric.
        place: 1 for the best of its scale and column, 2 for the second best.
        provisional: a runtime that fewer than three processes measured; nothing is best among
            such.
        source: id of the run that measured it, or where it was published.
    """

    value: float
    shown: str
    interval: Interval | None = None
    place: Literal[1, 2] | None = None
    provisional: bool = False
    source: str


class Line(Frozen):
    """One entry at one scale.

    Attributes:
        role: a ``floor`` stands first and is never best.
        published: no figure was measured here; all are from publications.
        weights: source of the weights that ran; None where nothing ran.
        cells: parallel to the table's columns.
    """

    entry: str
    scale: int
    role: Literal["network", "floor"]
    published: bool
    weights: str | None
    cells: tuple[Figure | Absent, ...]


class Comparison(Frozen):
    """A comparison table.

    Attributes:
        title: what it compares on.
        columns: those of an entry, then those of each data set.
        data: titles by name, in order.
        lines: by scale, then in order.
        notes: what a reader must know, some led by the mark that they explain.
        notices: typed warnings, for instance of runs left out as incomparable.
        commands: would measure what is missing.
    """

    title: str
    columns: tuple[Column, ...]
    data: dict[str, str]
    lines: tuple[Line, ...]
    notes: tuple[Note, ...]
    notices: tuple[Notice, ...]
    commands: tuple[str, ...]


def build_comparison(
    records: Sequence[RunRecord], wanted: Wanted, registry: Registry
) -> Comparison:
    """Compare stored runs, and published figures where they are wanted.

    Args:
        records: of any entry, data set, scale and protocol.
        wanted: what to show.
        registry: knows scales and published figures.

    Raises:
        UsageError: unknown column, entry or data set; or nothing at all could be shown, in
            which case the advice holds the commands that would fill the table.
    """
    _check_names(records, wanted, registry)
    choice = choose_runs(records, wanted)
    printed = published_figures(registry) if wanted.published else {}
    data = wanted.data or _known_data(choice) or PAPER_DATA
    scales = wanted.scales or _known_scales(choice) or PAPER_SCALES
    columns = _columns(wanted.columns, data)
    entries = wanted.entries or _known_entries(choice, printed, columns, scales)
    ordered = sorted(entries, key=lambda name: _role(name, choice, registry) != "floor")
    cells = _Cells(columns, data, choice, printed, registry)
    lines: list[Line] = []
    for scale in scales:
        rows = []
        for name in ordered:
            if name in registry and scale not in registry.get(name).scales:
                continue
            line = cells.line(name, scale)
            if wanted.entries or any(isinstance(cell, Figure) for cell in line.cells):
                rows.append(line)
        lines += _placed(rows, columns)
    commands = filling_commands(lines, data, choice, registry)
    if not any(isinstance(cell, Figure) for line in lines for cell in line.cells):
        raise _empty(lines, commands)
    titles = {name: _title(name, choice) for name in data}
    return Comparison(
        title=f"Comparison on {_listed(list(titles.values()))}",
        columns=columns,
        data=titles,
        lines=tuple(lines),
        notes=tuple(
            notes_on(lines, columns, titles, choice, _undefined(entries, scales, registry))
        ),
        notices=choice.notices,
        commands=commands,
    )


def _empty(lines: Sequence[Line], commands: Sequence[str]) -> UsageError:
    """The error for a table without any figure."""
    cells = (cell for line in lines for cell in line.cells)
    reasons = dict.fromkeys(cell.reason for cell in cells if isinstance(cell, Absent))
    message = f"no figure for this table: {', '.join(reasons) or 'there are no runs'}"
    if commands:
        return UsageError(message, advice="\n".join(["Measure first:", *commands]))
    return UsageError(message, advice="Run `esrbench run`, or see `esrbench compare --help`.")


def _check_names(records: Sequence[RunRecord], wanted: Wanted, registry: Registry) -> None:
    for metric in wanted.columns:
        if metric not in METRICS:
            near = difflib.get_close_matches(metric, METRICS, n=3, cutoff=0.5)
            hint = f"Did you mean {' or '.join(near)}? " if near else ""
            message = f"there is no column {metric!r}"
            raise UsageError(message, advice=f"{hint}Known: {', '.join(METRICS)}.")
    stored = {record.entry.name for record in records}
    for name in wanted.entries:
        if name not in stored:
            registry.get(name)
    measured_on = {record.data.name for record in records}
    for name in wanted.data:
        if name not in measured_on:
            get_dataset(name)


def _known_data(choice: Choice) -> tuple[str, ...]:
    """Data sets that were measured on, declared ones first and in order of declaration."""
    names = {data for _, _, data in choice.runs}
    declared = [name for name in dataset_names() if name in names]
    return (*declared, *sorted(names - set(declared)))


def _known_scales(choice: Choice) -> tuple[int, ...]:
    return tuple(sorted({scale for _, scale, _ in choice.runs}))


def _known_entries(
    choice: Choice,
    printed: Mapping[PublishedKey, PublishedFigure],
    columns: Sequence[Column],
    scales: Sequence[int],
) -> tuple[str, ...]:
    """Entries with runs, or with published figures of the data sets, by parameters."""
    params: dict[str, float] = {}
    per_data = {(column.metric, column.data) for column in columns if column.data}
    for entry, metric, scale, data in printed:
        if (metric, data) in per_data and scale in scales:
            known = printed.get((entry, "params", scale, None))
            value = known.value if known else math.inf
            params[entry] = min(params.get(entry, math.inf), value)
    for (entry, _, _), run in choice.runs.items():
        counted = run.measured("params")
        value = math.inf if counted is None else counted
        params[entry] = min(params.get(entry, math.inf), value)
    return tuple(sorted(params, key=lambda entry: (params[entry], entry)))


def _columns(metrics: Iterable[str], data: Sequence[str]) -> tuple[Column, ...]:
    chosen = tuple(dict.fromkeys(metrics))
    return (
        *(Column(metric=metric) for metric in chosen if metric not in PER_DATA),
        *(
            Column(metric=metric, data=name)
            for name in data
            for metric in chosen
            if metric in PER_DATA
        ),
    )


def _role(name: str, choice: Choice, registry: Registry) -> Literal["network", "floor"]:
    of_runs = (run.entry.role for (entry, _, _), run in choice.runs.items() if entry == name)
    return next(of_runs, registry.get(name).role if name in registry else "network")


def _title(name: str, choice: Choice) -> str:
    if name in DATASETS:
        return DATASETS[name].title
    return next((run.data.title for run in choice.runs.values() if run.data.name == name), name)


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _undefined(
    entries: Sequence[str], scales: Sequence[int], registry: Registry
) -> dict[str, tuple[int, ...]]:
    """Scales that are left out for entries which are not defined at them."""
    missing = {
        name: tuple(scale for scale in scales if scale not in registry.get(name).scales)
        for name in entries
        if name in registry
    }
    return {name: without for name, without in missing.items() if without}


@dataclass(frozen=True, slots=True)
class _Cells:
    """Makes the lines of a table from its runs and from what is published."""

    columns: tuple[Column, ...]
    data: tuple[str, ...]
    choice: Choice
    printed: Mapping[PublishedKey, PublishedFigure]
    registry: Registry

    def line(self, name: str, scale: int) -> Line:
        """An entry's cells: measured if it was run on any of the data sets, else published."""
        runs = self.choice.runs
        ours = [(name, scale, each) for each in self.data]
        was_run = any(place in runs or place in self.choice.incomparable for place in ours)
        figures = [self.printed.get((name, c.metric, scale, c.data)) for c in self.columns]
        published = not was_run and any(figures)
        cells: tuple[Figure | Absent, ...]
        if published:
            cells = tuple(map(_published, self.columns, figures))
        else:
            cells = tuple(self._measured(name, scale, column) for column in self.columns)
        weights = [runs[place].entry.weights.source for place in ours if place in runs]
        return Line(
            entry=name,
            scale=scale,
            role=_role(name, self.choice, self.registry),
            published=published,
            weights=weights[0] if weights else None,
            cells=cells,
        )

    def _measured(self, name: str, scale: int, column: Column) -> Figure | Absent:
        """One cell of an entry's runs.

        What belongs to the entry is taken from the first data set that has it; noisy metrics of
        one scale all from the same, the first that was run on, for they compare within it.
        """
        if column.data is not None:
            return self._from_run((name, scale, column.data), column.metric)
        hosts = self.data
        if not METRICS[column.metric].deterministic:
            run_on = {place[1:] for place in self.choice.runs}
            hosts = tuple(each for each in hosts if (scale, each) in run_on)[:1] or hosts[:1]
        found = [self._from_run((name, scale, host), column.metric) for host in hosts]
        measured = (cell for cell in found if isinstance(cell, Figure))
        # Where none is, the reason of a run says more than that there was none.
        telling = (c for c in found if isinstance(c, Absent) and c.reason != NOT_RUN)
        return next(measured, next(telling, found[0]))

    def _from_run(self, place: Place, metric: str) -> Figure | Absent:
        run = self.choice.runs.get(place)
        if run is None:
            reason = INCOMPARABLE if place in self.choice.incomparable else NOT_RUN
            return Absent(kind="unavailable", reason=reason)
        if not run.ranked:
            cause = (run.cause or "no cause is recorded").removeprefix(f"{run.status}: ")
            return Absent(kind="failed", reason=f"{run.status}: {cause}")
        value = run.values.get(metric)
        if value is None:
            return Absent(kind="unavailable", reason="the run has no such metric")
        if isinstance(value, Absent):
            return value
        provisional = metric in RUNTIMES and processes_of(run) < FEWEST_PROCESSES
        if metric in RUNTIMES:
            value = self._runtime(run, metric) or value
        return Figure(
            value=value.value,
            shown=METRICS[metric].format(value.value),
            interval=value.interval,
            provisional=provisional,
            source=run.run_id,
        )

    def _runtime(self, run: RunRecord, metric: str) -> Value | None:
        """With the interval that holds for another process, as in the leaderboard of its data."""
        _, scale, data = place_of(run)
        beside = [
            other
            for place, other in self.choice.runs.items()
            if place[1:] == (scale, data) and other.ranked and other.entry.role != "floor"
        ]
        group = beside if run in beside else [run]
        value = across_processes(group, metric)[group.index(run)]
        return None if isinstance(value, Absent) else value


def _published(column: Column, figure: PublishedFigure | None) -> Figure | Absent:
    if figure is None:
        return Absent(kind="unavailable", reason="not published")
    shown = METRICS[column.metric].format(figure.value)
    return Figure(value=figure.value, shown=shown, source=figure.source)


def _placed(lines: Sequence[Line], columns: Sequence[Column]) -> list[Line]:
    """The lines of one scale with the best and second best of every column marked.

    Noisy metrics compare on one device only, so published ones take no place. No runtime is
    best where one of them is provisional.
    """
    cells = [list(line.cells) for line in lines]
    for index, column in enumerate(columns):
        noisy = not METRICS[column.metric].deterministic
        running = [
            row
            for row, line in enumerate(lines)
            if line.role != "floor" and not (noisy and line.published)
        ]
        contenders = {row: cell for row in running if isinstance(cell := cells[row][index], Figure)}
        if any(figure.provisional for figure in contenders.values()):
            continue
        found = places(column.metric, list(contenders.values()))
        for (row, figure), place in zip(contenders.items(), found, strict=True):
            cells[row][index] = figure.model_copy(update={"place": place})
    return [
        line.model_copy(update={"cells": tuple(row)})
        for line, row in zip(lines, cells, strict=True)
    ]

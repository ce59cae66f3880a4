"""Builds a comparison table from stored runs and published figures."""

from __future__ import annotations

import difflib
import math
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from esrbench.data.declarations import DATASETS, dataset_names, get_dataset
from esrbench.errors import UsageError
from esrbench.metrics import METRICS
from esrbench.protocol import LatencyDesign, Protocol
from esrbench.ranking.footnotes import device_statement
from esrbench.ranking.stability import (
    FEWEST_PROCESSES,
    PROVISIONAL,
    across_processes,
    processes_of,
)
from esrbench.records import Absent, Latency
from esrbench.reports.comparison import CellValue, Column, Comparison, Line, places
from esrbench.reports.comparison_sources import choose_runs, place_of, published_figures
from esrbench.reports.table import MISSING, Note

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from esrbench.entries.descriptor import PublishedFigure
    from esrbench.entries.registry import Registry
    from esrbench.records import RunRecord, Value
    from esrbench.reports.comparison_sources import Choice, Place, PublishedKey, Wanted
    from esrbench.reports.table import Mark

PAPER_DATA = ("set5", "set14", "bsd100", "urban100")
PAPER_SCALES = (2, 3, 4)

NOT_RUN = "not run"
INCOMPARABLE = "no run that compares with the others"


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
            if wanted.entries or any(isinstance(cell, CellValue) for cell in line.cells):
                rows.append(line)
        lines += _placed(rows, columns)
    commands = filling_commands(lines, data, choice, registry)
    if not any(isinstance(cell, CellValue) for line in lines for cell in line.cells):
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
        *(Column(metric=metric) for metric in chosen if not METRICS[metric].per_data),
        *(
            Column(metric=metric, data=name)
            for name in data
            for metric in chosen
            if METRICS[metric].per_data
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
        cells: tuple[CellValue | Absent, ...]
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

    def _measured(self, name: str, scale: int, column: Column) -> CellValue | Absent:
        """One cell of an entry's runs.

        What belongs to the entry is taken from the first data set that has it; noisy metrics of
        one scale all from the same, the first that was run on, for they compare within it.
        """
        if column.data is not None:
            return self._from_run((name, scale, column.data), column.metric)
        hosts = self.data
        if not METRICS[column.metric].portable:
            run_on = {place[1:] for place in self.choice.runs}
            hosts = tuple(each for each in hosts if (scale, each) in run_on)[:1] or hosts[:1]
        found = [self._from_run((name, scale, host), column.metric) for host in hosts]
        measured = (cell for cell in found if isinstance(cell, CellValue))
        # Where none is, the reason of a run says more than that there was none.
        telling = (c for c in found if isinstance(c, Absent) and c.reason != NOT_RUN)
        return next(measured, next(telling, found[0]))

    def _from_run(self, place: Place, metric: str) -> CellValue | Absent:
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
        provisional = METRICS[metric].noisy and processes_of(run) < FEWEST_PROCESSES
        if METRICS[metric].noisy:
            value = self._runtime(run, metric) or value
        return CellValue(
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


def _published(column: Column, figure: PublishedFigure | None) -> CellValue | Absent:
    if figure is None:
        return Absent(kind="unavailable", reason="not published")
    shown = METRICS[column.metric].format(figure.value)
    return CellValue(value=figure.value, shown=shown, source=figure.source)


def _placed(lines: Sequence[Line], columns: Sequence[Column]) -> list[Line]:
    """The lines of one scale with the best and second best of every column marked.

    Noisy metrics compare on one device only, so published ones take no place. No runtime is
    best where one of them is provisional.
    """
    cells = [list(line.cells) for line in lines]
    for index, column in enumerate(columns):
        noisy = not METRICS[column.metric].portable
        running = [
            row
            for row, line in enumerate(lines)
            if line.role != "floor" and not (noisy and line.published)
        ]
        contenders = {
            row: cell for row in running if isinstance(cell := cells[row][index], CellValue)
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


FOLDER = "FOLDER"
"""Stands for the folder of a data set that only the user knows."""


def filling_commands(
    lines: Sequence[Line], data: Sequence[str], choice: Choice, registry: Registry
) -> tuple[str, ...]:
    """``esrbench run`` lines for the cells without a comparable run, few as can be.

    They repeat the settings of the runs beside which the new ones will stand, as other settings
    would not compare. Published lines count as filled. Networks that are not registered and
    data sets that are not defined at a scale cannot be run.
    """
    wanted: dict[tuple[int, tuple[str, ...], tuple[str, ...]], list[str]] = {}
    for line in lines:
        if line.published or line.entry not in registry:
            continue
        missing: dict[tuple[str, ...], list[str]] = {}
        for name in data:
            place = (line.entry, line.scale, name)
            if place in choice.runs or not _defined(name, line.scale):
                continue
            beside = choice.newest(line.scale, name)
            options = tuple(protocol_options(beside.protocol if beside else Protocol()))
            missing.setdefault(options, []).append(_data_spec(name, line.scale, choice))
        for options, specs in missing.items():
            wanted.setdefault((line.scale, tuple(specs), options), []).append(line.entry)
    commands = []
    for (scale, data_specs, settings), entries in wanted.items():
        words = ["esrbench", "run", *entries]
        for spec in data_specs:
            words += ["--data", spec]
        words += ["--scale", str(scale), *settings]
        for entry in entries:
            words += _weights_options(entry, scale, choice)
        commands.append(shlex.join(words))
    return tuple(commands)


def _defined(name: str, scale: int) -> bool:
    return name not in DATASETS or scale in DATASETS[name].scales


def _data_spec(name: str, scale: int, choice: Choice) -> str:
    """What ``--data`` takes: a name where the cache holds it, or a folder to be filled in."""
    if name not in DATASETS:
        return f"{FOLDER}/{name}"
    beside = choice.newest(scale, name)
    from_folder = beside is not None and beside.data.name == name and not beside.data.verified
    return f"{name}={FOLDER}" if from_folder or not DATASETS[name].fetchable else name


def _weights_options(entry: str, scale: int, choice: Choice) -> list[str]:
    """The weights that the entry's other runs at this scale had."""
    known = (run for (name, at, _), run in choice.runs.items() if (name, at) == (entry, scale))
    weights = next((run.entry.weights for run in known), None)
    if weights is not None and weights.source == "random":
        return ["--weights", f"{entry}=random"]
    if weights is not None and weights.source in {"file", "submitted"} and weights.filename:
        return ["--weights", f"{entry}={weights.filename}"]
    return []


def protocol_options(protocol: Protocol) -> list[str]:
    """Options of ``esrbench run`` that give a protocol, where it differs from the default."""
    default, forward = Protocol(), protocol.forward
    height, width = protocol.counted_input
    flags = {
        "--channels-last": forward.channels_last,
        "--compile": forward.compiled,
        "--cudnn-benchmark": forward.cudnn_benchmark,
        "--no-latency": protocol.latency is None,
    }
    valued: dict[str, tuple[object, object]] = {
        "--device": (protocol.device, default.device),
        "--precision": (forward.precision, default.forward.precision),
        "--threads": (protocol.threads, default.threads),
        "--input-size": (f"{height}x{width}", "{}x{}".format(*default.counted_input)),
        "--seed": (protocol.seed, default.seed),
    }
    if protocol.latency is not None:
        design, usual = protocol.latency, LatencyDesign()
        valued |= {
            "--warmup": (design.warmup_rounds, usual.warmup_rounds),
            "--min-rounds": (design.min_rounds, usual.min_rounds),
            "--rounds": (design.max_rounds, usual.max_rounds),
            "--half-width": (design.target_half_width, usual.target_half_width),
            "--budget": (design.budget_seconds, usual.budget_seconds),
            "--processes": (design.processes, usual.processes),
        }
    options = [flag for flag, given in flags.items() if given]
    for option, (value, usual_value) in valued.items():
        if value != usual_value:
            options += [option, f"{value:g}" if isinstance(value, float) else str(value)]
    return options


WEIGHTS: dict[Mark, str] = {
    "demo": "Demonstration weights of esrbench, not the authors'",
    "random": "Random weights, hence no scores",
}
"""What is said of weights, by their source, which is also their mark."""


def notes_on(
    lines: Sequence[Line],
    columns: Sequence[Column],
    titles: Mapping[str, str],
    choice: Choice,
    undefined: Mapping[str, Sequence[int]],
) -> Iterator[Note]:
    """Notes of a table, those that explain marks first.

    Args:
        lines: of the table.
        columns: likewise.
        titles: of data sets by name.
        choice: the runs behind it.
        undefined: scales by the entries that are not defined at them.
    """
    yield from _published_notes(lines, columns)
    yield from _weights_notes(lines)
    yield from _missing(lines, columns, titles)
    for entry, scales in undefined.items():
        yield Note(f"{entry} is not defined at {_scales(scales)}.")
    runs = list(choice.runs.values())
    if runs:
        yield from _meaning(columns, runs[0].protocol)
    yield from _devices(lines, columns, choice, titles)
    yield from _unproven(choice, titles)
    prepared = {run.entry.name: run.entry.prepare for run in runs if run.entry.prepare}
    if prepared:
        named = ", ".join(f"{entry} by {hook}" for entry, hook in sorted(prepared.items()))
        yield Note(f"Counted and timed in prepared form: {named}.")


def _scales(scales: Sequence[int]) -> str:
    return ", ".join(f"x{scale}" for scale in scales)


def _rows(lines: Sequence[Line]) -> str:
    """Entries with the scales of their lines."""
    scales: dict[str, list[int]] = {}
    for line in lines:
        scales.setdefault(line.entry, []).append(line.scale)
    return ", ".join(f"{entry} ({_scales(each)})" for entry, each in scales.items())


def _published_notes(lines: Sequence[Line], columns: Sequence[Column]) -> Iterator[Note]:
    """Sources of published figures: which network's, and what of it."""
    sources: dict[str, dict[str, list[str]]] = {}
    for line in lines:
        for column, cell in zip(columns, line.cells, strict=True):
            if line.published and not isinstance(cell, Absent):
                labels = sources.setdefault(cell.source, {}).setdefault(line.entry, [])
                labels.append(METRICS[column.metric].label)
    if not sources:
        return
    yield Note(
        "Published figures of networks that were not run; conditions may differ.", "published"
    )
    for source, entries in sources.items():
        by_labels: dict[str, list[str]] = {}
        for entry, labels in entries.items():
            by_labels.setdefault(", ".join(dict.fromkeys(labels)), []).append(entry)
        said = "; ".join(f"{labels} of {', '.join(names)}" for labels, names in by_labels.items())
        yield Note(f"{source}: {said}.", "published")


def _weights_notes(lines: Sequence[Line]) -> Iterator[Note]:
    for source, said in WEIGHTS.items():
        rows = [line for line in lines if line.weights == source]
        if rows:
            yield Note(f"{said}: {_rows(rows)}.", source)


def _missing(
    lines: Sequence[Line], columns: Sequence[Column], titles: Mapping[str, str]
) -> Iterator[Note]:
    """Why cells are empty: a note a reason."""
    reasons: dict[str, dict[str, list[Line]]] = {}
    for line in lines:
        absent: dict[str, list[Column]] = {}
        for column, cell in zip(columns, line.cells, strict=True):
            if isinstance(cell, Absent):
                absent.setdefault(cell.reason, []).append(column)
        for reason, empty in absent.items():
            where = _where(empty, columns, titles)
            reasons.setdefault(reason, {}).setdefault(where, []).append(line)
    for reason, rows_at in reasons.items():
        named = "; ".join(f"{_rows(rows)}{where}" for where, rows in rows_at.items())
        yield Note(f"{MISSING} {reason.rstrip('.')}: {named}.")


def _where(absent: Sequence[Column], columns: Sequence[Column], titles: Mapping[str, str]) -> str:
    """Which of a line's cells: nothing for all, data sets as a whole, or metrics of data sets."""
    if len(absent) == len(columns):
        return ""
    wholes = {name for name in titles if {c for c in columns if c.data == name} <= set(absent)} & {
        column.data for column in absent
    }
    parts = []
    if wholes:
        parts.append("on " + ", ".join(title for name, title in titles.items() if name in wholes))
    single: dict[str, list[str]] = {}
    for column in absent:
        if column.data not in wholes:
            on = single.setdefault(METRICS[column.metric].label, [])
            on += [titles[column.data]] if column.data else []
    by_place: dict[tuple[str, ...], list[str]] = {}
    for label, on in single.items():
        by_place.setdefault(tuple(on), []).append(label)
    parts += [
        f"without {', '.join(labels)}" + (f" on {', '.join(on)}" if on else "")
        for on, labels in by_place.items()
    ]
    return " " + "; ".join(parts)


def _meaning(columns: Sequence[Column], protocol: Protocol) -> Iterator[Note]:
    """How scores and counts were taken; equal for all cells."""
    metrics = {column.metric for column in columns}
    quality = protocol.quality
    if metrics & {"psnr_y", "ssim_y"}:
        luma = "unrounded" if quality.luma == "unrounded" else "rounded to uint8"
        border = _border(quality.y_border)
        yield Note(f"PSNR-Y and SSIM-Y: BT.601 Y, {luma}, border {border}, mean over images.")
    if "psnr_rgb" in metrics:
        yield Note(f"PSNR: uint8 RGB, border {_border(quality.rgb_border)}, mean over images.")
    if any("counted_input" in METRICS[metric].settings for metric in metrics):
        height, width = protocol.counted_input
        yield Note(f"Complexity at LR 3x{height}x{width}.")


def _border(border: int | str) -> str:
    return "as wide as the scale" if border == "scale" else f"{border} px"


def _devices(
    lines: Sequence[Line], columns: Sequence[Column], choice: Choice, titles: Mapping[str, str]
) -> Iterator[Note]:
    """What noisy figures were measured on, and whether the evaluator disputes them."""
    if all(METRICS[column.metric].portable for column in columns):
        return
    devices: dict[str, list[str]] = {}
    for (_, scale, data), run in choice.runs.items():
        where = devices.setdefault(device_statement(run), [])
        if f"{titles.get(data, data)} x{scale}" not in where:
            where.append(f"{titles.get(data, data)} x{scale}")
    for device, where in devices.items():
        on = f" ({', '.join(where)})" if len(devices) > 1 else ""
        yield Note(f"Runtime and memory on {device}{on}; figures within noise share a place.")
    provisional = any(
        not isinstance(cell, Absent) and cell.provisional for line in lines for cell in line.cells
    )
    if provisional:
        yield Note(f"No runtime is marked as best: {PROVISIONAL.reason}. {PROVISIONAL.advice}")
    sessions: dict[tuple[int, str], set[str]] = {}
    for (_, scale, data), run in choice.runs.items():
        if isinstance(run.latency, Latency):
            sessions.setdefault((scale, data), set()).add(run.latency.session)
    if any(len(each) > 1 for each in sessions.values()):
        yield Note("Entries of different runs were not interleaved with one another when timed.")
    disputed = sorted(
        f"{entry} x{scale} on {titles.get(data, data)}"
        for (entry, scale, data), run in choice.runs.items()
        if run.status == "timing-disputed"
    )
    if disputed:
        yield Note(f"The worker's own times disagree with the evaluator's: {', '.join(disputed)}.")


def _unproven(choice: Choice, titles: Mapping[str, str]) -> Iterator[Note]:
    """Data sets whose images go by a declared name without proof that they are those."""
    unproven = dict.fromkeys(
        f"{titles.get(data, data)} x{scale}"
        for (_, scale, data), run in choice.runs.items()
        if data in DATASETS and not run.data.verified
    )
    if unproven:
        yield Note(f"Images not proven to be the declared ones: {', '.join(unproven)}.")

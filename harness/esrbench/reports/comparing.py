"""Builds a comparison table from stored runs and published figures."""

from __future__ import annotations

import math
import shlex
from collections import Counter
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Final, TypeVar

from esrbench.data.declarations import DATASETS, dataset_names, get_dataset
from esrbench.errors import UsageError, did_you_mean
from esrbench.metrics import METRICS
from esrbench.protocol import EFFORTS, Protocol, effort_of
from esrbench.ranking.footnotes import IMAGES_NOTE, WEIGHTS_NOTES, device_statement, prepared_notes
from esrbench.ranking.stability import (
    FEWEST_PROCESSES,
    PROVISIONAL,
    across_processes,
    processes_of,
)
from esrbench.records import Absent, Latency
from esrbench.reports.comparison import CellValue, Column, Comparison, Line, places
from esrbench.reports.comparison_sources import (
    AT_1280X720,
    DEFAULT_COLUMNS,
    choose_runs,
    published_figures,
    run_key,
)
from esrbench.reports.table import MISSING, Note

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
FOLDER = "FOLDER"
"""Stands for the folder of a data set that only the user knows."""

KeyT = TypeVar("KeyT")
ValueT = TypeVar("ValueT")


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
        lines += _placed([row for row in rows if wanted.entries or _filled(row)], columns)
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
        notices=choice.notices,
        commands=filling_commands(lines, data, choice, registry),
    )
    if not any(map(_filled, lines)):
        raise _empty(comparison)
    undefined = {name: [each for each in scales if each not in at] for name, at in defined.items()}
    notes = tuple(notes_on(comparison, choice))
    details = tuple(details_on(comparison, choice, undefined))
    return comparison.model_copy(update={"notes": notes, "details": details})


def display_names(entries: Sequence[str], registry: Registry) -> dict[str, str]:
    """What a table or figure calls its entries: those that share a display name have both names."""
    wished = {n: registry.get(n).display_name if n in registry else None for n in entries}
    taken = Counter(each.casefold() for each in wished.values() if each is not None)
    return {
        name: name if wish is None else wish if taken[wish.casefold()] == 1 else f"{wish} ({name})"
        for name, wish in wished.items()
    }


def _without_empty(
    metric: str, columns: Sequence[Column], lines: Sequence[Line]
) -> tuple[tuple[Column, ...], list[Line]]:
    """Columns and lines, without the column of a metric that no line has."""
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


def _filled(line: Line) -> bool:
    return any(isinstance(cell, CellValue) for cell in line.cells)


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
    """Entries with runs, or with published figures of the data sets, by parameters."""
    sizes: list[tuple[str, float]] = []
    per_data = {(column.metric, column.data) for column in columns if column.data}
    for entry, metric, scale, data in printed:
        if (metric, data) in per_data and scale in scales:
            known = printed.get((entry, "params", scale, None))
            sizes.append((entry, known.value if known else math.inf))
    for run in runs:
        counted = run.measured("params")
        sizes.append((run.entry.name, math.inf if counted is None else counted))
    params = {entry: min(values) for entry, values in _grouped(sizes).items()}
    return tuple(sorted(params, key=lambda entry: (params[entry], entry)))


def _grouped(pairs: Iterable[tuple[KeyT, ValueT]]) -> dict[KeyT, list[ValueT]]:
    """Values by key, both in the order of their first appearance."""
    groups: dict[KeyT, list[ValueT]] = {}
    for key, value in pairs:
        groups.setdefault(key, []).append(value)
    return groups


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
    """Makes the lines of a table from its runs and from what is published."""

    columns: tuple[Column, ...]
    data: tuple[str, ...]
    choice: Choice
    printed: Mapping[PublishedKey, PublishedFigure]
    known: Mapping[str, ModelDescriptor]
    shown: Mapping[str, str]

    def line(self, name: str, scale: int, role: Role) -> Line:
        """An entry's cells: measured if it was run on any of the data sets, else published."""
        ours = [(name, scale, each) for each in self.data]
        was_run = any(at in self.choice.runs or at in self.choice.incomparable for at in ours)
        figures = [self.printed.get((name, c.metric, scale, c.data)) for c in self.columns]
        published = not was_run and any(figures)
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
            weights=runs[0].entry.weights.source if runs else None,
            cells=tuple(
                _published(column, figure) if published else self._measured(name, scale, column)
                for column, figure in zip(self.columns, figures, strict=True)
            ),
        )

    def _measured(self, name: str, scale: int, column: Column) -> CellValue | Absent:
        """One cell of an entry's runs.

        A metric of the entry comes from the first data set that has it. Noisy metrics of one scale
        all come from the first data set that was run on, because they compare only within one.
        """
        if column.data is not None:
            return self._from_run((name, scale, column.data), column.metric)
        hosts = self.data
        if not METRICS[column.metric].portable:
            run_on = {key[1:] for key in self.choice.runs}
            hosts = tuple(each for each in hosts if (scale, each) in run_on)[:1] or hosts[:1]
        found = [self._from_run((name, scale, host), column.metric) for host in hosts]
        measured = (cell for cell in found if isinstance(cell, CellValue))
        # Where none is, the reason of a run says more than that there was none.
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
        """With the interval that holds for another process, as in the leaderboard of its data."""
        beside = [
            other
            for key, other in self.choice.runs.items()
            if key[1:] == run_key(run)[1:] and other.ranked and other.entry.role != "floor"
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


def filling_commands(
    lines: Sequence[Line], data: Sequence[str], choice: Choice, registry: Registry
) -> tuple[str, ...]:
    """``esrbench run`` lines for the cells without a comparable run, few as can be.

    They repeat the settings of the runs beside which the new ones will stand, as other settings
    would not compare. Published lines count as filled. Networks that are not registered and
    data sets that are not defined at a scale cannot be run.
    """
    wanted: list[tuple[tuple[int, tuple[str, ...], tuple[str, ...]], str]] = []
    for line in lines:
        if line.published or line.entry not in registry:
            continue
        missing: list[tuple[tuple[str, ...], str]] = []
        for name in data:
            defined = name not in DATASETS or line.scale in DATASETS[name].scales
            if defined and (line.entry, line.scale, name) not in choice.runs:
                beside = choice.newest(line.scale, name)
                settings = protocol_options(beside.protocol) if beside else []
                missing.append((tuple(settings), _data_spec(name, beside)))
        for options, named in _grouped(missing).items():
            wanted.append(((line.scale, tuple(named), options), line.entry))
    commands = []
    for (scale, specs, options), entries in _grouped(wanted).items():
        sources = [word for spec in specs for word in ("--data", spec)]
        weights = [word for entry in entries for word in _weights_options(entry, scale, choice)]
        words = ["esrbench", "run", *entries, *sources, "--scale", str(scale), *options, *weights]
        commands.append(shlex.join(words))
    return tuple(commands)


def _data_spec(name: str, beside: RunRecord | None) -> str:
    """What ``--data`` takes: a name where the cache holds it, or a folder to be filled in."""
    if name not in DATASETS:
        return f"{FOLDER}/{name}"
    from_folder = beside is not None and beside.data.name == name and not beside.data.verified
    return f"{name}={FOLDER}" if from_folder or not DATASETS[name].fetchable else name


def _weights_options(entry: str, scale: int, choice: Choice) -> list[str]:
    """The weights that the entry's other runs at this scale had."""
    known = (run for at, run in choice.runs.items() if at[:2] == (entry, scale))
    weights = next((run.entry.weights for run in known), None)
    if weights is not None and weights.source == "random":
        return ["--weights", f"{entry}=random"]
    if weights is not None and weights.source in {"file", "submitted"} and weights.filename:
        return ["--weights", f"{entry}={weights.filename}"]
    return []


_OPTIONS: Final = {
    "--channels-last": "forward.channels_last",
    "--backend": "forward.backend",
    "--cudnn-benchmark": "forward.cudnn_benchmark",
    "--device": "device",
    "--precision": "forward.precision",
    "--threads": "threads",
    "--input-size": "counted_input",
    "--seed": "seed",
    "--warmup": "latency.warmup_rounds",
    "--min-rounds": "latency.min_rounds",
    "--rounds": "latency.max_rounds",
    "--half-width": "latency.target_half_width",
    "--budget": "latency.budget_seconds",
    "--processes": "latency.processes",
}
"""Options of ``esrbench run`` and the fields of a ``Protocol`` that they set."""


def protocol_options(protocol: Protocol) -> list[str]:
    """Options of ``esrbench run`` that give a protocol: its effort, and what differs from that."""
    design, usual = protocol.latency, Protocol()
    if design is None:
        options = ["--no-latency"]
    else:
        effort = effort_of(design) or ("standard" if design.fixed_input else "quick")
        options = ["--effort", effort]
        usual = Protocol(latency=EFFORTS[effort])
    if (quantisation := protocol.forward.quantisation) is not None:
        options += ["--calibrate-with", FOLDER, *["--fp32-ends"] * quantisation.fp32_ends]
    for option, field in _OPTIONS.items():
        if design is None and field.startswith("latency."):
            continue
        value = attrgetter(field)(protocol)
        if value == attrgetter(field)(usual):
            continue
        options.append(option)
        if isinstance(value, tuple):
            options.append("x".join(map(str, value)))
        elif value is not True:
            options.append(f"{value:g}" if isinstance(value, float) else str(value))
    return options


def notes_on(comparison: Comparison, choice: Choice) -> Iterator[Note]:
    """What a table needs: its marks, its inputs and device, what failed or could mislead.

    Args:
        comparison: the table, without notes.
        choice: the runs behind it.
    """
    if any(line.published and _filled(line) for line in comparison.lines):
        said = "Published figures of networks that were not run; conditions may differ."
        yield Note(said, "published")
    for source, said in WEIGHTS_NOTES.items():
        lines = [line for line in comparison.lines if line.weights == source]
        if lines:
            yield Note(f"{said}: {_named(lines)}.", source)
    yield from _missing(comparison, failed=True)
    runs = list(choice.runs.values())
    measured = [run for run in runs if run.entry.role != "images"]
    counted = any(
        "counted_input" in METRICS[column.metric].settings for column in comparison.columns
    )
    if runs and counted:
        height, width = (measured or runs)[0].protocol.counted_input
        large = any(column.metric == AT_1280X720 for column in comparison.columns)
        beside = "; FLOPs at 1280x720: of an SR image of that size, by the aten counter"
        yield Note(f"Complexity at LR 3x{height}x{width}{beside if large else ''}.")
    if not all(METRICS[column.metric].portable for column in comparison.columns):
        yield from _devices(comparison, measured)
    images = [line for line in comparison.lines if line.role == "images" and _filled(line)]
    if images:
        yield Note(f"{IMAGES_NOTE}: {_named(images)}.")
    unproven = [run for run in runs if run.data.name in DATASETS and not run.data.verified]
    if unproven:
        where = dict.fromkeys(_where_run(run, comparison) for run in unproven)
        yield Note(f"Images not proven to be the declared ones: {', '.join(where)}.")


def details_on(
    comparison: Comparison, choice: Choice, undefined: Mapping[str, Sequence[int]]
) -> Iterator[Note]:
    """Where published figures come from, why cells are empty, how scores were taken.

    Args:
        comparison: the table, without notes.
        choice: the runs behind it.
        undefined: scales by the entries that are not defined at them.
    """
    yield from _sources(comparison)
    yield from _missing(comparison, failed=False)
    for entry, scales in undefined.items():
        if scales:
            yield Note(f"{entry} is not defined at {_scales(scales)}.")
    runs = list(choice.runs.values())
    if runs:
        yield from _meaning(comparison, runs[0].protocol)
    if _apart_in_time(comparison, runs):
        yield Note("Entries of different runs were not interleaved with one another when timed.")
    yield from map(Note, prepared_notes(runs))


def _scales(scales: Sequence[int]) -> str:
    return ", ".join(f"x{scale}" for scale in scales)


def _named(lines: Sequence[Line]) -> str:
    """Entries with the scales of their lines."""
    scales = _grouped((line.display_name, line.scale) for line in lines)
    return ", ".join(f"{entry} ({_scales(each)})" for entry, each in scales.items())


def _where_run(run: RunRecord, comparison: Comparison) -> str:
    return f"{comparison.data.get(run.data.name, run.data.name)} x{run.entry.scale}"


def _sources(comparison: Comparison) -> Iterator[Note]:
    """Sources of published figures: which network's, and what of it."""
    sources: dict[str, dict[str, dict[str, None]]] = {}
    for line in comparison.lines:
        for column, cell in zip(comparison.columns, line.cells, strict=True):
            if line.published and isinstance(cell, CellValue):
                labels = sources.setdefault(cell.source, {}).setdefault(line.display_name, {})
                labels[METRICS[column.metric].label] = None
    for source, entries in sources.items():
        by_labels = _grouped((", ".join(labels), entry) for entry, labels in entries.items())
        said = "; ".join(f"{labels} of {', '.join(names)}" for labels, names in by_labels.items())
        yield Note(f"{source}: {said}.", "published")


def _missing(comparison: Comparison, *, failed: bool) -> Iterator[Note]:
    """Why cells are empty: a note a reason; of runs that failed, or of all others."""
    lines_by_reason: list[tuple[str, tuple[str, Line]]] = []
    for line in comparison.lines:
        cells = zip(comparison.columns, line.cells, strict=True)
        absent = _grouped(
            (cell.reason, c)
            for c, cell in cells
            if isinstance(cell, Absent) and (cell.kind == "failed") is failed
        )
        for reason, empty in absent.items():
            lines_by_reason.append((reason, (_where(empty, comparison), line)))
    for reason, found in _grouped(lines_by_reason).items():
        named = "; ".join(f"{_named(lines)}{where}" for where, lines in _grouped(found).items())
        yield Note(f"{MISSING} {reason.rstrip('.')}: {named}.")


def _where(absent: Sequence[Column], comparison: Comparison) -> str:
    """Which of a line's cells: nothing for all, data sets as a whole, or metrics of data sets."""
    columns, titles = comparison.columns, comparison.data
    if len(absent) == len(columns):
        return ""
    among = {column.data for column in absent}
    wholes = {
        name: title
        for name, title in titles.items()
        if name in among and all(c in absent for c in columns if c.data == name)
    }
    parts = [f"on {', '.join(wholes.values())}"] if wholes else []
    on: dict[str, list[str]] = {}
    for column in absent:
        if column.data not in wholes:
            titled = on.setdefault(METRICS[column.metric].label, [])
            titled += [titles[column.data]] if column.data else []
    for places_on, labels in _grouped((tuple(each), label) for label, each in on.items()).items():
        suffix = f" on {', '.join(places_on)}" if places_on else ""
        parts.append(f"without {', '.join(labels)}{suffix}")
    return " " + "; ".join(parts)


def _meaning(comparison: Comparison, protocol: Protocol) -> Iterator[Note]:
    """How scores were taken; equal for all cells."""
    metrics = {column.metric for column in comparison.columns}
    quality = protocol.quality
    y_border, rgb_border = (
        "as wide as the scale" if border == "scale" else f"{border} px"
        for border in (quality.y_border, quality.rgb_border)
    )
    if metrics & {"psnr_y", "ssim_y"}:
        luma = "unrounded" if quality.luma == "unrounded" else "rounded to uint8"
        yield Note(f"PSNR-Y and SSIM-Y: BT.601 Y, {luma}, border {y_border}, mean over images.")
    if "psnr_rgb" in metrics:
        yield Note(f"PSNR: uint8 RGB, border {rgb_border}, mean over images.")


def _apart_in_time(comparison: Comparison, runs: Sequence[RunRecord]) -> bool:
    """Whether runtimes of one scale and data set come from several runs."""
    sessions = _grouped(
        (run_key(run)[1:], run.latency.session) for run in runs if isinstance(run.latency, Latency)
    )
    timed = any(METRICS[column.metric].noisy for column in comparison.columns)
    return timed and any(len(set(each)) > 1 for each in sessions.values())


def _devices(comparison: Comparison, runs: Sequence[RunRecord]) -> Iterator[Note]:
    """What noisy figures were measured on, and whether the evaluator disputes them."""
    devices = _grouped((device_statement(run), _where_run(run, comparison)) for run in runs)
    for device, where in devices.items():
        on = f" ({', '.join(dict.fromkeys(where))})" if len(devices) > 1 else ""
        yield Note(f"Runtime and memory on {device}{on}; figures within noise share a place.")
    cells = (cell for line in comparison.lines for cell in line.cells)
    if any(isinstance(cell, CellValue) and cell.provisional for cell in cells):
        yield Note(f"No runtime is marked as best: {PROVISIONAL.reason}. {PROVISIONAL.advice}")
    disputed = sorted(
        f"{run.entry.name} x{run.entry.scale} on "
        f"{comparison.data.get(run.data.name, run.data.name)}"
        for run in runs
        if run.status == "timing-disputed"
    )
    if disputed:
        yield Note(f"The worker's own times disagree with the evaluator's: {', '.join(disputed)}.")

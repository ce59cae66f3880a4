"""Notes below a comparison: what its marks and figures mean, and why cells are empty."""

from __future__ import annotations

from typing import TYPE_CHECKING

from esrbench.data.declarations import DATASETS
from esrbench.metrics import METRICS
from esrbench.ranking.footnotes import IMAGES_NOTE, WEIGHTS_NOTES, device_statement, prepared_notes
from esrbench.ranking.stability import PROVISIONAL
from esrbench.records import Absent, Latency
from esrbench.reports.comparison import CellValue, grouped
from esrbench.reports.comparison_sources import AT_1280X720, run_key
from esrbench.reports.table import MISSING, Note

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from esrbench.entries.descriptor import PublishedFigure
    from esrbench.protocol import Protocol
    from esrbench.records import RunRecord
    from esrbench.reports.comparison import Column, Comparison, Line
    from esrbench.reports.comparison_sources import Choice, PublishedKey
    from esrbench.reports.table import Mark


def notes_on(
    comparison: Comparison, choice: Choice, printed: Mapping[PublishedKey, PublishedFigure]
) -> Iterator[Note]:
    """Notes that a table needs: its marks, inputs and device, failures, and possible errors.

    Args:
        comparison: the table, without notes.
        choice: the runs behind it.
        printed: published figures, if they are wanted.
    """
    filled = [line for line in comparison.lines if line.filled]
    if any(line.mark == "published" for line in filled):
        said = "Published figures of networks that were not run; conditions may differ."
        yield Note(said, "published")
    if claims := [line for line in filled if line.mark == "claimed"]:
        said = f"Claimed by the authors in submission.toml, not measured here: {_named(claims)}."
        yield Note(said, "claimed")
    if printed:
        yield from _own_alone(comparison, printed)
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
    images = [line for line in comparison.lines if line.role == "images" and line.filled]
    if images:
        yield Note(f"{IMAGES_NOTE}: {_named(images)}.")
    unproven = [run for run in runs if run.data.name in DATASETS and not run.data.verified]
    if unproven:
        where = dict.fromkeys(_where_run(run, comparison) for run in unproven)
        yield Note(f"Images not proven to be the declared ones: {', '.join(where)}.")


def details_on(
    comparison: Comparison, choice: Choice, undefined: Mapping[str, Sequence[int]]
) -> Iterator[Note]:
    """Notes about the sources of published figures, empty cells, and how scores were computed.

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
        yield Note("Timed rounds of entries from different runs were not interleaved.")
    yield from map(Note, prepared_notes(runs))


def _scales(scales: Sequence[int]) -> str:
    return ", ".join(f"x{scale}" for scale in scales)


def _own_alone(
    comparison: Comparison, printed: Mapping[PublishedKey, PublishedFigure]
) -> Iterator[Note]:
    """Published networks that are shown by runs, because no published scores are known."""
    scores = [column for column in comparison.columns if column.data]
    lines = [
        line
        for line in comparison.lines
        if line.citation
        and line.weights
        and scores
        and not any((line.entry, c.metric, line.scale, c.data) in printed for c in scores)
    ]
    if lines:
        titles = ", ".join(comparison.data.values())
        yield Note(f"No published scores on {titles} are known, only runs here: {_named(lines)}.")


def _named(lines: Sequence[Line]) -> str:
    """Entries with the scales of their lines."""
    scales = grouped((line.display_name, line.scale) for line in lines)
    return ", ".join(f"{entry} ({_scales(each)})" for entry, each in scales.items())


def _where_run(run: RunRecord, comparison: Comparison) -> str:
    return f"{comparison.data.get(run.data.name, run.data.name)} x{run.entry.scale}"


def _sources(comparison: Comparison) -> Iterator[Note]:
    """Sources of published figures, with the networks and metrics that come from each."""
    sources: dict[tuple[str, Mark], dict[str, dict[str, None]]] = {}
    for line in comparison.lines:
        for column, cell in zip(comparison.columns, line.cells, strict=True):
            if line.published and isinstance(cell, CellValue):
                of_source = sources.setdefault((cell.source, line.mark), {})
                labels = of_source.setdefault(line.display_name, {})
                labels[METRICS[column.metric].label] = None
    for (source, mark), entries in sources.items():
        by_labels = grouped((", ".join(labels), entry) for entry, labels in entries.items())
        said = "; ".join(f"{labels} of {', '.join(names)}" for labels, names in by_labels.items())
        yield Note(f"{source}: {said}.", mark)


def _missing(comparison: Comparison, *, failed: bool) -> Iterator[Note]:
    """Why cells are empty, one note for each reason: of runs that failed, or of all others."""
    lines_by_reason: list[tuple[str, tuple[str, Line]]] = []
    for line in comparison.lines:
        cells = zip(comparison.columns, line.cells, strict=True)
        absent = grouped(
            (cell.reason, c)
            for c, cell in cells
            if isinstance(cell, Absent) and (cell.kind == "failed") is failed
        )
        for reason, empty in absent.items():
            lines_by_reason.append((reason, (_where(empty, comparison), line)))
    for reason, found in grouped(lines_by_reason).items():
        named = "; ".join(f"{_named(lines)}{where}" for where, lines in grouped(found).items())
        yield Note(f"{MISSING} {reason.rstrip('.')}: {named}.")


def _where(absent: Sequence[Column], comparison: Comparison) -> str:
    """Names of a line's absent cells: empty for all, whole data sets, or metrics on data sets."""
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
    for places_on, labels in grouped((tuple(each), label) for label, each in on.items()).items():
        suffix = f" on {', '.join(places_on)}" if places_on else ""
        parts.append(f"without {', '.join(labels)}{suffix}")
    return " " + "; ".join(parts)


def _meaning(comparison: Comparison, protocol: Protocol) -> Iterator[Note]:
    """How scores were computed; the same for all cells."""
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
    sessions = grouped(
        (run_key(run)[1:], run.latency.session) for run in runs if isinstance(run.latency, Latency)
    )
    timed = any(METRICS[column.metric].noisy for column in comparison.columns)
    return timed and any(len(set(each)) > 1 for each in sessions.values())


def _devices(comparison: Comparison, runs: Sequence[RunRecord]) -> Iterator[Note]:
    """The device of noisy figures, and entries whose times the evaluator disputes."""
    devices = grouped((device_statement(run), _where_run(run, comparison)) for run in runs)
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

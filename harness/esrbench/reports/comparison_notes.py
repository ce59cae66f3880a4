"""What a reader of a comparison table must know, in sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from esrbench.data.declarations import DATASETS
from esrbench.metrics import METRICS
from esrbench.ranking.footnotes import device_statement
from esrbench.ranking.stability import PROVISIONAL
from esrbench.records import Absent, Latency
from esrbench.reports.grid import MISSING, Note

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from esrbench.protocol import Protocol
    from esrbench.reports.comparison import Column, Line
    from esrbench.reports.comparison_choice import Choice
    from esrbench.reports.grid import Mark

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
    yield from _published(lines, columns)
    yield from _weights(lines)
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


def _published(lines: Sequence[Line], columns: Sequence[Column]) -> Iterator[Note]:
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


def _weights(lines: Sequence[Line]) -> Iterator[Note]:
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
    for reason, places in reasons.items():
        named = "; ".join(f"{_rows(rows)}{where}" for where, rows in places.items())
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
    if metrics & {"runtime_fixed"} or any(_at_counted_input(metric) for metric in metrics):
        height, width = protocol.counted_input
        yield Note(f"Complexity at LR 3x{height}x{width}.")


def _border(border: int | str) -> str:
    return "as wide as the scale" if border == "scale" else f"{border} px"


def _at_counted_input(metric: str) -> bool:
    return metric.startswith(("macs_", "activations_", "conv_calls_"))


def _devices(
    lines: Sequence[Line], columns: Sequence[Column], choice: Choice, titles: Mapping[str, str]
) -> Iterator[Note]:
    """What noisy figures were measured on, and whether the evaluator disputes them."""
    if all(METRICS[column.metric].deterministic for column in columns):
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

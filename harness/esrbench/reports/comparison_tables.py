"""A ``Comparison`` as a grid of text, and as unrounded csv."""

from __future__ import annotations

import csv
import io
from itertools import groupby
from typing import TYPE_CHECKING

from esrbench.metrics import METRICS
from esrbench.records import Absent
from esrbench.reports.grid import (
    MISSING,
    Cell,
    Grid,
    Heading,
    Mark,
    Section,
    Span,
    csv_text,
    plain,
    plain_number,
)
from esrbench.runs.runtimes import RUNTIMES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esrbench.reports.comparison import Column, Comparison, Figure, Line
    from esrbench.reports.grid import Tone

PAIR = ("psnr_y", "ssim_y")
"""Metrics that papers print in one column, with a slash between them."""

TONES: dict[int | None, Tone] = {1: "best", 2: "second", None: "plain"}
MARKS: dict[str | None, Mark] = {"demo": "demo", "random": "random"}


def comparison_grid(comparison: Comparison, *, caption: str | None = None) -> Grid:
    """Cells as papers print them: PSNR-Y and SSIM-Y in one column, marks behind the figures.

    Args:
        comparison: the table.
        caption: instead of the table's title.
    """
    printed = _printed_columns(comparison.columns)
    headings = [Heading("Scale"), Heading("Method")]
    for indices in printed:
        column = comparison.columns[indices[0]]
        group = comparison.data[column.data] if column.data else ""
        text = "PSNR/SSIM" if len(indices) > 1 else METRICS[column.metric].heading
        headings.append(Heading(text, group, "right"))
    sections = [
        Section(f"\N{MULTIPLICATION SIGN}{scale}", tuple(_row(line, printed) for line in lines))
        for scale, lines in groupby(comparison.lines, key=lambda line: line.scale)
    ]
    return Grid(caption or comparison.title, tuple(headings), tuple(sections), comparison.notes)


def _printed_columns(columns: Sequence[Column]) -> list[tuple[int, ...]]:
    """Indices of the columns that each printed column holds."""
    printed: list[tuple[int, ...]] = []
    for index, column in enumerate(columns):
        before = columns[index - 1] if index else None
        if before and before.data == column.data and (before.metric, column.metric) == PAIR:
            printed[-1] = (index - 1, index)
        else:
            printed.append((index,))
    return printed


def _row(line: Line, printed: Sequence[Sequence[int]]) -> tuple[Cell, ...]:
    cells = [plain(line.entry, mark=MARKS.get(line.weights, ""))]
    for indices in printed:
        held = [line.cells[index] for index in indices]
        if all(isinstance(cell, Absent) for cell in held):
            cells.append(plain(MISSING, "faint"))
        else:
            mark: Mark = "published" if line.published else ""
            cells.append(Cell(tuple(map(_span, held)), mark))
    return tuple(cells)


def _span(cell: Figure | Absent) -> Span:
    if isinstance(cell, Absent):
        return Span(MISSING, "faint")
    return Span(cell.shown, TONES[cell.place])


def comparison_csv(comparison: Comparison) -> str:
    """Unrounded figures in base units, a row an entry, scale and data set; absent is empty.

    Figures that belong to an entry stand in each of its rows. Noisy metrics have the bounds of
    their interval beside them. ``missing`` says why cells are empty, ``sources`` where the
    others come from: run ids or publications.
    """
    entry_metrics = [column.metric for column in comparison.columns if column.data is None]
    data_metrics = dict.fromkeys(c.metric for c in comparison.columns if c.data is not None)
    metrics = [*entry_metrics, *data_metrics]
    rows: list[dict[str, object]] = []
    for line in comparison.lines:
        for data in comparison.data:
            cells = {
                column.metric: cell
                for column, cell in zip(comparison.columns, line.cells, strict=True)
                if column.data in {None, data}
            }
            rows.append(_csv_row(line, data, cells, metrics))
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(
        {key: csv_text(each) if isinstance(each, str) else each for key, each in row.items()}
        for row in rows
    )
    return text.getvalue()


def _csv_row(
    line: Line, data: str, cells: dict[str, Figure | Absent], metrics: Sequence[str]
) -> dict[str, object]:
    row: dict[str, object] = {
        "scale": line.scale,
        "entry": line.entry,
        "data": data,
        "origin": None,
        "weights": line.weights,
    }
    for metric in metrics:
        cell = cells[metric]
        figure = None if isinstance(cell, Absent) else cell
        row[metric] = plain_number(figure.value) if figure else None
        if not METRICS[metric].deterministic:
            interval = figure.interval if figure else None
            row[f"{metric}_low"] = interval.low if interval else None
            row[f"{metric}_high"] = interval.high if interval else None
        if metric in RUNTIMES:
            row[f"{metric}_provisional"] = figure.provisional if figure else None
    reasons = [f"{key}: {cell.reason}" for key, cell in cells.items() if isinstance(cell, Absent)]
    sources = dict.fromkeys(c.source for c in cells.values() if not isinstance(c, Absent))
    if sources:
        row["origin"] = "published" if line.published else "measured"
    return row | {"missing": "; ".join(reasons), "sources": "; ".join(sources)}

"""A paper's comparison table: entries by scale, scores by data set, the best of them marked.

The layout is that of tables 1 to 3 of the AIDN paper (NTIRE 2022): rows grouped by scale, then
method; parameters and FLOPs; then a column for each data set.
"""

from __future__ import annotations

import re
from itertools import groupby
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from esrbench.metrics import METRICS
from esrbench.protocol import Frozen
from esrbench.records import Absent, Interval, Notice, Role, Tabular
from esrbench.reports.table import (
    MISSING,
    Heading,
    Mark,
    Note,
    Section,
    Span,
    Table,
    TableCell,
    plain,
    short_title,
    value_fields,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from esrbench.reports.table import Tone

KeyT = TypeVar("KeyT")
ValueT = TypeVar("ValueT")


class Column(Frozen):
    """One metric, on one data set if it depends on images."""

    metric: str
    data: str | None = None


class CellValue(Frozen):
    """A figure of the table.

    Attributes:
        value: in base units, unrounded.
        shown: the value as printed; it decides places.
        interval: interval of a noisy metric.
        place: 1 for the best of its scale and column, 2 for the second best.
        provisional: it is a runtime that fewer than three processes measured; no such runtime is
            marked as best.
        source: id of the run that measured it, or its publication.
    """

    value: int | float
    shown: str
    interval: Interval | None = None
    place: Literal[1, 2] | None = None
    provisional: bool = False
    source: str


class Line(Frozen):
    """One entry at one scale.

    Attributes:
        entry: registered name.
        display_name: its name in the table and in figures.
        citation: key of its publication.
        year: year of its publication.
        role: role of the entry; a ``floor`` stands first and is never best.
        published: no figure was measured here; all are from publications or claimed.
        claimed: the authors of a submission claim them in its manifest.
        weights: source of the weights that ran; None if nothing ran.
        cells: parallel to the table's columns.
    """

    entry: str
    display_name: str
    citation: str | None = None
    year: int | None = None
    scale: int
    role: Role
    published: bool
    claimed: bool = False
    weights: str | None
    cells: tuple[CellValue | Absent, ...]

    @property
    def filled(self) -> bool:
        """Whether it has a figure."""
        return any(isinstance(cell, CellValue) for cell in self.cells)

    @property
    def mark(self) -> Literal["", "published", "claimed"]:
        """The mark of its figures; none if they were measured."""
        if not self.published:
            return ""
        return "claimed" if self.claimed else "published"


class Comparison(Tabular):
    """A comparison table.

    Attributes:
        title: what it compares on.
        columns: columns that hold for all data sets, then those of each data set.
        data: titles by name, in order.
        references: publications by citation key.
        lines: lines by scale, then in the order of entries.
        notes: notes for readers; some begin with the mark that they explain.
        details: sources of figures, how they were measured, and why cells are empty.
        notices: typed warnings, for example about runs that are left out as incomparable.
        commands: commands that would measure what is missing.
    """

    title: str
    columns: tuple[Column, ...]
    data: dict[str, str]
    references: dict[str, str] = {}
    lines: tuple[Line, ...]
    notes: tuple[Note, ...]
    details: tuple[Note, ...] = ()
    notices: tuple[Notice, ...]
    commands: tuple[str, ...]

    def __repr_args__(self) -> Iterator[tuple[str, Any]]:
        """What it compares."""
        yield "title", self.title
        yield "entries", tuple(dict.fromkeys(line.entry for line in self.lines))


def grouped(pairs: Iterable[tuple[KeyT, ValueT]]) -> dict[KeyT, list[ValueT]]:
    """Values by key, both in the order of their first appearance."""
    groups: dict[KeyT, list[ValueT]] = {}
    for key, value in pairs:
        groups.setdefault(key, []).append(value)
    return groups


def with_columns(comparison: Comparison, metrics: Iterable[str]) -> Comparison:
    """The comparison on one data set with the columns of these metrics only, in this order."""
    place = {column.metric: index for index, column in enumerate(comparison.columns)}
    order = [place[metric] for metric in metrics]
    return comparison.model_copy(
        update={
            "columns": tuple(comparison.columns[index] for index in order),
            "lines": tuple(
                line.model_copy(update={"cells": tuple(line.cells[index] for index in order)})
                for line in comparison.lines
            ),
        }
    )


def places(metric: str, figures: Sequence[CellValue]) -> list[Literal[1, 2] | None]:
    """Places of the figures of one column, in their order. A single figure has no place.

    Figures that print the same digits share a place. Noisy figures share the place of the best if
    their intervals overlap that of the best.
    """
    if len(figures) <= 1:
        return [None] * len(figures)
    sign = -1 if METRICS[metric].better == "higher" else 1
    shown = [sign * float(figure.shown) for figure in figures]
    found: list[Literal[1, 2] | None] = [None] * len(figures)
    for place in (1, 2):
        rest = [index for index, other in enumerate(found) if other is None]
        if not rest:
            break
        best = min(rest, key=lambda index: (shown[index], sign * figures[index].value))
        for index in rest:
            if shown[index] == shown[best] or _overlap(figures[index], figures[best]):
                found[index] = place
    return found


def _overlap(one: CellValue, other: CellValue) -> bool:
    """Whether the intervals of two noisy figures meet."""
    if one.interval is None or other.interval is None:
        return False
    return one.interval.low <= other.interval.high and other.interval.low <= one.interval.high


PAIR = ("psnr_y", "ssim_y")
"""Metrics that papers print in one column, with a slash between them."""

AT_SIZE = re.compile(r" at (\d+x\d+)")
"""The size in the label of a metric that is counted at a different size than the others."""

TONES: dict[int | None, Tone] = {1: "best", 2: "second", None: "plain"}
MARKS: dict[str | None, Mark] = {"demo": "demo", "random": "random"}


def comparison_table(comparison: Comparison) -> Table:
    """Cells as papers print them: PSNR-Y and SSIM-Y in one column, marks behind the figures."""
    printed = _printed_columns(comparison.columns)
    scales = {line.scale for line in comparison.lines}
    one = f"\N{MULTIPLICATION SIGN}{min(scales)}" if len(scales) == 1 else ""
    headings = [Heading("Method")] if one else [Heading("Scale"), Heading("Method")]
    for indices in printed:
        column = comparison.columns[indices[0]]
        text = "PSNR/SSIM" if len(indices) > 1 else METRICS[column.metric].heading
        if column.data:
            group = short_title(comparison.data[column.data])
        else:  # a heading of two lines is narrow: FLOPs below 1280x720
            text, group = AT_SIZE.sub("", text), "".join(AT_SIZE.findall(text))
        headings.append(Heading(text, group, "right"))
    sections = [
        Section(
            tuple(_row(line, printed) for line in lines),
            "" if one else f"\N{MULTIPLICATION SIGN}{scale}",
        )
        for scale, lines in groupby(comparison.lines, key=lambda line: line.scale)
    ]
    return Table(
        headings=tuple(headings),
        sections=tuple(sections),
        caption=f"{comparison.title}, {one}" if one else comparison.title,
        references=comparison.references,
        notes=comparison.notes,
        details=comparison.details,
        records=[
            _record(line, comparison, d) for line in comparison.lines for d in comparison.data
        ],
        document=comparison.model_dump(mode="json"),
        label="tab:comparison",
    )


def _printed_columns(columns: Sequence[Column]) -> list[tuple[int, ...]]:
    """Indices of the columns in each printed column."""
    printed: list[tuple[int, ...]] = []
    for index, column in enumerate(columns):
        before = columns[index - 1] if index else None
        if before and before.data == column.data and (before.metric, column.metric) == PAIR:
            printed[-1] = (index - 1, index)
        else:
            printed.append((index,))
    return printed


def _row(line: Line, printed: Sequence[Sequence[int]]) -> tuple[TableCell, ...]:
    name = Span(line.display_name, cite=line.citation or "")
    cells = [TableCell((name,), MARKS.get(line.weights, ""))]
    for indices in printed:
        held = [line.cells[index] for index in indices]
        if all(isinstance(cell, Absent) for cell in held):
            cells.append(plain(MISSING, "faint"))
        else:
            cells.append(TableCell(tuple(map(_span, held)), line.mark))
    return tuple(cells)


def _span(cell: CellValue | Absent) -> Span:
    if isinstance(cell, Absent):
        return Span(MISSING, "faint")
    return Span(cell.shown, TONES[cell.place])


def _record(line: Line, comparison: Comparison, data: str) -> dict[str, Any]:
    """Unrounded figures of an entry, scale and data set, in base units.

    Figures that do not depend on data are in each record of the entry. Noisy metrics have the
    bounds of their interval beside them. ``missing`` has the reasons for empty fields. ``sources``
    has the sources of the others: run ids or publications.
    """
    record: dict[str, Any] = {
        "scale": line.scale,
        "entry": line.entry,
        "display_name": line.display_name,
        "citation": line.citation,
        "year": line.year,
        "data": data,
        "origin": None,
        "weights": line.weights,
    }
    cells = {
        column.metric: cell
        for column, cell in zip(comparison.columns, line.cells, strict=True)
        if column.data in {None, data}
    }
    for metric, cell in cells.items():
        held = None if isinstance(cell, Absent) else cell
        record |= value_fields(metric, *((held.value, held.interval) if held else (None, None)))
        if METRICS[metric].noisy:
            record[f"{metric}_provisional"] = held.provisional if held else None
    reasons = [f"{key}: {cell.reason}" for key, cell in cells.items() if isinstance(cell, Absent)]
    sources = dict.fromkeys(c.source for c in cells.values() if not isinstance(c, Absent))
    if sources:
        record["origin"] = line.mark or "measured"
    return record | {"missing": "; ".join(reasons), "sources": "; ".join(sources)}

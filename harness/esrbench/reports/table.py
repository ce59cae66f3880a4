"""A table without a format; every format turns it into text.

Leaderboards, comparisons, gate reports and listings are built as a ``Table``; each module of
``esrbench.reports.formats`` turns any ``Table`` into one format.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from esrbench.metrics import METRICS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import pandas as pd

    from esrbench.records import Interval, Notice

    Records = Sequence[Mapping[str, Any]]

MISSING = "–"  # noqa: RUF001 - an en dash is what tables print for a missing figure
CELL_CHARACTERS: Final = 3000
"""Largest length of a text in a table or below it."""

Tone = Literal["plain", "best", "second", "strong", "good", "doubtful", "wrong", "faint"]
"""The tone of a text. All formats show the first four; terminals colour the others."""

Mark = Literal["", "published", "claimed", "demo", "random"]
"""The mark of a cell that needs an explanation; a note with the same mark gives it."""

Align = Literal["left", "right", "center"]

DAGGERS: dict[Mark, str] = {
    "": "",
    "published": "\N{DAGGER}",
    "claimed": "\N{PILCROW SIGN}",
    "demo": "\N{DOUBLE DAGGER}",
    "random": "\N{SECTION SIGN}",
}
"""Marks as printed."""

SUBSCRIPTS: Final = str.maketrans("0123456789-", "₀₁₂₃₄₅₆₇₈₉₋")
"""Signs for subscripts, if there is no markup."""


class Span(NamedTuple):
    """A text, its tone, and its subscript, such as a rank.

    ``cite`` is the key of a publication, which LaTeX cites behind the text. ``Table.numbered``
    writes a number instead.
    """

    text: str
    tone: Tone = "plain"
    below: str = ""
    cite: str = ""


class TableCell(NamedTuple):
    """A cell.

    Attributes:
        spans: texts that are joined by slashes.
        mark: one mark for all of them.
        aside: an interval behind them; terminals print it on its own line.
    """

    spans: tuple[Span, ...]
    mark: Mark = ""
    aside: str = ""

    def __str__(self) -> str:
        """The cell as plain text."""
        texts = (each.text + each.below.translate(SUBSCRIPTS) for each in self.spans)
        shown = "/".join(texts) + DAGGERS[self.mark]
        return f"{shown} {self.aside}" if self.aside else shown


@dataclass(frozen=True, slots=True)
class Heading:
    """Heading of a column.

    Attributes:
        text: content of the column.
        group: heading above it, shared with neighbours of the same group; empty for none.
        align: alignment of the column's cells.
        prose: the cells hold sentences, which terminals may break into lines.
    """

    text: str
    group: str = ""
    align: Align = "left"
    prose: bool = False


@dataclass(frozen=True, slots=True)
class Section:
    """Rows that stand together; the first cell of each row names the row.

    Attributes:
        rows: cells, parallel to the headings.
        label: label of all rows, in its own column in front; empty for none.
        tone: tone of all rows.
        folded: text that Markdown and HTML show until a reader unfolds the rows.
    """

    rows: tuple[tuple[TableCell, ...], ...]
    label: str = ""
    tone: Tone = "plain"
    folded: str = ""


@dataclass(frozen=True, slots=True)
class Note:
    """A remark below the table; it begins with the mark that it explains, if any."""

    text: str
    mark: Mark = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table.

    Attributes:
        headings: heading of the section labels if there are any, of the row names, then of the
            other columns; all empty for a table without a head.
        sections: sections in order.
        caption: what it shows.
        outcome: one sentence that sums it up, first in documents and last in a terminal.
        lead: lines between the caption and the table.
        notes: remarks below the table that a reader needs.
        references: publications by citation key.
        details: further remarks, which are shown on request.
        notices: typed warnings, below the notes.
        records: the rows as plain values in base units, unrounded, for CSV and JSON; a function
            makes them if there are many.
        document: JSON content instead of the records; a function makes it if it is large.
        label: label for references in LaTeX.
        wide: LaTeX sets it across both columns of a page.
    """

    headings: tuple[Heading, ...]
    sections: tuple[Section, ...]
    caption: str = ""
    outcome: Span | None = None
    lead: tuple[Span, ...] = ()
    notes: tuple[Note, ...] = ()
    references: Mapping[str, str] = field(default_factory=dict)
    details: tuple[Note, ...] = ()
    notices: tuple[Notice, ...] = ()
    records: Records | Callable[[], Records] = ()
    document: Any = None
    label: str = "tab:esrbench"
    wide: bool = False

    def __post_init__(self) -> None:
        """Check that rows are as long as the headings.

        Raises:
            ValueError: a row has too few or too many cells.
        """
        expected = len(self.headings) - self.labelled
        for section in self.sections:
            for row in section.rows:
                if len(row) != expected:
                    message = f"a row of {section.label!r} has {len(row)} cells"
                    raise ValueError(f"{message}, expected {expected}")

    @property
    def labelled(self) -> bool:
        """Whether the first column holds labels of sections."""
        return any(section.label for section in self.sections)

    @property
    def ranked(self) -> bool:
        """Whether any text is marked as best or second best."""
        cells = (cell for section in self.sections for row in section.rows for cell in row)
        return any(span.tone in {"best", "second"} for cell in cells for span in cell.spans)

    def detailed(self) -> Table:
        """The table with its details among its notes."""
        return replace(self, notes=(*self.notes, *self.details), details=())

    def numbered(self) -> Table:
        """The table with numbers behind cited names, and its references among the notes."""
        numbers: dict[str, int] = {}

        def cell(given: TableCell) -> TableCell:
            return given._replace(spans=tuple(map(span, given.spans)))

        def span(given: Span) -> Span:
            if given.cite not in self.references:
                return given
            number = numbers.setdefault(given.cite, len(numbers) + 1)
            return given._replace(text=f"{given.text} [{number}]", cite="")

        if not self.references:
            return self
        sections = tuple(
            replace(section, rows=tuple(tuple(map(cell, row)) for row in section.rows))
            for section in self.sections
        )
        notes = (Note(f"[{n}] {self.references[key]}") for key, n in numbers.items())
        return replace(self, sections=sections, notes=(*self.notes, *notes))

    def plain_records(self) -> Records:
        """The rows as plain values."""
        return self.records() if callable(self.records) else self.records

    def to_dataframe(self) -> pd.DataFrame:
        """The records as a data frame: one row for each record, plain values in base units.

        Columns have the type object, so that counts stay integers beside absent values (None).
        """
        import pandas as pd

        records = self.plain_records()
        columns = list(dict.fromkeys(key for record in records for key in record))
        return pd.DataFrame(list(records), columns=columns, dtype=object)

    def rows(self, section: Section, *, repeated: bool = False) -> Iterator[tuple[TableCell, ...]]:
        """Rows of a section, as wide as the headings; its label stands in front of the first row.

        Args:
            section: a section of this table.
            repeated: put the label in front of every row.
        """
        if not self.labelled:
            yield from section.rows
            return
        for index, row in enumerate(section.rows):
            yield (plain(section.label if repeated or index == 0 else ""), *row)

    def groups(self) -> list[tuple[str, int]]:
        """Groups of neighbouring columns with their widths; ungrouped columns stand alone."""
        widths: list[tuple[str, int]] = []
        for heading in self.headings:
            if heading.group and widths and widths[-1][0] == heading.group:
                widths[-1] = (heading.group, widths[-1][1] + 1)
            else:
                widths.append((heading.group, 1))
        return widths


def plain(text: str, tone: Tone = "plain", mark: Mark = "") -> TableCell:
    """A cell of one text."""
    return TableCell((Span(text, tone),), mark)


def pairs(lines: Sequence[tuple[str, str]], caption: str = "", **fields: Any) -> Table:
    """A table of names and texts about them, without a head.

    Args:
        lines: names and texts in order.
        caption: caption of the table.
        fields: other fields of ``Table``.
    """
    rows = tuple((plain(name), plain(text)) for name, text in lines)
    headings = (Heading(""), Heading("", prose=True))
    return Table(headings=headings, sections=(Section(rows),), caption=caption, **fields)


def value_fields(
    metric: str, value: float | None, interval: Interval | None
) -> dict[str, float | None]:
    """A metric as fields of a record: unrounded, with its interval if it depends on a device."""
    fields = {metric: value}
    if not METRICS[metric].portable:
        fields[f"{metric}_low"] = interval.low if interval else None
        fields[f"{metric}_high"] = interval.high if interval else None
    return fields


def short_title(title: str) -> str:
    """A data set's title without its remark in brackets, for the heading of a narrow column."""
    return title.partition(" (")[0]


def legend(best: str, second: str) -> str:
    """The marks of the best and the second best of a table."""
    return f"Best of a scale {best}, second best {second}; figures that print alike share the mark."

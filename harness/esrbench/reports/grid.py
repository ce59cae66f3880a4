"""A table as text cells, before it takes a form: what terminal, markdown, LaTeX and HTML share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from esrbench.plaintext import line

CSV_CHARACTERS: Final = 3000
MISSING = "–"  # noqa: RUF001 - an en dash is what tables print for a missing figure

Tone = Literal["plain", "best", "second", "good", "doubtful", "wrong", "faint"]
"""What a text is worth. All forms show ``best`` and ``second``; terminals colour the others."""

Mark = Literal["", "published", "demo", "random"]
"""What a reader must know of a cell; a note with the same mark says it."""

Align = Literal["left", "right", "center"]

DAGGERS: dict[Mark, str] = {
    "": "",
    "published": "\N{DAGGER}",
    "demo": "\N{DOUBLE DAGGER}",
    "random": "\N{SECTION SIGN}",
}
"""Marks as printed."""


@dataclass(frozen=True, slots=True)
class Span:
    """A text and its tone."""

    text: str
    tone: Tone = "plain"


@dataclass(frozen=True, slots=True)
class Cell:
    """Texts that stand together with slashes between them, and their common mark."""

    spans: tuple[Span, ...]
    mark: Mark = ""


@dataclass(frozen=True, slots=True)
class Heading:
    """Heading of a column.

    Attributes:
        text: what the column holds.
        group: heading above it, shared with neighbours of the same group; empty for none.
        align: of the column's cells.
    """

    text: str
    group: str = ""
    align: Align = "left"


@dataclass(frozen=True, slots=True)
class Section:
    """Rows under one label; the first cell of each row names the row."""

    label: str
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True, slots=True)
class Note:
    """A remark below the table, led by the mark that it explains."""

    text: str
    mark: Mark = ""


@dataclass(frozen=True, slots=True)
class Grid:
    """A table.

    Attributes:
        caption: what it shows.
        headings: of the column of section labels, of that of row names, then of the others.
        sections: in order.
        notes: below it.
    """

    caption: str
    headings: tuple[Heading, ...]
    sections: tuple[Section, ...]
    notes: tuple[Note, ...] = ()

    def __post_init__(self) -> None:
        """Refuse rows of another length than the headings.

        Raises:
            ValueError: a row has too few or too many cells.
        """
        for section in self.sections:
            for row in section.rows:
                if len(row) + 1 != len(self.headings):
                    message = f"a row of {section.label!r} has {len(row)} cells"
                    message += f", expected {len(self.headings) - 1}"
                    raise ValueError(message)

    @property
    def ranked(self) -> bool:
        """Whether any text is marked as best or second best."""
        return any(
            span.tone in {"best", "second"}
            for section in self.sections
            for row in section.rows
            for cell in row
            for span in cell.spans
        )

    def groups(self) -> list[tuple[str, int]]:
        """Groups of neighbouring columns with their widths; ungrouped columns stand alone."""
        widths: list[tuple[str, int]] = []
        for heading in self.headings:
            if heading.group and widths and widths[-1][0] == heading.group:
                widths[-1] = (heading.group, widths[-1][1] + 1)
            else:
                widths.append((heading.group, 1))
        return widths


def plain(text: str, tone: Tone = "plain", mark: Mark = "") -> Cell:
    """A cell of one text."""
    return Cell((Span(text, tone),), mark)


def csv_text(text: str) -> str:
    """Text that a spreadsheet shows as it is: what begins a formula is led by an apostrophe."""
    shown = line(text, CSV_CHARACTERS)
    return f"'{shown}" if shown.startswith(("=", "+", "-", "@")) else shown


def plain_number(number: float) -> float:
    """Counts without a decimal point, as csv prints them."""
    return int(number) if number.is_integer() else number

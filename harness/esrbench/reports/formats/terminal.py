"""A terminal: columns that do not fit stand in another table below, which names the rows again."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain, groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from esrbench.plaintext import PLAIN, in_ascii, line, sentence
from esrbench.reports.table import CELL_CHARACTERS, DAGGERS, SUBSCRIPTS, legend

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
    from rich.segment import Segment
    from rich.table import Table as RichTable
    from rich.text import Text

    from esrbench.reports.table import Align, Heading, Table, TableCell, Tone

    Pieces = list[tuple[str, str]]
    """Texts of a line, each with its style."""
    Lines = list[tuple[int, Pieces]]
    """The content of a cell: its lines, each with its width in characters."""

STYLES: Final[dict[Tone, str]] = {
    "plain": "",
    "best": "bold",
    "second": "underline",
    "strong": "bold yellow",
    "good": "green",
    "doubtful": "yellow",
    "wrong": "bold red",
    "faint": "dim",
}
PLACES: Final[dict[Tone, str]] = {"best": "\N{SUPERSCRIPT ONE}", "second": "\N{SUPERSCRIPT TWO}"}
"""Signs that replace bold and underline if a terminal has neither."""
SENTENCE: Final = 24
"""Least width, in characters, to which sentences are broken."""
NOTHING: Final[tuple[int, Pieces]] = (0, [])
"""An empty line, for a cell with fewer lines than others in its row."""


def render(table: Table) -> RenderableType:
    """A table as an object that rich prints; it fits the console's width and abilities."""
    return _Rendered(table)


class _Rendered:
    """Prints a table on any console."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Caption and lead, tables, notes and warnings, the outcome."""
        from rich.text import Text

        table = self._table
        styled = console.is_terminal and not console.is_dumb_terminal
        if table.caption:
            yield Text(_line(table.caption), style="bold")
        yield from (Text(_line(each.text), style=STYLES[each.tone]) for each in table.lead)
        if any(section.rows for section in table.sections):
            yield from _tables(table, console, options, styled=styled)
        notes = [f"{DAGGERS[note.mark]} {note.text}".lstrip() for note in table.notes]
        if table.ranked:
            places = ("bold", "underlined") if styled else (PLACES["best"], PLACES["second"])
            notes.insert(0, legend(*places))
        yield from (Text(f"- {_line(note)}", style="dim") for note in notes)
        for notice in table.notices:
            said = f"warning ({notice.code}): {sentence(notice.message)} {notice.advice}"
            yield Text(_line(said), style="yellow")
        if table.outcome:
            yield Text(_line(table.outcome.text), style=STYLES[table.outcome.tone])


def _line(text: str) -> str:
    return line(text, CELL_CHARACTERS)


def _tables(
    table: Table, console: Console, options: ConsoleOptions, *, styled: bool
) -> Iterator[RenderableType | Segment]:
    """The table in as few parts as the width allows; columns move closer if that saves a part.

    rich breaks sentences into lines, which takes seconds for a thousand rows. So tables that need
    no breaking are set here, in the way of rich.
    """
    shown = _styled_cell if styled else _plain_cell
    sections = [
        [list(map(shown, row)) for row in table.rows(section)] for section in table.sections
    ]
    headings = [_heading(heading) for heading in table.headings]
    if options.ascii_only:  # before widths are known: some signs become two
        headings = list(map(_in_ascii, headings))
        sections = [[list(map(_in_ascii, row)) for row in rows] for rows in sections]
    columns = zip(headings, *(row for section in sections for row in section), strict=True)
    widths = [max([width for cell in column for width, _ in cell]) for column in columns]
    names = 1 + table.labelled
    # Long sentences are broken into lines before a column moves to another part.
    prose = [
        heading.prose and own > SENTENCE and index >= names
        for index, (heading, own) in enumerate(zip(table.headings, widths, strict=True))
    ]
    least = [SENTENCE if broken else own for own, broken in zip(widths, prose, strict=True)]
    width = options.max_width
    airy, tight = (_parts(least, names, width, gap) for gap in (2, 1))
    gap, parts = (2, airy) if len(airy) <= len(tight) else (1, tight)
    for part in parts:
        grid = _Grid(
            [headings[index] for index in part],
            [[[row[index] for index in part] for row in rows] for rows in sections],
            [table.headings[index].align for index in part],
            [widths[index] for index in part],
            [prose[index] for index in part],
            [STYLES[section.tone] for section in table.sections],
            gap,
            any(len(section.rows) > 1 or not section.label for section in table.sections),
            styled,
        )
        if not grid.headed or grid.width > width:
            yield _broken(grid, names)
        else:
            yield from grid.segments(console)


def _parts(widths: Sequence[int], names: int, room: int, gap: int) -> list[list[int]]:
    """Columns in groups that fit the width, in order; each group begins with those of names."""
    first = list(range(names))
    taken = 1 + sum(widths[index] + gap for index in first)  # the box begins with a space
    parts, used = [list(first)], taken
    for index in range(names, len(widths)):
        if used + widths[index] + gap > room and len(parts[-1]) > names:
            parts.append(list(first))
            used = taken
        parts[-1].append(index)
        used += widths[index] + gap
    return parts


@dataclass(frozen=True, slots=True)
class _Grid:
    """Columns that stand beside one another, with or without a head.

    Attributes:
        headings: one cell for each column; empty cells for a table without a head.
        sections: rows of cells.
        aligns: alignment of each column.
        widths: width of each column in characters.
        prose: whether each column holds sentences to be broken.
        styles: style of each section.
        gap: spaces between columns.
        apart: an empty line stands between sections.
        styled: lines are printed in styles; else a line of a cell is one text.
    """

    headings: list[Lines]
    sections: list[list[list[Lines]]]
    aligns: list[Align]
    widths: list[int]
    prose: list[bool]
    styles: list[str]
    gap: int
    apart: bool
    styled: bool

    @property
    def headed(self) -> bool:
        """Whether there is a head; the box that draws its rule adds one space at the edge."""
        return any(width for cell in self.headings for width, _ in cell)

    @property
    def width(self) -> int:
        """Length of a line under a heading, in characters."""
        return 2 + sum(self.widths) + self.gap * (len(self.widths) - 1)

    def segments(self, console: Console) -> Iterator[Segment]:
        """A grid with a head; in one piece where nothing is styled, since rich handles each."""
        from rich.segment import Segment

        if not self.styled:
            whole = "\n".join("".join([text for text, _ in pieces]) for pieces, _ in self._lines())
            yield Segment(f"{whole}\n")
            return
        for whole_line, style in self._lines():
            row = console.get_style(style)
            for own, pieces in groupby(whole_line, itemgetter(1)):
                yield Segment("".join(text for text, _ in pieces), console.get_style(own) + row)
            yield Segment.line()

    def _lines(self) -> Iterator[tuple[Pieces, str]]:
        """Lines, each with the style of its section."""
        empty: Pieces = [(" " * self.width, "")]
        plain = self._plain_rows()
        yield empty, ""
        for pieces in self._row(self.headings, bottom=True):
            yield pieces, ""
        yield [(f" {'─' * (self.width - 2)} ", "")], ""
        filled = [
            (rows, style) for rows, style in zip(self.sections, self.styles, strict=True) if rows
        ]
        for number, (rows, style) in enumerate(filled):
            if number and self.apart:
                yield empty, ""
            for pieces in chain.from_iterable(map(self._row if self.styled else plain, rows)):
                yield pieces, style
        yield empty, ""

    def _row(self, cells: Sequence[Lines], *, bottom: bool = False) -> Iterator[Pieces]:
        """The lines of a row; cells with fewer lines stand at its top or bottom."""
        height = max(map(len, cells))
        for number in range(height):
            pieces: Pieces = []
            spaces = 1
            for cell, align, width in zip(cells, self.aligns, self.widths, strict=True):
                at = number - (height - len(cell) if bottom else 0)
                taken, held = cell[at] if 0 <= at < len(cell) else NOTHING
                spare = width - taken
                before = 0 if align == "left" else spare if align == "right" else spare // 2
                pieces.append((" " * (spaces + before), ""))
                pieces += held
                spaces = spare - before + self.gap
            pieces.append((" " * (spaces - self.gap + 1), ""))
            yield pieces

    def _plain_rows(self) -> Callable[[Sequence[Lines]], Iterator[Pieces]]:
        """Gives the same lines of a row that has no styles, each as one text."""
        between = " " * self.gap
        columns = list(zip(map(_PADDED.__getitem__, self.aligns), self.widths, strict=True))

        def row(cells: Sequence[Lines]) -> Iterator[Pieces]:
            for number in range(max(map(len, cells))):
                texts = [
                    padded(*cell[number], width) if number < len(cell) else " " * width
                    for cell, (padded, width) in zip(cells, columns, strict=True)
                ]
                yield [(f" {between.join(texts)} ", "")]

        return row


def _broken(grid: _Grid, names: int) -> RichTable:
    """A grid in which rich breaks the cells that do not fit."""
    from rich.box import SIMPLE_HEAD, Box
    from rich.table import Table as RichTable

    # As an ASCII box it keeps its form where rich would draw a frame, and the rule is in ASCII.
    simple = Box(str(SIMPLE_HEAD), ascii=True)
    made = RichTable(
        box=simple if grid.headed else None,
        show_header=grid.headed,
        pad_edge=False,
        padding=(0, grid.gap - grid.headed, 0, 0),  # and the box's divider
    )
    sentences = any(grid.prose)
    for index, (heading, align) in enumerate(zip(grid.headings, grid.aligns, strict=True)):
        style = "bold" if not grid.headed and index < names else ""
        whole = index < names or (sentences and not grid.prose[index])
        made.add_column(_text(heading), justify=align, overflow="fold", no_wrap=whole, style=style)
    for rows, style in zip(grid.sections, grid.styles, strict=True):
        for row in rows:
            ended = grid.apart and row is rows[-1]
            made.add_row(*map(_text, row), style=style or None, end_section=ended)
    return made


def _text(lines: Lines) -> Text:
    from rich.text import Text

    return Text("\n").join(Text.assemble(*pieces) for _, pieces in lines)


def _set(pieces: Pieces) -> tuple[int, Pieces]:
    """Texts of a line with their width; some letters are two characters wide."""
    width = 0
    for text, _ in pieces:
        if text.isascii() or PLAIN.fullmatch(text):
            width += len(text)
        else:
            from rich.cells import cell_len

            width += cell_len(text)
    return width, pieces


def _in_ascii(cell: Lines) -> Lines:
    return [_set([(in_ascii(text), style) for text, style in pieces]) for _, pieces in cell]


def _heading(heading: Heading) -> Lines:
    """Words over figures stand below one another, so that the figures decide the width."""
    shown = heading.text if heading.align == "left" else heading.text.replace(" ", "\n")
    text = (f"{heading.group}\n{shown}" if heading.group else shown).replace(" [", "\n[")
    return [_set([(each, "bold")]) for each in text.split("\n")]


def _styled_cell(cell: TableCell) -> Lines:
    pieces: Pieces = []
    for span in cell.spans:
        pieces += [("/" * bool(pieces), ""), (_line(span.text), STYLES[span.tone])]
        pieces.append((span.below.translate(SUBSCRIPTS), ""))
    return _with_aside(_set([*pieces, (DAGGERS[cell.mark], "")]), cell)


def _plain_cell(cell: TableCell) -> Lines:
    texts = [
        _line(text) + PLACES.get(tone, "") + (below and below.translate(SUBSCRIPTS))
        for text, tone, below, _ in cell.spans
    ]
    return _with_aside(_set([("/".join(texts) + DAGGERS[cell.mark], "")]), cell)


def _with_aside(first: tuple[int, Pieces], cell: TableCell) -> Lines:
    return [first, _set([(cell.aside, "")])] if cell.aside else [first]


def _left(width: int, pieces: Pieces, room: int) -> str:
    return pieces[0][0] + " " * (room - width)


def _right(width: int, pieces: Pieces, room: int) -> str:
    return " " * (room - width) + pieces[0][0]


def _center(width: int, pieces: Pieces, room: int) -> str:
    before = (room - width) // 2
    return " " * before + pieces[0][0] + " " * (room - width - before)


_PADDED: Final = {"left": _left, "right": _right, "center": _center}
"""What fills the room of a column with a line of one text."""

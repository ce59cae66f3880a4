"""A terminal: columns that do not fit stand in a further table below, rows named again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from esrbench.plaintext import line
from esrbench.reports.table import CELL_CHARACTERS, DAGGERS, SUBSCRIPTS, legend

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
    from rich.table import Table as RichTable
    from rich.text import Text

    from esrbench.reports.table import Cell, Heading, Table, Tone

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
"""What stands for bold and underlined where nothing can be."""


def render(table: Table) -> RenderableType:
    """A table as rich prints it, fitted to the width of the console and to what it can show."""
    return _Rendered(table)


class _Rendered:
    """Prints a table on whatever console it meets."""

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
            yield from _tables(table, options.max_width, styled=styled)
        notes = [f"{DAGGERS[note.mark]} {note.text}".lstrip() for note in table.notes]
        if table.ranked:
            places = ("bold", "underlined") if styled else (PLACES["best"], PLACES["second"])
            notes.insert(0, legend(*places))
        yield from (Text(f"- {_line(note)}", style="dim") for note in notes)
        for notice in table.notices:
            said = f"warning ({notice.code}): {notice.message}. {notice.advice}"
            yield Text(_line(said), style="yellow")
        if table.outcome:
            yield Text(_line(table.outcome.text), style=STYLES[table.outcome.tone])


def _line(text: str) -> str:
    return line(text, CELL_CHARACTERS)


def _tables(table: Table, width: int, *, styled: bool) -> list[RichTable]:
    """In as few parts as the width asks for, closer together where that spares one."""
    sections = [
        [[_cell(cell, styled=styled) for cell in row] for row in table.rows(section)]
        for section in table.sections
    ]
    rows = [row for section in sections for row in section]
    widths = [
        max(len(each) for cell in (_heading(heading), *cells) for each in cell.plain.split("\n"))
        for heading, *cells in zip(table.headings, *rows, strict=True)
    ]
    # Sentences are broken instead, and no column has to make way.
    room = width if not any(heading.prose for heading in table.headings) else sum(widths) * 2
    names = 1 + table.labelled
    airy, tight = (_parts(widths, names, room, gap) for gap in (2, 1))
    gap, parts = (2, airy) if len(airy) <= len(tight) else (1, tight)
    return [_table(table, sections, part, names, gap) for part in parts]


def _parts(widths: Sequence[int], names: int, room: int, gap: int) -> list[list[int]]:
    """Columns in groups that fit the room, in order, those of names in front of each."""
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


def _table(
    table: Table,
    sections: Sequence[Sequence[Sequence[Text]]],
    part: list[int],
    names: int,
    gap: int,
) -> RichTable:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table as RichTable

    headings = [table.headings[index] for index in part]
    headed = any(heading.text for heading in headings)
    made = RichTable(
        box=SIMPLE_HEAD if headed else None,
        show_header=headed,
        pad_edge=False,
        padding=(0, gap - headed, 0, 0),  # and the box's divider
    )
    for index, heading in zip(part, headings, strict=True):
        style = "bold" if not headed and index < names else ""
        made.add_column(
            _heading(heading),
            justify=heading.align,
            overflow="fold",
            no_wrap=index < names,
            style=style,
        )
    apart = any(len(section.rows) > 1 or not section.label for section in table.sections)
    for section, rows in zip(table.sections, sections, strict=True):
        for row in rows:
            cells = [row[index] for index in part]
            ended = apart and row is rows[-1]
            made.add_row(*cells, style=STYLES[section.tone] or None, end_section=ended)
    return made


def _heading(heading: Heading) -> Text:
    """Words over figures stand below one another, so that the figures decide the width."""
    from rich.text import Text

    shown = heading.text if heading.align == "left" else heading.text.replace(" ", "\n")
    return Text((f"{heading.group}\n{shown}" if heading.group else shown).replace(" [", "\n["))


def _cell(cell: Cell, *, styled: bool) -> Text:
    from rich.text import Text

    text = Text()
    for index, span in enumerate(cell.spans):
        text.append("/" if index else "")
        text.append(_line(span.text), style=STYLES[span.tone])
        text.append("" if styled else PLACES.get(span.tone, ""))
        text.append(span.below.translate(SUBSCRIPTS))
    text.append(DAGGERS[cell.mark])
    return text.append(f"\n{cell.aside}" if cell.aside else "")

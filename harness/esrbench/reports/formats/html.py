"""HTML: a ``div`` with the table and its notes, ASCII only, without style sheets or scripts.

Alignment and rules between sections are inline styles, so that the table reads well anywhere. Best
figures are ``strong``, second best ``u``. Headers have scopes. Style sheets can use the classes
``esrbench-table``, ``figure``, ``best``, ``second`` and ``notes``.
"""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Final

from esrbench.plaintext import line
from esrbench.reports.markup import Markup
from esrbench.reports.table import CELL_CHARACTERS, DAGGERS

if TYPE_CHECKING:
    from esrbench.reports.table import Heading, Section, Table

_PADDED: Final = 'style="padding:0 .5em"'


def render(table: Table) -> str:
    """The element; the table's lead stands in paragraphs before the table."""
    caption = [f"<caption>{html_text(table.caption)}</caption>"] if table.caption else []
    lines = [
        '<div class="esrbench-table">',
        *(f"<p>{each}</p>" for each in MARKUP.lead(table)),
        '<table style="border-collapse:collapse">',
        *caption,
        "".join(f'<colgroup span="{width}"></colgroup>' for _, width in table.groups()),
        *_headings(table),
        *(each for section in table.sections for each in _section(table, section)),
        "</table>",
    ]
    notes = MARKUP.notes(table)
    if notes:
        lines += ['<ul class="notes">', *(f"<li>{note}</li>" for note in notes), "</ul>"]
    return "\n".join([*lines, "</div>"]) + "\n"


def _section(table: Table, section: Section) -> list[str]:
    lines = ['<tbody style="border-top:1px solid">']
    first = int(table.labelled)
    for index, row in enumerate(table.rows(section)):
        cells = []
        if table.labelled and index == 0:
            cells.append(
                f'<th scope="rowgroup" rowspan="{len(section.rows)}" style="vertical-align:top">'
                f"{MARKUP.cell(row[0])}</th>"
            )
        cells.append(f'<th scope="row" style="text-align:left">{MARKUP.cell(row[first])}</th>')
        for heading, cell in zip(table.headings[first + 1 :], row[first + 1 :], strict=True):
            cells.append(f"<td {_attributes(heading)}>{MARKUP.cell(cell)}</td>")
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return [*lines, "</tbody>"]


def _attributes(heading: Heading) -> str:
    kind = "text" if heading.align == "left" else "figure"
    return f'class="{kind}" style="text-align:{heading.align};padding:0 .5em"'


def _headings(table: Table) -> list[str]:
    """One row of headings, or two where columns are grouped."""
    if not any(heading.text for heading in table.headings):
        return []
    grouped = any(heading.group for heading in table.headings)
    top, below, at = [], [], 0
    for group, width in table.groups():
        texts = [html_text(heading.text) for heading in table.headings[at : at + width]]
        if group:
            scope = f'scope="colgroup" colspan="{width}"' if width > 1 else 'scope="col"'
            top.append(f"<th {scope} {_PADDED}>{html_text(group)}</th>")
            below += [f'<th scope="col" {_PADDED}>{text}</th>' for text in texts]
        else:
            rows = ' rowspan="2"' if grouped else ""
            top.append(f'<th scope="col"{rows} {_PADDED}>{texts[0]}</th>')
        at += width
    rows_of_cells = [f"<tr>{''.join(cells)}</tr>" for cells in (top, below) if cells]
    return ["<thead>", *rows_of_cells, "</thead>"]


def html_text(text: str) -> str:
    """Text that a browser shows as it is, in a page of any encoding."""
    flat = html.escape(line(text, CELL_CHARACTERS))
    return flat.encode("ascii", "xmlcharrefreplace").decode("ascii")


MARKUP: Final = Markup(
    text=html_text,
    tones={
        "best": '<strong class="best">%s</strong>',
        "strong": "<strong>%s</strong>",
        "second": '<u class="second">%s</u>',
    },
    below="<sub>%s</sub>",
    marks={
        mark: f'<sup class="{mark}">{html_text(shown)}</sup>' if mark else ""
        for mark, shown in DAGGERS.items()
    },
)

"""GitHub Markdown: best figures bold, second best underlined (``<ins>``), notes as a list."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING, Final

from esrbench.plaintext import line
from esrbench.reports.markup import Markup
from esrbench.reports.table import CELL_CHARACTERS, DAGGERS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esrbench.reports.table import Section, Table

_START: Final = re.compile(r"^(\d*)([#+.)-])(?=[#\s]|$)")
"""Text that would begin a heading or a list."""
_LINK: Final = re.compile(
    r"(?<=@)(?=\w)|(?<=:)(?=//)|(?i:(?<=www)(?=\.))|(?<=#)(?=\d)|(?<=GH-)(?=\d)"
)
"""Places where an empty comment splits a mention, an address or an issue number.

GitHub makes links of them even from escaped characters.
"""


def render(table: Table) -> str:
    """A heading, what leads the table, the table, its notes, then folded sections."""
    strong = [each for each in table.lead if each.tone == "strong"]
    strong[:0] = [table.outcome] if table.outcome else []
    plain = [each.text.rstrip(".") + "." for each in table.lead if each.tone != "strong"]
    shown = [section for section in table.sections if not section.folded]
    parts = [
        f"### {markdown_text(table.caption)}" if table.caption else "",
        "\n\n".join(f"**{markdown_text(each.text)}**" for each in strong),
        markdown_text(" ".join(plain)),
        _lines(table, shown) if shown else "",
        "\n".join(f"- {note}" for note in MARKUP.notes(table)),
    ]
    for section in table.sections:
        if section.folded:
            summary = f"<details><summary>{html.escape(section.folded)}</summary>"
            parts += [summary, _lines(table, [section]), "</details>"]
    return "\n\n".join(filter(None, parts)) + "\n"


def _lines(table: Table, sections: Sequence[Section]) -> str:
    """Headings and rows of some of a table's sections."""
    from tabulate import tabulate

    head = [markdown_text(f"{each.group} {each.text}".strip()) for each in table.headings]
    rows = [
        list(map(MARKUP.cell, row)) for each in sections for row in table.rows(each, repeated=True)
    ]
    return tabulate(
        rows,
        head,
        tablefmt="pipe",
        colalign=[heading.align for heading in table.headings] if rows else None,
        disable_numparse=True,
    )


def markdown_text(text: str) -> str:
    """Text that GitHub shows as it is, also within a table: no markup, link, image or mention."""
    flat = html.escape(line(text, CELL_CHARACTERS), quote=False)
    escaped = re.sub(r"([\\`*_\[\]|~$])", r"\\\1", flat)
    return _LINK.sub("<!-- -->", _START.sub(r"\1\\\2", escaped))


MARKUP: Final = Markup(
    text=markdown_text,
    tones={"best": "**%s**", "strong": "**%s**", "second": "<ins>%s</ins>"},
    below="<sub>%s</sub>",
    marks=DAGGERS,
)

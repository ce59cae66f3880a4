"""Common parts of Markdown, LaTeX and HTML: cells, leads and notes in a markup language."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from esrbench.plaintext import sentence
from esrbench.reports.table import legend

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from esrbench.reports.table import Mark, Span, Table, TableCell, Tone


@dataclass(frozen=True, slots=True)
class Markup:
    """A markup language.

    Attributes:
        text: escapes a text, so that it is shown as it is.
        tones: templates with a ``%s`` for the text; ``strong``, ``best`` and ``second``.
        below: template with a ``%s`` for a subscript.
        marks: marks that are not printed as they are.
        cite: template with a ``%s`` for the key of a publication; empty if none is cited.
    """

    text: Callable[[str], str]
    tones: Mapping[Tone, str]
    below: str
    marks: Mapping[Mark, str]
    cite: str = ""

    def span(self, span: Span) -> str:
        """A text with its tone and its subscript."""
        text = self.tones.get(span.tone, "%s").replace("%s", self.text(span.text))
        if span.cite:
            text += self.cite.replace("%s", span.cite)
        return text + (self.below.replace("%s", self.text(span.below)) if span.below else "")

    def cell(self, cell: TableCell) -> str:
        """Everything in a cell."""
        shown = "/".join(map(self.span, cell.spans)) + self.marks[cell.mark]
        return f"{shown} {self.text(cell.aside)}" if cell.aside else shown

    def lead(self, table: Table) -> list[str]:
        """The outcome, then the lead of the table."""
        return [self.span(each) for each in (table.outcome, *table.lead) if each]

    def notes(self, table: Table) -> list[str]:
        """The notes below the table: the meaning of marks, remarks, warnings."""
        best, second = self.tones["best"], self.tones["second"]
        notes = [legend(best % "bold", second % "underlined")] if table.ranked else []
        notes += [f"{self.marks[n.mark]} {self.text(n.text)}".lstrip() for n in table.notes]
        for notice in table.notices:
            code = self.tones["strong"].replace("%s", self.text(notice.code))
            notes.append(f"{code}: {self.text(f'{sentence(notice.message)} {notice.advice}')}")
        return notes

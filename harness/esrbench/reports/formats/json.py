"""JSON: everything that is known, unrounded."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from esrbench.reports.table import Table


def render(table: Table) -> str:
    """The table's document, or its records if it has no document."""
    document = table.document() if callable(table.document) else table.document
    return json_text(table.plain_records() if document is None else document)


def json_text(document: Any) -> str:
    """A document as JSON; invisible characters are escaped by their numbers."""
    text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)
    return "\n".join(map(_escaped, text.split("\n"))) + "\n"


def _escaped(text: str) -> str:
    """A line of JSON with the same meaning, in which every character is visible."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else json.dumps(each)[1:-1] for each in text)

"""CSV: unrounded values in base units, one row for each record; absent values are empty."""

from __future__ import annotations

import io
from csv import DictWriter
from typing import TYPE_CHECKING, Any

from esrbench.plaintext import line
from esrbench.reports.table import CELL_CHARACTERS

if TYPE_CHECKING:
    from esrbench.reports.table import Table


def render(table: Table) -> str:
    """The table's records."""
    # pandas is not used, because its import takes longer than everything else.
    text = io.StringIO()
    records = table.plain_records()
    columns = dict.fromkeys(key for record in records for key in record)
    writer = DictWriter(text, list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _field(each[key]) for key in each} for each in records)
    return text.getvalue()


def _field(value: Any) -> Any:
    """Counts without a decimal point, lists with commas.

    An apostrophe goes before text that a spreadsheet would read as a formula.
    """
    if isinstance(value, list | tuple):
        value = ", ".join(map(str, value))
    if isinstance(value, str):
        shown = line(value, CELL_CHARACTERS)
        return f"'{shown}" if shown.startswith(("=", "+", "-", "@")) else shown
    return int(value) if isinstance(value, float) and value.is_integer() else value

"""Records that a notebook shows as tables."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from esrbench.protocol import Frozen

if TYPE_CHECKING:
    import pandas as pd

TABLES = "esrbench.reports.notebook"
"""Module whose ``table_of`` makes the table of a record.

It is named, not imported: records know nothing of reports, and only a notebook asks for a table.
"""


class Tabular(Frozen):
    """A record that is also a table, as data frame and as HTML."""

    def to_dataframe(self) -> pd.DataFrame:
        """Its rows as a data frame: plain values in base units, None where there is none.

        Columns are of objects, so that counts stay whole beside absent values.
        """
        frame: pd.DataFrame = self._table().to_dataframe()
        return frame

    def _repr_html_(self) -> str:
        """What a notebook shows: the same table that ``--format html`` gives."""
        from_table: str = import_module("esrbench.reports.formats.html").render(self._table())
        return from_table

    def _table(self) -> Any:
        return import_module(TABLES).table_of(self)

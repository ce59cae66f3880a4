"""Formats of tables. Every module in this folder is one format.

Each has ``render(table)``, which returns text, or for a terminal an object that rich prints.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rich.console import RenderableType

    from esrbench.reports.table import Table

CITING: Final = frozenset({"latex", "csv", "json"})
"""Formats that name publications by their keys; others number them in a list below the table."""


def format_names() -> tuple[str, ...]:
    """Names of all formats; none is imported."""
    return tuple(module.name for module in iter_modules(__path__))


def render(table: Table, form: str) -> RenderableType:
    """A table in a format.

    Args:
        table: any table.
        form: one of ``format_names``.

    Returns:
        A document that ends with a line break, or for ``terminal`` an object that rich prints.
    """
    written: RenderableType = import_module(f"{__name__}.{form}").render(
        table if form in CITING else table.numbered()
    )
    return written

"""The forms a table can take, one module each: a module that stands here is a format.

Each has ``render(table)``, which returns text, or what rich prints on a terminal.
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
        table: any.
        form: one of ``format_names``.

    Returns:
        A document that ends its last line, or for ``terminal`` what rich prints.
    """
    written: RenderableType = import_module(f"{__name__}.{form}").render(
        table if form in CITING else table.numbered()
    )
    return written

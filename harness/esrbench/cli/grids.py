"""How commands print a ``Grid`` in the form that was asked for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from esrbench.cli.console import results
from esrbench.errors import UsageError

if TYPE_CHECKING:
    from esrbench.reports.grid import Grid

GridFormat = Literal["terminal", "markdown", "latex", "html"]

LabelOption = Annotated[str, typer.Option(help="For references in LaTeX.")]


def check_label(label: str) -> None:
    """Raise ``UsageError`` for a label that LaTeX could read as something else."""
    if not re.fullmatch(r"[A-Za-z0-9:._-]+", label):
        message = f"--label {label!r}: expected letters, digits and :._- only"
        raise UsageError(message, advice="For example tab:comparison.")


def print_grid(grid: Grid, form: GridFormat, *, label: str) -> None:
    """Print a table on stdout; bold and underlined only on a terminal that can show them.

    Args:
        grid: the table.
        form: of the table.
        label: for references, used by LaTeX only.
    """
    from esrbench.reports.formats import grid_html, grid_latex, grid_markdown, grid_terminal

    if form == "terminal":
        console = results()
        styled = console.is_terminal and not console.is_dumb_terminal
        console.print(grid_terminal(grid, styled=styled))
    elif form == "latex":
        print(grid_latex(grid, label=label), end="")  # noqa: T201
    else:
        render = {"markdown": grid_markdown, "html": grid_html}[form]
        print(render(grid), end="")  # noqa: T201

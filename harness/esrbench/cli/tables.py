"""Prints a ``Table`` in the format that was asked for."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from esrbench.cli.console import again, messages, pasted, pointer, results
from esrbench.errors import UsageError
from esrbench.plaintext import plural
from esrbench.reports.formats import format_names, render

if TYPE_CHECKING:
    from esrbench.reports.table import Table

    Form = str
else:
    Form = Literal[format_names()]  # all formats

FormatOption = Annotated[Form, typer.Option("--format", help="Form of the table.")]
NotesOption = Annotated[
    bool,
    typer.Option("--notes", help="Print all notes below the table, not only those that it needs."),
]
LabelOption = Annotated[
    str | None, typer.Option(help="Label for references in LaTeX.", show_default="of the table")
]


def check_label(label: str | None) -> None:
    """Raise ``UsageError`` for a label that LaTeX could read as something else."""
    if label is not None and not re.fullmatch(r"[A-Za-z0-9:._-]+", label):
        message = f"--label {label!r}: expected letters, digits and :._- only"
        raise UsageError(message, advice="For example tab:comparison.")


def print_table(
    table: Table,
    form: str = "terminal",
    *,
    label: str | None = None,
    notes: bool = False,
    hint: bool = True,
    as_json: bool = False,
) -> None:
    """Print a table on stdout.

    Args:
        table: any table.
        form: one of ``format_names()``.
        label: label for references in LaTeX, instead of the table's own.
        notes: print the table's details below it.
        hint: print how to see these details.
        as_json: print JSON, whatever the form.
    """
    hidden = 0 if notes else len(table.details)
    table = table.detailed() if notes else table
    if form == "terminal" and not as_json:
        pointing = (
            notice.model_copy(update={"advice": pasted(f"{notice.advice}{pointer(notice.code)}")})
            for notice in table.notices
        )
        table = replace(table, notices=tuple(pointing))
    rendered = render(replace(table, label=label or table.label), "json" if as_json else form)
    if isinstance(rendered, str):
        print(rendered, end="")  # noqa: T201
    else:
        results().print(rendered, crop=False)  # nothing is wider, and checking takes long
    if hint and hidden and not as_json and form == "terminal":
        more = plural(hidden, "more note")
        messages().print(f"hint: `{again('--notes')}` shows {more}", markup=False)

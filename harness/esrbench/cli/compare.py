"""``esrbench compare``: the comparison table of a paper, from stored records."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from esrbench.cli.console import JsonOption, messages, open_registry, print_notices
from esrbench.cli.options import ClassOption, ResultsOption
from esrbench.cli.tables import (
    FormatOption,
    LabelOption,
    NotesOption,
    check_label,
    print_table,
)
from esrbench.errors import UsageError
from esrbench.runs.store import Store, default_results

if TYPE_CHECKING:
    from collections.abc import Sequence


def compare_command(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="Entries by name or folder, in the table's order.",
            show_default="all with records, by params",
        ),
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(
            help="Data sets or folders, as in set5,set14,bsd100,./mine. Repeatable.",
            show_default="all with records",
        ),
    ] = None,
    scale: Annotated[
        list[str] | None,
        typer.Option(
            help="Upscaling factors, as in 2,3,4. Repeatable.", show_default="all with records"
        ),
    ] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option(
            help="Metrics by key (`esrbench list metrics`), separated by commas. Repeatable.",
            show_default="params,macs_ntire2022,psnr_y,ssim_y",
        ),
    ] = None,
    forward_class: ClassOption = None,
    published: Annotated[
        bool,
        typer.Option("--published", help="Show published figures of networks that were not run."),
    ] = False,
    table_format: FormatOption = "terminal",
    caption: Annotated[str | None, typer.Option(help="Instead of the table's title.")] = None,
    label: LabelOption = None,
    notes: NotesOption = False,
    bibliography: Annotated[
        Path | None,
        typer.Option(
            "--references", help="New .bib file for the publications that LaTeX tables cite."
        ),
    ] = None,
    folder: ResultsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print a paper's comparison table of stored records, best and second best marked.

    Rows are grouped by scale; the columns are complexity, then PSNR and SSIM on Y of each data
    set. What was not run is a missing cell, with the commands that would measure it on stderr.
    """
    from esrbench.data.datasets import name_in_records
    from esrbench.entries.registry import resolve_names
    from esrbench.reports.comparing import build_comparison
    from esrbench.reports.comparison import comparison_table
    from esrbench.reports.comparison_sources import DEFAULT_COLUMNS, Wanted, write_references

    check_label(label)
    if bibliography is not None:
        write_references(bibliography)
    registry = open_registry()
    wanted = Wanted(
        entries=tuple(resolve_names(registry, names or ())),
        data=tuple(map(name_in_records, _listed("--data", data))),
        scales=tuple(map(_scale, _listed("--scale", scale))),
        columns=_listed("--columns", columns) or DEFAULT_COLUMNS,
        forward_class=forward_class,
        published=published,
    )
    records, warnings = Store(folder or default_results()).load()
    print_notices(warnings)
    comparison = build_comparison(records, wanted, registry)
    print_notices(comparison.notices)
    table = comparison_table(comparison)
    table = replace(table, caption=caption or table.caption)
    print_table(table, table_format, label=label, notes=notes, as_json=as_json)
    if comparison.commands:
        messages().print("hint: to fill the table, run:", markup=False)
        for command in comparison.commands:
            messages().print(f"  {command}", markup=False)


def _listed(option: str, texts: Sequence[str] | None) -> tuple[str, ...]:
    """Parts of values separated by commas, each once.

    Raises:
        UsageError: an empty part.
    """
    parts = [part.strip() for text in texts or () for part in text.split(",")]
    if not all(parts):
        message = f"{option} {','.join(texts or ())!r}: expected names separated by commas"
        raise UsageError(message, advice="Leave out the empty one.")
    return tuple(dict.fromkeys(parts))


def _scale(text: str) -> int:
    """A scale, as ``4`` or ``x4``.

    Raises:
        UsageError: not a positive number.
    """
    digits = text.removeprefix("x")
    if digits.isdecimal() and int(digits) > 0:
        return int(digits)
    message = f"--scale {text!r}: expected numbers separated by commas"
    raise UsageError(message, advice="For example 2,3,4.")

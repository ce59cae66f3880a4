"""``esrbench leaderboard``: rank stored records by an edition's rule."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.console import JsonOption, print_json, print_notices, results
from harness.errors import UsageError
from harness.reports import tables
from harness.reports.tables import TableFormat
from harness.store import Store, default_results

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.ranking.rules import Rule
    from harness.records import RunRecord


def leaderboard_command(
    rule: Annotated[str, typer.Option(help="Edition whose rule ranks.")] = "ntire2022",
    data: Annotated[
        str | None, typer.Option(help="Data set name.", show_default="of the newest record")
    ] = None,
    scale: Annotated[
        int | None, typer.Option(help="Upscaling factor.", show_default="of the newest record")
    ] = None,
    forward_class: Annotated[
        str | None,
        typer.Option(
            "--class",
            help="Precision, layout and compilation, such as fp16.",
            show_default="of the newest record",
        ),
    ] = None,
    table_format: Annotated[TableFormat, typer.Option("--format", help="Form of the table.")] = (
        "terminal"
    ),
    folder: Annotated[
        Path | None,
        typer.Option("--results", help="Folder of run records.", show_default="results"),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Print the challenge table of the newest comparable records."""
    from harness.ranking.rules import get_rule

    chosen_rule = get_rule(rule)
    store = Store(folder or default_results())
    records, notices = store.load()
    print_notices(notices)
    wanted = [
        record
        for record in records
        if data in {None, record.data.name} and scale in {None, record.entry.scale}
    ]
    if not wanted:
        known = sorted({f"{record.data.name} x{record.entry.scale}" for record in records})
        advice = f"Stored are runs on: {', '.join(known)}." if known else "Run `esrbench run`."
        message = f"{store.runs}: no matching records"
        raise UsageError(message, advice=advice)
    print_board(
        wanted, chosen_rule, "json" if as_json else table_format, forward_class=forward_class
    )


def print_board(
    records: Sequence[RunRecord],
    rule: Rule,
    table_format: TableFormat,
    *,
    forward_class: str | None = None,
) -> None:
    """Print the leaderboard of records in a format."""
    from harness.ranking.leaderboard import build_leaderboard

    board = build_leaderboard(records, rule, forward_class=forward_class)
    if table_format == "json":
        print_json(board.model_dump(mode="json"))
    elif table_format == "terminal":
        results().print(tables.leaderboard_terminal(board))
    else:
        render = {
            "markdown": tables.leaderboard_markdown,
            "csv": tables.leaderboard_csv,
        }[table_format]
        print(render(board), end="")  # noqa: T201

"""``esrbench leaderboard``: rank stored records, or published entries, by an edition's rule."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from esrbench.cli.console import JsonOption, print_json, print_notices, results
from esrbench.cli.options import ClassOption, ResultsOption
from esrbench.errors import UsageError
from esrbench.reports import tables
from esrbench.reports.tables import TableFormat
from esrbench.runs.store import Store, default_results

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esrbench.ranking.board import Leaderboard
    from esrbench.ranking.rule import Rule
    from esrbench.records import RunRecord


def leaderboard_command(
    rule: Annotated[
        str, typer.Option(help="Edition whose rule ranks, or a rule in TOML.")
    ] = "ntire2022",
    official: Annotated[
        str | None,
        typer.Option(metavar="EDITION", help="Rank an edition's published entries anew."),
    ] = None,
    with_official: Annotated[
        bool,
        typer.Option(
            "--with-official", help="Set runs among the published entries of the rule's edition."
        ),
    ] = False,
    data: Annotated[
        str | None, typer.Option(help="Data set name.", show_default="of the newest record")
    ] = None,
    scale: Annotated[
        int | None, typer.Option(help="Upscaling factor.", show_default="of the newest record")
    ] = None,
    forward_class: ClassOption = None,
    relative_to: Annotated[
        str | None,
        typer.Option(
            metavar="ENTRY",
            help="Entry whose runtime scores are relative to, or `published`.",
            show_default="the edition's baseline",
        ),
    ] = None,
    table_format: Annotated[TableFormat, typer.Option("--format", help="Form of the table.")] = (
        "terminal"
    ),
    folder: ResultsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the challenge table of the newest comparable records."""
    from esrbench.ranking.rules import get_rule

    form: TableFormat = "json" if as_json else table_format
    if official is not None:
        given = {
            "--with-official": with_official,
            "--data": data,
            "--scale": scale,
            "--class": forward_class,
            "--relative-to": relative_to,
        }
        unused = [option for option, value in given.items() if value]
        if unused:
            message = f"--official shows published entries only: {', '.join(unused)} has no use"
            raise UsageError(message, advice="Leave it out, or use --rule with --with-official.")
        from esrbench.ranking.published import official_leaderboard

        show_board(official_leaderboard(get_rule(official)), form)
        return
    if with_official and relative_to is not None:
        message = "--relative-to has no use with --with-official, which leaves runtimes out"
        raise UsageError(message, advice="Leave one of them out.")
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
    if with_official:
        from esrbench.ranking.merged import merged_leaderboard

        show_board(merged_leaderboard(wanted, chosen_rule, forward_class=forward_class), form)
        return
    print_board(wanted, chosen_rule, form, forward_class=forward_class, relative_to=relative_to)


def print_board(
    records: Sequence[RunRecord],
    rule: Rule,
    table_format: TableFormat,
    *,
    forward_class: str | None = None,
    relative_to: str | None = None,
) -> None:
    """Print the leaderboard of records in a format."""
    from esrbench.ranking.leaderboard import build_leaderboard

    board = build_leaderboard(records, rule, forward_class=forward_class, relative_to=relative_to)
    show_board(board, table_format)


def show_board(board: Leaderboard, table_format: TableFormat) -> None:
    """Print a leaderboard in a format."""
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

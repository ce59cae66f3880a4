"""``esrbench leaderboard``: rank stored records, or published entries, by an edition's rule."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from esrbench.cli.console import JsonOption, print_notices
from esrbench.cli.options import ClassOption, ResultsOption
from esrbench.cli.tables import FormatOption, LabelOption, check_label, print_table
from esrbench.errors import UsageError
from esrbench.runs.store import Store, default_results

if TYPE_CHECKING:
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
    table_format: FormatOption = "terminal",
    label: LabelOption = None,
    folder: ResultsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the challenge table of the newest comparable records."""
    from esrbench.ranking.rules import get_rule
    from esrbench.reports.leaderboard import leaderboard_table

    check_label(label)
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

        board = official_leaderboard(get_rule(official))
    elif with_official:
        if relative_to is not None:
            message = "--relative-to has no use with --with-official, which leaves runtimes out"
            raise UsageError(message, advice="Leave one of them out.")
        from esrbench.ranking.merged import merged_leaderboard

        edition = get_rule(rule)
        wanted = _stored(Store(folder or default_results()), data, scale)
        board = merged_leaderboard(wanted, edition, forward_class=forward_class)
    else:
        from esrbench.ranking.leaderboard import build_leaderboard

        edition = get_rule(rule)
        wanted = _stored(Store(folder or default_results()), data, scale)
        board = build_leaderboard(
            wanted, edition, forward_class=forward_class, relative_to=relative_to
        )
    print_table(leaderboard_table(board), table_format, label=label, as_json=as_json)


def _stored(store: Store, data: str | None, scale: int | None) -> list[RunRecord]:
    """Records of a data set and scale, or of all.

    Raises:
        UsageError: there are none.
    """
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
    return wanted

"""The board of a command: its options, and the records for it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from esrbench.cli.console import print_notices
from esrbench.cli.options import ClassOption
from esrbench.errors import UsageError
from esrbench.runs.publication import public_records
from esrbench.runs.store import Store, default_results

if TYPE_CHECKING:
    from pathlib import Path

    from esrbench.ranking.board import Leaderboard
    from esrbench.records import Notice, RunRecord


@dataclass(frozen=True, slots=True)
class BoardOptions:
    """Options of the commands that show a board."""

    rule: Annotated[str, typer.Option(help="Edition whose rule ranks, or a rule in TOML.")] = (
        "ntire2022"
    )
    official: Annotated[
        str | None,
        typer.Option(metavar="EDITION", help="Rank an edition's published entries again."),
    ] = None
    with_official: Annotated[
        bool,
        typer.Option(
            "--with-official",
            help="Rank stored runs among the published entries of the rule's edition.",
        ),
    ] = False
    data: Annotated[
        str | None, typer.Option(help="Data set name.", show_default="of the newest record")
    ] = None
    scale: Annotated[
        int | None, typer.Option(help="Upscaling factor.", show_default="of the newest record")
    ] = None
    forward_class: ClassOption = None
    relative_to: Annotated[
        str | None,
        typer.Option(
            metavar="ENTRY",
            help="Entry whose runtime scores are relative to, or `published`.",
            show_default="the edition's baseline",
        ),
    ] = None
    as_of: Annotated[
        datetime | None,
        typer.Option(
            "--as-of",
            metavar="TIME",
            formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S"],
            help="Show the board as it was at this time (UTC, as `esrbench runs log` prints it).",
            show_default="now",
        ),
    ] = None


def chosen_board(
    options: BoardOptions, *, folder: Path | None, mixed: bool = False, resample: bool = False
) -> tuple[Leaderboard, list[RunRecord], list[Notice]]:
    """The board that the options ask for, the records it was chosen from, and unreadable files.

    Records have no raw samples; ``Store.with_samples`` adds them. For hidden test sets, records and
    board have no names and no scores of images.

    Raises:
        UsageError: options exclude each other, a rule is unknown, or there are no such records.
    """
    from esrbench.ranking.rules import get_rule

    if options.official is not None:
        given = {
            "--with-official": options.with_official,
            "--data": options.data,
            "--scale": options.scale,
            "--class": options.forward_class,
            "--relative-to": options.relative_to,
            "--mix-environments": mixed,
            "--as-of": options.as_of is not None,
        }
        unused = [option for option, value in given.items() if value]
        if unused:
            message = f"--official shows published entries only: {', '.join(unused)} has no effect"
            raise UsageError(message, advice="Leave it out, or use --rule with --with-official.")
        from esrbench.ranking.published import official_leaderboard

        return official_leaderboard(get_rule(options.official)), [], []
    if options.with_official and options.relative_to is not None:
        message = "--relative-to has no effect with --with-official, which leaves runtimes out"
        raise UsageError(message, advice="Leave one of them out.")
    edition = get_rule(options.rule)
    store = Store(folder or default_results())
    records, elsewhere, unread = _stored(store, options.data, options.scale, as_of=options.as_of)
    if options.with_official:
        from esrbench.ranking.merged import merged_leaderboard

        board = merged_leaderboard(records, edition, forward_class=options.forward_class)
        return board, records, unread
    from esrbench.ranking.leaderboard import build_leaderboard

    board = build_leaderboard(
        records,
        edition,
        forward_class=options.forward_class,
        relative_to=options.relative_to,
        mixed=mixed,
        elsewhere=elsewhere,
        resample=resample,
    )
    return board, records, unread


def _stored(
    store: Store,
    data: str | None,
    scale: int | None,
    *,
    as_of: datetime | None,
) -> tuple[list[RunRecord], list[RunRecord], list[Notice]]:
    """Records of a data set and scale, or all; the other records; notices on unreadable files.

    Raises:
        UsageError: there are none.
    """
    # The log has whole seconds.
    until = as_of and as_of.replace(microsecond=999_999, tzinfo=UTC)
    records, notices = store.load(samples=False, until=until)
    records = public_records(records)
    print_notices(notices)
    wanted: list[RunRecord] = []
    others: list[RunRecord] = []
    for record in records:
        fits = data in {None, record.data.name} and scale in {None, record.entry.scale}
        (wanted if fits else others).append(record)
    if not wanted:
        known = sorted({f"{record.data.name} x{record.entry.scale}" for record in records})
        advice = "Run `esrbench run`, or name the folder of records with --results."
        if known:
            advice = f"Stored are runs on: {', '.join(known)}."
        message = f"{store.runs}: no matching records"
        raise UsageError(message, advice=advice)
    return wanted, others, notices

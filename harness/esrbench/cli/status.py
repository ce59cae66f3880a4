"""``esrbench status``: progress of a suite, over all machines that work on it."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from esrbench.cli.console import JsonOption, messages, results
from esrbench.cli.options import ResultsOption
from esrbench.cli.tables import FormatOption, print_table
from esrbench.errors import UsageError
from esrbench.runs.store import Store, default_results

if TYPE_CHECKING:
    from esrbench.reports.table import Table

PAUSE: Final = 5.0
"""Seconds between two updates."""


def status_command(
    challenge: Annotated[
        Path | None,
        typer.Argument(
            help="A challenge.toml, which names its folder of results.",
            show_default="the suites in --results",
        ),
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Repeat every 5 seconds until no suite is running.")
    ] = False,
    table_format: FormatOption = "terminal",
    folder: ResultsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show how far a suite is over all machines: entries, cells, time left, failures.

    It works on any machine that sees the folder of results, and measures nothing.
    """
    from esrbench.challenge.file import read_challenge
    from esrbench.reports.status import status_table
    from esrbench.runs.status import Onlooker

    if watch and (as_json or table_format != "terminal"):
        message = "--watch shows one table after the other, but --json and --format print one"
        raise UsageError(message, advice="Leave out --watch, or --json and --format.")
    where, caption = folder or default_results(), ""
    if challenge is not None:
        given = read_challenge(challenge)
        where, caption = folder or challenge.parent / given.results, given.title
    store = Store(where)
    onlooker = Onlooker(store)

    def look() -> tuple[Table, bool]:
        statuses = onlooker.look()
        under_way = any(each.in_use for each in statuses)
        stored = [] if under_way else store.load_measured(samples=False)[0]
        if statuses:
            passes = [each.newest for one in statuses for each in one.machines if each.newest]
            stored = [record for record in stored if passes and record.created > max(passes)]
        counts = Counter[str](record.status for record in stored)
        return status_table(statuses, counts, caption), under_way

    table, under_way = look()
    while watch and under_way:
        results().clear()
        print_table(table)
        messages().print("Ctrl-C ends this view, not the suite.", style="dim")
        time.sleep(PAUSE)
        table, under_way = look()
    print_table(table, table_format, as_json=as_json)

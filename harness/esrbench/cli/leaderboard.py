"""``esrbench leaderboard``: rank stored records, or published entries, by an edition's rule."""

from __future__ import annotations

from typing import Annotated

import typer

from esrbench.cli.boards import BoardOptions, chosen_board
from esrbench.cli.console import JsonOption, QuietOption, many_objects
from esrbench.cli.options import ResultsOption, expand_options
from esrbench.cli.tables import (
    FormatOption,
    LabelOption,
    NotesOption,
    check_label,
    print_table,
)


@expand_options
def leaderboard_command(
    *,
    options: BoardOptions,
    mixed: Annotated[
        bool,
        typer.Option(
            "--mix-environments",
            help="Rank entries that ran with different Python and torch versions together.",
        ),
    ] = False,
    main: Annotated[
        bool,
        typer.Option(
            "--main-table",
            help="Print the main table of a challenge report: PSNR and runtime of each split.",
        ),
    ] = False,
    table_format: FormatOption = "terminal",
    label: LabelOption = None,
    notes: NotesOption = False,
    folder: ResultsOption = None,
    _quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Print the challenge table of the newest comparable records."""
    from esrbench.reports.leaderboard import leaderboard_table
    from esrbench.reports.main_table import main_table

    check_label(label)
    with many_objects():
        board, _, _ = chosen_board(options, folder=folder, mixed=mixed)
        table = main_table(board) if main else leaderboard_table(board)
        print_table(table, table_format, label=label, notes=notes, as_json=as_json)

"""``esrbench leaderboard``: rank stored records, or published entries, by an edition's rule."""

from __future__ import annotations

from typing import Annotated

import typer

from esrbench.cli.boards import (
    AsOfOption,
    BoardScaleOption,
    DataOption,
    MixedOption,
    OfficialOption,
    RelativeOption,
    RuleOption,
    WithOfficialOption,
    chosen_board,
)
from esrbench.cli.console import JsonOption, QuietOption, many_objects
from esrbench.cli.options import ClassOption, ResultsOption
from esrbench.cli.tables import (
    FormatOption,
    LabelOption,
    NotesOption,
    check_label,
    print_table,
)


def leaderboard_command(
    rule: RuleOption = "ntire2022",
    official: OfficialOption = None,
    with_official: WithOfficialOption = False,
    data: DataOption = None,
    scale: BoardScaleOption = None,
    forward_class: ClassOption = None,
    relative_to: RelativeOption = None,
    as_of: AsOfOption = None,
    mixed: MixedOption = False,
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
        board, _, _ = chosen_board(
            rule=rule,
            official=official,
            with_official=with_official,
            data=data,
            scale=scale,
            forward_class=forward_class,
            relative_to=relative_to,
            mixed=mixed,
            folder=folder,
            as_of=as_of,
        )
        table = main_table(board) if main else leaderboard_table(board)
        print_table(table, table_format, label=label, notes=notes, as_json=as_json)

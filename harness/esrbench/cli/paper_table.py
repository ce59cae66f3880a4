"""``esrbench paper-table``: check the printed complexity of a paper's networks."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from esrbench.cli.console import JsonOption, messages, open_registry
from esrbench.cli.options import scales_option
from esrbench.cli.tables import FormatOption, LabelOption, check_label, print_table
from esrbench.errors import UsageError


def paper_table_command(
    table: Annotated[
        Literal["3"], typer.Argument(help="Table of the AIDN paper (NTIRE 2022).")
    ] = "3",
    scale: Annotated[list[int] | None, scales_option("all")] = None,
    table_format: FormatOption = "terminal",
    label: LabelOption = None,
    as_json: JsonOption = False,
) -> None:
    """Count every network of the AIDN paper's table and judge its printed figures."""
    from esrbench.reports.paper_table import compare_rows, paper_table, printed_rows

    check_label(label)
    rows = [row for row in printed_rows() if scale is None or row.scale in scale]
    if not rows:
        message = f"the table has no rows at x{', x'.join(map(str, scale or []))}"
        raise UsageError(message, advice="It has x2, x3 and x4.")
    with messages().status("counting"):
        compared = list(compare_rows(rows, open_registry()))
    caption = f"AIDN paper (NTIRE 2022), table {table}"
    shown = paper_table(compared, caption=caption)
    print_table(shown, table_format, label=label, as_json=as_json)

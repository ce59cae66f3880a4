"""``esrbench paper-table``: a paper's complexity columns, reproduced or refuted."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from harness.cli.console import JsonOption, messages, open_registry, print_json, results
from harness.errors import UsageError
from harness.metrics import METRICS

STYLES = {
    "exact": "green",
    "rounded": "green",
    "other convention": "yellow",
    "inconsistent": "bold red",
    "not printed": "dim",
}


def paper_table_command(
    table: Annotated[
        Literal["3"], typer.Argument(help="Table of the AIDN paper (NTIRE 2022).")
    ] = "3",
    scale: Annotated[
        list[int] | None, typer.Option(help="Upscaling factor. Repeatable.", show_default="all")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Count every network of the AIDN paper's table and judge its printed figures."""
    from rich.table import Table
    from rich.text import Text

    from harness.reports.paper_table import CONVENTIONS, compare_rows, printed_rows

    rows = [row for row in printed_rows() if scale is None or row.scale in scale]
    if not rows:
        message = f"the table has no rows at x{', x'.join(map(str, scale or []))}"
        raise UsageError(message, advice="It has x2, x3 and x4.")
    with messages().status("counting"):
        compared = list(compare_rows(rows, open_registry()))
    if as_json:
        print_json([row.model_dump(mode="json") for row in compared])
        return
    shown = Table(title=f"AIDN paper (NTIRE 2022), table {table}", title_justify="left")
    shown.add_column("system")
    for heading in ("x", "params [K]", "ours"):
        shown.add_column(heading, justify="right")
    shown.add_column("verdict")
    for heading in ("FLOPs [G]", "by its rule", "aten"):
        shown.add_column(heading, justify="right")
    for heading in ("rule", "verdict", "remark"):
        shown.add_column(heading)
    for row in compared:
        printed = row.printed
        cells = (
            printed.system,
            str(printed.scale),
            printed.params_k,
            f"{row.params / 1e3:.1f}",
            Text(row.params_verdict, STYLES[row.params_verdict]),
            printed.flops_g,
            METRICS["macs_ntire2022"].format(row.flops_by_paper),
            METRICS["macs_aten"].format(row.macs),
            row.flops_origin,
            Text(row.flops_verdict, STYLES[row.flops_verdict]),
            row.remark,
        )
        shown.add_row(*cells, end_section=printed.scale == max(one.scale for one in rows))
    results().print(shown)
    for convention in CONVENTIONS:
        results().print(f"- {convention}", style="dim", markup=False)

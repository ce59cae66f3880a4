"""``esrbench validate``: does a network keep its promises?"""

from __future__ import annotations

from typing import Annotated

import typer

from harness.cli.console import JsonOption, print_json, results
from harness.cli.run import parse_weights
from harness.errors import EXIT_MEASUREMENT_FAILED

MARKS = {
    "passed": "[green]passed[/]",
    "failed": "[bold red]failed[/]",
    "skipped": "[dim]skipped[/]",
}


def validate_command(
    names: Annotated[list[str], typer.Argument(help="Networks to check.")],
    scale: Annotated[
        list[int] | None,
        typer.Option(help="Upscaling factor. Repeatable.", show_default="every one declared"),
    ] = None,
    weights: Annotated[
        list[str] | None, typer.Option(help="NAME=FILE, NAME=random, or FILE for one network.")
    ] = None,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds a worker may be silent.")] = 300,
    as_json: JsonOption = False,
) -> None:
    """Check that networks build, load strictly, upscale any size and are deterministic."""
    from rich.markup import escape
    from rich.table import Table

    from harness.catalog.registry import default_registry
    from harness.evaluation.validation import validate_entry

    registry = default_registry()
    chosen = parse_weights(weights or [], names)
    reports = [
        validate_entry(
            registry.get(name), at, weights=chosen.get(name, "auto"), timeout_seconds=timeout
        )
        for name in names
        for at in scale or registry.get(name).scales
    ]
    if as_json:
        print_json([report.model_dump(mode="json") for report in reports])
    else:
        table = Table()
        for column in ("network", "check", "result", "detail"):
            table.add_column(column, overflow="fold")
        for report in reports:
            for check in report.checks:
                detail = f"{check.detail} {check.fix}".strip()
                row = (f"{report.entry} x{report.scale}", check.name)
                table.add_row(*row, MARKS[check.outcome], escape(detail))
            table.add_section()
        results().print(table)
    if not all(report.passed for report in reports):
        raise typer.Exit(EXIT_MEASUREMENT_FAILED)

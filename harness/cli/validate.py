"""``esrbench validate``: does a network keep its promises?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.console import JsonOption, open_registry, print_json, progress_bar, results
from harness.cli.options import parse_weights
from harness.errors import EXIT_MEASUREMENT_FAILED

if TYPE_CHECKING:
    from harness.evaluation.validation import ValidationReport

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

    from harness.catalog.networks import resolve_weights
    from harness.evaluation.validation import validate_entry

    registry = open_registry()
    chosen = parse_weights(weights or [], names)
    wanted = [
        (registry.get(name), at) for name in names for at in scale or registry.get(name).scales
    ]
    for model, at in wanted:  # all that can be refused is refused before the first worker
        resolve_weights(model, at, chosen.get(model.name, "auto"))
    reports: list[ValidationReport] = []
    with progress_bar() as progress:
        task = progress.add_task("validating", total=len(wanted))
        for model, at in wanted:
            progress.update(task, description=f"{model.name} x{at}")
            choice = chosen.get(model.name, "auto")
            reports.append(validate_entry(model, at, weights=choice, timeout_seconds=timeout))
            progress.advance(task)
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

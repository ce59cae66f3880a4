"""``esrbench validate``: does a network keep its promises?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from esrbench.cli.console import JsonOption, open_registry, print_json, progress_bar, results
from esrbench.cli.options import IsolationOption, TimeoutOption, parse_weights, scales_option
from esrbench.errors import EXIT_MEASUREMENT_FAILED, RegistrationError

if TYPE_CHECKING:
    from esrbench.entries.descriptor import ModelDescriptor
    from esrbench.entries.registry import Registry
    from esrbench.runs.validation import ValidationReport

MARKS = {
    "passed": "[green]passed[/]",
    "warning": "[yellow]warning[/]",
    "failed": "[bold red]failed[/]",
    "skipped": "[dim]skipped[/]",
}


def validate_command(
    names: Annotated[list[str], typer.Argument(help="Networks, or folders of submissions.")],
    scale: Annotated[list[int] | None, scales_option("every one declared")] = None,
    weights: Annotated[
        list[str] | None, typer.Option(help="NAME=FILE, NAME=random, or FILE for one network.")
    ] = None,
    timeout: TimeoutOption = 300,
    isolation: IsolationOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Check that networks build, load strictly, upscale any size and are deterministic.

    Of a submission's folder also its manifest, requirements, weights, code and claims.
    """
    from esrbench.entries.networks import resolve_weights
    from esrbench.runs.validation import unreadable, validate_entry

    registry = open_registry()
    reports: list[ValidationReport] = []
    models: list[ModelDescriptor] = []
    for name in names:
        try:
            models.append(_find(registry, name))
        except RegistrationError as error:
            reports.append(unreadable(name, error))
    chosen = parse_weights(weights or [], [model.name for model in models])
    wanted = [(model, at) for model in models for at in scale or model.scales]
    for model, at in wanted:  # all that can be refused is refused before the first worker
        model.require_scale(at)
        if model.folder is None or model.name in chosen:
            resolve_weights(model, at, chosen.get(model.name, "auto"))
    with progress_bar() as progress:
        task = progress.add_task("validating", total=len(wanted))
        for model, at in wanted:
            progress.update(task, description=f"{model.name} x{at}")
            reports.append(
                validate_entry(
                    model,
                    at,
                    weights=chosen.get(model.name, "auto"),
                    timeout_seconds=timeout,
                    isolation=isolation,
                )
            )
            progress.advance(task)
    if as_json:
        print_json([report.model_dump(mode="json") for report in reports])
    else:
        _print(reports)
    if not all(report.passed for report in reports):
        raise typer.Exit(EXIT_MEASUREMENT_FAILED)


def _find(registry: Registry, name: str) -> ModelDescriptor:
    """The network of a name, or the submission in a folder that need not be among the others."""
    from esrbench.entries.manifest import MANIFEST_NAME
    from esrbench.entries.submissions import read_submission

    folder = Path(name)
    is_path = folder.is_dir() and (folder.name != name or (folder / MANIFEST_NAME).is_file())
    if is_path and name not in registry:
        return read_submission(folder)
    return registry.get(name)


def _print(reports: list[ValidationReport]) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table()
    for column in ("network", "check", "result", "detail"):
        table.add_column(column, overflow="fold")
    for report in reports:
        at = f" x{report.scale}" if report.scale is not None else ""
        for check in report.checks:
            detail = f"{check.detail} {check.fix}".strip()
            row = (f"{escape(report.entry)}{at}", check.name)
            table.add_row(*row, MARKS[check.outcome], escape(detail))
        table.add_section()
    results().print(table)

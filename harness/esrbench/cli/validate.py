"""``esrbench validate``: does a network keep its promises?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer

from esrbench.cli.console import JsonOption, open_registry, progress_bar
from esrbench.cli.options import IsolationOption, TimeoutOption, parse_weights, scales_option
from esrbench.cli.tables import print_table
from esrbench.errors import EXIT_MEASUREMENT_FAILED, RegistrationError
from esrbench.reports.table import Heading, Section, Table, plain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from esrbench.entries.descriptor import ModelDescriptor
    from esrbench.reports.table import Tone
    from esrbench.runs.validation import ValidationReport

TONES: Final[Mapping[str, Tone]] = {
    "passed": "good",
    "warning": "doubtful",
    "failed": "wrong",
    "skipped": "faint",
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
    from esrbench.entries.registry import resolve_names
    from esrbench.runs.validation import unreadable, validate_entry

    registry = open_registry()
    reports: list[ValidationReport] = []
    models: list[ModelDescriptor] = []
    for name in resolve_names(registry, names):
        try:
            models.append(registry.get(name))
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
    print_table(_table(reports), as_json=as_json)
    if not all(report.passed for report in reports):
        raise typer.Exit(EXIT_MEASUREMENT_FAILED)


def _table(reports: Sequence[ValidationReport]) -> Table:
    """A row a check, a section a network and scale."""
    sections = []
    for report in reports:
        at = f" x{report.scale}" if report.scale is not None else ""
        sections.append(
            Section(
                tuple(
                    (
                        plain(f"{report.entry}{at}"),
                        plain(check.name),
                        plain(check.outcome, TONES[check.outcome]),
                        plain(f"{check.detail} {check.fix}".strip()),
                    )
                    for check in report.checks
                )
            )
        )
    names = ("network", "check", "result", "detail")
    headings = tuple(Heading(name, prose=name == "detail") for name in names)
    documents = [report.model_dump(mode="json") for report in reports]
    return Table(headings=headings, sections=tuple(sections), document=documents)

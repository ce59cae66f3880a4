"""``esrbench validate``: check that a network works as it declares."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from esrbench.cli.console import JsonOption, again, messages, open_registry, progress_bar
from esrbench.cli.options import (
    IsolationOption,
    PythonOption,
    TimeoutOption,
    parse_interpreters,
    parse_weights,
    scales_option,
)
from esrbench.cli.tables import print_table
from esrbench.errors import EXIT_MEASUREMENT_FAILED, RegistrationError
from esrbench.reports.table import Heading, Section, Span, Table, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from esrbench.entries.descriptor import ModelDescriptor
    from esrbench.reports.table import Tone
    from esrbench.runs.validation import ValidationReport

TONES: Final[Mapping[str, Tone]] = {
    "passed": "good",
    "warning": "doubtful",
    "failed": "wrong",
    "skipped": "faint",
}
NAMED: Final = 8
"""Number of failed entries that the last line names."""


def validate_command(
    names: Annotated[list[str], typer.Argument(help="Networks, or folders of submissions.")],
    scale: Annotated[list[int] | None, scales_option("every one declared")] = None,
    weights: Annotated[
        list[str] | None, typer.Option(help="NAME=FILE, NAME=random, or FILE for one network.")
    ] = None,
    python: PythonOption = None,
    timeout: TimeoutOption = 300,
    isolation: IsolationOption = "auto",
    fix: Annotated[
        bool,
        typer.Option(
            "--fix",
            help="Write what was found into submission.toml: min_lr_size, pad_multiple, "
            "data_range, and bytes and sha256 of the weights file.",
        ),
    ] = False,
    verbose: Annotated[
        bool,
        typer.Option("--verbose", help="Of several entries, print every check, not only failures."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Check that networks build, load strictly, upscale any size and are deterministic.

    For a submission's folder, also check its manifest, requirements, weights, code and claims. If
    a network fails at some LR sizes, find by trial those that it takes.
    """
    from esrbench.entries.networks import resolve_weights
    from esrbench.entries.registry import resolve_names
    from esrbench.runs.elsewhere import find_interpreters
    from esrbench.runs.validation import unreadable, validate_entry

    registry = open_registry()
    reports: list[ValidationReport] = []
    models: list[ModelDescriptor] = []
    broken: list[ValidationReport] = []
    for name in resolve_names(registry, names):
        try:
            models.append(registry.get(name))
        except RegistrationError as error:
            broken.append(unreadable(name, error))
    wanted = [(model, at) for model in models for at in scale or model.scales]
    whole = verbose or len(broken) + len(wanted) == 1

    def add(report: ValidationReport) -> None:
        reports.append(report)
        if not as_json:
            print_table(_table([report]) if whole else _short(report))

    for report in broken:
        add(report)
    chosen = parse_weights(weights or [], [model.name for model in models])
    interpreters = find_interpreters(
        parse_interpreters(python or []), {model.name: model for model in models}
    )
    for model, at in wanted:  # all that can be refused is refused before the first worker
        model.require_scale(at)
        if model.folder is None or model.name in chosen:
            resolve_weights(model, at, chosen.get(model.name, "auto"))
    for index, (model, at) in enumerate(wanted):
        validate = partial(
            validate_entry,
            scale=at,
            weights=chosen.get(model.name, "auto"),
            timeout_seconds=timeout,
            isolation=isolation,
            interpreter=interpreters.get(model.name),
        )
        # Remove the bar before the report: a live bar would capture output on stdout.
        with progress_bar() as progress:
            progress.add_task(f"{model.name} x{at}", total=len(wanted), completed=index)
            report = _validated(model, validate, fix=fix)
        add(report)
    _conclude(reports, whole=whole, as_json=as_json)


def _conclude(reports: Sequence[ValidationReport], *, whole: bool, as_json: bool) -> None:
    """Print one line on all reports, and end with 4 if a check failed."""
    if as_json:
        print_table(_table(reports), as_json=True)
    elif len(reports) > 1:
        print_table(_lines(_summary(reports)))
    if not whole and not as_json:
        messages().print(f"hint: `{again('--verbose')}` shows every check", markup=False)
    if not all(report.passed for report in reports):
        raise typer.Exit(EXIT_MEASUREMENT_FAILED)


def _validated(
    model: ModelDescriptor, validate: Callable[[ModelDescriptor], ValidationReport], *, fix: bool
) -> ValidationReport:
    """The report of a network; with ``--fix``, that of the submission after it was fixed."""
    if not fix:
        return validate(model)
    report = validate(_as_written(model))
    if model.folder is not None and report.declare and report.scale is not None:
        _fix(model.folder, report.declare, report.scale)
        return validate(_as_written(model))
    why = "it has no submission.toml" if model.folder is None else "it cannot mend what failed"
    why = "no check failed" if report.passed else why
    messages().print(f"{_name(report)}: --fix wrote nothing: {why}", markup=False)
    return report


def _as_written(model: ModelDescriptor) -> ModelDescriptor:
    """A submission as its manifest is now; an earlier scale may have changed it."""
    from esrbench.entries.submissions import read_submission

    return model if model.folder is None else read_submission(Path(model.folder))


def _fix(folder: str, fields: Mapping[str, int | str], scale: int) -> None:
    """Write fields into a submission's manifest, and say so."""
    from esrbench.entries.manifest import MANIFEST_NAME, told, write_fields

    path = Path(folder) / MANIFEST_NAME
    write_fields(path, fields, scale)
    messages().print(f"wrote {told(fields)} into {path}", markup=False)


def _table(reports: Sequence[ValidationReport], outcomes: Collection[str] = TONES) -> Table:
    """One row for each check with one of the outcomes, one section for each network and scale."""
    sections = [
        Section(
            tuple(
                (
                    plain(_name(report)),
                    plain(check.name),
                    plain(check.outcome, TONES[check.outcome]),
                    plain(f"{check.detail} {check.fix}".strip()),
                )
                for check in report.checks
                if check.outcome in outcomes
            )
        )
        for report in reports
    ]
    names = ("network", "check", "result", "detail")
    headings = tuple(Heading(name, prose=name == "detail") for name in names)
    documents = [report.model_dump(mode="json") for report in reports]
    return Table(headings=headings, sections=tuple(sections), document=documents)


def _short(report: ValidationReport) -> Table:
    """One line on a network that passes; the failed checks of one that does not."""
    if not report.passed:
        return _table([report], {"failed"})
    warned = [check.name for check in report.checks if check.outcome == "warning"]
    said = f"{_name(report)}: passed"
    if warned:
        said += f"; warnings: {', '.join(dict.fromkeys(warned))}"
    return _lines(Span(said, "doubtful" if warned else "good"))


def _summary(reports: Sequence[ValidationReport]) -> Span:
    """One line on all networks and scales."""
    failed = [_name(report) for report in reports if not report.passed]
    said = f"{len(reports) - len(failed)} of {len(reports)} pass"
    if not failed:
        return Span(f"{said}.", "good")
    more = f" and {len(failed) - NAMED} more" if len(failed) > NAMED else ""
    return Span(f"{said}. Failed: {', '.join(failed[:NAMED])}{more}.", "wrong")


def _lines(*lines: Span) -> Table:
    """Lines without a table."""
    return Table(headings=(), sections=(), lead=lines)


def _name(report: ValidationReport) -> str:
    return report.entry if report.scale is None else f"{report.entry} x{report.scale}"

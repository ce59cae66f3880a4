"""``esrbench check``: has a network become worse than its baseline?"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from esrbench.cli.console import (
    JsonOption,
    QuietOption,
    command,
    messages,
    open_registry,
    print_json,
    print_notices,
)
from esrbench.cli.gate import GateOptions, GateScaleOption, gate_bench, gate_request
from esrbench.cli.options import (
    TimeoutOption,
    expand_options,
    is_given,
    parse_size,
)
from esrbench.cli.tables import print_table
from esrbench.errors import RecordError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esrbench.entries.registry import Registry
    from esrbench.gate.verdicts import GateReport

UPDATED_BY = ("baseline", "scale", "data", "weights", "python", "device", "threads")
"""Options of a check that an update of its baseline takes too."""


@expand_options
def check_command(
    ctx: typer.Context,
    *,
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="Networks to check, by name or folder.", show_default="all of the baseline"
        ),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(
            help=(
                "Baseline file, folder of results, or git revision of this checkout. If a "
                "path and a revision have the same name, the path is used."
            ),
            show_default="esrbench-baseline.json",
        ),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(help="Network that the checked ones must be no slower than, by a race."),
    ] = None,
    scale: GateScaleOption = None,
    metrics: Annotated[
        list[str] | None,
        typer.Option(
            help=(
                "Metrics to compare, or groups: counts, scores, memory, weights, runtime. "
                "Separated by commas, or repeatable."
            ),
            show_default="all",
        ),
    ] = None,
    runtime: Annotated[
        bool, typer.Option("--runtime/--no-runtime", help="Compare runtime by races.")
    ] = True,
    options: GateOptions,
    threads: Annotated[
        int | None,
        typer.Option(min=1, help="CPU threads.", show_default="all, or the baseline's in races"),
    ] = None,
    race_size: Annotated[
        str, typer.Option(help="LR size of races whose input no baseline prescribes.")
    ] = "64x64",
    max_pairs: Annotated[
        int, typer.Option(min=20, help="Pairs after which a race is inconclusive.")
    ] = 600,
    timeout: TimeoutOption = 900,
    strict: Annotated[
        bool,
        typer.Option("--strict", help="End with 1 if something could not be judged."),
    ] = False,
    lenient: Annotated[
        bool,
        typer.Option(
            "--lenient", help="End with 0 if nothing is worse but not all could be judged."
        ),
    ] = False,
    junit: Annotated[
        Path | None, typer.Option(help="Write JUnit XML here.", dir_okay=False)
    ] = None,
    summary: Annotated[
        Path | None,
        typer.Option(
            help="Write a markdown summary here.",
            show_default="appended to GITHUB_STEP_SUMMARY in GitHub Actions",
            dir_okay=False,
        ),
    ] = None,
    comment: Annotated[
        Path | None,
        typer.Option(
            help="Write the summary here as the body of a comment on a pull request.",
            dir_okay=False,
        ),
    ] = None,
    annotations: Annotated[
        bool | None,
        typer.Option(
            "--annotations/--no-annotations",
            help="Print annotations for GitHub.",
            show_default="in GitHub Actions",
        ),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Show unchanged figures too.")] = False,
    _quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Compare networks with a baseline: counts exactly, scores, memory, runtime by races.

    Ends with 0 if nothing is worse, 1 on a regression or if the candidate lost a figure of the
    baseline, 3 if something could not be judged, 4 if a measurement failed.
    """
    if strict and lenient:
        message = "--strict and --lenient are opposites"
        raise UsageError(message, advice="Give one of them, or neither.")
    from esrbench.entries.registry import resolve_name, resolve_names
    from esrbench.gate.gate import check

    registry = open_registry()
    names = resolve_names(registry, names or ())
    against = against and resolve_name(registry, against)
    request = replace(
        gate_request(registry, names, options, against=against),
        scales=tuple(scale or ()),
        metrics=parse_metrics(metrics or [], runtime=runtime),
        threads=threads,
        race_size=parse_size(race_size, "--race-size"),
        max_pairs=max_pairs,
        timeout_seconds=timeout,
    )
    with gate_bench(registry, request) as bench:
        try:
            report = check(bench, baseline, against)
        except UsageError as error:
            error.advice = to_paste(ctx, error.advice, *names)
            raise
    findings = tuple(
        each.model_copy(update={"advice": to_paste(ctx, each.advice, each.entry)})
        for each in report.findings
    )
    changes = {"findings": findings, "strict": strict, "lenient": lenient}
    report = report.model_copy(update=changes)
    print_notices(report.notices)
    _write_reports(report, junit=junit, summary=summary, comment=comment)
    _print_report(report, as_json=as_json, everything=everything)
    if _in_actions() if annotations is None else annotations:
        _print_annotations(report, registry, as_json=as_json)
    raise typer.Exit(report.exit_code)


def to_paste(ctx: typer.Context, advice: str | None, *names: str) -> str | None:
    """Advice whose command to update a baseline has the options with which the check ran."""
    given = {name: ctx.params.get(name) for name in UPDATED_BY if is_given(ctx, name)}
    updating = command("baseline", "update", *names, **given)
    return advice and advice.replace("`esrbench baseline update`", f"`{updating}`")


def parse_metrics(specs: Sequence[str], *, runtime: bool) -> frozenset[str]:
    """Metrics from their keys or from names of groups, separated by commas.

    Raises:
        UsageError: a metric is unknown, or none is left.
    """
    from esrbench.gate.figures import COUNTS, MEASURED_MEMORY, METRIC_NAMES, SCORES
    from esrbench.gate.verdicts import RUNTIME

    groups = {"counts": COUNTS, "scores": SCORES, "memory": MEASURED_MEMORY}
    wanted: set[str] = set()
    for spec in (part.strip() for text in specs for part in text.split(",")):
        if spec not in {*groups, *METRIC_NAMES}:
            message = f"--metrics {spec}: there is no such metric"
            known = ", ".join([*groups, *METRIC_NAMES])
            raise UsageError(message, advice=f"Known are {known}.")
        wanted |= set(groups.get(spec, (spec,)))
    chosen = (wanted or set(METRIC_NAMES)) - (set() if runtime else {RUNTIME})
    if not chosen:
        raise UsageError("no metric is left to compare", advice="Leave --no-runtime out.")
    return frozenset(chosen)


def _write_reports(
    report: GateReport, *, junit: Path | None, summary: Path | None, comment: Path | None
) -> None:
    from esrbench.reports.ci import SUMMARY_BYTES, gate_comment, gate_junit, gate_summary

    if junit is not None:
        _write(junit, gate_junit(report), append=False)
    if comment is not None:
        job = " ".join(os.environ.get(name, "") for name in ("GITHUB_WORKFLOW", "GITHUB_JOB"))
        _write(comment, gate_comment(report, job), append=False)
    if summary is not None:
        _write(summary, gate_summary(report), append=False)
        return
    steps = os.environ.get("GITHUB_STEP_SUMMARY")
    if steps and _in_actions():
        path = Path(steps)
        # Another command of the same step may have written to it.
        taken = path.stat().st_size if path.is_file() else 0
        if taken < SUMMARY_BYTES:
            _write(path, gate_summary(report, limit=SUMMARY_BYTES - taken), append=True)


def _write(path: Path, text: str, *, append: bool) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a" if append else "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        message = f"{path}: the report cannot be written: {error.strerror or error}"
        raise RecordError(message, advice="Give a path you can write to.") from error


def _print_report(report: GateReport, *, as_json: bool, everything: bool) -> None:
    from esrbench.reports.ci import gate_table

    if as_json:
        counts = {"outcome": report.outcome, "exit_code": report.exit_code, "counts": report.counts}
        print_json({**report.model_dump(mode="json"), **counts})
        messages().print(report.outcome, markup=False)
    else:
        print_table(gate_table(report, brief=True, everything=everything))


def _print_annotations(report: GateReport, registry: Registry, *, as_json: bool) -> None:
    """Print annotations at networks in the checkout; to stderr if stdout is JSON."""
    from esrbench.entries.sources import defined_at
    from esrbench.reports.ci import gate_annotations

    checkout = Path(os.environ.get("GITHUB_WORKSPACE", ".")).resolve()
    names = {each.entry for each in report.findings if each.entry in registry}
    found = {name: defined_at(registry.get(name), checkout) for name in names}
    places = {name: place for name, place in found.items() if place}
    for each in gate_annotations(report, places):
        print(each, file=sys.stderr if as_json else sys.stdout)


def _in_actions() -> bool:
    return os.environ.get("GITHUB_ACTIONS") == "true"

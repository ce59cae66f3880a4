"""``esrbench check``: has a network become worse than its baseline?"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from esrbench.cli.console import (
    JsonOption,
    messages,
    open_registry,
    print_json,
    print_notices,
    progress_bar,
    results,
)
from esrbench.cli.options import DeviceOption, TimeoutOption, parse_size, parse_weights
from esrbench.errors import RecordError, UsageError
from esrbench.runs.store import default_results

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from esrbench.entries.registry import Registry
    from esrbench.gate.bench import Bench, Request
    from esrbench.gate.verdicts import GateReport

BASELINE_FILE = "baseline.json"
"""Name of the baseline file in the folder of results."""

DataOption = Annotated[
    list[str] | None,
    typer.Option(help="Where a data set is: NAME, NAME=PATH or a folder. Repeatable."),
]
ScaleOption = Annotated[
    list[int] | None,
    typer.Option(help="Upscaling factor. Repeatable.", show_default="all of the baseline"),
]
WeightsOption = Annotated[
    list[str] | None,
    typer.Option(help="NAME=FILE or NAME=random. Repeatable.", show_default="as the baseline"),
]


def check_command(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Networks to check.", show_default="all of the baseline"),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(
            help=(
                "Baseline file, folder of results, or git revision of this checkout; a path wins "
                "over a revision of the same name."
            ),
            show_default=f"results/{BASELINE_FILE}",
        ),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(help="Network that the checked ones must be no slower than, by a race."),
    ] = None,
    scale: ScaleOption = None,
    metrics: Annotated[
        list[str] | None,
        typer.Option(
            help=(
                "Metrics to compare, or counts, scores, memory, weights, runtime; by commas or "
                "repeatable."
            ),
            show_default="all",
        ),
    ] = None,
    runtime: Annotated[
        bool, typer.Option("--runtime/--no-runtime", help="Race for runtime.")
    ] = True,
    data: DataOption = None,
    weights: WeightsOption = None,
    device: DeviceOption = "cpu",
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
        typer.Option("--strict", help="End with 1 where something could not be judged."),
    ] = False,
    lenient: Annotated[
        bool,
        typer.Option(
            "--lenient", help="End with 0 where nothing is worse but not all could be judged."
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
    annotations: Annotated[
        bool | None,
        typer.Option(
            "--annotations/--no-annotations",
            help="Print GitHub's annotations.",
            show_default="in GitHub Actions",
        ),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Show what is unchanged too.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Compare networks with a baseline: counts exactly, scores, memory, runtime by races.

    Ends with 0 where nothing is worse, 1 on a regression or what the baseline has and the
    candidate lost, 3 where something could not be judged, 4 where a measurement failed.
    """
    if strict and lenient:
        message = "--strict and --lenient are opposites"
        raise UsageError(message, advice="Give one of them, or neither.")
    registry = open_registry()
    request = build_request(
        registry,
        names=names,
        scale=scale,
        metrics=parse_metrics(metrics or [], runtime=runtime),
        data=data,
        weights=weights,
        device=device,
        threads=threads,
        race_size=race_size,
        max_pairs=max_pairs,
        timeout=timeout,
    )
    with gate_bench(registry, request) as bench:
        report = _check(bench, baseline, against)
    report = report.model_copy(update={"strict": strict, "lenient": lenient})
    print_notices(report.notices)
    _write_reports(report, junit=junit, summary=summary)
    _print_report(
        report,
        as_json=as_json,
        everything=everything,
        annotations=_in_actions() if annotations is None else annotations,
    )
    raise typer.Exit(report.exit_code)


def build_request(
    registry: Registry,
    *,
    names: Sequence[str] | None,
    scale: Sequence[int] | None,
    metrics: frozenset[str],
    data: Sequence[str] | None,
    weights: Sequence[str] | None,
    device: str,
    threads: int | None,
    race_size: str,
    max_pairs: int,
    timeout: float,
) -> Request:
    """What is asked of the gate, from the options that ``check`` and ``baseline`` share.

    Raises:
        UsageError: an option of the wrong form.
    """
    from esrbench.gate.bench import Request

    known = list(names or [model.name for model in registry])
    return Request(
        names=tuple(names or ()),
        scales=tuple(scale or ()),
        metrics=metrics,
        data=dict(_data_spec(spec) for spec in data or ()),
        weights=parse_weights(weights or [], known),
        device=device,
        threads=threads,
        race_size=parse_size(race_size),
        max_pairs=max_pairs,
        timeout_seconds=timeout,
    )


def parse_metrics(specs: Sequence[str], *, runtime: bool) -> frozenset[str]:
    """Metrics from their keys or the names of groups, by commas.

    Raises:
        UsageError: an unknown metric, or none is left.
    """
    from esrbench.gate.bench import METRIC_NAMES
    from esrbench.gate.figures import COUNTS, MEASURED_MEMORY, SCORES
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


@contextmanager
def gate_bench(registry: Registry, request: Request) -> Iterator[Bench]:
    """A bench whose progress is shown on stderr, not drawn while anything is timed."""
    from esrbench.gate.bench import Bench

    with progress_bar(quiet=True) as progress:
        task = progress.add_task("starting", total=None)

        def on_step(entry: str, step: str) -> None:
            progress.update(
                task, description=f"{entry}: {step}", completed=0, total=None, refresh=True
            )

        def on_pairs(done: int, most: int) -> None:
            progress.update(task, completed=done, total=most, refresh=True)

        yield Bench(registry, request, on_step=on_step, on_pairs=on_pairs)


def _check(bench: Bench, baseline: str | None, against: str | None) -> GateReport:
    """Compare with whatever the baseline is."""
    from esrbench.gate.baseline import read_baseline, read_results
    from esrbench.gate.gate import check_against, check_baseline
    from esrbench.gate.history import check_revision
    from esrbench.gate.revision import open_revision

    if baseline is None:
        if against is not None:
            return check_against(bench, against)
        default = default_results() / BASELINE_FILE
        if not default.is_file():
            message = f"there is no baseline: {default} does not exist"
            advice = "Give --baseline or --against, or run `esrbench baseline update`."
            raise UsageError(message, advice=advice)
        baseline = str(default)
    path = Path(baseline)
    if path.is_file():
        return check_baseline(bench, read_baseline(path), str(path), against=against)
    if path.is_dir():
        kept, notices = read_results(path)
        report = check_baseline(bench, kept, str(path), against=against)
        return report.model_copy(update={"notices": tuple(notices)})
    if path.suffix == ".json":
        message = f"there is no baseline {path}"
        raise UsageError(message, advice="Run `esrbench baseline update --baseline FILE`.")
    with open_revision(baseline, Path.cwd()) as revision:
        return check_revision(bench, revision, against=against)


def _write_reports(report: GateReport, *, junit: Path | None, summary: Path | None) -> None:
    from esrbench.reports.ci import SUMMARY_BYTES, gate_junit, gate_markdown

    if junit is not None:
        _write(junit, gate_junit(report), append=False)
    if summary is not None:
        _write(summary, gate_markdown(report), append=False)
        return
    steps = os.environ.get("GITHUB_STEP_SUMMARY")
    if steps and _in_actions():
        path = Path(steps)
        # Another command of the same step may have written to it.
        taken = path.stat().st_size if path.is_file() else 0
        if taken < SUMMARY_BYTES:
            _write(path, gate_markdown(report, limit=SUMMARY_BYTES - taken), append=True)


def _write(path: Path, text: str, *, append: bool) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a" if append else "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        message = f"{path}: the report cannot be written: {error.strerror or error}"
        raise RecordError(message, advice="Give a path you can write to.") from error


def _print_report(
    report: GateReport, *, as_json: bool, everything: bool, annotations: bool
) -> None:
    from esrbench.reports.ci import gate_annotations, gate_terminal

    if as_json:
        counts = {"outcome": report.outcome, "exit_code": report.exit_code, "counts": report.counts}
        print_json({**report.model_dump(mode="json"), **counts})
        messages().print(report.outcome, markup=False)
    else:
        for part in gate_terminal(report, everything=everything):
            results().print(part)
    if annotations:
        for line in gate_annotations(report):
            # GitHub reads both streams; stdout may be a JSON document.
            print(line, file=sys.stderr if as_json else sys.stdout)


def _in_actions() -> bool:
    return os.environ.get("GITHUB_ACTIONS") == "true"


def _data_spec(spec: str) -> tuple[str, str]:
    """Name under which a baseline knows a data set, and where it is."""
    from esrbench.data.datasets import parse_data_spec

    parsed = parse_data_spec(spec)
    return (
        parsed.source.resolve().name if isinstance(parsed.source, Path) else parsed.source
    ), spec

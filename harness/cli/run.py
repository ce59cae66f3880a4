"""``esrbench run``: measure networks and print the leaderboard."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from harness.cli.console import JsonOption, messages, print_json, print_notices
from harness.cli.leaderboard import print_board
from harness.cli.sizes import parse_size
from harness.errors import EXIT_INTERRUPTED, EXIT_MEASUREMENT_FAILED, UsageError
from harness.protocol import LatencyDesign, Protocol
from harness.records import Absent
from harness.store import Store, default_results

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.evaluation.suite import Suite
    from harness.records import RunRecord

DEFAULT_ENTRIES = ("aidn", "rfdn", "imdn", "srresnet", "bicubic")
DESIGN = LatencyDesign()


def run_command(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Networks to measure.", show_default=" ".join(DEFAULT_ENTRIES)),
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(
            help="Data set NAME, folder PATH of HR/LR pairs, or NAME=PATH. Repeatable.",
            show_default="demo",
        ),
    ] = None,
    scale: Annotated[int, typer.Option(help="Upscaling factor.")] = 4,
    weights: Annotated[
        list[str] | None,
        typer.Option(
            help=(
                "NAME=FILE, NAME=random, or FILE for a single network. Repeatable. Networks not "
                "named take the released weights if fetched, else random ones."
            ),
        ),
    ] = None,
    device: Annotated[Literal["cpu", "cuda"], typer.Option(help="Where forwards run.")] = "cpu",
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads.", show_default="all cores")
    ] = None,
    input_size: Annotated[
        str, typer.Option(help="LR size at which complexity and latency are taken.")
    ] = "256x256",
    warmup: Annotated[
        int, typer.Option(min=0, help="Untimed forwards at each new LR size.")
    ] = DESIGN.warmup_rounds,
    min_rounds: Annotated[
        int, typer.Option(min=1, help="Timed forwards an input, whatever they cost.")
    ] = DESIGN.min_rounds,
    rounds: Annotated[
        int, typer.Option(min=1, help="Most timed forwards an input.")
    ] = DESIGN.max_rounds,
    budget: Annotated[
        float, typer.Option(min=0, help="Seconds of timed forwards after which an input is done.")
    ] = DESIGN.budget_seconds,
    latency: Annotated[
        bool, typer.Option("--latency/--no-latency", help="Measure runtime.")
    ] = True,
    seed: Annotated[int, typer.Option(min=0, help="Of random weights and inputs.")] = 0,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds a worker may be silent.")] = 900,
    results: Annotated[
        Path | None,
        typer.Option(help="Folder for run records.", show_default="results", file_okay=False),
    ] = None,
    rule: Annotated[str, typer.Option(help="Leaderboard rule.")] = "ntire2022",
    as_json: JsonOption = False,
) -> None:
    """Measure networks on data sets and print the challenge leaderboard.

    Every record is stored as it is made; Ctrl-C keeps the finished ones.
    """
    from harness.ranking.rules import get_rule

    chosen_rule = get_rule(rule)
    protocol = Protocol(
        device=device,
        threads=threads,
        seed=seed,
        counted_input=parse_size(input_size),
        latency=LatencyDesign(
            warmup_rounds=warmup,
            min_rounds=min(min_rounds, rounds),
            max_rounds=rounds,
            budget_seconds=budget,
        )
        if latency
        else None,
    )
    store = Store(results or default_results())
    suite = plan(tuple(names or DEFAULT_ENTRIES), data or ["demo"], scale, weights or [], protocol)
    records, interrupted = execute(suite, store, timeout_seconds=timeout)
    if as_json:
        document = {
            "interrupted": interrupted,
            "records": [record.model_dump(mode="json") for record in records],
        }
        print_json(document)
    else:
        for _, identity in suite.data:
            on_data = [record for record in records if record.data.digest == identity.digest]
            if on_data:
                print_board(on_data, chosen_rule, "terminal")
    for record in records:
        print_notices(record.notices)
    for name, value in {record.entry.name: record.values["psnr_rgb"] for record in records}.items():
        if isinstance(value, Absent) and value.advice:
            messages().print(f"hint: no PSNR for {name}. {value.advice}", markup=False)
    if interrupted:
        messages().print(f"interrupted: {len(records)} finished runs are in {store.runs}")
        raise typer.Exit(EXIT_INTERRUPTED)
    messages().print(f"{len(records)} records are in {store.runs}", markup=False)
    if any(record.status == "failed" for record in records):
        raise typer.Exit(EXIT_MEASUREMENT_FAILED)


def plan(
    names: Sequence[str],
    data: Sequence[str],
    scale: int,
    weights: Sequence[str],
    protocol: Protocol,
) -> Suite:
    """Resolve and check everything before any network runs."""
    from harness.catalog.registry import default_registry
    from harness.evaluation.suite import Suite, open_data, plan_entries

    registry = default_registry()
    print_notices(registry.notices)
    entries = plan_entries(registry, names, scale, parse_weights(weights, names))
    with messages().status("checking images"):
        opened = tuple(open_data(spec, scale) for spec in data)
    return Suite(entries=entries, data=opened, protocol=protocol)


def execute(suite: Suite, store: Store, *, timeout_seconds: float) -> tuple[list[RunRecord], bool]:
    """Run the suite under a progress bar; the records made, and whether it was interrupted."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    from harness.evaluation.suite import run_suite

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(elapsed_when_finished=False),
    )
    records: list[RunRecord] = []
    with Progress(*columns, console=messages(), transient=True) as progress:
        task = progress.add_task("starting", total=suite.steps)
        begun = 0

        def on_step(entry: str, step: str) -> None:
            nonlocal begun
            progress.update(task, completed=begun, description=f"{entry}: {step}")
            begun += 1

        try:
            for record in run_suite(suite, store, on_step=on_step, timeout_seconds=timeout_seconds):
                records.append(record)
                line = f"{record.entry.name} on {record.data.name}: {record.status}"
                failure = record.failure()
                progress.print(
                    f"{line} in {record.duration_seconds:.0f} s"
                    + (f" ({failure})" if failure else ""),
                    markup=False,
                )
        except KeyboardInterrupt:
            return records, True
    return records, False


def parse_weights(
    specs: Sequence[str], names: Sequence[str]
) -> dict[str, Path | Literal["auto"] | None]:
    """Weights by network name from ``NAME=FILE``, ``NAME=random`` or a lone ``FILE``.

    Raises:
        UsageError: a name that is not run, or a lone file for several networks.
    """
    chosen: dict[str, Path | Literal["auto"] | None] = {}
    for spec in specs:
        name, separator, value = spec.partition("=")
        if not separator:
            if len(names) != 1:
                message = f"--weights {spec}: which of {', '.join(names)} is it for?"
                raise UsageError(message, advice="Write --weights NAME=FILE.")
            name, value = names[0], spec
        if name not in names:
            message = f"--weights {spec}: {name} is not among the networks to run"
            raise UsageError(message, advice=f"They are: {', '.join(names)}.")
        chosen[name] = None if value == "random" else Path(value)
    return chosen

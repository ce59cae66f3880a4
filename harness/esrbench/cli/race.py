"""``esrbench race``: is a network faster or slower than another?"""

from __future__ import annotations

from typing import Annotated

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
from esrbench.cli.options import (
    CalibrateOption,
    ChannelsLastOption,
    CompileOption,
    CudnnBenchmarkOption,
    DeviceOption,
    EndsOption,
    IsolationOption,
    PythonOption,
    ResultsOption,
    ScaleOption,
    ThreadsOption,
    TimeoutOption,
    parse_backends,
    parse_interpreters,
    parse_size,
    parse_weights,
)
from esrbench.devices import parse_device
from esrbench.errors import EXIT_INCONCLUSIVE
from esrbench.protocol import ForwardPolicy, PairDesign, PrecisionName, Protocol
from esrbench.records import RaceRecord
from esrbench.runs.lock import device_lock
from esrbench.runs.store import Store, default_results

DESIGN = PairDesign()


def race_command(
    candidate: Annotated[str, typer.Argument(help="Network to judge, by name or folder.")],
    baseline: Annotated[str, typer.Argument(help="Network to compare with; may be the same.")],
    scale: ScaleOption = 4,
    input_size: Annotated[str, typer.Option(help="LR size of the input.")] = "64x64",
    weights: Annotated[
        list[str] | None,
        typer.Option(
            help=(
                "NAME=FILE or NAME=random. Repeatable. Networks not named take the released "
                "weights if fetched, else demonstration or random ones."
            ),
        ),
    ] = None,
    python: PythonOption = None,
    device: DeviceOption = "cpu",
    threads: ThreadsOption = None,
    precision: Annotated[
        PrecisionName | None,
        typer.Option(help="Arithmetic of forwards.", show_default="what the candidate declares"),
    ] = None,
    calibrate_with: CalibrateOption = None,
    fp32_ends: EndsOption = False,
    channels_last: ChannelsLastOption = False,
    backend: Annotated[
        str | None,
        typer.Option(help="What runs the candidate and, if not named, the baseline."),
    ] = None,
    baseline_backend: Annotated[
        str | None,
        typer.Option(help="What runs the baseline.", show_default="as the candidate"),
    ] = None,
    compiled: CompileOption = False,
    cudnn_benchmark: CudnnBenchmarkOption = False,
    max_pairs: Annotated[
        int,
        typer.Option(
            min=1, help="Most pairs; if nothing is decided by then, the race is inconclusive."
        ),
    ] = DESIGN.max_pairs,
    isolation: IsolationOption = "auto",
    seed: Annotated[int, typer.Option(min=0, help="Seed of random weights and of the input.")] = 0,
    timeout: TimeoutOption = 900,
    results_folder: ResultsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Race two networks that you trust, pair by pair in one process, until it is decided.

    Both run in the interpreter that --python names for either of them.

    Ends with 0 for every decision, and with 3 if the race is inconclusive.
    """
    from esrbench.entries.registry import resolve_name
    from esrbench.paired.race import plan_race, race
    from esrbench.reports.details import race_lines
    from esrbench.runs.exports import quantised

    registry = open_registry()
    candidate, baseline = (resolve_name(registry, each) for each in (candidate, baseline))
    kind, gpu = parse_device(device)
    (chosen,) = parse_backends([backend] if backend else None, compiled=compiled and not backend)
    protocol = Protocol(
        device=kind,
        forward=ForwardPolicy(
            precision=precision or registry.get(candidate).precision,
            channels_last=channels_last,
            backend=chosen,
            cudnn_benchmark=cudnn_benchmark,
        ),
        threads=threads,
        seed=seed,
        counted_input=parse_size(input_size),
        latency=None,
    )
    protocol, calibration = quantised(protocol, calibrate_with, scale, fp32_ends=fp32_ends)
    store = Store(results_folder or default_results())
    named = parse_weights(weights or [], list(dict.fromkeys((candidate, baseline))))
    ours, theirs = plan_race(
        registry,
        candidate,
        baseline,
        scale,
        weights=named,
        protocol=protocol,
        interpreters=parse_interpreters(python or []),
        gpu=gpu,
    )
    store.require_writable(RaceRecord)

    def on_wait(who: str) -> None:
        messages().print(f"waiting for {who}", markup=False)

    with device_lock(kind, gpu, on_wait=on_wait):
        design = DESIGN.model_copy(update={"max_pairs": max_pairs})
        with progress_bar(quiet=True) as progress:
            task = progress.add_task(f"{candidate} against {baseline}", total=max_pairs)
            record = race(
                ours,
                theirs,
                protocol,
                design,
                isolation=isolation,
                gpu=gpu,
                baseline_backend=baseline_backend,
                calibration=calibration,
                on_pairs=lambda done, _most: progress.update(task, completed=done, refresh=True),
                timeout_seconds=timeout,
            )
    path = store.put(record)
    if as_json:
        print_json(record.model_dump(mode="json"))
    else:
        for line in race_lines(record):
            results().print(line, markup=False)
    print_notices(record.notices)
    messages().print(f"the record is {path}", markup=False)
    if record.verdict == "inconclusive":
        raise typer.Exit(EXIT_INCONCLUSIVE)

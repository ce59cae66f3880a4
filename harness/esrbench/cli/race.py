"""``esrbench race``: is a network faster or slower than another?"""

from __future__ import annotations

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
from esrbench.cli.options import (
    ChannelsLastOption,
    CompileOption,
    CudnnBenchmarkOption,
    DeviceOption,
    IsolationOption,
    PrecisionOption,
    ResultsOption,
    ScaleOption,
    ThreadsOption,
    TimeoutOption,
    parse_size,
    parse_weights,
)
from esrbench.errors import EXIT_INCONCLUSIVE
from esrbench.protocol import ForwardPolicy, PairDesign, Protocol
from esrbench.records import Absent, RaceRecord
from esrbench.runs.store import Store, default_results

if TYPE_CHECKING:
    from collections.abc import Iterator

    from esrbench.records import PairedEstimate

DESIGN = PairDesign()


def race_command(
    candidate: Annotated[str, typer.Argument(help="Network in question.")],
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
    device: DeviceOption = "cpu",
    threads: ThreadsOption = None,
    precision: PrecisionOption = "fp32",
    channels_last: ChannelsLastOption = False,
    compiled: CompileOption = False,
    cudnn_benchmark: CudnnBenchmarkOption = False,
    max_pairs: Annotated[
        int, typer.Option(min=1, help="Pairs after which it is inconclusive.")
    ] = DESIGN.max_pairs,
    isolation: IsolationOption = "auto",
    seed: Annotated[int, typer.Option(min=0, help="Of random weights and the input.")] = 0,
    timeout: TimeoutOption = 900,
    results_folder: ResultsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Race two networks that you trust, pair by pair in one process, until it is decided.

    Ends with 0 whatever is decided, and with 3 where nothing can be.
    """
    from esrbench.paired.race import plan_race, race

    protocol = Protocol(
        device=device,
        forward=ForwardPolicy(
            precision=precision,
            channels_last=channels_last,
            compiled=compiled,
            cudnn_benchmark=cudnn_benchmark,
        ),
        threads=threads,
        seed=seed,
        counted_input=parse_size(input_size),
        latency=None,
    )
    store = Store(results_folder or default_results())
    chosen = parse_weights(weights or [], list(dict.fromkeys((candidate, baseline))))
    ours, theirs = plan_race(
        open_registry(), candidate, baseline, scale, weights=chosen, protocol=protocol
    )
    store.require_writable(RaceRecord)
    # Nobody else may write there meanwhile, or the result could not be kept.
    with store.writing():
        design = DESIGN.model_copy(update={"max_pairs": max_pairs})
        with progress_bar(quiet=True) as progress:
            task = progress.add_task(f"{candidate} against {baseline}", total=max_pairs)
            record = race(
                ours,
                theirs,
                protocol,
                design,
                isolation=isolation,
                on_pairs=lambda done, _most: progress.update(task, completed=done, refresh=True),
                timeout_seconds=timeout,
            )
        path = store.put(record)
    if as_json:
        print_json(record.model_dump(mode="json"))
    else:
        for line in report(record):
            results().print(line, markup=False)
    print_notices(record.notices)
    messages().print(f"the record is {path}", markup=False)
    if record.verdict == "inconclusive":
        raise typer.Exit(EXIT_INCONCLUSIVE)


def report(record: RaceRecord) -> Iterator[str]:
    """One sentence, and the figures that it stands on."""
    yield sentence(record)
    ours, theirs = _names(record)
    yield f"  {ours} / {theirs}: {_figures(record.estimate)}"
    yield f"  self-check, {theirs} / its copy: {_figures(record.self_check)}"
    timed = f"{record.timed_pairs} pairs in {len(record.processes)} fresh processes"
    height, width = record.protocol.counted_input
    yield (
        f"  timed: {timed}, {record.duration_seconds:.0f} s, LR {height}x{width}, "
        f"device {record.protocol.device}, threads {record.environment.threads}"
    )


def sentence(record: RaceRecord) -> str:
    """The verdict in words, with its reason."""
    ours, theirs = _names(record)
    decision = f"{record.design.decision:.1%}"
    if record.verdict == "inconclusive" or isinstance(record.estimate, Absent):
        return f"Inconclusive: {record.reason}."
    if record.verdict == "unchanged":
        said = f"{ours} is as fast as {theirs}, within {decision}"
    else:
        change = abs(record.estimate.ratio - 1)
        said = f"{ours} is {change:.1%} {record.verdict} than {theirs}, more than {decision}"
    return f"{record.verdict.capitalize()}: {said}; {record.reason}."


def _names(record: RaceRecord) -> tuple[str, str]:
    ours, theirs = record.candidate.name, record.baseline.name
    return (ours, theirs) if ours != theirs else (f"{ours} (candidate)", f"{theirs} (baseline)")


def _figures(estimate: PairedEstimate | Absent) -> str:
    from esrbench.statistics import half_width

    if isinstance(estimate, Absent):
        return f"no figure: {estimate.reason}"
    interval = estimate.interval
    return (
        f"ratio {estimate.ratio:.4f} [{interval.low:.4f}, {interval.high:.4f}] "
        f"at {interval.confidence:.1%}, half-width {half_width(interval):.2%}, "
        f"{estimate.pairs} pairs"
    )

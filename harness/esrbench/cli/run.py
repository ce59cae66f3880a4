"""``esrbench run``: measure networks and print the leaderboard."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from esrbench.cli.challenge import challenge_file, run_challenge
from esrbench.cli.console import (
    JsonOption,
    QuietOption,
    command,
    messages,
    open_registry,
    print_banner,
)
from esrbench.cli.options import (
    BackendOption,
    CalibrateOption,
    ChannelsLastOption,
    CompileOption,
    CudnnBenchmarkOption,
    DevicesOption,
    EndsOption,
    EngineOption,
    EngineOptions,
    IsolationOption,
    MetricOption,
    OwnPrecisionOption,
    PythonOption,
    ResultsOption,
    ScaleOption,
    ThreadsOption,
    TimeoutOption,
    is_given,
    parse_backends,
    parse_interpreters,
    parse_size,
    parse_weights,
)
from esrbench.cli.suites import conclude, execute, images_bar, print_plan
from esrbench.errors import UsageError
from esrbench.plugins import OWN_NAME
from esrbench.protocol import (
    EFFORTS,
    MAX_ROUNDS,
    Effort,
    EnergyDesign,
    ForwardPolicy,
    LatencyDesign,
    Protocol,
    QualityDefinition,
)
from esrbench.runs.store import Store, default_results

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esrbench.engines.settings import EngineName
    from esrbench.protocol import Device
    from esrbench.records import RunRecord
    from esrbench.runs.cells import Engine

DEFAULT_ENTRIES = ("rfdn", "imdn", "aidn", "srresnet", "bicubic")
NAME_ENGINE = "Write --engine local, slurm or ray as well."


def by_effort(setting: str) -> str:
    """The value of a setting of ``LatencyDesign`` for each effort, or one value for all."""
    values = {name: f"{getattr(design, setting):g}" for name, design in EFFORTS.items()}
    if len(set(values.values())) == 1:
        return values["standard"]
    return ", ".join(f"{value} {name}" for name, value in values.items())


def run_command(
    ctx: typer.Context,
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="Networks to measure, by name or folder; or a challenge.toml, which says all.",
            show_default=" ".join(DEFAULT_ENTRIES),
        ),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Measure every submission too, or alone.")
    ] = False,
    data: Annotated[
        list[str] | None,
        typer.Option(
            help="Data sets, as in set5,set14: each a NAME, a folder PATH of HR/LR pairs, or "
            "NAME=PATH. Repeatable.",
            show_default="demo",
        ),
    ] = None,
    scale: ScaleOption = 4,
    weights: Annotated[
        list[str] | None,
        typer.Option(
            help=(
                "NAME=FILE, NAME=random, or FILE for a single network. Repeatable. Networks not "
                "named take the released weights if fetched, else the demonstration weights "
                "that ship for some, else random ones."
            ),
        ),
    ] = None,
    python: PythonOption = None,
    device: DevicesOption = "cpu",
    engine: EngineOption = None,
    engine_option: EngineOptions = None,
    threads: ThreadsOption = None,
    input_size: Annotated[
        str, typer.Option(help="LR size at which complexity and runtime are measured.")
    ] = "256x256",
    effort: Annotated[
        Effort | None,
        typer.Option(
            help="How carefully runtimes are taken: what the next six options are, each of which "
            "may differ. quick times the images alone; official takes 5 processes.",
            show_default="quick on cpu, standard on cuda",
        ),
    ] = None,
    warmup: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=MAX_ROUNDS,
            help="Least untimed forwards at each new LR size; 0 for none.",
            show_default=by_effort("warmup_rounds"),
        ),
    ] = None,
    min_rounds: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=MAX_ROUNDS,
            help="Timed forwards an input, whatever they cost.",
            show_default=f"{by_effort('min_rounds')}, or --rounds if fewer",
        ),
    ] = None,
    rounds: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=MAX_ROUNDS,
            help="Most timed forwards an input.",
            show_default=by_effort("max_rounds"),
        ),
    ] = None,
    half_width: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=0.99,
            help="An input is done once half the median's 95 % interval is this share of it.",
            show_default=by_effort("target_half_width"),
        ),
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Seconds of timed forwards after which an input is done.",
            show_default=by_effort("budget_seconds"),
        ),
    ] = None,
    processes: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Fresh processes that time each entry, interleaved.",
            show_default=by_effort("processes"),
        ),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(help="Network that runs in every round, to set runtimes in relation to."),
    ] = None,
    order_seed: Annotated[
        int, typer.Option(min=0, help="Seed of the random order of entries in each round.")
    ] = 0,
    precision: OwnPrecisionOption = None,
    calibrate_with: CalibrateOption = None,
    fp32_ends: EndsOption = False,
    channels_last: ChannelsLastOption = False,
    backend: BackendOption = None,
    compiled: CompileOption = False,
    cudnn_benchmark: CudnnBenchmarkOption = False,
    metric: MetricOption = None,
    runtime: Annotated[
        bool, typer.Option("--runtime/--no-runtime", help="Measure runtime.")
    ] = True,
    latency: Annotated[
        bool, typer.Option("--latency/--no-latency", hidden=True, help="Former name of --runtime.")
    ] = True,
    energy: Annotated[
        bool, typer.Option("--energy", help="Measure joules an image; 2 minutes an entry.")
    ] = False,
    save_sr: Annotated[
        Path | None,
        typer.Option(help="Folder for SR images as PNG.", file_okay=False),
    ] = None,
    isolation: IsolationOption = "auto",
    seed: Annotated[int, typer.Option(min=0, help="Seed of random weights and inputs.")] = 0,
    timeout: TimeoutOption = 900,
    entry_timeout: Annotated[
        float,
        typer.Option(min=1, help="Seconds that a whole entry may take on a data set."),
    ] = 86400,
    results: ResultsOption = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help=(
                "Continue the same suite if it was interrupted. Otherwise, measure only what has "
                "no finished record of the same code, weights, data, protocol and machine."
            ),
        ),
    ] = False,
    rule: Annotated[str, typer.Option(help="Leaderboard rule.")] = "ntire2022",
    plan: Annotated[
        bool,
        typer.Option("--plan", help="Print what would run, where and how long, and run nothing."),
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Print every warning, not one line a kind.")
    ] = False,
    _quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Measure networks on data sets and print the challenge leaderboard.

    Every record is stored as soon as it is made. If a suite is interrupted by Ctrl-C, a crash or a
    power loss, --resume continues with everything measured so far.
    """
    from esrbench.data.datasets import listed_specs
    from esrbench.entries.registry import resolve_name, resolve_names, submitted_names
    from esrbench.ranking.leaderboard import build_leaderboard
    from esrbench.ranking.rules import get_rule
    from esrbench.runs.exports import quantised
    from esrbench.runs.plan import plan_suite

    if (file := challenge_file(ctx, names or ())) is not None:
        run_challenge(
            file,
            results=results if is_given(ctx, "results") else None,
            plan=plan,
            timeout_seconds=timeout,
            entry_seconds=entry_timeout,
            verbose=verbose,
            as_json=as_json,
        )
        return
    if is_given(ctx, "latency"):
        said = "warning: --latency is now --runtime, and --no-latency is --no-runtime"
        messages().print(said, style="yellow", markup=False)
    chosen_rule = get_rule(rule)
    backends = parse_backends(backend, compiled=compiled)
    kind, gpu, chosen_engine = choose_engine(device, engine, engine_option or ())
    design = choose_design(
        effort or ("quick" if kind == "cpu" else "standard"),
        warmup_rounds=warmup,
        min_rounds=min_rounds,
        max_rounds=rounds,
        target_half_width=half_width,
        budget_seconds=budget,
        processes=processes,
    )
    protocol = Protocol(
        device=kind,
        forward=ForwardPolicy(
            precision=precision or "fp32",
            channels_last=channels_last,
            cudnn_benchmark=cudnn_benchmark,
        ),
        threads=threads,
        seed=seed,
        counted_input=parse_size(input_size),
        latency=design if runtime and latency else None,
        quality=QualityDefinition(metrics=tuple(metric or ())),
        energy=EnergyDesign() if energy else None,
    )
    protocol, calibration = quantised(protocol, calibrate_with, scale, fp32_ends=fp32_ends)
    store = Store(results or default_results())
    registry = open_registry()
    given = [*(names or ()), *(submitted_names(registry) if every else ())]
    chosen = resolve_names(registry, given or DEFAULT_ENTRIES)
    baseline = baseline and resolve_name(registry, baseline)
    with images_bar() as on_image:
        suites = [
            plan_suite(
                registry,
                chosen,
                listed_specs(data or ["demo"]),
                scale,
                weights=parse_weights(weights or [], [*chosen, *([baseline] if baseline else [])]),
                interpreters=parse_interpreters(python or []),
                protocol=protocol.by(name),
                isolation=isolation,
                baseline=baseline,
                order_seed=order_seed,
                sr_folder=save_sr / name if save_sr and len(backends) > 1 else save_sr,
                calibration=calibration,
                own_precision=precision is None,
                gpu=gpu,
                on_image=on_image,
            )
            for name in backends
        ]
    if plan:
        print_plan(
            suites, store, "What would run", resume=resume, engine=chosen_engine, as_json=as_json
        )
        return
    print_banner(suites[0].launcher.sandbox)
    known: list[RunRecord] = []
    new, interrupted = execute(
        suites,
        store,
        known,
        resume=resume,
        engine=chosen_engine,
        timeout_seconds=timeout,
        entry_seconds=entry_timeout,
    )
    records = [*known, *new]
    boards = []
    given_rule = rule if is_given(ctx, "rule") else None
    where = {"results": results, "rule": given_rule}
    following = [
        (command("leaderboard", "--notes", **where), "how it was measured"),
        (command("report", **where), "a page to publish: report.html"),
    ]
    own = {*registry.broken, *(each.name for each in registry if each.origin != OWN_NAME)}
    if own.isdisjoint(chosen):
        start = command("new", "team00-my-network")
        following.append((start, "a network of your own that you edit"))
    for _, identity in suites[0].data if not as_json else ():
        on_data = [record for record in records if record.data.digest == identity.digest]
        boards += [
            build_leaderboard(on_data, chosen_rule, forward_class=label, elsewhere=records)
            for label in dict.fromkeys(record.class_label() for record in on_data)
        ]
    conclude(
        records,
        boards,
        store,
        interrupted=interrupted,
        count=len(new),
        following=following,
        verbose=verbose,
        as_json=as_json,
    )


def choose_design(effort: Effort, **given: float | None) -> LatencyDesign:
    """The design of an effort, in which given settings replace its own.

    Raises:
        UsageError: settings are out of range, or exclude one another.
    """
    design = EFFORTS[effort]
    own = {name: value for name, value in given.items() if value is not None}
    if not math.isfinite(own.get("budget_seconds", 0.0)):
        message = f"--budget {own['budget_seconds']}: expected seconds"
        raise UsageError(message, advice="For example 3.")
    most = own.get("max_rounds", design.max_rounds)
    least = own.setdefault("min_rounds", min(design.min_rounds, most))
    if least > most:
        message = f"--min-rounds {least} exceeds --rounds {most}"
        raise UsageError(message, advice="Raise --rounds too.")
    if "warmup_rounds" in own:
        most_warmup = max(2 * own["warmup_rounds"], design.max_warmup_rounds)
        own["max_warmup_rounds"] = min(most_warmup, MAX_ROUNDS)
    return LatencyDesign(**design.model_dump() | own)


def choose_engine(
    device: str, name: EngineName | None, options: Sequence[str]
) -> tuple[Device, int | None, Engine | None]:
    """The kind of device, its number if this machine measures, and the engine.

    Raises:
        UsageError: there is no such device, engine or option.
    """
    from esrbench.devices import gpu_numbers, parse_devices
    from esrbench.engines.opening import open_engine, parse_settings

    kind, gpus = parse_devices(device)
    if options and name is None:
        raise UsageError(f"--engine-option {options[0]}: of which engine?", advice=NAME_ENGINE)
    if name in {"slurm", "ray"}:
        return kind, None, open_engine(parse_settings(name, options), kind)
    gpus = gpu_numbers(kind) if gpus is None else gpus
    if name is None and len(gpus) == 1:
        return kind, gpus[0], None
    return kind, gpus[0], open_engine(parse_settings("local", options), kind, gpus)

"""``esrbench run``: measure networks and print the leaderboard."""

from __future__ import annotations

import math
import sys
from contextlib import contextmanager
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from esrbench.cli.console import (
    JsonOption,
    messages,
    open_registry,
    print_banner,
    print_by_kind,
    print_json,
    print_notices,
    progress_bar,
)
from esrbench.cli.options import (
    BackendOption,
    ChannelsLastOption,
    CompileOption,
    CudnnBenchmarkOption,
    DevicesOption,
    EngineOption,
    EngineOptions,
    IsolationOption,
    OwnPrecisionOption,
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
from esrbench.cli.tables import print_table
from esrbench.errors import EXIT_INTERRUPTED, EXIT_MEASUREMENT_FAILED, UsageError
from esrbench.plaintext import line
from esrbench.protocol import MAX_ROUNDS, ForwardPolicy, LatencyDesign, Protocol
from esrbench.records import Absent
from esrbench.runs.store import Store, default_results

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from rich.progress import TaskID

    from esrbench.challenge.file import Challenge
    from esrbench.protocol import Device
    from esrbench.ranking.board import Leaderboard
    from esrbench.records import EntryIdentity, RunRecord
    from esrbench.runs.cells import Engine
    from esrbench.runs.plan import Suite
    from esrbench.runs.progress import Progress

DEFAULT_ENTRIES = ("aidn", "rfdn", "imdn", "srresnet", "bicubic")
DESIGN = LatencyDesign()
NAME_ENGINE = "Write --engine slurm or --engine local as well."
BESIDE_A_CHALLENGE = frozenset(
    {"names", "plan", "results", "timeout", "entry_timeout", "resume", "verbose", "as_json"}
)
"""Parameters that may be given beside a challenge's file."""


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
            help="Data set NAME, folder PATH of HR/LR pairs, or NAME=PATH. Repeatable.",
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
        str, typer.Option(help="LR size at which complexity and latency are taken.")
    ] = "256x256",
    warmup: Annotated[
        int,
        typer.Option(
            min=0, max=MAX_ROUNDS, help="Least untimed forwards at each new LR size; 0 for none."
        ),
    ] = DESIGN.warmup_rounds,
    min_rounds: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=MAX_ROUNDS,
            help="Timed forwards an input, whatever they cost.",
            show_default=f"{DESIGN.min_rounds}, or --rounds if fewer",
        ),
    ] = None,
    rounds: Annotated[
        int, typer.Option(min=1, max=MAX_ROUNDS, help="Most timed forwards an input.")
    ] = DESIGN.max_rounds,
    half_width: Annotated[
        float,
        typer.Option(
            min=0,
            max=0.99,
            help="An input is done once half the median's 95 % interval is this share of it.",
        ),
    ] = DESIGN.target_half_width,
    budget: Annotated[
        float, typer.Option(min=0, help="Seconds of timed forwards after which an input is done.")
    ] = DESIGN.budget_seconds,
    processes: Annotated[
        int,
        typer.Option(
            min=1, help="Fresh processes that time each entry, interleaved; official runs take 5."
        ),
    ] = DESIGN.processes,
    baseline: Annotated[
        str | None,
        typer.Option(help="Network that runs in every round, to set runtimes in relation to."),
    ] = None,
    order_seed: Annotated[
        int, typer.Option(min=0, help="Of the random order of entries in each round.")
    ] = 0,
    precision: OwnPrecisionOption = None,
    channels_last: ChannelsLastOption = False,
    backend: BackendOption = None,
    compiled: CompileOption = False,
    cudnn_benchmark: CudnnBenchmarkOption = False,
    latency: Annotated[
        bool, typer.Option("--latency/--no-latency", help="Measure runtime.")
    ] = True,
    save_sr: Annotated[
        Path | None,
        typer.Option(help="Folder for SR images as PNG.", file_okay=False),
    ] = None,
    isolation: IsolationOption = "auto",
    seed: Annotated[int, typer.Option(min=0, help="Of random weights and inputs.")] = 0,
    timeout: TimeoutOption = 900,
    entry_timeout: Annotated[
        float,
        typer.Option(min=1, help="Seconds that all of an entry may take on a data set."),
    ] = 86400,
    results: ResultsOption = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help=(
                "Go on with the same suite where it was cut short. If none was, measure only what "
                "has no finished record of the same code, weights, data, protocol and machine."
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
    as_json: JsonOption = False,
) -> None:
    """Measure networks on data sets and print the challenge leaderboard.

    Every record is stored as it is made, and what else was measured when a suite is cut short, by
    Ctrl-C, a crash or a power loss: --resume goes on from there.
    """
    from esrbench.entries.registry import resolve_name, resolve_names, submitted_names
    from esrbench.ranking.leaderboard import build_leaderboard
    from esrbench.ranking.rules import get_rule
    from esrbench.runs.plan import plan_suite

    if (file := challenge_file(ctx, names or ())) is not None:
        run_challenge(
            file,
            results=results if _given(ctx, "results") else None,
            plan=plan,
            timeout_seconds=timeout,
            entry_seconds=entry_timeout,
            verbose=verbose,
            as_json=as_json,
        )
        return
    chosen_rule = get_rule(rule)
    if not math.isfinite(budget):
        message = f"--budget {budget}: expected seconds"
        raise UsageError(message, advice="For example 3.")
    least = min(DESIGN.min_rounds, rounds) if min_rounds is None else min_rounds
    if least > rounds:
        message = f"--min-rounds {least} exceeds --rounds {rounds}"
        raise UsageError(message, advice="Raise --rounds too.")
    design = LatencyDesign(
        warmup_rounds=warmup,
        max_warmup_rounds=min(max(2 * warmup, DESIGN.max_warmup_rounds), MAX_ROUNDS),
        min_rounds=least,
        max_rounds=rounds,
        target_half_width=half_width,
        budget_seconds=budget,
        processes=processes,
    )
    backends = parse_backends(backend, compiled=compiled)
    kind, gpu, chosen_engine = choose_engine(device, engine, engine_option or ())
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
        latency=design if latency else None,
    )
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
                data or ["demo"],
                scale,
                weights=parse_weights(weights or [], [*chosen, *([baseline] if baseline else [])]),
                interpreters=parse_interpreters(python or []),
                protocol=protocol.by(name),
                isolation=isolation,
                baseline=baseline,
                order_seed=order_seed,
                sr_folder=save_sr / name if save_sr and len(backends) > 1 else save_sr,
                own_precision=precision is None,
                gpu=gpu,
                on_image=on_image,
            )
            for name in backends
        ]
    if plan:
        print_plan(suites, store, "What would run", resume=resume, as_json=as_json)
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
        verbose=verbose,
        as_json=as_json,
    )


def choose_engine(
    device: str, name: Literal["local", "slurm"] | None, options: Sequence[str]
) -> tuple[Device, int | None, Engine | None]:
    """The kind of device, its number where this machine measures, and the engine.

    Raises:
        UsageError: a device, an engine or an option that there is not.
    """
    from esrbench.devices import gpu_numbers, parse_devices
    from esrbench.engines.opening import open_engine, parse_settings

    kind, gpus = parse_devices(device)
    if options and name is None:
        raise UsageError(f"--engine-option {options[0]}: of which engine?", advice=NAME_ENGINE)
    if name == "slurm":
        return kind, None, open_engine(parse_settings(name, options), kind)
    gpus = gpu_numbers(kind) if gpus is None else gpus
    if name is None and len(gpus) == 1:
        return kind, gpus[0], None
    return kind, gpus[0], open_engine(parse_settings("local", options), kind, gpus)


def _given(ctx: typer.Context, name: str) -> bool:
    """Whether an option stands on the command line."""
    source = ctx.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def challenge_file(ctx: typer.Context, names: Sequence[str]) -> Path | None:
    """The challenge that is to be run, or None where options say what is.

    Raises:
        UsageError: a challenge with other names or with options that it says itself.
    """
    file = next((name for name in names if name.endswith(".toml")), None)
    if file is None:
        return None
    said = [
        parameter.opts[0]
        for parameter in ctx.command.params
        if parameter.name not in BESIDE_A_CHALLENGE and _given(ctx, parameter.name or "")
    ]
    said += [name for name in names if name != file]
    if said:
        message = f"{file} says what is run and how: {', '.join(said)} cannot be given beside it"
        raise UsageError(message, advice="Write it into the file.")
    return Path(file)


def run_challenge(
    path: Path,
    *,
    results: Path | None,
    plan: bool,
    timeout_seconds: float,
    entry_seconds: float,
    verbose: bool,
    as_json: bool,
) -> None:
    """Measure what a challenge lacks, and write what it publishes."""
    from esrbench.challenge.file import read_challenge
    from esrbench.challenge.outputs import challenge_boards, write_outputs
    from esrbench.challenge.plan import log_challenge, plan_challenge
    from esrbench.runs.decisions import decide_replaced
    from esrbench.runs.standing import Standings
    from esrbench.runs.suite import UNFINISHED

    challenge = read_challenge(path)
    store = Store(results or path.parent / challenge.results)
    registry = open_registry()
    standings = Standings.after(store.load_decisions()[0])
    with images_bar() as on_image:
        planned = plan_challenge(path, challenge, registry, standings, on_image=on_image)
    print_notices(planned.notices)
    suite = planned.suite
    if plan:
        print_plan([suite], store, challenge.title, resume=True, as_json=as_json)
        return
    print_banner(suite.launcher.sandbox)
    store.require_writable()
    for said in log_challenge(path, challenge, planned, store):
        messages().print(line(said), markup=False)
    known: list[RunRecord] = []
    new, interrupted = execute(
        [suite],
        store,
        known,
        resume=True,
        engine=challenge_engine(challenge),
        timeout_seconds=timeout_seconds,
        entry_seconds=entry_seconds,
    )
    decide_replaced(store, [each for each in (*known, *new) if each.status not in UNFINISHED])
    stored, notices = store.load()
    print_notices(notices)
    baseline = suite.baseline and standings.of(suite.baseline).name
    data = [identity for _, identity in suite.data]
    boards = list(challenge_boards(challenge, stored, data, baseline))
    folder = path.parent / challenge.outputs.folder
    for file in write_outputs(folder, challenge, boards, store=store, registry=registry):
        messages().print(f"wrote {file}", markup=False, soft_wrap=True)
    conclude(
        [*known, *new],
        [each.board for each in boards],
        store,
        interrupted=interrupted,
        count=len(new),
        verbose=verbose,
        as_json=as_json,
    )


def challenge_engine(challenge: Challenge) -> Engine | None:
    """The engine of a challenge; None for this process."""
    from esrbench.engines.opening import open_engine

    settings = challenge.engine
    return None if settings is None else open_engine(settings, challenge.measured_by.device)


@contextmanager
def images_bar() -> Iterator[Callable[[str, int, int], None]]:
    """A bar for each data set while its images are checked, to be told name, done and all."""
    with progress_bar() as progress:
        bars: dict[str, TaskID] = {}

        def on_image(spec: str, done: int, total: int) -> None:
            if spec not in bars:
                bars[spec] = progress.add_task(f"checking {spec}", total=total)
            progress.update(bars[spec], completed=done)

        yield on_image


def print_plan(
    suites: Sequence[Suite], store: Store, caption: str, *, resume: bool, as_json: bool
) -> None:
    """Print what suites would run.

    Raises:
        UsageError: JSON of several.
    """
    from esrbench.reports.forecast import forecast_table
    from esrbench.runs.forecast import forecast

    if as_json and len(suites) > 1:
        message = "--plan --json: one document holds the plan of one backend"
        raise UsageError(message, advice="Name one by --backend.")
    for suite in suites:
        found = forecast(suite, store, resume=resume)
        print_table(forecast_table(found, caption), as_json=as_json)


def conclude(
    records: Sequence[RunRecord],
    boards: Sequence[Leaderboard],
    store: Store,
    *,
    interrupted: bool,
    count: int,
    verbose: bool,
    as_json: bool,
) -> None:
    """Print what came of a suite, and end with the code that says how it went.

    Args:
        records: of the suite, those that were there included.
        boards: to print.
        store: of the records.
        interrupted: it was cut short.
        count: of new records.
        verbose: print every warning.
        as_json: print the records as one document instead of the boards.
    """
    from esrbench.entries.registry import default_registry
    from esrbench.reports.leaderboard import leaderboard_table

    if as_json:
        document = {
            "interrupted": interrupted,
            "records": [record.model_dump(mode="json") for record in records],
        }
        print_json(document)
    else:
        told = list(default_registry().notices)  # by ``open_registry``
        for board in boards:
            new = tuple(notice for notice in board.notices if notice not in told)
            told += new
            print_table(leaderboard_table(board.model_copy(update={"notices": new})))
    report(records, verbose=verbose)
    if interrupted:
        said = f"interrupted: {len(records)} finished runs are in {store.runs}; --resume goes on"
        messages().print(said, markup=False)
        sys.exit(EXIT_INTERRUPTED)
    messages().print(f"{count} new records are in {store.runs}", markup=False)
    if any(record.status != "ok" and not record.ranked for record in records):
        raise typer.Exit(EXIT_MEASUREMENT_FAILED)


def report(records: Sequence[RunRecord], *, verbose: bool = False) -> None:
    """Warnings of the runs, one line a kind unless all are wanted, and what would complete them."""
    several = len({record.data.digest for record in records}) > 1
    named = [
        (f"{r.entry.name} on {r.data.name}" if several else r.entry.name, notice)
        for r in records
        for notice in r.notices
    ]
    print_by_kind(named, verbose=verbose)
    for hint in demonstration_hints(record.entry for record in records):
        messages().print(f"hint: {hint}", markup=False)
    for name, record in {record.entry.name: record for record in records}.items():
        if record.advice and not record.ranked:
            messages().print(line(f"hint: {name}: {record.advice}"), markup=False)
        psnr = record.values["psnr_rgb"]
        if isinstance(psnr, Absent) and psnr.kind == "unavailable" and psnr.advice:
            messages().print(line(f"hint: no PSNR for {name}. {psnr.advice}"), markup=False)


def demonstration_hints(entries: Iterable[EntryIdentity]) -> Iterator[str]:
    """What to say of entries that ran with the weights that ship with esrbench."""
    from esrbench.entries.registry import default_registry

    of_kind: dict[bool, dict[str, None]] = {}
    for each in entries:
        if each.weights.source == "demo":
            found = default_registry().get(each.name).released_weights(each.scale)
            of_kind.setdefault(found is not None, {})[each.name] = None
    for released, names in of_kind.items():
        said = (
            f"{', '.join(names)} ran with demonstration weights that esrbench trained, not the "
            "authors'"
        )
        if released:
            yield f"{said}; `esrbench fetch weights {' '.join(names)}` fetches the authors'."
        else:
            yield f"{said}; none were released. Give your own: --weights NAME=FILE."


def execute(
    suites: Sequence[Suite],
    store: Store,
    known: list[RunRecord],
    *,
    resume: bool,
    engine: Engine | None,
    timeout_seconds: float,
    entry_seconds: float,
) -> tuple[list[RunRecord], bool]:
    """Run suites one after the other, under a progress bar.

    Args:
        suites: the plans, one a backend.
        store: of the records.
        known: receives records that were there.
        resume: as of ``run_suite``.
        engine: likewise.
        timeout_seconds: likewise.
        entry_seconds: likewise.

    Returns:
        The records made, and whether they were interrupted.
    """
    from esrbench.runs.suite import run_suite

    records: list[RunRecord] = []
    with progress_bar(quiet=True, eta=False) as progress:
        task = progress.add_task("starting", total=None)
        where = ""

        def on_progress(now: Progress) -> None:
            nonlocal where
            where = now.describe()
            done, total = now.passes
            progress.update(task, completed=done, total=total)
            if not progress.console.is_terminal:
                progress.print(line(f"{where}: {now.entry}"), markup=False)

        def on_step(entry: str, step: str) -> None:
            progress.update(task, description=line(f"{where}: {entry}, {step}"), refresh=True)

        def on_known(record: RunRecord) -> None:
            known.append(record)
            said = f"{record.entry.name} on {record.data.name}: {record.status}, measured before"
            progress.print(line(said), markup=False)

        try:
            run = partial(
                run_suite,
                store=store,
                resume=resume,
                engine=engine,
                on_step=on_step,
                on_known=on_known,
                on_notice=lambda notice: print_notices([notice]),
                on_progress=on_progress,
                timeout_seconds=timeout_seconds,
                entry_seconds=entry_seconds,
            )
            for record in chain.from_iterable(map(run, suites)):
                records.append(record)
                said = f"{record.entry.name} on {record.data.name}: {record.status}"
                said += f" in {record.duration_seconds:.0f} s"
                cause = (record.cause or "").removeprefix(f"{record.status}: ")
                said += f" ({cause})" if cause else ""
                progress.print(line(said), markup=False)
        except KeyboardInterrupt:
            return records, True
    return records, False

"""``esrbench baseline``: keep what networks measure now, to check against later."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import typer

from esrbench.cli.console import JsonOption, messages, open_registry, print_json, results
from esrbench.cli.gate import GateOptions, GateScaleOption, gate_bench, gate_request
from esrbench.cli.options import (
    ThreadsOption,
    TimeoutOption,
    expand_options,
    parse_size,
)


@expand_options
def baseline_command(
    action: Annotated[Literal["update"], typer.Argument(help="What to do.")],  # noqa: ARG001
    *,
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="Networks to measure again.",
            show_default="all of the file; of a new one all that are registered but submissions",
        ),
    ] = None,
    baseline: Annotated[
        Path | None,
        typer.Option(help="Baseline file.", show_default="esrbench-baseline.json", dir_okay=False),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(help="Keep the named networks' runtime as a ratio to this network's."),
    ] = None,
    scale: GateScaleOption = None,
    scores: Annotated[
        bool, typer.Option("--scores/--no-scores", help="Score entries with trained weights.")
    ] = True,
    runtime: Annotated[
        bool,
        typer.Option("--runtime/--no-runtime", help="Measure the stored runtime ratios by races."),
    ] = True,
    options: GateOptions,
    threads: ThreadsOption = None,
    race_size: Annotated[str, typer.Option(help="LR size of new ratios.")] = "64x64",
    timeout: TimeoutOption = 900,
    as_json: JsonOption = False,
) -> None:
    """Write what networks measure now into a baseline file, and print what changed.

    Only the named networks are measured; everything else in the file stays. The file is written
    only if everything succeeded.
    """
    from esrbench.entries.registry import resolve_names
    from esrbench.gate.baseline import (
        Baseline,
        changes,
        read_baseline,
        render,
        write_baseline,
    )
    from esrbench.gate.figures import METRIC_NAMES, ON_DATA, parse_key
    from esrbench.gate.gate import BASELINE_FILE
    from esrbench.gate.update import update
    from esrbench.gate.verdicts import RUNTIME

    path = baseline or Path(BASELINE_FILE)
    before = read_baseline(path) if path.exists() else Baseline()
    left_out = {*(() if scores else ON_DATA), *(() if runtime else (RUNTIME,))}
    registry = open_registry()
    names = resolve_names(registry, names or ())
    request = replace(
        gate_request(registry, names, options),
        scales=tuple(scale or ()),
        metrics=frozenset(METRIC_NAMES) - left_out,
        threads=threads,
        race_size=parse_size(race_size, "--race-size"),
        timeout_seconds=timeout,
    )
    with gate_bench(registry, request) as bench:
        now = update(bench, before, reference=reference)
    lines = list(changes(before, now))
    written = not path.exists() or render(now) != path.read_text(encoding="utf-8")
    if written:
        write_baseline(now, path)
    if as_json:
        print_json({"path": str(path), "written": written, "changes": lines})
    else:
        for line in lines:
            results().print(line, markup=False)
    count = len(now.entries)
    entries = f"{path} has {count} {'entry' if count == 1 else 'entries'}"
    changed = f"{len(lines)} {'change' if len(lines) == 1 else 'changes'}"
    said = f"{entries}, {changed if written else 'as it was'}"
    messages().print(said, markup=False)
    random = [
        key
        for key, entry in now.entries.items()
        if entry.weights.source == "random" and (not names or parse_key(key)[0] in names)
    ]
    if scores and random:
        give = f"--weights {parse_key(random[0])[0]}=FILE"
        without = f"no scores of {', '.join(random)}: the weights are random"
        messages().print(f"hint: {without}. Give trained ones: {give}.", markup=False)

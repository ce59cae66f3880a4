"""What a command asks the gate for: options, the request, and the bench with its progress."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from esrbench.cli.console import progress_bar
from esrbench.cli.options import (
    DeviceOption,
    PythonOption,
    parse_interpreters,
    parse_weights,
    scales_option,
)
from esrbench.devices import parse_device
from esrbench.plaintext import line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from esrbench.entries.registry import Registry
    from esrbench.gate.bench import Bench, Request

GateScaleOption = Annotated[list[int] | None, scales_option("all of the baseline")]


@dataclass(frozen=True, slots=True)
class GateOptions:
    """Options that ``check`` and ``baseline`` share."""

    data: Annotated[
        list[str] | None,
        typer.Option(help="Location of a data set: NAME, NAME=PATH or a folder. Repeatable."),
    ] = None
    weights: Annotated[
        list[str] | None,
        typer.Option(help="NAME=FILE or NAME=random. Repeatable.", show_default="as the baseline"),
    ] = None
    python: PythonOption = None
    device: DeviceOption = "cpu"


def gate_request(
    registry: Registry,
    names: Sequence[str],
    options: GateOptions,
    *,
    against: str | None = None,
) -> Request:
    """Request what the options ask for; everything else has its default.

    Args:
        registry: knows the networks.
        names: of the networks; empty for all.
        options: where data sets, weights and interpreters are, and where forwards run.
        against: another network that runs.

    Raises:
        UsageError: an option has a value of another form, or names something unknown.
    """
    from esrbench.gate.bench import Request
    from esrbench.runs.elsewhere import find_interpreters

    known = names or [model.name for model in registry]
    running = [*known, *([against] if against else [])]
    device, gpu = parse_device(options.device)
    return Request(
        names=tuple(names),
        data=parse_data(options.data or []),
        weights=parse_weights(options.weights or [], known),
        interpreters=find_interpreters(
            parse_interpreters(options.python or []),
            {name: registry.get(name) for name in running if name in registry},
        ),
        device=device,
        gpu=gpu,
    )


def parse_data(specs: Sequence[str]) -> dict[str, str]:
    """Locations of data sets, by their names in a baseline."""
    from esrbench.data.datasets import listed_specs, parse_data_spec

    sources = ((parse_data_spec(spec).source, spec) for spec in listed_specs(specs))
    return {
        source.resolve().name if isinstance(source, Path) else source: spec
        for source, spec in sources
    }


@contextmanager
def gate_bench(registry: Registry, request: Request) -> Iterator[Bench]:
    """A bench that shows its progress on stderr: a bar, which is not drawn during timing.

    If stderr is not a terminal, print a line for each entry when it begins.
    """
    from esrbench.gate.bench import Bench

    with progress_bar(quiet=True) as progress:
        task = progress.add_task("starting", total=None)

        latest = ""

        def on_step(entry: str, step: str) -> None:
            nonlocal latest
            if entry != latest and not progress.console.is_terminal:
                progress.print(line(f"{entry}: {step}"), markup=False)
            latest = entry
            progress.update(
                task, description=f"{entry}: {step}", completed=0, total=None, refresh=True
            )

        def on_pairs(done: int, most: int) -> None:
            progress.update(task, completed=done, total=most, refresh=True)

        yield Bench(registry, request, on_step=on_step, on_pairs=on_pairs)

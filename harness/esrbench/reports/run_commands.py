"""Commands of ``esrbench run`` that would fill a comparison, or that repeat a run."""

from __future__ import annotations

import shlex
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from esrbench.data.declarations import DATASETS
from esrbench.protocol import EFFORTS, Protocol, effort_of
from esrbench.reports.comparison import grouped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esrbench.entries.registry import Registry
    from esrbench.records import RunRecord
    from esrbench.reports.comparison import Line
    from esrbench.reports.comparison_sources import Choice

FOLDER = "FOLDER"
"""Stands for the folder of a data set or of weights that only the user knows."""


def filling_commands(
    lines: Sequence[Line], data: Sequence[str], choice: Choice, registry: Registry
) -> tuple[str, ...]:
    """As few ``esrbench run`` commands as possible for all cells without a comparable run.

    They repeat the settings of the other runs in the table; otherwise the runs would not be
    comparable. Published lines count as filled. Unregistered networks, and data sets that are not
    defined at a scale, cannot be run.
    """
    wanted: list[tuple[tuple[int, tuple[str, ...], tuple[str, ...]], str]] = []
    for line in lines:
        if line.published or line.entry not in registry:
            continue
        missing: list[tuple[tuple[str, ...], str]] = []
        for name in data:
            defined = name not in DATASETS or line.scale in DATASETS[name].scales
            if defined and (line.entry, line.scale, name) not in choice.runs:
                beside = choice.newest(line.scale, name)
                settings = protocol_options(beside.protocol) if beside else []
                missing.append((tuple(settings), _data_spec(name, beside)))
        for options, named in grouped(missing).items():
            wanted.append(((line.scale, tuple(named), options), line.entry))
    commands = []
    for (scale, specs, options), entries in grouped(wanted).items():
        sources = [word for spec in specs for word in ("--data", spec)]
        weights = [word for entry in entries for word in _weights_options(entry, scale, choice)]
        words = ["esrbench", "run", *entries, *sources, "--scale", str(scale), *options, *weights]
        commands.append(shlex.join(words))
    return tuple(commands)


def _data_spec(name: str, beside: RunRecord | None) -> str:
    """A value for ``--data``: a name if the cache has it, otherwise a folder to fill in."""
    if name not in DATASETS:
        return f"{FOLDER}/{name}"
    from_folder = beside is not None and beside.data.name == name and not beside.data.verified
    return f"{name}={FOLDER}" if from_folder or not DATASETS[name].fetchable else name


def _weights_options(entry: str, scale: int, choice: Choice) -> list[str]:
    """Weights of the entry's other runs at this scale, where a run would not take them itself."""
    known = (run for at, run in choice.runs.items() if at[:2] == (entry, scale))
    weights = next((run.entry.weights for run in known), None)
    if weights is not None and weights.source == "random":
        return ["--weights", f"{entry}=random"]
    if weights is not None and weights.source == "file" and weights.filename:
        return ["--weights", f"{entry}={FOLDER}/{weights.filename}"]
    return []


_OPTIONS: Final = {
    "--channels-last": "forward.channels_last",
    "--backend": "forward.backend",
    "--cudnn-benchmark": "forward.cudnn_benchmark",
    "--device": "device",
    "--precision": "forward.precision",
    "--threads": "threads",
    "--input-size": "counted_input",
    "--seed": "seed",
    "--warmup": "latency.warmup_rounds",
    "--min-rounds": "latency.min_rounds",
    "--rounds": "latency.max_rounds",
    "--half-width": "latency.target_half_width",
    "--budget": "latency.budget_seconds",
    "--processes": "latency.processes",
}
"""Options of ``esrbench run`` and the fields of a ``Protocol`` that they set."""


def protocol_options(protocol: Protocol) -> list[str]:
    """Options of ``esrbench run`` that give a protocol: its effort, and what differs from that."""
    design, usual = protocol.latency, Protocol()
    if design is None:
        options = ["--no-runtime"]
    else:
        effort = effort_of(design) or ("standard" if design.fixed_input else "quick")
        options = ["--effort", effort]
        usual = Protocol(latency=EFFORTS[effort])
    if (quantisation := protocol.forward.quantisation) is not None:
        options += ["--calibrate-with", FOLDER, *["--fp32-ends"] * quantisation.fp32_ends]
    for option, field in _OPTIONS.items():
        if design is None and field.startswith("latency."):
            continue
        value = attrgetter(field)(protocol)
        if value == attrgetter(field)(usual):
            continue
        options.append(option)
        if isinstance(value, tuple):
            options.append("x".join(map(str, value)))
        elif value is not True:
            options.append(f"{value:g}" if isinstance(value, float) else str(value))
    return options

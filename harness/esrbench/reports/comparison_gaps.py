"""The commands that would measure what a comparison table misses."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from esrbench.data.declarations import DATASETS
from esrbench.protocol import LatencyDesign, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esrbench.entries.registry import Registry
    from esrbench.reports.comparison import Line
    from esrbench.reports.comparison_choice import Choice

FOLDER = "FOLDER"
"""Stands for the folder of a data set that only the user knows."""


def filling_commands(
    lines: Sequence[Line], data: Sequence[str], choice: Choice, registry: Registry
) -> tuple[str, ...]:
    """``esrbench run`` lines for the cells without a comparable run, few as can be.

    They repeat the settings of the runs beside which the new ones will stand, as other settings
    would not compare. Published lines count as filled. Networks that are not registered and
    data sets that are not defined at a scale cannot be run.
    """
    wanted: dict[tuple[int, tuple[str, ...], tuple[str, ...]], list[str]] = {}
    for line in lines:
        if line.published or line.entry not in registry:
            continue
        missing: dict[tuple[str, ...], list[str]] = {}
        for name in data:
            place = (line.entry, line.scale, name)
            if place in choice.runs or not _defined(name, line.scale):
                continue
            beside = choice.newest(line.scale, name)
            options = tuple(protocol_options(beside.protocol if beside else Protocol()))
            missing.setdefault(options, []).append(_data_spec(name, line.scale, choice))
        for options, specs in missing.items():
            wanted.setdefault((line.scale, tuple(specs), options), []).append(line.entry)
    commands = []
    for (scale, data_specs, settings), entries in wanted.items():
        words = ["esrbench", "run", *entries]
        for spec in data_specs:
            words += ["--data", spec]
        words += ["--scale", str(scale), *settings]
        for entry in entries:
            words += _weights(entry, scale, choice)
        commands.append(shlex.join(words))
    return tuple(commands)


def _defined(name: str, scale: int) -> bool:
    return name not in DATASETS or scale in DATASETS[name].scales


def _data_spec(name: str, scale: int, choice: Choice) -> str:
    """What ``--data`` takes: a name where the cache holds it, or a folder to be filled in."""
    if name not in DATASETS:
        return f"{FOLDER}/{name}"
    beside = choice.newest(scale, name)
    from_folder = beside is not None and beside.data.name == name and not beside.data.verified
    return f"{name}={FOLDER}" if from_folder or not DATASETS[name].fetchable else name


def _weights(entry: str, scale: int, choice: Choice) -> list[str]:
    """The weights that the entry's other runs at this scale had."""
    known = (run for (name, at, _), run in choice.runs.items() if (name, at) == (entry, scale))
    weights = next((run.entry.weights for run in known), None)
    if weights is not None and weights.source == "random":
        return ["--weights", f"{entry}=random"]
    if weights is not None and weights.source in {"file", "submitted"} and weights.filename:
        return ["--weights", f"{entry}={weights.filename}"]
    return []


def protocol_options(protocol: Protocol) -> list[str]:
    """Options of ``esrbench run`` that give a protocol, where it differs from the default."""
    default, forward = Protocol(), protocol.forward
    height, width = protocol.counted_input
    flags = {
        "--channels-last": forward.channels_last,
        "--compile": forward.compiled,
        "--cudnn-benchmark": forward.cudnn_benchmark,
        "--no-latency": protocol.latency is None,
    }
    valued: dict[str, tuple[object, object]] = {
        "--device": (protocol.device, default.device),
        "--precision": (forward.precision, default.forward.precision),
        "--threads": (protocol.threads, default.threads),
        "--input-size": (f"{height}x{width}", "{}x{}".format(*default.counted_input)),
        "--seed": (protocol.seed, default.seed),
    }
    if protocol.latency is not None:
        design, usual = protocol.latency, LatencyDesign()
        valued |= {
            "--warmup": (design.warmup_rounds, usual.warmup_rounds),
            "--min-rounds": (design.min_rounds, usual.min_rounds),
            "--rounds": (design.max_rounds, usual.max_rounds),
            "--half-width": (design.target_half_width, usual.target_half_width),
            "--budget": (design.budget_seconds, usual.budget_seconds),
            "--processes": (design.processes, usual.processes),
        }
    options = [flag for flag, given in flags.items() if given]
    for option, (value, usual_value) in valued.items():
        if value != usual_value:
            options += [option, f"{value:g}" if isinstance(value, float) else str(value)]
    return options

"""What counting and auditing an entry costs, beside three counters run once each.

    python benchmarks/counting_cost.py [--smoke] [NAME ...]

For each network, in a process of its own and one thread: the official script's hooks, fvcore and
ptflops on one forward each, then all that is counted and audited of an entry. Memory is what each
adds to the process at its peak; the largest forward is that of the largest size that was audited
with pixel values. Aimed at are a median ratio of 3 in time and of 1.5 in memory.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import gc
import io
import json
import logging
import math
import statistics
import subprocess
import sys
import time
import warnings
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import torch
    from torch import nn

TIME_AIM, MEMORY_AIM = 3.0, 1.5
SMOKE = ("fsrcnn", "item 16x4")
SCALE = 4
SEED = 1
"""Of the audited size that is drawn."""
MEBIBYTE = 1024
"""In the kibibytes of the kernel's account."""
KINDS = ("registered", "pixel values")


def names() -> dict[str, str]:
    """Every network by name, with its kind."""
    from pixel_networks import PIXEL_NETWORKS

    from esrbench.entries.registry import default_registry

    registered = (model.name for model in default_registry() if model.role != "floor")
    return dict.fromkeys(registered, KINDS[0]) | dict.fromkeys(PIXEL_NETWORKS, KINDS[1])


def build(name: str) -> tuple[Callable[[], nn.Module], int, int]:
    """What makes a network, the channels of its input, and by how much that is enlarged."""
    from pixel_networks import PIXEL_NETWORKS

    from esrbench.entries.networks import build_deployed
    from esrbench.entries.registry import default_registry
    from esrbench.probes.forward import PixelConversion

    if name in PIXEL_NETWORKS:
        return (lambda: PIXEL_NETWORKS[name]().eval()), 3, 1
    model = default_registry().get(name)
    scale = SCALE if SCALE in model.scales else model.scales[0]
    conversion = PixelConversion.of(model, scale, model.data_range)
    return (
        (lambda: build_deployed(model, scale)),
        conversion.channels,
        conversion.input_size((1, 1))[0],
    )


def official(network: nn.Module, image: torch.Tensor) -> None:
    """One forward with the hooks of the official script."""
    from torch import nn

    sums: list[int] = []

    def hook(module: Any, _inputs: object, output: torch.Tensor) -> None:
        weight = getattr(module, "weight", None)
        sums.append(output.numel() * (1 if weight is None else weight[0].numel()))

    kinds = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear, nn.ReLU, nn.PReLU, nn.LeakyReLU)
    for module in network.modules():
        if isinstance(module, kinds):
            module.register_forward_hook(hook)
    network(image)


def by_fvcore(network: nn.Module, image: torch.Tensor) -> None:
    """FLOPs by fvcore."""
    from fvcore.nn import FlopCountAnalysis

    FlopCountAnalysis(network, image).total()


def by_ptflops(network: nn.Module, image: torch.Tensor) -> None:
    """Multiply-accumulates of ptflops."""
    from ptflops import get_model_complexity_info

    with contextlib.redirect_stdout(io.StringIO()):
        get_model_complexity_info(
            network,
            tuple(image.shape[1:]),
            print_per_layer_stat=False,
            as_strings=False,
            backend="pytorch",
        )


def peak(run: Callable[[], object]) -> tuple[float, int]:
    """Seconds that something takes, and KiB that it adds to the process at its peak."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    # The kernel forgets the peak so far.
    Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmRSS")
    start = time.perf_counter()
    run()
    return time.perf_counter() - start, _status("VmHWM") - before


def _status(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


def measure(name: str, side: int) -> dict[str, float]:
    """Costs of one network, in this process."""
    import fvcore.nn  # noqa: F401 - so that nobody pays for importing it
    import ptflops  # noqa: F401
    import torch

    from esrbench.probes.complexity import audited_sizes, drawn_size, measure_complexity
    from esrbench.protocol import COUNTERS
    from esrbench.records import Absent

    torch.set_num_threads(1)
    make, channels, factor = build(name)
    size = (side * factor, side * factor)
    image = torch.rand(1, channels, *size)
    seconds = 0.0
    with torch.no_grad():
        for count in (official, by_fvcore, by_ptflops):
            network = make()
            seconds += peak(lambda count=count, network=network: count(network, image))[0]  # type: ignore[misc]
    found: list[Any] = []
    largest = (side * 2 - 2) * factor
    network = make()
    ours, memory = peak(
        lambda: found.append(
            measure_complexity(
                network,
                input_size=size,
                channels=channels,
                memory_input=(largest, largest),
                counters=COUNTERS,
                audit_seed=SEED,
            )
        )
    )
    audit = found[0].audit
    by_values = not isinstance(audit, Absent) and audit.by_values
    sizes = audited_sizes(size, (largest, largest))
    drawn = drawn_size(sizes, SEED) if by_values else None
    height, width = max(size, drawn or size, key=math.prod)
    audited = torch.rand(1, channels, height, width)
    with torch.no_grad():
        _, forward = peak(lambda: network(audited))
    return {
        "three": seconds,
        "ours": ours,
        "memory": memory / MEBIBYTE,
        "forward": forward / MEBIBYTE,
        "by_values": by_values,
    }


def line(name: str, row: dict[str, float]) -> str:
    """One network's line of the table."""
    shares = f"{_time(row):>8.2f}{row['memory']:>8.0f}{_memory(row):>8.2f}"
    return f"{name:<24}{row['three']:>10.2f}{row['ours']:>10.2f}{shares}"


def medians(rows: dict[str, dict[str, float]], kinds: dict[str, str]) -> Iterator[str]:
    """A line for each kind of network."""
    for kind in KINDS:
        chosen = [row for name, row in rows.items() if kinds[name] == kind]
        if chosen:
            yield (
                f"median of {len(chosen)} ({kind}): {statistics.median(map(_time, chosen)):.2f} "
                f"times in time, at most {TIME_AIM:g} is aimed at; "
                f"{statistics.median(map(_memory, chosen)):.2f} times the memory of a forward, at "
                f"most {MEMORY_AIM:g}"
            )


def _time(row: dict[str, float]) -> float:
    return row["ours"] / row["three"]


def _memory(row: dict[str, float]) -> float:
    return row["memory"] / max(row["forward"], 1)


def main(arguments: Sequence[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--smoke", action="store_true", help="two networks at a small size")
    parser.add_argument("--alone", help=argparse.SUPPRESS)
    parser.add_argument("--side", type=int, default=256, help="of the counted input")
    given = parser.parse_args(arguments)
    if given.alone:
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        print(json.dumps(measure(given.alone, given.side)))  # noqa: T201 - a script's output
        return
    kinds = names()
    side = 64 if given.smoke else given.side
    rows: dict[str, dict[str, float]] = {}
    say = partial(print, flush=True)
    say(f"{'network':<24}{'three [s]':>10}{'ours [s]':>10}{'ratio':>8}{'MiB':>8}{'ratio':>8}")
    for name in given.names or (SMOKE if given.smoke else kinds):
        command = [sys.executable, __file__, "--alone", name, "--side", str(side)]
        made = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
        rows[name] = json.loads(made.stdout.splitlines()[-1])
        say(line(name, rows[name]))
    for median in medians(rows, kinds):
        say(median)


if __name__ == "__main__":
    main(sys.argv[1:])

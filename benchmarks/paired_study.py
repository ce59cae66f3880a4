"""How often does the paired rule err on this machine?

Races a network against itself, and against itself with a twentieth of real work added, on a
quiet machine and beside processes that keep its CPUs busy:

    python benchmarks/paired_study.py --races 40 --loaded 10 --json study.json

or asks whether a race against oneself is even, by the mean ratio of races of a fixed length:

    python benchmarks/paired_study.py --even 20

What was added is convolutions; their number is found by racing a larger number of them first,
in the very regime of the study. The slowdown they really make is what the median over all
races says, which is printed beside the rates.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from esrbench.cli.console import messages, results
from esrbench.cli.options import parse_size
from esrbench.entries.networks import build_deployed, resolve_weights
from esrbench.entries.registry import default_registry
from esrbench.paired.race import race
from esrbench.protocol import PairDesign, Protocol
from esrbench.records import Absent
from esrbench.runs.evaluator import Entry
from esrbench.statistics import geometric_mean, half_width, median_value

if TYPE_CHECKING:
    from collections.abc import Iterator

    from esrbench.records import RaceRecord, RaceVerdict, Value

SCALE = 4
ADDED = 0.05
FEATURES = 8
"""Few, so that one convolution is a small part of the work to be added."""
CALIBRATION_PASSES = 120
CALIBRATION_STEPS = 2
"""The second near the goal: a few convolutions take longer each than many."""
CALIBRATION = PairDesign(pairs_per_process=30, first_look=120, max_pairs=120)
"""Four processes, whatever they find."""
BUSY = "while True: pass"
EVEN_PAIRS = 120
EVEN = PairDesign(first_look=EVEN_PAIRS, look_every=EVEN_PAIRS, max_pairs=EVEN_PAIRS)
"""Four processes, two of either order of loading."""
EVEN_WITHIN = 0.002


class Slowed(nn.Module):
    """A network that convolves some features of the LR image for nothing."""

    def __init__(self, network: nn.Module, channels: int, passes: int) -> None:
        super().__init__()
        self.network = network
        self.enter = nn.Conv2d(channels, FEATURES, 3, padding=1)
        self.work = nn.Conv2d(FEATURES, FEATURES, 3, padding=1)
        self.passes = passes

    def forward(self, lr: Tensor) -> Tensor:
        """Upscale (N, C, H, W)."""
        features = self.enter(lr)
        for _ in range(self.passes):
            self.work(features)
        sr: Tensor = self.network(lr)
        return sr


def slowed(scale: int, name: str, passes: int) -> nn.Module:
    """A registered network with convolutions added to it."""
    descriptor = default_registry().get(name)
    network = build_deployed(descriptor, scale, seed=torch.initial_seed() % 2**31)
    return Slowed(network, 3 if descriptor.color == "rgb" else 1, passes)


def entry(name: str, passes: int = 0) -> Entry:
    """A network with random weights, slowed if there are passes."""
    descriptor = default_registry().get(name)
    if passes:
        fields = {
            "name": f"{name}-slowed",
            "factory": f"{Path(__file__).resolve()}:slowed",
            "options": {"name": name, "passes": passes},
            "prepare": None,
            "weights": (),
        }
        descriptor = descriptor.model_copy(update=fields)
    return Entry(descriptor, SCALE, resolve_weights(descriptor, SCALE, None))


def calibrate(name: str, protocol: Protocol) -> int:
    """Convolutions that take ``ADDED`` of the network's time."""
    passes = CALIBRATION_PASSES
    for _ in range(CALIBRATION_STEPS):
        record = race(entry(name, passes), entry(name), protocol, CALIBRATION)
        pairs = [pair for process in record.processes for b in process.batches for pair in b.pairs]
        ratio = float(np.median([slow / plain for slow, plain in pairs]))
        messages().print(f"{passes} convolutions make {name} {ratio:.4f} times as long")
        if ratio < 1 + ADDED / 2:
            sys.exit("They are too few to tell: choose a smaller input or network.")
        passes = max(1, round(passes * ADDED / (ratio - 1)))
    return passes


@contextlib.contextmanager
def busy(hogs: int) -> Iterator[None]:
    """Processes that each keep one CPU busy."""
    processes = [
        subprocess.Popen([sys.executable, "-c", BUSY])  # noqa: S603 - our own interpreter
        for _ in range(hogs)
    ]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


@dataclass(slots=True)
class Condition:
    """Races of one kind, and which verdicts are right or wrong for them."""

    title: str
    candidate: Entry
    right: RaceVerdict
    wrong: frozenset[RaceVerdict]
    records: list[RaceRecord] = field(default_factory=list)

    def row(self) -> list[str]:
        """Cells of the table."""
        verdicts = [record.verdict for record in self.records]
        count = len(verdicts)
        estimates = [r.estimate for r in self.records if not isinstance(r.estimate, Absent)]
        ratio = "-"
        if estimates:
            middle = median_value([estimate.ratio for estimate in estimates])
            ratio = f"{middle.value:.4f}"
            if middle.interval is not None:
                ratio += f" [{middle.interval.low:.4f}, {middle.interval.high:.4f}]"
        pairs = [record.timed_pairs for record in self.records]
        seconds = [record.duration_seconds for record in self.records]
        return [
            self.title,
            str(count),
            str(sum(verdict in self.wrong for verdict in verdicts)),
            f"{verdicts.count(self.right)} {self.right}",
            str(verdicts.count("inconclusive")),
            ratio,
            f"{np.median(pairs):.0f} / {np.quantile(pairs, 0.95):.0f}",
            f"{np.median(seconds):.0f} / {np.quantile(seconds, 0.95):.0f}",
        ]

    def document(self) -> dict[str, Any]:
        """Every race in short."""
        return {"condition": self.title, "races": [summary(record) for record in self.records]}


def summary(record: RaceRecord) -> dict[str, Any]:
    """What a race found, and under which load."""
    batches = [batch for process in record.processes for batch in process.batches]
    loads = [
        (batch.conditions.other_load or 0) + (batch.conditions.steal or 0)
        for batch in batches
        if batch.conditions is not None
    ]
    check = record.self_check
    return {
        "verdict": record.verdict,
        "reason": record.reason,
        "estimate": record.estimate.model_dump(mode="json"),
        "self_check": check.model_dump(mode="json"),
        "self_check_half_width": None if isinstance(check, Absent) else half_width(check.interval),
        "pairs": record.timed_pairs,
        "set_aside": sum(len(batch.pairs) for batch in batches if batch.set_aside),
        "seconds": record.duration_seconds,
        "load": {"median": float(np.median(loads)), "highest": max(loads)} if loads else None,
    }


def order_of_loading(record: RaceRecord) -> dict[str, float]:
    """Median ratio of the pairs of each order of loading; none where all were set aside."""
    ratios: dict[str, list[float]] = {}
    for process in record.processes:
        for batch in process.batches:
            if batch.set_aside is None:
                found = ratios.setdefault(process.loaded_first, [])
                found += [ours / theirs for ours, theirs in batch.pairs]
    return {first: float(np.median(found)) for first, found in sorted(ratios.items())}


def even(network: str, count: int, protocol: Protocol, max_other_load: float) -> dict[str, Any]:
    """Race a network against itself, and say how far from 1 the mean ratio is.

    Args:
        network: registered name.
        count: number of races.
        protocol: of each.
        max_other_load: share of the CPUs above which pairs are set aside.

    Returns:
        What was found: the mean, by both orders and by each, and every race in short.
    """
    design = EVEN.model_copy(update={"max_other_load": max_other_load})
    plain = entry(network)
    found: list[dict[str, Any]] = []
    with contextlib.suppress(KeyboardInterrupt):
        for number in range(count):
            record = race(plain, plain, protocol, design)
            found.append({**summary(record), "by_order": order_of_loading(record)})
            ratio = found[-1]["estimate"].get("ratio")
            line = f"{number + 1}/{count}: ratio " + ("none" if ratio is None else f"{ratio:.4f}")
            orders = ", ".join(f"{name} {r:.4f}" for name, r in found[-1]["by_order"].items())
            messages().print(f"{line}; by what was loaded first: {orders or 'none'}", markup=False)
    means = {
        "both orders": mean_ratio([each["estimate"].get("ratio") for each in found]),
        **{
            f"{first} loaded first": mean_ratio([each["by_order"].get(first) for each in found])
            for first in ("candidate", "baseline")
        },
    }
    for name, mean in means.items():
        if mean is not None:
            interval = (
                ""
                if mean.interval is None
                else (f" [{mean.interval.low:.4f}, {mean.interval.high:.4f}]")
            )
            results().print(f"{name}: mean ratio {mean.value:.4f}{interval}", markup=False)
    both = means["both orders"]
    if both is not None:
        kept = abs(both.value - 1) <= EVEN_WITHIN
        excluding = sum(
            not each["estimate"]["interval"]["low"] <= 1 <= each["estimate"]["interval"]["high"]
            for each in found
            if "interval" in each["estimate"]
        )
        results().print(
            f"within {EVEN_WITHIN:.1%} of 1: {'yes' if kept else 'no'}; intervals that exclude 1: "
            f"{excluding} of {len(found)}"
        )
    return {
        "means": {name: None if m is None else m.value for name, m in means.items()},
        "races": found,
    }


def mean_ratio(ratios: list[float | None]) -> Value | None:
    """Geometric mean with its interval, of the races that gave a ratio."""
    given = [ratio for ratio in ratios if ratio is not None]
    return geometric_mean(given) if given else None


def report(conditions: list[Condition]) -> None:
    """Print the table."""
    from rich.table import Table

    table = Table()
    for heading in (
        *("condition", "races", "wrong", "right", "inconclusive"),
        *("median ratio", "pairs med / p95", "seconds med / p95"),
    ):
        table.add_column(heading)
    for condition in conditions:
        if condition.records:
            table.add_row(*condition.row())
    results().print(table)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--network", default="rfdn", help="registered name (default: rfdn)")
    parser.add_argument("--input-size", default="48x48", help="LR size (default: 48x48)")
    parser.add_argument("--threads", type=int, default=1, help="of forwards (default: 1)")
    parser.add_argument("--races", type=int, default=40, help="of each kind, nothing else running")
    parser.add_argument("--loaded", type=int, default=0, help="of each kind, under load")
    parser.add_argument("--hogs", type=int, default=3, help="busy processes under load")
    parser.add_argument(
        "--max-other-load",
        type=float,
        default=PairDesign().max_other_load,
        help="share of the CPUs above which pairs are set aside; 10 judges them all",
    )
    parser.add_argument("--max-pairs", type=int, default=PairDesign().max_pairs, help="of a race")
    parser.add_argument("--passes", type=int, help="convolutions added, instead of calibrating")
    parser.add_argument(
        "--even", type=int, default=0, help="only race the network against itself, so many times"
    )
    parser.add_argument("--json", type=Path, help="file for what every race found")
    return parser.parse_args()


def main() -> None:
    """Run the study; Ctrl-C prints what there is."""
    arguments = parse()
    size = parse_size(arguments.input_size)
    protocol = Protocol(threads=arguments.threads, counted_input=size, latency=None)
    design = PairDesign(max_pairs=arguments.max_pairs, max_other_load=arguments.max_other_load)
    if arguments.even:
        document = even(arguments.network, arguments.even, protocol, arguments.max_other_load)
        if arguments.json:
            arguments.json.write_text(json.dumps(document, indent=1) + "\n")
        return
    plain = entry(arguments.network)
    passes = arguments.passes or calibrate(arguments.network, protocol)
    slow = entry(arguments.network, passes)
    messages().print(f"{passes} convolutions are added in the slowed network")
    changes: frozenset[RaceVerdict] = frozenset({"slower", "faster"})
    misses: frozenset[RaceVerdict] = frozenset({"unchanged", "faster"})
    added, load = f"{ADDED:+.0%} of work", f", {arguments.hogs} busy processes"
    conditions = [
        Condition("itself", plain, "unchanged", changes),
        Condition(added, slow, "slower", misses),
        Condition(f"itself{load}", plain, "unchanged", changes),
        Condition(f"{added}{load}", slow, "slower", misses),
    ]
    plan = [
        (0, arguments.races, conditions[:2]),
        (arguments.hogs, arguments.loaded, conditions[2:]),
    ]
    with contextlib.suppress(KeyboardInterrupt):
        for hogs, count, chosen in plan:
            with busy(hogs if count else 0):
                for number in range(count):
                    for condition in chosen:
                        record = race(condition.candidate, plain, protocol, design)
                        condition.records.append(record)
                        line = f"{condition.title} {number + 1}/{count}: {record.verdict}, "
                        line += f"{record.timed_pairs} pairs, {record.duration_seconds:.0f} s"
                        messages().print(f"{line}; {record.reason}", markup=False)
                        if arguments.json:
                            document = [condition.document() for condition in conditions]
                            text = json.dumps({"passes": passes, "conditions": document}, indent=1)
                            arguments.json.write_text(text + "\n")
    report(conditions)


if __name__ == "__main__":
    main()

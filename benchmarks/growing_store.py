"""What a leaderboard, a listing and a page cost as records grow, as a Markdown table.

    python benchmarks/growing_store.py [--entries N ...] [--processes N] [--rule NAME] [--format F]

A network is run once on the demo images. Its record is copied under other names, with counts,
scores and times drawn by chance, every copy with the raw samples of that many processes. First
``esrbench leaderboard`` finds no index and makes it; then ``leaderboard``, ``runs list`` and
``report`` use it. Times are CPU seconds of whole processes, with an index the least of three. MB is
the largest memory of a process.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import esrbench
from esrbench.protocol import LatencyDesign, Protocol
from esrbench.records import Latency, Value
from esrbench.runs.documents import encode
from esrbench.runs.index import INDEX_NAME, SETTLED_NS
from esrbench.runs.store import Store
from esrbench.statistics import geometric_mean

if TYPE_CHECKING:
    from collections.abc import Iterator

    from esrbench.records import RunRecord

SHORT = LatencyDesign(
    warmup_rounds=1, max_warmup_rounds=1, min_rounds=6, max_rounds=6, target_half_width=0
)
SPREAD = 0.02
"""Between processes, standard deviation of the logarithm."""
DRAWN = ("params", "macs_ntire2022", "macs_fvcore", "activations_ntire2022", "pass_peak_bytes")


def template(folder: Path) -> RunRecord:
    """A real record, whatever the machine did meanwhile."""
    (record,) = esrbench.run("fsrcnn", protocol=Protocol(latency=SHORT), results=folder)
    return record.model_copy(update={"status": "ok", "cause": None, "advice": None})


def copies(record: RunRecord, entries: int, processes: int) -> Iterator[RunRecord]:
    """Records of entries in which everything is drawn at random."""
    rng = np.random.default_rng(entries)
    latency = record.latency
    assert isinstance(latency, Latency)
    replicates = tuple(
        latency.replicates[0].model_copy(update={"index": index}) for index in range(processes)
    )
    latency = latency.model_copy(update={"replicates": replicates})
    for number in range(entries):
        name = f"net{number:05}"
        runtime = 0.05 * np.exp(rng.normal(0, 0.5) + rng.normal(0, SPREAD, processes))
        drawn = {metric: Value(value=float(rng.lognormal(15, 0.5))) for metric in DRAWN}
        drawn["psnr_rgb"] = Value(value=29 + rng.normal(0, 0.1))
        drawn["runtime_images"] = geometric_mean(runtime.tolist())
        yield record.model_copy(
            update={
                "run_id": f"run-{number:05}",
                "created": record.created + timedelta(seconds=number),
                "entry": record.entry.model_copy(update={"name": name}),
                "latency": latency,
                "values": record.values | drawn,
            }
        )


def cost(folder: Path, *arguments: str) -> tuple[float, float]:
    """CPU seconds of a command and its largest memory in MB."""
    command = [sys.executable, "-m", "esrbench", *arguments, "--results", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603
    _, status, used = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"esrbench {arguments[0]} failed")
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--entries", type=int, nargs="+", default=[100, 1000, 3000, 10_000])
    parser.add_argument("--processes", type=int, default=5)
    parser.add_argument("--rule", default="ntire2022")
    parser.add_argument("--format", default="terminal")
    options = parser.parse_args()
    rule = ["--rule", options.rule]
    rule += ["--relative-to", "net00000"] if "2022" not in options.rule else []
    board = ["leaderboard", *rule, "--format", options.format]
    write = sys.stdout.write
    write(f"{options.rule}, {options.processes} processes an entry, {options.format}\n\n")
    write("| records | records [MB] | index [MB] | without index [s] | MB ")
    write("| leaderboard [s] | MB | runs list [s] | MB | report [s] | MB |\n")
    write(f"|{'--:|' * 11}\n")
    with tempfile.TemporaryDirectory() as temporary:
        record = template(Path(temporary) / "template")
        for entries in options.entries:
            folder = Path(temporary) / str(entries)
            runs = Store(folder).runs
            runs.mkdir(parents=True)
            size = 0
            for each in copies(record, entries, options.processes):
                content = encode(each)
                (runs / f"{each.run_id}.json").write_bytes(content)
                size += len(content)
            time.sleep(SETTLED_NS / 1e9)
            costs = [cost(folder, *board)]
            report = ["report", *rule, "-o", str(folder / "report.html")]
            costs += [
                min(cost(folder, *command) for _ in range(3))
                for command in (board, ["runs", "list"], report)
            ]
            index = (runs / INDEX_NAME).stat().st_size
            shown = " | ".join(f"{seconds:.2f} | {memory:.0f}" for seconds, memory in costs)
            write(f"| {entries} | {size / 1e6:.0f} | {index / 1e6:.1f} | {shown} |\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()

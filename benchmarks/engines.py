"""The same suite by each engine while processes and nodes are killed, results side by side.

    python benchmarks/engines.py FOLDER local slurm ray [--entries 24] [--processes 2] [--kills 6]

Writes small networks and two images into FOLDER, and measures them by each engine, results in a
folder of its name. ``slurm`` and ``ray`` are clusters of two nodes on this machine. At random
instants it kills workers, cells, the submitter (which is begun again with ``--resume``) and nodes
by SIGKILL. Then it compares the results of all engines in FOLDER.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file
from tabulate import tabulate

from esrbench.entries.scaffold import scaffold
from esrbench.processes import family
from esrbench.records import Latency
from esrbench.runs.store import Store

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from builders import noise, write_set
from small_ray import small_ray
from small_slurm import small_slurm

if TYPE_CHECKING:
    from collections.abc import Sequence

SCALE, SIDE = 4, 64
PAUSE = (3.0, 12.0)
"""Seconds between two kills."""
SETTINGS = (
    *("--threads", "1", "--input-size", "16x16", "--rounds", "2", "--min-rounds", "2"),
    *("--warmup", "1", "--isolation", "subprocess", "--resume", "--scale", str(SCALE)),
)
CLUSTERS = {"slurm": small_slurm, "ray": lambda _: small_ray()}


def write_entries(folder: Path, count: int) -> list[str]:
    """Networks of 4 channels and more, with weights of their own; their names."""
    names = [f"net{number:02}" for number in range(count)]
    for number, name in enumerate(names):
        entry = folder / "submissions" / f"team{number:02}-{name}"
        if entry.exists():
            continue
        scaffold(entry.name, entry.parent, scale=SCALE)
        code: dict[str, Any] = {}
        exec((entry / "model.py").read_text(), code)  # noqa: S102 - what was just written
        torch.manual_seed(number)
        network = code["Network"](scale=SCALE, channels=4 + number)
        torch.nn.init.normal_(network.tail.weight, std=0.01)
        (weights,) = entry.glob("*.safetensors")
        save_file(network.state_dict(), weights)
        content = weights.read_bytes()
        said = {
            "kwargs": f"{{ channels = {4 + number}, blocks = 2 }}",
            "bytes": f"{len(content)}",
            "sha256": f'"{hashlib.sha256(content).hexdigest()}"',
            "params": f"{sum(each.numel() for each in network.parameters())}",
        }
        manifest = entry / "submission.toml"
        lines = [
            f"{key} = {said[key]}" if (key := line.partition(" ")[0]) in said else line
            for line in manifest.read_text().splitlines()
        ]
        manifest.write_text("\n".join(lines) + "\n")
    return [f"team{number:02}-{name}" for number, name in enumerate(names)]


def victims(kind: str, process: subprocess.Popen[bytes], results: Path) -> list[int]:
    """Processes of a suite that are of a kind."""
    if kind == "submitter":
        return [process.pid]
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            words = (entry / "cmdline").read_bytes().decode().split("\0")
            if "cell" in words and any(word.startswith(f"{results}/") for word in words):
                found.append(int(entry.name))
    if kind == "cell":
        return found
    return [pid for cell in found for pid in family(cell) if pid not in found]


def measure(
    command: Sequence[str], results: Path, nodes: list[Any], kills: int, chance: random.Random
) -> tuple[Counter[str], float]:
    """Have a suite made in spite of so many kills; what was killed, and the seconds it took."""
    began = time.monotonic()
    killed: Counter[str] = Counter()
    kinds = ["worker", "cell", "submitter", *(["node"] if nodes else [])]
    with results.with_suffix(".log").open("wb") as log:

        def begin() -> subprocess.Popen[bytes]:
            return subprocess.Popen(command, stdout=log, stderr=log)  # noqa: S603 - our own

        process = begin()
        while (code := process.poll()) in {None, -signal.SIGKILL}:
            if code is not None:
                process = begin()
            time.sleep(chance.uniform(*PAUSE))
            nodes[:] = [node.again() if node.poll() is not None else node for node in nodes]
            if killed.total() >= kills:
                continue
            kind = kinds[killed.total() % len(kinds)]
            if kind == "node":
                chance.choice(nodes).kill()
                killed[kind] += 1
            elif found := victims(kind, process, results):
                with suppress(ProcessLookupError):
                    os.kill(chance.choice(found), signal.SIGKILL)
                    killed[kind] += 1
    return killed, time.monotonic() - began


def figures(results: Path) -> dict[str, tuple[Any, ...]]:
    """What must not depend on who measured: counts and scores, by entry."""
    return {
        record.entry.name: tuple(
            record.values[key].model_dump_json()
            for key in ("params", "macs", "activations", "psnr_rgb", "psnr_y", "ssim_y")
            if key in record.values
        )
        for record in Store(results).load()[0]
    }


def compare(folder: Path, told: dict[str, tuple[Counter[str], float]]) -> str:
    """The engines side by side."""
    rows = []
    first: dict[str, tuple[Any, ...]] = {}
    for results in sorted(path for path in folder.iterdir() if (path / "runs").is_dir()):
        records = Store(results).load()[0]
        found = figures(results)
        first = first or found
        timed = [each.latency for each in records if isinstance(each.latency, Latency)]
        killed, seconds = told.get(results.name, (Counter(), 0.0))
        again = [n.message.split()[0] for r in records for n in r.notices if n.code == "made-again"]
        rows.append(
            {
                "engine": results.name,
                "records": len(records),
                "status": ", ".join(
                    f"{n} {s}" for s, n in Counter(r.status for r in records).items()
                ),
                "passes": len(records) + sum(len(each.replicates) for each in timed),
                "made again": sum(map(int, again)),
                "left over": len(Store(results).suites()),
                "killed": ", ".join(f"{n} {kind}" for kind, n in killed.items()) or "-",
                "seconds": round(seconds) or "-",
                "as the first": sum(found.get(name) == each for name, each in first.items()),
            }
        )
    return tabulate(rows, headers="keys")


def main() -> None:
    """Measure by each engine, and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("engines", nargs="*", help="local, slurm, ray; none only compares")
    parser.add_argument("--entries", type=int, default=24)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--kills", type=int, default=6)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    folder = given.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    names, pairs = write_entries(folder, given.entries), folder / "pairs"
    write_set(pairs, {str(number): noise(number, SIDE, SIDE) for number in range(2)})
    told = {}
    for engine in given.engines:
        results = folder / engine
        with ExitStack() as running:
            nodes: list[Any] = []
            if engine in CLUSTERS:
                own = folder / f"cluster-{engine}"
                own.mkdir(exist_ok=True)
                variables, nodes = running.enter_context(CLUSTERS[engine](own))
                os.environ.update(variables)
                running.callback(lambda nodes=nodes: [node.kill() for node in nodes])
            os.environ["ESRBENCH_SUBMISSIONS"] = str(folder / "submissions")
            esrbench = str(Path(sys.executable).with_name("esrbench"))
            command = [esrbench, "run", *names, *SETTINGS, "--data", str(pairs), "--engine", engine]
            command += ["--processes", str(given.processes), "--results", str(results)]
            command += ["--engine-option", "tries=20"]
            chance = random.Random(given.seed)  # noqa: S311 - times, not secrets
            told[engine] = measure(command, results, nodes, given.kills, chance)
    print(compare(folder, told))  # noqa: T201 - a script's output


if __name__ == "__main__":
    main()

"""How often does noise alone give an honest network a rank, a verdict or a warning?

Three questions, each on a quiet machine or beside busy loops, which the script starts and ends:

    python benchmarks/noise_study.py copies --suites 20 --busy 0 2
    python benchmarks/noise_study.py honest --runs 30 --busy 3
    python benchmarks/noise_study.py notices --runs 20

``copies`` runs suites of four copies of one network and counts those whose table tells any two
copies firmly apart in runtime. ``honest`` runs one network and counts how its runs ended.
``notices`` runs the demonstration networks and counts the records that got each notice.
Inputs are small parts of the demo photographs, so that a suite takes a minute or two.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from esrbench.cli.console import messages, results
from esrbench.cli.options import parse_size
from esrbench.cli.run import DEFAULT_ENTRIES
from esrbench.data.codecs import write_png
from esrbench.data.datasets import open_dataset
from esrbench.data.resize import downscale
from esrbench.entries.networks import resolve_weights
from esrbench.entries.registry import default_registry
from esrbench.protocol import COUNTERS, LatencyDesign, Protocol
from esrbench.ranking.leaderboard import build_leaderboard
from esrbench.ranking.rules import RULES
from esrbench.runs.evaluator import Entry
from esrbench.runs.plan import Suite
from esrbench.runs.store import Store
from esrbench.runs.suite import run_suite
from esrbench.worker.launcher import open_launcher

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from esrbench.ranking.board import Leaderboard
    from esrbench.records import RunRecord

SCALE = 4
BUSY = "import os, sys\nwhile os.getppid() == int(sys.argv[1]): pass"
"""Keeps a CPU busy until its parent, whose id it is told, is gone."""


@contextlib.contextmanager
def busy(loops: int) -> Iterator[None]:
    """Processes that each keep one CPU busy; they end with the block."""
    processes = [
        subprocess.Popen([sys.executable, "-c", BUSY, str(os.getpid())])  # noqa: S603 - our own interpreter
        for _ in range(loops)
    ]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def write_pairs(folder: Path, size: tuple[int, int], count: int) -> Path:
    """Write the middle of each demo photograph as an HR/LR pair at x4.

    Args:
        folder: where they go.
        size: LR height and width.
        count: photographs to take, 1 to 4.
    """
    height, width = (SCALE * side for side in size)
    photographs = open_dataset("demo", SCALE)
    for index, pair in enumerate(photographs.pairs[:count]):
        whole = photographs.read_hr(index)
        top, left = (whole.shape[0] - height) // 2, (whole.shape[1] - width) // 2
        hr = whole[top : top + height, left : left + width].copy()
        for path, pixels in (
            (folder / "HR" / f"{pair.name}.png", hr),
            (
                folder / "LR_bicubic" / f"X{SCALE}" / f"{pair.name}x{SCALE}.png",
                downscale(hr, SCALE, border="mirror"),
            ),
        ):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_png(path, pixels)
    return folder


def copies(name: str, count: int) -> tuple[Entry, ...]:
    """A network under as many names; with one copy under its own."""
    descriptor = default_registry().get(name)
    weights = resolve_weights(descriptor, SCALE)
    names = [name] if count == 1 else [f"{name}-{letter}" for letter in "abcdefgh"[:count]]
    return tuple(
        Entry(descriptor.model_copy(update={"name": each}), SCALE, weights) for each in names
    )


@dataclass(slots=True)
class Tally:
    """What came of the suites of one condition.

    Attributes:
        title: of the condition.
        records: of each suite that ended.
    """

    title: str
    records: list[list[RunRecord]] = field(default_factory=list)

    def tables(self) -> list[Leaderboard]:
        """A leaderboard of each suite."""
        return [build_leaderboard(suite, RULES["ntire2022"]) for suite in self.records]

    def apart(self) -> int:
        """Suites whose table tells two entries firmly apart in runtime."""
        return sum(
            any(held.low > 1 for row in table.ranked for held in row.rank_stability.values())
            for table in self.tables()
        )

    def provisional(self) -> int:
        """Suites whose table marks ranks in runtime as provisional."""
        return sum(any(row.provisional_ranks for row in table.ranked) for table in self.tables())

    def statuses(self) -> Counter[str]:
        """Records by how they ended."""
        return Counter(record.status for suite in self.records for record in suite)

    def notices(self) -> Counter[str]:
        """Records by the codes of their notices."""
        return Counter(
            code
            for suite in self.records
            for record in suite
            for code in {notice.code for notice in record.notices}
        )

    def report(self) -> None:
        """Print what was counted."""
        count = sum(map(len, self.records))
        say = results().print
        say(f"{self.title}: {len(self.records)} suites, {count} records", markup=False)
        say(f"  two entries firmly apart in runtime: {self.apart()} suites", markup=False)
        say(f"  ranks in runtime provisional: {self.provisional()} suites", markup=False)
        for status, runs in self.statuses().most_common():
            say(f"  {status}: {runs} of {count} records", markup=False)
        for code, runs in self.notices().most_common():
            say(f"  notice {code}: {runs} of {count} records ({runs / count:.0%})", markup=False)

    def document(self) -> dict[str, Any]:
        """The same as JSON."""
        return {
            "condition": self.title,
            "suites": len(self.records),
            "records": sum(map(len, self.records)),
            "firmly_apart": self.apart(),
            "provisional": self.provisional(),
            "statuses": self.statuses(),
            "notices": self.notices(),
        }


def study(
    entries: Sequence[Entry], arguments: argparse.Namespace, *, loops: int, tally: Tally
) -> Iterator[None]:
    """Run suites beside busy loops, each in a store of its own; yields after each."""
    size = parse_size(arguments.input_size)
    protocol = Protocol(
        threads=arguments.threads,
        counted_input=size,
        # Notices of counters count too.
        counters=COUNTERS if arguments.mode == "notices" else ("ntire2022",),
        latency=LatencyDesign(processes=arguments.processes),
    )
    image_size = parse_size(arguments.image_size)
    with tempfile.TemporaryDirectory() as folder:
        pairs = open_dataset(
            str(write_pairs(Path(folder) / "pairs", image_size, arguments.images)), SCALE
        )
        suite = Suite(tuple(entries), ((pairs, pairs.identity()),), protocol, open_launcher("auto"))
        for number in range(arguments.suites):
            keep = arguments.results or Path(folder)
            store = Store(keep / f"{tally.title.replace(' ', '-')}-{number}")
            start = time.monotonic()
            with busy(loops):
                tally.records.append(list(run_suite(suite, store)))
            line = f"{tally.title} {number + 1}/{arguments.suites}: "
            line += ", ".join(
                f"{record.entry.name} {record.status}" for record in tally.records[-1]
            )
            messages().print(f"{line}; {time.monotonic() - start:.0f} s", markup=False)
            yield


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    modes = parser.add_subparsers(dest="mode", required=True)
    for mode, suites, loops, said in (
        ("copies", 20, [0, 2], "suites of copies of one network: are any told firmly apart?"),
        ("honest", 30, [3], "runs of one network: is it disputed or suspected?"),
        ("notices", 20, [0], "runs of the demonstration networks: which notices do they get?"),
    ):
        chosen = modes.add_parser(mode, help=said)
        chosen.add_argument(
            "--suites", "--runs", type=int, default=suites, help=f"default: {suites}"
        )
        chosen.add_argument(
            "--busy", type=int, nargs="+", default=loops, help="busy loops, a condition a number"
        )
        chosen.add_argument("--processes", type=int, default=1, help="a suite (default: 1)")
        chosen.add_argument("--input-size", default="32x32", help="LR size (default: 32x32)")
        chosen.add_argument("--image-size", default="32x32", help="LR size of the images")
        chosen.add_argument("--images", type=int, default=4, help="1 to 4 (default: 4)")
        chosen.add_argument("--threads", type=int, default=1, help="of forwards (default: 1)")
        chosen.add_argument("--results", type=Path, help="folder that keeps all records")
        chosen.add_argument("--json", type=Path, help="file for what was counted")
        if mode != "notices":
            chosen.add_argument("--network", default="rfdn", help="registered name")
        if mode == "copies":
            chosen.add_argument("--copies", type=int, default=4, help="default: 4")
    return parser.parse_args()


def main() -> None:
    """Run the study; Ctrl-C prints what there is."""
    arguments = parse()
    if arguments.mode == "notices":
        entries = tuple(each for name in DEFAULT_ENTRIES for each in copies(name, 1))
    else:
        count = arguments.copies if arguments.mode == "copies" else 1
        entries = copies(arguments.network, count)
    tallies: list[Tally] = []
    with contextlib.suppress(KeyboardInterrupt):
        for loops in arguments.busy:
            tallies.append(Tally(f"{arguments.mode} beside {loops} busy loops"))
            for _ in study(entries, arguments, loops=loops, tally=tallies[-1]):
                if arguments.json:
                    document = [tally.document() for tally in tallies]
                    arguments.json.write_text(json.dumps(document, indent=1) + "\n")
    for tally in tallies:
        tally.report()


if __name__ == "__main__":
    main()

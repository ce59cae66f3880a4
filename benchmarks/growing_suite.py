"""How well cells fill devices, and what watching them costs, as a Markdown table.

    python benchmarks/growing_suite.py [--entries N ...] [--devices N ...] [--rounds N]
    python benchmarks/growing_suite.py --record RESULTS

A suite is made by an engine that is simulated: its devices take as long for a pass as one took that
was recorded in ``recorded_durations.json``. Entries are drawn from the networks there. All else is
the suite's own: how it cuts cells, submits them and looks for passes. The clock goes from the end
of a cell to the end of the next one; a poll lies at each. ``--record`` writes the file from the
passes of the suites that are under way in a folder of results.
"""

from __future__ import annotations

import argparse
import heapq
import json
import random
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest import mock

from tabulate import tabulate

from esrbench.cli.console import results
from esrbench.protocol import LatencyDesign, Protocol
from esrbench.runs.cells import CellState, cut
from esrbench.runs.passes import Pass, PassFolder, TimedPass, UntimedPass
from esrbench.runs.plan import PlannedPass
from esrbench.runs.store import Store
from esrbench.runs.suite_on_data import SuiteOnData

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from esrbench.runs.cells import Cell

RECORDED = Path(__file__).with_name("recorded_durations.json")
ENTRIES, DEVICES, ROUNDS = (50, 500, 5000), (1, 8, 64), 5
KINDS = ("untimed", "timed")
Durations = tuple[float, float]
"""Seconds of an untimed and of a timed pass."""


class MemoryStore:
    """Documents of one suite, in memory; counts how often it is read.

    Attributes:
        documents: by name.
        listings: how often all names were asked for.
        reads: how often a document was.
    """

    def __init__(self) -> None:
        self.documents: dict[str, Any] = {}
        self.listings = 0
        self.reads = 0

    def names_of(self, _suite: str) -> list[str]:
        """All names."""
        self.listings += 1
        return list(self.documents)

    def load_pass(self, _suite: str, name: str, _kind: Any) -> Any:
        """A document, or None."""
        self.reads += 1
        return self.documents.get(name)


@dataclass
class SimulatedEngine:
    """Devices that take a recorded time for each pass.

    Attributes:
        width: number of devices.
        durations: by name of the entry.
        store: where passes appear when their cell is made.
        names: of passes, by name of the entry and number of the round.
        now: seconds since the suite began.
        ended: when the untimed cells, and then the timed ones, were made.
        polls: how many there were.
    """

    width: int
    durations: Mapping[str, Durations]
    store: MemoryStore
    names: Mapping[tuple[str, int | None], str]
    tries: int = 1
    pause: float = 0.0
    device_class: str | None = None
    now: float = 0.0
    ended: dict[int, float] = field(default_factory=dict)
    polls: int = 0
    _waiting: list[Cell] = field(default_factory=list)
    _running: list[tuple[float, str, Cell]] = field(default_factory=list)
    _states: dict[str, CellState] = field(default_factory=dict)

    def submit(self, _plan: Path, cells: Sequence[Cell]) -> None:
        """Queue cells."""
        self._waiting += cells
        self._states.update((cell.id, CellState("waiting")) for cell in cells)

    def poll(self) -> Mapping[str, CellState]:
        """Begin cells on all free devices, and go on to the next end of one."""
        self.polls += 1
        while self._waiting and len(self._running) < self.width:
            cell = self._waiting.pop(0)
            end = self.now + sum(self.durations[name][kind(cell)] for name in cell.entries)
            heapq.heappush(self._running, (end, cell.id, cell))
            self._states[cell.id] = CellState("running")
        self.now, _, cell = heapq.heappop(self._running)
        self.ended[kind(cell)] = self.now
        self._states[cell.id] = CellState("ended")
        for name in cell.entries:
            made = SimpleNamespace(spoilt=False, failed=False)
            seconds = self.durations[name][kind(cell)]
            self.store.documents[self.names[name, cell.replicate]] = SimpleNamespace(
                fingerprint=name, found=made, seconds=seconds
            )
        return self._states

    def cancel(self, ids: Iterable[str]) -> None:
        """Nothing runs on."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a simulated suite took.

    Attributes:
        untimed: seconds until all was scored and counted, and the fewest that it could take.
        timed: seconds of all timed rounds after that, likewise.
        polls: how often the engine was asked.
        listings: of the store's folder.
        reads: of documents.
        seconds: of this process, for all of it.
    """

    untimed: tuple[float, float]
    timed: tuple[float, float]
    polls: int
    listings: int
    reads: int
    seconds: float


def kind(cell: Cell) -> int:
    """Index of a cell's passes in ``Durations``."""
    return int(cell.replicate is not None)


def simulate(durations: Mapping[str, Durations], devices: int, rounds: int = ROUNDS) -> Outcome:
    """Have a suite made.

    Args:
        durations: of its entries, by name.
        devices: their number.
        rounds: timed ones.
    """
    began = time.process_time()
    protocol = Protocol(latency=LatencyDesign(processes=rounds))
    passes = [
        planned(name, index, protocol) for index in (None, *range(rounds)) for name in durations
    ]
    store: Any = MemoryStore()
    names = {(each.fingerprint, each.index): each.name for each in passes}
    engine = SimulatedEngine(devices, durations, store, names)
    document: Any = SimpleNamespace(cells=cut(passes, devices), name="", finished=0, later=0.0)
    nothing: Any = None
    folder = PassFolder(store, "", nothing, nothing)
    suite = SuiteOnData(document, Path(), passes, folder, nothing, engine=engine)
    store.listings = store.reads = 0
    with mock.patch("esrbench.runs.suite_on_data.assemble"):
        records = sum(1 for _ in suite.records())
    if records != len(durations):
        raise AssertionError(f"{records} records of {len(durations)} entries")
    untimed, timed = zip(*durations.values(), strict=True)
    return Outcome(
        untimed=(engine.ended[0], max(sum(untimed) / devices, *untimed)),
        timed=(
            engine.ended[1] - engine.ended[0],
            # A round is one cell.
            max(rounds * sum(timed) / devices, sum(timed)),
        ),
        polls=engine.polls,
        listings=store.listings,
        reads=store.reads,
        seconds=time.process_time() - began,
    )


def planned(name: str, index: int | None, protocol: Protocol) -> PlannedPass:
    """A pass of the plan, of which nobody needs more than its name and its cell."""
    entry: Any = SimpleNamespace(descriptor=SimpleNamespace(name=name))
    rounds: Any = SimpleNamespace(baseline=None)
    unused: Any = None
    return PlannedPass(
        entry=entry,
        pairs=unused,
        data=unused,
        protocol=protocol,
        environment=unused,
        launcher=unused,
        fingerprint=name,
        rounds=rounds,
        index=index,
    )


def drawn(count: int, seed: int = 0) -> dict[str, Durations]:
    """Durations of so many entries, each of a network that was recorded."""
    recorded = json.loads(RECORDED.read_text())["seconds"]
    chance = random.Random(seed)  # noqa: S311 - durations, not secrets
    return {f"net{n:04}": tuple(chance.choice([*recorded.values()])) for n in range(count)}


def record(folder: Path) -> None:
    """Write the file of durations."""
    store, seconds = Store(folder), defaultdict[str, list[float]](list)
    for suite in store.suites():
        names = sorted(store.names_of(suite))
        for ending, document in ((".untimed", Pass[UntimedPass]), (".timed-000", Pass[TimedPass])):
            for name in names:
                made = name.endswith(ending) and store.load_pass(suite, name, document)
                if isinstance(made, Pass):
                    seconds[made.entry.name].append(round(made.seconds, 2))
    both = {name: took for name, took in sorted(seconds.items()) if len(took) == len(KINDS)}
    RECORDED.write_text(json.dumps({"passes": KINDS, "seconds": both}, indent=1) + "\n")


def main() -> None:
    """Record, or simulate and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--entries", type=int, nargs="+", default=ENTRIES)
    parser.add_argument("--devices", type=int, nargs="+", default=DEVICES)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="timed ones (default: 5)")
    parser.add_argument("--record", type=Path, metavar="RESULTS", help="folder of suites under way")
    given = parser.parse_args()
    if given.record:
        record(given.record)
        return
    rows = []
    for entries in given.entries:
        for devices in given.devices:
            found = simulate(drawn(entries), devices, given.rounds)
            passes = entries * (1 + given.rounds)
            rows.append(
                {
                    "entries": f"{entries:,}",
                    "devices": devices,
                    "scores and counts [h]": f"{found.untimed[0] / 3600:.3g}",
                    "above the bound": f"{found.untimed[0] / found.untimed[1] - 1:.1%}",
                    "timed rounds [h]": f"{found.timed[0] / 3600:.3g}",
                    "above their bound": f"{found.timed[0] / found.timed[1] - 1:.1%}",
                    "listings a poll": f"{found.listings / found.polls:.2f}",
                    "reads a pass": f"{found.reads / passes:.2f}",
                    "submitter a poll [ms]": f"{1000 * found.seconds / found.polls:.0f}",
                }
            )
    results().print(tabulate(rows, headers="keys", tablefmt="github"), markup=False, soft_wrap=True)


if __name__ == "__main__":
    main()

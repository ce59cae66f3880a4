"""How often would the runtime gate err? Simulated from pairs that were really timed.

Races are run and judged by the very code of `esrbench check`, but their workers hand out recorded
pairs instead of timing any. A recorded process is drawn as a whole, so that neighbouring pairs
resemble each other and processes differ as they really did; a slowdown multiplies the candidate's
seconds:

    python benchmarks/gate_simulation.py simulate --races 2000
    python benchmarks/gate_simulation.py record --title quiet --processes 20

A network was recorded against itself, so that a regression or an improvement without a slowdown
is a false alarm. Bounds are exact (Clopper and Pearson) for the draws; that only so many processes
were recorded, on one machine, is not in them.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np
from scipy.stats import beta

import esrbench.paired.race as races
from esrbench.cli.console import messages, results
from esrbench.cli.options import parse_size
from esrbench.entries.networks import resolve_weights
from esrbench.entries.registry import default_registry
from esrbench.gate.runtime import judge_race
from esrbench.protocol import PairDesign, Protocol
from esrbench.records import Conditions, PairedBatch
from esrbench.runs.evaluator import Entry
from esrbench.worker.messages import Ready

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Self

    import numpy.typing as npt

    from esrbench.gate.verdicts import Verdict
    from esrbench.records import RaceRecord, RaceSide

RECORDED = Path(__file__).with_name("recorded_pairs.json")
EFFECTS = (0.0, 0.01, 0.025, 0.05, 0.1)
VERDICTS: tuple[Verdict, ...] = ("regressed", "unchanged", "improved", "inconclusive")
ALARMS: tuple[Verdict, ...] = ("regressed", "improved")
"""False ones, where nothing changed."""
CONFIDENCE = 0.95
MICROSECOND = 1e-6
SEGMENT = 10
"""Pairs recorded without a break: a look's worth."""

Pair = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Segment:
    """Pairs timed without a break, in seconds, and the machine's state meanwhile."""

    pairs: tuple[Pair, ...]
    self_pairs: tuple[Pair, ...]
    conditions: Conditions


@dataclass(frozen=True, slots=True)
class Session:
    """A network timed against itself in many processes, one after the other.

    Attributes:
        title: what else the machine did.
        provenance: machine, software, network and date.
        processes: segments of each, in order.
    """

    title: str
    provenance: dict[str, Any]
    processes: tuple[tuple[Segment, ...], ...]

    @property
    def taken(self) -> tuple[float, float]:
        """Median and largest share of the CPUs that others took of a segment."""
        shares = [
            (segment.conditions.other_load or 0) + (segment.conditions.steal or 0)
            for process in self.processes
            for segment in process
        ]
        return float(np.median(shares)), max(shares)


def session_of(record: RaceRecord, title: str) -> Session:
    """What a race recorded, without its judgement."""
    environment = record.environment
    provenance = {
        "recorded": record.created.isoformat(timespec="seconds"),
        "cpu": environment.cpu,
        "cpus_available": environment.cpus_available,
        "system": environment.system,
        "threads": environment.threads,
        "torch": environment.packages["torch"],
        "malloc": environment.malloc,
        "network": record.candidate.name,
        "scale": record.candidate.scale,
        "input_size": list(record.protocol.counted_input),
    }
    processes = tuple(
        tuple(
            Segment(batch.pairs, batch.self_pairs, batch.conditions or Conditions(seconds=0))
            for batch in process.batches
        )
        for process in record.processes
    )
    return Session(title, provenance, processes)


def write(sessions: Sequence[Session], path: Path) -> None:
    """Write sessions, a segment a line, in whole microseconds."""

    def micros(pairs: Sequence[Pair]) -> list[int]:
        return [round(seconds / MICROSECOND) for pair in pairs for seconds in pair]

    def columns(segment: Segment) -> tuple[list[float], list[int], list[int]]:
        found = segment.conditions
        load = (found.seconds, found.other_load or 0.0, found.steal or 0.0)
        shares = [round(value, 4) for value in load]
        return shares, micros(segment.pairs), micros(segment.self_pairs)

    documents = []
    for session in sessions:
        lines = [
            json.dumps((number, *columns(segment)), separators=(",", ":"))
            for number, process in enumerate(session.processes)
            for segment in process
        ]
        head = json.dumps({"title": session.title, **session.provenance})
        documents.append(f'{head[:-1]}, "segments": [\n' + ",\n".join(lines) + "\n]}")
    legend = (
        "process; seconds, share of other processes, share of the hypervisor; "
        "microseconds of candidate and baseline in turn; of the baseline's copy and the baseline"
    )
    body = ",\n".join(documents)
    path.write_text(f'{{"columns": {json.dumps(legend)}, "sessions": [\n{body}\n]}}\n')


def read(path: Path = RECORDED) -> tuple[Session, ...]:
    """The recorded sessions."""

    def pairs(micros: Sequence[int]) -> tuple[Pair, ...]:
        return tuple(
            (ours * MICROSECOND, theirs * MICROSECOND)
            for ours, theirs in zip(micros[::2], micros[1::2], strict=True)
        )

    sessions = []
    for document in json.loads(path.read_text())["sessions"]:
        processes: dict[int, list[Segment]] = {}
        for number, (seconds, other, steal), ours, copies in document.pop("segments"):
            conditions = Conditions(seconds=seconds, other_load=other, steal=steal)
            segment = Segment(pairs(ours), pairs(copies), conditions)
            processes.setdefault(number, []).append(segment)
        whole = tuple(tuple(segments) for segments in processes.values())
        sessions.append(Session(document.pop("title"), document, whole))
    return tuple(sessions)


class RecordedWorkers:
    """Stands in for starting workers: each process of a race is a recorded one, drawn at random.

    Args:
        session: to draw from; even processes from even ones, since odd ones begin the other way
            round.
        effect: share by which the candidate is slower.
        rng: draws.
    """

    def __init__(self, session: Session, effect: float, rng: np.random.Generator) -> None:
        self.session = session
        self.effect = effect
        self.rng = rng

    def __call__(self, *_: Any, **__: Any) -> Self:
        """A new worker."""
        return self

    def __enter__(self) -> Self:
        """Begin with nothing loaded."""
        self.done = self.self_done = 0
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing ends."""

    def load(self, *_: Any, **__: Any) -> Ready:
        """A network."""
        return Ready(parameters=1, threads=1, cpus=(), accelerator=None, code_sha256=None)

    def load_second(self, *_: Any, side: RaceSide, **__: Any) -> Ready:
        """Draw a process that began with the other network, as recorded ones do in turns."""
        alike = self.session.processes[0 if side == "baseline" else 1 :: 2]
        self.process = alike[int(self.rng.integers(len(alike)))]
        self.pairs = [pair for segment in self.process for pair in segment.pairs]
        self.self_pairs = [pair for segment in self.process for pair in segment.self_pairs]
        return self.load()

    def upscale(self, lr: npt.NDArray[np.uint8], *_: Any) -> npt.NDArray[np.uint8]:
        """Nobody looks at it."""
        return lr

    def time_pairs(self, *, count: int, self_count: int, **_: Any) -> PairedBatch:
        """The next recorded pairs, and what the machine did meanwhile."""
        pairs = self.pairs[self.done : self.done + count]
        self_pairs = self.self_pairs[self.self_done : self.self_done + self_count]
        if (len(pairs), len(self_pairs)) != (count, self_count):
            raise AssertionError("a race asks for more pairs of a process than were recorded")
        conditions = self._conditions(self.done, self.done + count)
        self.done += count
        self.self_done += self_count
        slowed = tuple((ours * (1 + self.effect), theirs) for ours, theirs in pairs)
        return PairedBatch(pairs=slowed, self_pairs=tuple(self_pairs), conditions=conditions)

    def _conditions(self, start: int, end: int) -> Conditions:
        """Of the segments that these pairs come from."""
        position, found = 0, []
        for segment in self.process:
            if position < end and position + len(segment.pairs) > start:
                found.append(segment.conditions)
            position += len(segment.pairs)
        seconds = sum(each.seconds for each in found)
        other = sum((each.other_load or 0) * each.seconds for each in found) / seconds
        steal = sum((each.steal or 0) * each.seconds for each in found) / seconds
        return Conditions(seconds=seconds, other_load=other, steal=steal)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the gate says of a simulated race."""

    verdict: Verdict
    pairs: int
    processes: int


def entry(name: str, scale: int) -> Entry:
    """A network with random weights."""
    descriptor = default_registry().get(name)
    return Entry(descriptor, scale, resolve_weights(descriptor, scale, None))


def simulate(
    session: Session, effect: float, count: int, *, seed: int = 0, design: PairDesign | None = None
) -> list[Outcome]:
    """Race a slowed network against itself, from recorded pairs.

    Args:
        session: recorded pairs.
        effect: share by which the candidate is slower.
        count: number of races.
        seed: of the draws; every effect meets the same ones.
        design: the default one if left out.
    """
    network = entry(session.provenance["network"], session.provenance["scale"])
    height, width = session.provenance["input_size"]
    protocol = Protocol(threads=1, counted_input=(height, width), latency=None)
    environment = races.describe_environment(threads=1, accelerator=None)
    outcomes = []
    # What the machine is now is no part of the question, and takes longer than the judgement.
    with mock.patch.object(races, "describe_environment", return_value=environment):
        for number in range(count):
            workers = RecordedWorkers(session, effect, np.random.default_rng((seed, number)))
            launcher = mock.Mock(worker=workers)
            with mock.patch.object(races, "open_launcher", return_value=launcher):
                record = races.race(network, network, protocol, design)
            verdict = judge_race(("simulated", network.scale), record, same=True).verdict
            outcomes.append(Outcome(verdict, record.timed_pairs, len(record.processes)))
    return outcomes


def upper_bound(hits: int, count: int) -> float:
    """Largest rate that ``hits`` of ``count`` or fewer do not contradict at ``CONFIDENCE``."""
    return 1.0 if hits == count else float(beta.ppf(CONFIDENCE, hits + 1, count - hits))


def lower_bound(hits: int, count: int) -> float:
    """Smallest rate that ``hits`` of ``count`` or more do not contradict at ``CONFIDENCE``."""
    return 1 - upper_bound(count - hits, count)


def report(session: Session, outcomes: dict[float, list[Outcome]]) -> None:
    """Print a session's table, and what follows for the two promises."""
    from rich.table import Table

    source = session.provenance
    height, width = source["input_size"]
    median, most = session.taken
    table = Table(
        title=f"{session.title}: {source['network']} {height}x{width}, "
        f"{len(session.processes)} processes, {source['cpu']}, {source['threads']} of "
        f"{source['cpus_available']} CPUs, of which others took {median:.0%} (at most {most:.0%})",
        title_justify="left",
    )
    for heading in ("slowdown", *VERDICTS, "pairs med / p95", "processes med / p95"):
        table.add_column(heading)
    for effect, races_run in outcomes.items():
        seen = Counter(outcome.verdict for outcome in races_run)
        pairs = [outcome.pairs for outcome in races_run]
        processes = [outcome.processes for outcome in races_run]
        table.add_row(
            f"{effect:.1%}",
            *(f"{seen[verdict] / len(races_run):.2%}" for verdict in VERDICTS),
            f"{np.median(pairs):.0f} / {np.quantile(pairs, 0.95):.0f}",
            f"{np.median(processes):.0f} / {np.quantile(processes, 0.95):.0f}",
        )
    results().print(table)
    for line in promises(outcomes):
        results().print(f"  {line}")


def promises(outcomes: dict[float, list[Outcome]]) -> Iterator[str]:
    """What the draws say of false alarms below 1 % and 5 % found in over 95 %."""
    alarms, count = ended(outcomes[0.0], *ALARMS), len(outcomes[0.0])
    yield f"false alarms: {alarms} of {count}, below {upper_bound(alarms, count):.2%}"
    found, count = ended(outcomes[0.05], "regressed"), len(outcomes[0.05])
    yield f"5 % slower, found: {found} of {count}, above {lower_bound(found, count):.2%}"


def ended(outcomes: Sequence[Outcome], *verdicts: Verdict) -> int:
    """Races after which the gate gives one of some verdicts."""
    return sum(outcome.verdict in verdicts for outcome in outcomes)


def record(arguments: argparse.Namespace) -> None:
    """Time a network against itself, and add a session to the file."""
    network = entry(arguments.network, arguments.scale)
    size = parse_size(arguments.input_size)
    protocol = Protocol(threads=arguments.threads, counted_input=size, latency=None)
    most = arguments.processes * PairDesign().pairs_per_process
    # No interval is that wide, so that nothing is decided before all pairs are timed.
    design = PairDesign(
        first_look=SEGMENT, look_every=SEGMENT, max_pairs=most, z=1e6, max_other_load=1e6
    )
    timed = races.race(
        network,
        network,
        protocol,
        design,
        on_pairs=lambda done, most: messages().print(f"{done} of {most} pairs", end="\r"),
    )
    sessions = read(arguments.file) if arguments.file.is_file() else ()
    write([*sessions, session_of(timed, arguments.title)], arguments.file)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--file", type=Path, default=RECORDED, help="recorded pairs")
    commands = parser.add_subparsers(dest="command", required=True)
    simulation = commands.add_parser("simulate", help="races from recorded pairs")
    simulation.add_argument("--races", type=int, default=2000, help="of each kind")
    simulation.add_argument("--seed", type=int, default=0)
    simulation.add_argument(
        "--max-other-load",
        type=float,
        default=PairDesign().max_other_load,
        help="share of the CPUs above which pairs are set aside; 10 judges them all",
    )
    recording = commands.add_parser("record", help="time pairs and add them to the file")
    recording.add_argument("--title", required=True, help="what else the machine does")
    recording.add_argument("--network", default="rfdn", help="registered name (default: rfdn)")
    recording.add_argument("--scale", type=int, default=4)
    recording.add_argument("--input-size", default="48x48", help="LR size (default: 48x48)")
    recording.add_argument("--threads", type=int, default=1, help="of forwards (default: 1)")
    recording.add_argument("--processes", type=int, default=20, help="30 pairs each")
    return parser.parse_args()


def main() -> None:
    """Record, or simulate and print a table a session."""
    arguments = parse()
    if arguments.command == "record":
        record(arguments)
        return
    design = PairDesign(max_other_load=arguments.max_other_load)
    for session in read(arguments.file):
        outcomes = {
            effect: simulate(session, effect, arguments.races, seed=arguments.seed, design=design)
            for effect in EFFECTS
        }
        report(session, outcomes)


if __name__ == "__main__":
    main()

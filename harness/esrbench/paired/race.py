"""Race two trusted networks against each other; the evaluator judges."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING

from esrbench.entries.networks import resolve_weights
from esrbench.environment import describe_environment
from esrbench.errors import MeasurementError, UsageError
from esrbench.paired.judging import Judgement, judge_race, pairs_to_look
from esrbench.probes.forward import fixed_lr
from esrbench.probes.telemetry import throttled
from esrbench.protocol import EAGER, PairDesign, digest_of
from esrbench.records import EntryIdentity, Notice, PairedBatch, PairedProcess, RaceRecord
from esrbench.runs.builds import build
from esrbench.runs.elsewhere import converted_state, find_interpreters, require_movable
from esrbench.runs.evaluator import Entry, effective_weights
from esrbench.runs.exports import export, require_backend
from esrbench.runs.plan import require_possible
from esrbench.runs.store import record_id
from esrbench.worker.failure import WorkerError
from esrbench.worker.launcher import open_launcher
from esrbench.worker.process import DEFAULT_TIMEOUT_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from esrbench.data.calibration import Calibration
    from esrbench.entries.networks import WeightsChoice
    from esrbench.entries.registry import Registry
    from esrbench.protocol import Protocol
    from esrbench.records import Conditions, RaceSide
    from esrbench.sandbox.tiers import IsolationChoice
    from esrbench.worker.launcher import Launcher
    from esrbench.worker.messages import Ready
    from esrbench.worker.session import WorkerSession

OnPairs = Callable[[int, int], None]
"""Called with the number of pairs timed so far and the largest number."""

THROTTLED = "the GPU throttled"
TICK_SECONDS = 0.02
"""The kernel counts time in steps of 10 ms: up to two steps do not count as a disturbance."""


def plan_race(
    registry: Registry,
    candidate: str,
    baseline: str,
    scale: int,
    *,
    weights: Mapping[str, WeightsChoice],
    protocol: Protocol,
    interpreters: Mapping[str, str] = MappingProxyType({}),
    gpu: int = 0,
) -> tuple[Entry, Entry]:
    """Resolve and check both networks before either runs; they may be the same.

    Args:
        registry: registry with both networks.
        candidate: name of the network in question.
        baseline: name of the network it is compared with.
        scale: upscaling factor.
        weights: weights by name; ``auto`` for other networks.
        protocol: settings.
        interpreters: from ``find_interpreters``; the interpreter of one network is used for both.
        gpu: number of the GPU, if the protocol asks for one.

    Raises:
        UsageError: an unknown name or scale, a fixed input below what a network accepts, a
            protocol that this machine cannot follow, or interpreters that cannot be used.
        WeightsError: a weights file that is missing or altered.
    """
    require_possible(protocol, gpu)
    models = {name: registry.get(name) for name in (candidate, baseline)}
    found = find_interpreters(interpreters, models)
    entries = []
    for name in (candidate, baseline):
        descriptor = models[name]
        descriptor.require_scale(scale)
        height, width = protocol.counted_input
        if min(height, width) < descriptor.min_lr_size:
            least = f"{descriptor.min_lr_size}x{descriptor.min_lr_size}"
            message = f"{name} needs LR images of {least} or more; the input is {height}x{width}"
            raise UsageError(message, advice="Raise the input size.")
        resolved = resolve_weights(descriptor, scale, weights.get(name, "auto"))
        entries.append(Entry(descriptor, scale, resolved, found.get(name)))
    return entries[0], entries[1]


def race(
    candidate: Entry,
    baseline: Entry,
    protocol: Protocol,
    design: PairDesign | None = None,
    *,
    isolation: IsolationChoice = "auto",
    gpu: int = 0,
    baseline_backend: str | None = None,
    calibration: Calibration | None = None,
    on_pairs: OnPairs = lambda _done, _most: None,
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
) -> RaceRecord:
    """Time two networks in interleaved pairs at the fixed input until there is a verdict.

    Both run in the same process, so they must be trusted: each could slow the other down. If one
    has its own interpreter, both run in it.

    Args:
        candidate: the network in question; may be the baseline itself.
        baseline: the network it is compared with.
        protocol: settings; its latency design and counters are not used.
        design: settings of pairs and decision.
        isolation: the requested sandbox.
        gpu: number of the GPU, if the protocol asks for one.
        baseline_backend: runs the baseline; None for the protocol's, which runs the candidate.
            Eager torch runs it in float32 if the candidate computes in integers.
        calibration: images of the protocol's quantisation, if it has one.
        on_pairs: called with the number of pairs timed so far and the largest number.
        timeout_seconds: deadline of each request to a worker.

    Raises:
        UsageError: the networks have different interpreters, or one cannot run in the other's.
        WeightsError: weights for another interpreter cannot be read.
        WorkerError: a network failed; the message says which.
        MeasurementError: a network's code changed meanwhile, or it is too fast for the clock.
    """
    launcher = open_launcher(isolation, gpu=gpu)
    candidate, baseline = _together(candidate, baseline, launcher)
    candidate, baseline = (
        replace(entry, descriptor=build(entry.descriptor, launcher, entry.interpreter))
        for entry in (candidate, baseline)
    )
    if calibration is not None:
        calibration.refuse_scored(())
    theirs = protocol.by(baseline_backend) if baseline_backend else protocol
    if baseline_backend == EAGER:
        theirs = protocol.eager
    protocols: dict[RaceSide, Protocol] = {"candidate": protocol, "baseline": theirs}
    for entry, each in ((candidate, protocol), (baseline, theirs)):
        require_backend(each, entry.software)
    candidate, baseline = (
        export(entry, each, launcher, calibration=calibration, timeout_seconds=timeout_seconds)
        for entry, each in ((candidate, protocol), (baseline, theirs))
    )
    return _Race(candidate, baseline, protocols, design or PairDesign(), launcher, on_pairs).run(
        timeout_seconds
    )


def _together(candidate: Entry, baseline: Entry, launcher: Launcher) -> tuple[Entry, Entry]:
    """Both networks in the interpreter of their common process, with weights for it."""
    both = candidate, baseline
    interpreters = {entry.interpreter for entry in both} - {None}
    if not interpreters:
        return both
    if len(interpreters) > 1:
        message = "both networks of a race run in one process, but each has another interpreter"
        raise UsageError(message, advice="Give --python for only one of them; it is used for both.")
    (interpreter,) = interpreters
    for entry in both:
        require_movable(entry.descriptor)
    states = [
        converted_state(entry.weights, launcher) if entry.state is None else entry.state
        for entry in both
    ]
    ours, theirs = (
        replace(entry, interpreter=interpreter, state=state)
        for entry, state in zip(both, states, strict=True)
    )
    return ours, theirs


def disturbance(conditions: Conditions | None, design: PairDesign) -> str | None:
    """Why pairs timed under these conditions may not be judged, or None."""
    if conditions is None:
        return None
    if throttled(conditions):
        return f"{THROTTLED}: {', '.join(conditions.throttle_reasons)}"
    if conditions.foreign_processes:
        return f"other processes on the GPU: {conditions.foreign_processes}"
    taken = (conditions.other_load or 0) + (conditions.steal or 0)
    if (taken - design.max_other_load) * conditions.seconds > TICK_SECONDS:
        return f"other processes took {taken:.0%} of the CPUs' time"
    return None


def other_side(side: RaceSide) -> RaceSide:
    """The opponent of a side."""
    return "candidate" if side == "baseline" else "baseline"


@dataclass(slots=True)
class _Race:
    """A running race.

    Attributes:
        judged: number of pairs that were not set aside, by the side that was loaded first.
        timed: number of pairs timed.
        first: side that is loaded first in the current process.
        protocols: protocols of both sides.
        ready: the worker's answers when candidate and baseline were first loaded.
    """

    candidate: Entry
    baseline: Entry
    protocols: Mapping[RaceSide, Protocol]
    design: PairDesign
    launcher: Launcher
    on_pairs: OnPairs
    processes: list[PairedProcess] = field(default_factory=list)
    judged: dict[RaceSide, int] = field(default_factory=lambda: {"candidate": 0, "baseline": 0})
    timed: int = 0
    first: RaceSide = "baseline"
    ready: tuple[Ready, Ready] | None = None

    @property
    def protocol(self) -> Protocol:
        """Protocol of the candidate; only backend and integers may differ in the baseline's."""
        return self.protocols["candidate"]

    def run(self, timeout_seconds: float) -> RaceRecord:
        created, start = datetime.now(UTC), time.monotonic()
        judgement: Judgement | None = None
        while judgement is None:
            with self.launcher.worker(
                *((entry.descriptor, entry.weights) for entry in (self.candidate, self.baseline)),
                protocol=self.protocol,
                interpreter=self.candidate.interpreter,
                readable=(*self.candidate.readable, *self.baseline.readable),
                timed=True,
                timeout_seconds=timeout_seconds,
            ) as session:
                judgement = self._run_process(session)
        return self._record(judgement, created, time.monotonic() - start)

    def _run_process(self, session: WorkerSession) -> Judgement | None:
        # Orders alternate, but an order with more pairs set aside catches up.
        self.first = min(other_side(self.first), self.first, key=self.judged.__getitem__)
        cpus = self._load(session)
        batches: list[PairedBatch] = []
        judgement: Judgement | None = None
        done = self_done = 0
        while judgement is None and done < self.design.process_pairs:
            count = min(
                pairs_to_look(sum(self.judged.values()), self.design),
                self.design.process_pairs - done,
                self.design.max_pairs - self.timed,
            )
            # Batches have any size, so make as many self-check pairs as keep pace with the pairs.
            share = self.design.self_pairs_per_process / self.design.pairs_per_process
            self_count = int((done + count) * share) - self_done
            batch = self._time(session, count, self_count, done=done, self_done=self_done)
            done += count
            self_done += self_count
            self.timed += count
            batches.append(batch)
            if batch.set_aside is None:
                self.judged[self.first] += count
            self.on_pairs(self.timed, self.design.max_pairs)
            process = PairedProcess(loaded_first=self.first, cpus=cpus, batches=tuple(batches))
            judgement = judge_race([*self.processes, process], self.design)
        self.processes.append(process)
        return judgement

    def _load(self, session: WorkerSession) -> tuple[int, ...]:
        """Load both networks and run each once, so that an error names its network."""
        entries: dict[RaceSide, Entry] = {"candidate": self.candidate, "baseline": self.baseline}
        second = other_side(self.first)
        found: dict[RaceSide, Ready] = {}
        for side in (self.first, second):
            entry = entries[side]
            load = partial(session.load_second, side=side) if side == second else session.load
            try:
                found[side] = load(
                    entry.descriptor,
                    entry.scale,
                    weights=entry.weights,
                    protocol=self.protocols[side],
                    state=entry.state,
                    graph=entry.graph_folder,
                )
                if side == self.first:
                    session.upscale(fixed_lr(self.protocol), "fixed")
            except WorkerError as error:
                raise error.said_of(f"{side} {entry.descriptor.name}") from None
        ready = (found["candidate"], found["baseline"])
        if self.ready is None:
            self.ready = ready
        for entry, first, now in zip(
            (self.candidate, self.baseline), self.ready, ready, strict=True
        ):
            if first.code_sha256 != now.code_sha256:
                message = f"the code of {entry.descriptor.name} changed during the race"
                raise MeasurementError(message, advice="Race again and leave its files alone.")
        return found["candidate"].cpus

    def _time(
        self, session: WorkerSession, count: int, self_count: int, *, done: int, self_done: int
    ) -> PairedBatch:
        # The side loaded first also goes first: processes of both orders are mirror images.
        mirrored = self.first == "baseline"
        try:
            batch = session.time_pairs(
                count=count,
                self_count=self_count,
                discard=0 if done else self.design.discarded_pairs,
                candidate_first=(done + mirrored) % 2 == 0,
                twin_first=(self_done + mirrored) % 2 == 0,
            )
        except WorkerError as error:
            if not error.fatal:
                raise
            names = f"{self.candidate.descriptor.name} or {self.baseline.descriptor.name}"
            raise error.said_of(names) from None
        aside = disturbance(batch.conditions, self.design)
        return batch.model_copy(update={"set_aside": aside})

    def _record(self, judgement: Judgement, created: datetime, seconds: float) -> RaceRecord:
        if self.ready is None:
            raise AssertionError("a race without a process")
        own = describe_environment(
            threads=self.ready[0].threads,
            accelerator=self.ready[0].accelerator,
            libraries=self.ready[0].libraries,
            tier=self.launcher.sandbox.tier,
        )
        environment = self.candidate.environment(own)
        candidate, baseline = (
            _identity(entry, ready)
            for entry, ready in zip((self.candidate, self.baseline), self.ready, strict=True)
        )
        return RaceRecord(
            race_id=record_id(
                created, f"{candidate.name}-vs-{baseline.name}", f"x{candidate.scale}"
            ),
            created=created,
            duration_seconds=seconds,
            candidate=candidate,
            baseline=baseline,
            baseline_backend=self.protocols["baseline"].forward.backend,
            protocol=self.protocol,
            design=self.design,
            environment=environment,
            environment_digest=digest_of(environment),
            ran_with=self.candidate.software,
            processes=tuple(self.processes),
            estimate=judgement.estimate,
            self_check=judgement.self_check,
            verdict=judgement.verdict,
            reason=judgement.reason,
            notices=tuple(self._notices()),
        )

    def _notices(self) -> Iterator[Notice]:
        batches = [batch for process in self.processes for batch in process.batches]
        aside = [batch for batch in batches if batch.set_aside]
        if aside:
            pairs = sum(len(batch.pairs) for batch in aside)
            throttled = str(aside[-1].set_aside).startswith(THROTTLED)
            yield Notice(
                code="throttled" if throttled else "other-load",
                message=f"{pairs} of {self.timed} pairs were set aside, the last because "
                f"{aside[-1].set_aside}",
                advice="Close other programs on this machine; `esrbench doctor` names them.",
            )


def _identity(entry: Entry, ready: Ready) -> EntryIdentity:
    found = effective_weights(entry.weights, ready)
    return entry.identify(ready.code_sha256, found.identity)

"""The candidates and how they are measured, whatever they are compared with."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from esrbench.entries.demonstration import demonstration_weights
from esrbench.entries.networks import resolve_weights
from esrbench.gate.comparison import KNOWN
from esrbench.gate.figures import MEASURED_MEMORY, SCORES
from esrbench.gate.measurement import Subject, measure, open_data
from esrbench.gate.runtime import judge_race, race_entries, race_protocol, ratio_design
from esrbench.gate.verdicts import RUNTIME, Finding
from esrbench.protocol import PairDesign, Protocol
from esrbench.records import Absent
from esrbench.runs.evaluator import Entry
from esrbench.runs.plan import require_possible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from esrbench.data.datasets import ImagePairs
    from esrbench.entries.descriptor import ModelDescriptor
    from esrbench.entries.networks import ResolvedWeights, WeightsChoice
    from esrbench.entries.registry import Registry
    from esrbench.gate.figures import Measured, WeightsFigure
    from esrbench.records import RaceRecord

METRIC_NAMES = (*KNOWN, RUNTIME)
"""What ``--metrics`` may name."""
COUNTED_INPUT = Protocol().counted_input

Key = tuple[str, int]
"""Registered name and scale."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of the gate.

    Attributes:
        names: of networks; none for all that the baseline has.
        scales: none for all that the baseline has, or for each network's largest.
        metrics: that are compared.
        data: where data sets are, by the name that the baseline knows them by.
        weights: by network; those left out take what the baseline says.
        device: where forwards run.
        threads: CPU threads, or None for all CPUs.
        race_size: LR height and width of races whose input no baseline prescribes.
        max_pairs: after which a race is inconclusive.
        timeout_seconds: deadline of each request to a worker.
    """

    names: Sequence[str] = ()
    scales: Sequence[int] = ()
    metrics: frozenset[str] = frozenset(METRIC_NAMES)
    data: Mapping[str, str] = field(default_factory=dict)
    weights: Mapping[str, WeightsChoice] = field(default_factory=dict)
    device: str = "cpu"
    threads: int | None = None
    race_size: tuple[int, int] = (64, 64)
    max_pairs: int = PairDesign().max_pairs
    timeout_seconds: float = 900.0

    def protocol(self, counted_input: tuple[int, int] = COUNTED_INPUT) -> Protocol:
        """The protocol of counting and scoring.

        Raises:
            UsageError: this machine cannot follow it.
        """
        document = {
            "device": self.device,
            "threads": self.threads,
            "counted_input": counted_input,
            "latency": None,
        }
        protocol = Protocol.model_validate(document)
        require_possible(protocol)
        return protocol

    @property
    def scored(self) -> bool:
        """Whether any metric needs images."""
        return bool(self.metrics & {*SCORES, *MEASURED_MEMORY})

    @property
    def measured(self) -> bool:
        """Whether anything but runtime is compared."""
        return bool(self.metrics & set(KNOWN))


@dataclass(slots=True)
class Bench:
    """What measures candidates, and tells how far it is.

    Attributes:
        registry: of the candidates.
        request: what is asked.
        on_step: told entry and step as each step begins.
        on_pairs: told the pairs timed and the most there will be.
        on_race: given the record of every race.
    """

    registry: Registry
    request: Request
    on_step: Callable[[str, str], None] = lambda _entry, _step: None
    on_pairs: Callable[[int, int], None] = lambda _done, _most: None
    on_race: Callable[[RaceRecord], None] = lambda _record: None
    _opened: dict[tuple[str, int], ImagePairs | Absent] = field(default_factory=dict)

    def registered_keys(self, name: str) -> list[Key]:
        """A network at the scales that were asked for, or at its largest.

        Raises:
            UsageError: an unknown name or scale.
        """
        descriptor = self.registry.get(name)
        scales = self.request.scales or (max(descriptor.scales),)
        for scale in scales:
            descriptor.require_scale(scale)
        return [(name, scale) for scale in scales]

    def resolve(
        self, descriptor: ModelDescriptor, scale: int, kept: WeightsFigure | None
    ) -> ResolvedWeights:
        """Weights of the kind that the baseline has, or those that were asked for.

        Raises:
            WeightsError: a weights file that is missing or altered.
        """
        if descriptor.name in self.request.weights:
            return resolve_weights(descriptor, scale, self.request.weights[descriptor.name])
        source = "auto" if kept is None else kept.source
        if source in {"auto", "released", "submitted"}:
            found = resolve_weights(descriptor, scale, "auto")
            wanted = {"auto", found.identity.source}
            return found if source in wanted else resolve_weights(descriptor, scale, None)
        path = demonstration_weights(descriptor, scale) if source == "demo" else None
        found = resolve_weights(descriptor, scale, path)
        if path is None:
            return found
        return replace(found, identity=found.identity.model_copy(update={"source": "demo"}))

    def data(self, names: Sequence[str], scale: int) -> dict[str, ImagePairs | Absent]:
        """Data sets by the name that a baseline knows them by; each is opened once."""
        for name in names:
            if (name, scale) not in self._opened:
                self.on_step(name, "checking images")
                spec = self.request.data.get(name, name)
                self._opened[name, scale] = open_data(name, spec, scale)
        return {name: self._opened[name, scale] for name in names}

    def subject(
        self, descriptor: ModelDescriptor, weights: ResolvedWeights, scale: int, data: Sequence[str]
    ) -> Subject:
        """What is measured of a network, on those data sets that are here."""
        opened = self.data(data, scale)
        return Subject(
            descriptor.name,
            Entry(descriptor, scale, weights),
            {name: found for name, found in opened.items() if not isinstance(found, Absent)},
            {name: found for name, found in opened.items() if isinstance(found, Absent)},
        )

    def measure(self, subjects: Sequence[Subject], protocol: Protocol) -> Iterator[Measured]:
        """Measure entries, in order."""
        return measure(
            subjects,
            protocol,
            on_step=self.on_step,
            timeout_seconds=self.request.timeout_seconds,
        )

    def race_ratio(
        self,
        descriptor: ModelDescriptor,
        reference: str,
        scale: int,
        *,
        weights: ResolvedWeights,
        input_size: tuple[int, int],
        threads: int | None,
    ) -> RaceRecord | Absent:
        """Race an entry and a reference for their ratio, not for a verdict.

        Raises:
            UsageError: there is no such reference at this scale.
        """
        other = self.registry.get(reference)
        other.require_scale(scale)
        theirs = Entry(other, scale, self.resolve(other, scale, None))
        protocol = race_protocol(input_size, device=self.request.device, threads=threads)
        require_possible(protocol)
        ours = Entry(descriptor, scale, weights)
        return self._raced(ours, theirs, protocol, ratio_design())

    def race_against(self, key: Key, against: str) -> Iterator[Finding]:
        """The finding of a race against another registered network; none against itself.

        Raises:
            UsageError: an unknown name or scale.
            WeightsError: a weights file that is missing or altered.
        """
        name, scale = key
        if name == against:
            return
        other = self.registry.get(against)
        other.require_scale(scale)
        ours, theirs = (
            Entry(each, scale, self.resolve(each, scale, None))
            for each in (self.registry.get(name), other)
        )
        yield judge_race(name, self.race(ours, theirs), scale, same=False)

    def race(self, candidate: Entry, baseline: Entry) -> RaceRecord | Absent:
        """Race two entries until it is decided; absent with the reason where one failed."""
        request = self.request
        protocol = race_protocol(request.race_size, device=request.device, threads=request.threads)
        require_possible(protocol)
        design = PairDesign().model_copy(update={"max_pairs": request.max_pairs})
        return self._raced(candidate, baseline, protocol, design)

    def _raced(
        self, candidate: Entry, baseline: Entry, protocol: Protocol, design: PairDesign
    ) -> RaceRecord | Absent:
        self.on_step(candidate.descriptor.name, f"racing {baseline.descriptor.name}")
        record = race_entries(
            candidate,
            baseline,
            protocol,
            design,
            on_pairs=self.on_pairs,
            timeout_seconds=self.request.timeout_seconds,
        )
        if not isinstance(record, Absent):
            self.on_race(record)
        return record

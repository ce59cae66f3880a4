"""Count, score and race the candidates."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from esrbench.data.datasets import open_dataset
from esrbench.entries.networks import resolve_weights
from esrbench.entries.weight_files import demonstration_weights
from esrbench.errors import DataError, EsrbenchError, MeasurementError
from esrbench.gate.figures import (
    COUNTS,
    KNOWN,
    METRIC_NAMES,
    ON_DATA,
    EntryFigures,
    Measured,
    pick,
    scores_of,
    terms_of,
    weights_figure,
)
from esrbench.gate.runtime import RATIO_DESIGN, gate_protocol, judge_race
from esrbench.metrics import Findings, extract_values
from esrbench.paired.race import race
from esrbench.protocol import PairDesign, Protocol
from esrbench.records import Absent, Complexity
from esrbench.runs.builds import build
from esrbench.runs.elsewhere import converted_state, own_software
from esrbench.runs.evaluator import Entry
from esrbench.runs.events import SuiteEvents
from esrbench.runs.inspection import count_models, count_moved
from esrbench.runs.plan import Suite, require_possible
from esrbench.runs.store import Store
from esrbench.runs.suite import run_suite
from esrbench.worker.launcher import open_launcher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from esrbench.data.datasets import ImagePairs
    from esrbench.entries.networks import WeightsChoice
    from esrbench.entries.registry import Registry
    from esrbench.gate.figures import Key, WeightsFigure
    from esrbench.gate.verdicts import Finding
    from esrbench.records import RaceRecord
    from esrbench.sandbox.interpreters import Interpreter

COUNTED_INPUT = Protocol().counted_input
DEMO = "demo"
"""Default data set for scores, if neither a baseline nor the user names one."""
NOT_SCORED = Absent(
    kind="skipped", reason="the gate scores only entries that have scores in the baseline"
)
NOT_TIMED = Absent(kind="skipped", reason="the gate measures time only in races")


@dataclass(frozen=True, slots=True)
class Request:
    """The request to the gate.

    Attributes:
        names: names of networks; empty for all in the baseline.
        scales: upscaling factors; empty for all in the baseline, or for each network's largest.
        metrics: metrics to compare.
        data: places of data sets, by their names in the baseline.
        weights: weights by network; other networks use those of the baseline.
        interpreters: interpreters of networks that have their own, by name.
        device: where forwards run.
        gpu: number of the GPU, if the device is one.
        threads: CPU threads, or None for all CPUs.
        race_size: LR height and width of races for which the baseline has no input size.
        max_pairs: number of pairs after which a race is inconclusive.
        timeout_seconds: deadline of each request to a worker.
    """

    names: Sequence[str] = ()
    scales: Sequence[int] = ()
    metrics: frozenset[str] = frozenset(METRIC_NAMES)
    data: Mapping[str, str] = field(default_factory=dict)
    weights: Mapping[str, WeightsChoice] = field(default_factory=dict)
    interpreters: Mapping[str, Interpreter] = field(default_factory=dict)
    device: str = "cpu"
    gpu: int = 0
    threads: int | None = None
    race_size: tuple[int, int] = (64, 64)
    max_pairs: int = PairDesign().max_pairs
    timeout_seconds: float = 900.0

    @property
    def scored(self) -> bool:
        """Whether any metric needs images."""
        return bool(self.metrics & set(ON_DATA))

    @property
    def measured(self) -> bool:
        """Whether a metric other than runtime is compared."""
        return bool(self.metrics & set(KNOWN))


@dataclass(frozen=True, slots=True)
class Subject:
    """An entry and the figures to measure.

    Attributes:
        name: registered name for the comparison.
        entry: network and weights.
        data: images it is scored on, by name; none for counts alone.
        unopened: why other data sets could not be opened, by name.
    """

    name: str
    entry: Entry
    data: Mapping[str, ImagePairs] = field(default_factory=dict)
    unopened: Mapping[str, Absent] = field(default_factory=dict)


def trained(entry: Entry) -> bool:
    """Whether an entry can be scored: with random weights, scores mean nothing."""
    return entry.weights.identity.source != "random"


@dataclass(slots=True)
class Bench:
    """Measures candidates and reports progress.

    Attributes:
        registry: registry of the candidates.
        request: the request.
        on_step: called with entry and step when a step begins.
        on_pairs: called with the number of timed pairs and the largest number.
    """

    registry: Registry
    request: Request
    on_step: Callable[[str, str], None] = lambda _entry, _step: None
    on_pairs: Callable[[int, int], None] = lambda _done, _most: None
    _opened: dict[tuple[str, int], ImagePairs | Absent] = field(default_factory=dict)

    def __contains__(self, key: Key) -> bool:
        """Whether a candidate is registered at a scale."""
        name, scale = key
        return name in self.registry and scale in self.registry.get(name).scales

    def registered_keys(self, name: str) -> list[Key]:
        """A network at the requested scales, or at its largest.

        Raises:
            UsageError: an unknown name or scale.
        """
        descriptor = self.registry.get(name)
        scales = self.request.scales or (max(descriptor.scales),)
        for scale in scales:
            descriptor.require_scale(scale)
        return [(name, scale) for scale in scales]

    def entry(self, name: str, scale: int, kept: WeightsFigure | None = None) -> Entry:
        """A network with the requested weights, or with those of the kind in the baseline.

        Raises:
            UsageError: an unknown name or scale, or no compiler works here.
            WeightsError: a weights file is missing or altered.
            WorkerError: weights for another interpreter cannot be read, or its sources cannot be
                compiled.
        """
        descriptor = self.registry.get(name)
        descriptor.require_scale(scale)
        source = "auto" if kept is None else kept.source
        chosen: WeightsChoice = None
        if name in self.request.weights:
            chosen, source = self.request.weights[name], "auto"
        elif source in {"auto", "released", "submitted"}:
            chosen = "auto"
        elif source == "demo":
            chosen = demonstration_weights(descriptor, scale)
        found = resolve_weights(descriptor, scale, chosen)
        if source == "demo" and chosen is not None:
            identity = found.identity.model_copy(update={"source": "demo"})
            found = replace(found, identity=identity)
        elif chosen == "auto" and source not in {"auto", found.identity.source}:
            found = resolve_weights(descriptor, scale, None)
        interpreter = self.request.interpreters.get(name)
        launcher = open_launcher()
        state = None if interpreter is None else converted_state(found, launcher)
        built = build(descriptor, launcher, interpreter)
        return Entry(built, scale, found, interpreter, state)

    def subject(self, name: str, entry: Entry, data: Sequence[str]) -> Subject:
        """What to measure for a network, with those data sets that this machine has."""
        opened = {each: self._open(each, entry.scale) for each in data}
        return Subject(
            name,
            entry,
            {each: found for each, found in opened.items() if not isinstance(found, Absent)},
            {each: found for each, found in opened.items() if isinstance(found, Absent)},
        )

    def _open(self, name: str, scale: int) -> ImagePairs | Absent:
        """Images of a data set, opened once, or the reason why this machine does not have them."""
        if (name, scale) not in self._opened:
            self.on_step(name, "checking images")
            try:
                found: ImagePairs | Absent = open_dataset(self.request.data.get(name, name), scale)
            except EsrbenchError as error:
                problems = error.problems if isinstance(error, DataError) else ()
                reason = ": ".join([error.message, *map(str, problems[:1])])
                found = Absent(
                    kind="unavailable",
                    reason=f"{name} cannot be opened here: {reason}",
                    advice=error.advice,
                )
            self._opened[name, scale] = found
        return self._opened[name, scale]

    def protocol(self, input_size: tuple[int, int], threads: int | None = None) -> Protocol:
        """The protocol at an LR input size.

        Raises:
            UsageError: this machine cannot follow it.
        """
        protocol = gate_protocol(input_size, self.request.device, threads or self.request.threads)
        require_possible(protocol, self.request.gpu)
        return protocol

    def measure(
        self, subjects: Sequence[Subject], input_size: tuple[int, int] = COUNTED_INPUT
    ) -> Iterator[Measured]:
        """Measure entries: counts in one worker for all, then scores of those that have images.

        Entries of another interpreter are counted one after the other. Each is measured in the
        precision that it declares.

        Yields:
            One result per entry, in order.

        Raises:
            UsageError: this machine cannot follow the protocol.
            DataError: an image changed since it was checked.
        """
        protocol = self.protocol(input_size)
        here = [subject.entry for subject in subjects if subject.entry.interpreter is None]
        models = [(entry.descriptor, entry.scale) for entry in here]
        counts = count_models(models, input_size=input_size, counters=protocol.counters)
        counted = []
        for subject in subjects:
            self.on_step(subject.name, "counting")
            own = _own(protocol, subject.entry)
            moved = subject.entry.interpreter is not None
            complexity = count_moved(subject.entry, own, open_launcher()) if moved else next(counts)
            counted.append(_counted(subject, own, complexity))
        for subject, found in zip(subjects, counted, strict=True):
            if subject.data and trained(subject.entry) and isinstance(found.figures, EntryFigures):
                yield self._scored(subject, _own(protocol, subject.entry), found, found.figures)
            else:
                yield found

    def _scored(
        self, subject: Subject, protocol: Protocol, counted: Measured, figures: EntryFigures
    ) -> Measured:
        """Scores and memory, measured as in ``esrbench run``; the records are not kept."""
        by_digest = {pairs.identity().digest: name for name, pairs in subject.data.items()}
        suite = Suite(
            entries=(subject.entry,),
            data=tuple((pairs, pairs.identity()) for pairs in subject.data.values()),
            # Counts need no weights, so they were made separately.
            protocol=protocol.model_copy(update={"counters": ()}),
            launcher=open_launcher(gpu=self.request.gpu),
        )
        scores = {}
        absent = dict(counted.absent)
        with tempfile.TemporaryDirectory(prefix="esrbench-gate-") as folder:
            for record in run_suite(
                suite,
                Store(Path(folder)),
                events=SuiteEvents(on_step=lambda _entry, step: self.on_step(subject.name, step)),
                timeout_seconds=self.request.timeout_seconds,
            ):
                name = by_digest[record.data.digest]
                scores[name], missing = scores_of(record)
                absent |= {(name, metric): why for metric, why in missing.items()}
        figures = figures.model_copy(update={"scores": scores})
        return replace(counted, figures=figures, absent=absent)

    def race_ratio(
        self, ours: Entry, reference: str, input_size: tuple[int, int], threads: int | None
    ) -> RaceRecord | Absent:
        """Race an entry and a reference for their ratio, without a verdict.

        Raises:
            UsageError: there is no such reference at this scale.
        """
        theirs = self.entry(reference, ours.scale)
        return self._raced(ours, theirs, self.protocol(input_size, threads), RATIO_DESIGN)

    def race_against(self, key: Key, against: str) -> Iterator[Finding]:
        """The finding of a race against another registered network; None against itself.

        Raises:
            UsageError: an unknown name or scale.
            WeightsError: a weights file that is missing or altered.
        """
        if key[0] != against:
            record = self.race(self.entry(*key), self.entry(against, key[1]))
            yield judge_race(key, record, same=False)

    def race(self, candidate: Entry, baseline: Entry) -> RaceRecord | Absent:
        """Race two entries until there is a verdict; absent, with the reason, if one failed."""
        design = PairDesign().model_copy(update={"max_pairs": self.request.max_pairs})
        return self._raced(candidate, baseline, self.protocol(self.request.race_size), design)

    def _raced(
        self, candidate: Entry, baseline: Entry, protocol: Protocol, design: PairDesign
    ) -> RaceRecord | Absent:
        self.on_step(candidate.descriptor.name, f"racing {baseline.descriptor.name}")
        try:
            return race(
                candidate,
                baseline,
                _own(protocol, candidate),
                design,
                gpu=self.request.gpu,
                on_pairs=self.on_pairs,
                timeout_seconds=self.request.timeout_seconds,
            )
        except MeasurementError as error:
            return Absent(kind="failed", reason=error.message, advice=error.advice)


def _own(protocol: Protocol, entry: Entry) -> Protocol:
    """The protocol in the precision that an entry declares."""
    return protocol.in_precision(entry.descriptor.precision)


def _counted(subject: Subject, protocol: Protocol, complexity: Complexity | Absent) -> Measured:
    software = subject.entry.software
    terms = terms_of(protocol)
    if software is not None:
        versions = terms.software | software.model_dump()
        terms = terms_of(protocol, versions, counted_with=own_software())
    key = subject.name, subject.entry.scale
    if isinstance(complexity, Absent) and complexity.kind == "failed":
        return Measured(*key, complexity, terms)
    identity = subject.entry.weights.identity
    if identity.source == "random" and isinstance(complexity, Complexity) and not complexity.params:
        # A network without parameters has no weights.
        identity = identity.model_copy(update={"source": "none"})
    values = extract_values(Findings(identity, complexity, NOT_SCORED, NOT_TIMED, NOT_SCORED))
    counts, missing = pick(values, COUNTS)
    figures = EntryFigures(terms=terms.digest, weights=weights_figure(identity), counts=counts)
    absent: dict[tuple[str | None, str], Absent] = {
        (None, metric): why for metric, why in missing.items()
    }
    return Measured(*key, figures, terms, absent, subject.unopened)

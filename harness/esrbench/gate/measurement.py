"""Take the figures of entries that the gate compares: counts of all, scores of some."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from esrbench.errors import DataError, EsrbenchError
from esrbench.gate.figures import (
    COUNTS,
    MEASURED_MEMORY,
    SCORES,
    EntryFigures,
    Measured,
    Scores,
    pick,
    terms_of,
    weights_figure,
)
from esrbench.metrics import Findings, extract_values
from esrbench.records import Absent
from esrbench.runs.inspection import count_models
from esrbench.runs.plan import Suite
from esrbench.runs.store import Store
from esrbench.runs.suite import run_suite
from esrbench.worker.launcher import open_launcher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from esrbench.data.datasets import ImagePairs
    from esrbench.protocol import Protocol
    from esrbench.records import Complexity, WeightsIdentity
    from esrbench.runs.evaluator import Entry

    OnStep = Callable[[str, str], None]
    Absences = dict[tuple[str | None, str], Absent]

NOT_SCORED = Absent(kind="skipped", reason="the gate scores what the baseline has scores of")
NOT_TIMED = Absent(kind="skipped", reason="the gate times in races only")


@dataclass(frozen=True, slots=True)
class Subject:
    """An entry and what is measured of it.

    Attributes:
        name: registered name, under which it is compared.
        entry: network and weights.
        data: images it is scored on, by name; none for counts alone.
        unopened: why others could not be opened, by name.
    """

    name: str
    entry: Entry
    data: Mapping[str, ImagePairs] = field(default_factory=dict)
    unopened: Mapping[str, Absent] = field(default_factory=dict)


def measure(
    subjects: Sequence[Subject],
    protocol: Protocol,
    *,
    on_step: OnStep = lambda _entry, _step: None,
    timeout_seconds: float,
) -> Iterator[Measured]:
    """Measure entries: counts in one worker for all, then scores of those that have images.

    Args:
        subjects: what to measure.
        protocol: settings; its latency design plays no part.
        on_step: told entry and step as each step begins.
        timeout_seconds: deadline of each request to a worker.

    Yields:
        One result an entry, in order.

    Raises:
        DataError: an image changed since it was checked.
    """
    models = [(subject.entry.descriptor, subject.entry.scale) for subject in subjects]
    counts = count_models(models, input_size=protocol.counted_input, counters=protocol.counters)
    counted = []
    for subject in subjects:
        on_step(subject.name, "counting")
        counted.append(_count(subject, protocol, next(counts)))
    for subject, measured in zip(subjects, counted, strict=True):
        trained = subject.entry.weights.identity.source != "random"
        if not (subject.data and trained) or isinstance(measured.figures, Absent):
            yield measured
            continue
        scores, absent = _score(subject, protocol, on_step, timeout_seconds)
        figures = measured.figures.model_copy(update={"scores": scores})
        yield replace(measured, figures=figures, absent={**measured.absent, **absent})


def open_data(
    name: str, spec: str, scale: int, on_image: Callable[[int, int], None] = lambda _d, _t: None
) -> ImagePairs | Absent:
    """Images of a data set, or why this machine does not have them.

    Args:
        name: under which the baseline knows it.
        spec: where it is: ``NAME``, ``PATH`` or ``NAME=PATH``.
        scale: upscaling factor.
        on_image: called with (images checked, images in all).
    """
    from esrbench.data.datasets import open_dataset

    try:
        return open_dataset(spec, scale, progress=on_image)
    except EsrbenchError as error:
        problem = (
            f": {error.problems[0]}" if isinstance(error, DataError) and error.problems else ""
        )
        return Absent(
            kind="unavailable",
            reason=f"{name} cannot be opened here: {error.message}{problem}",
            advice=error.advice,
        )


def _score(
    subject: Subject, protocol: Protocol, on_step: OnStep, timeout_seconds: float
) -> tuple[dict[str, Scores], Absences]:
    """Scores and memory as ``esrbench run`` takes them; its records are not kept."""
    by_digest = {pairs.identity().digest: name for name, pairs in subject.data.items()}
    suite = Suite(
        entries=(subject.entry,),
        data=tuple((pairs, pairs.identity()) for pairs in subject.data.values()),
        # What is counted needs no weights, so it was counted apart.
        protocol=protocol.model_copy(update={"counters": ()}),
        launcher=open_launcher(),
    )
    scores: dict[str, Scores] = {}
    absent: Absences = {}
    with tempfile.TemporaryDirectory(prefix="esrbench-gate-") as folder:
        for record in run_suite(
            suite,
            Store(Path(folder)),
            on_step=lambda _entry, step: on_step(subject.name, step),
            timeout_seconds=timeout_seconds,
        ):
            name = by_digest[record.data.digest]
            scored, missing = pick(record.values, (*SCORES, *MEASURED_MEMORY))
            absent |= {(name, metric): why for metric, why in missing.items()}
            scores[name] = Scores(
                digest=record.data.digest,
                values=scored,
                accelerator=record.environment.accelerator,
            )
    return scores, absent


def _count(subject: Subject, protocol: Protocol, complexity: Complexity | Absent) -> Measured:
    terms = terms_of(protocol)
    scale = subject.entry.scale
    if isinstance(complexity, Absent):
        return Measured(subject.name, scale, complexity, terms)
    identity = _identity(subject, complexity)
    values = extract_values(Findings(identity, complexity, NOT_SCORED, NOT_TIMED, NOT_SCORED))
    counts, missing = pick(values, COUNTS)
    figures = EntryFigures(terms=terms.digest, weights=weights_figure(identity), counts=counts)
    absent: Absences = {(None, key): why for key, why in missing.items()}
    return Measured(subject.name, scale, figures, terms, absent, subject.unopened)


def _identity(subject: Subject, complexity: Complexity) -> WeightsIdentity:
    """The weights as found: a network without parameters has none."""
    identity = subject.entry.weights.identity
    if identity.source == "random" and not complexity.params:
        return identity.model_copy(update={"source": "none"})
    return identity

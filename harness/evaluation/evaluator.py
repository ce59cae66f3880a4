"""Measure one entry: HR images, scores and the record stay on this side of the worker."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from harness.environment import cpus_available, describe_environment
from harness.errors import MeasurementError
from harness.evaluation.summary import summarise
from harness.imaging.quality import score_image
from harness.isolation.session import DEFAULT_TIMEOUT_SECONDS, WorkerError, WorkerSession
from harness.protocol import digest_of
from harness.records import (
    Absent,
    Complexity,
    EntryIdentity,
    ImageScore,
    LatencySamples,
    Memory,
    Quality,
    RunRecord,
)

if TYPE_CHECKING:
    from harness.catalog.datasets import ImagePairs
    from harness.catalog.networks import ResolvedWeights
    from harness.catalog.registry import ModelDescriptor
    from harness.isolation.messages import Ready
    from harness.protocol import Protocol
    from harness.records import DataIdentity

# Steps beside the images: load, complexity, fixed input, memory.
STEPS_BESIDE_IMAGES = 4

Step = Callable[[str], None]
"""Called with the name of each step as it begins."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A network with the weights it runs with.

    Attributes:
        descriptor: of the network.
        scale: upscaling factor.
        weights: which weights, resolved and checked.
    """

    descriptor: ModelDescriptor
    scale: int
    weights: ResolvedWeights


@dataclass(slots=True)
class _Findings:
    """What has been measured so far; each starts absent and is replaced by what is found."""

    complexity: Complexity | Absent
    images: tuple[LatencySamples, ...] | Absent
    quality: Quality | Absent
    fixed: LatencySamples | Absent
    memory: Memory | Absent


NOT_REACHED = Absent(kind="failed", reason="an earlier step ended the worker")
NOT_TIMED = Absent(kind="skipped", reason="the protocol leaves latency out")


def measure_entry(
    entry: Entry,
    pairs: ImagePairs,
    data: DataIdentity,
    protocol: Protocol,
    *,
    on_step: Step = lambda _: None,
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
) -> RunRecord:
    """Run an entry in a worker of its own and record what came of it.

    A probe that fails is recorded as failed and the others go on; nothing here raises because
    of the network.

    Args:
        entry: network and weights.
        pairs: checked LR and HR images.
        data: identity of ``pairs``.
        protocol: settings.
        on_step: told the name of each step, ``len(pairs.pairs) + STEPS_BESIDE_IMAGES`` in all.
        timeout_seconds: deadline of each request to the worker.
    """
    created = datetime.now(UTC)
    start = time.monotonic()
    findings = _Findings(NOT_REACHED, NOT_REACHED, NOT_REACHED, NOT_REACHED, NOT_REACHED)
    ready: Ready | None = None
    with WorkerSession(timeout_seconds=timeout_seconds) as session:
        try:
            on_step("loading")
            ready = session.load(
                entry.descriptor, entry.scale, weights=entry.weights, protocol=protocol
            )
        except WorkerError as failure:
            absent = _failed(failure)
            findings = _Findings(absent, absent, absent, absent, absent)
        else:
            entry = replace(entry, weights=_effective(entry.weights, ready))
            _probe(session, entry, pairs, protocol, findings=findings, on_step=on_step)
        log_tail = session.log_tail
    environment = describe_environment(
        threads=ready.threads if ready else protocol.threads or cpus_available(),
        accelerator=ready.accelerator if ready else None,
    )
    complexity = findings.complexity
    record = RunRecord(
        run_id=_run_id(created, entry, data),
        created=created,
        duration_seconds=time.monotonic() - start,
        status="ok",
        entry=EntryIdentity(
            name=entry.descriptor.name,
            scale=entry.scale,
            factory=entry.descriptor.factory,
            origin=entry.descriptor.origin,
            code_sha256=ready.code_sha256 if ready else None,
            role=entry.descriptor.role,
            weights=entry.weights.identity,
        ),
        data=data,
        protocol=protocol,
        protocol_digest=protocol.digest(),
        environment=environment,
        environment_digest=digest_of(environment),
        complexity=complexity,
        fixed_latency=findings.fixed,
        image_latencies=findings.images,
        memory=findings.memory,
        quality=findings.quality,
        values=summarise(
            complexity=complexity,
            quality=findings.quality,
            images=findings.images,
            fixed=findings.fixed,
            memory=findings.memory,
            weights=entry.weights.identity,
        ),
        notices=complexity.notices if isinstance(complexity, Complexity) else (),
    )
    if record.failure() is None:
        return record
    return record.model_copy(update={"status": "failed", "log_tail": log_tail})


def _probe(
    session: WorkerSession,
    entry: Entry,
    pairs: ImagePairs,
    protocol: Protocol,
    *,
    findings: _Findings,
    on_step: Step,
) -> None:
    """Fill in the findings; a failed probe is noted, a dead worker ends the rest."""
    try:
        try:
            findings.images, findings.quality = upscale_images(
                session, entry, pairs, protocol, on_step
            )
        except MeasurementError as failure:
            findings.images = findings.quality = _failed(failure)
            _raise_if_fatal(failure)
        # Before the fixed input, whose peak is not the images'.
        on_step("reading memory")
        try:
            findings.memory = session.read_memory()
        except WorkerError as failure:
            findings.memory = _failed(failure)
            _raise_if_fatal(failure)
        on_step("timing the fixed input")
        if protocol.latency is None:
            findings.fixed = NOT_TIMED
        else:
            try:
                findings.fixed = session.time_fixed_input(protocol.latency)
            except WorkerError as failure:
                findings.fixed = _failed(failure)
                _raise_if_fatal(failure)
        # Counters import and patch much of torch, so they come after all that is timed.
        on_step("counting")
        try:
            findings.complexity = session.count_complexity()
        except WorkerError as failure:
            findings.complexity = _failed(failure)
    except WorkerError:
        return


def upscale_images(
    session: WorkerSession,
    entry: Entry,
    pairs: ImagePairs,
    protocol: Protocol,
    on_step: Step,
) -> tuple[tuple[LatencySamples, ...] | Absent, Quality | Absent]:
    """Time every image and score the very pixels that were timed.

    Scoring happens between the worker's requests, never while it runs a forward. A network
    with random weights is timed but not scored.

    Raises:
        WorkerError: the worker failed on an image, which the message names.
        MeasurementError: an SR image cannot be scored.
    """
    samples: list[LatencySamples] = []
    scores: list[ImageScore] = []
    scored = entry.weights.identity.source != "random"
    for index, pair in enumerate(pairs.pairs):
        on_step(pair.name)
        if not scored and protocol.latency is None:
            continue
        try:
            sr, latency = session.upscale(pairs.read_lr(index), pair.name, design=protocol.latency)
        except WorkerError as failure:
            raise WorkerError(
                failure.kind,
                f"image {pair.name}: {failure.message.removeprefix(f'{failure.kind}: ')}",
                advice=failure.advice,
                fatal=failure.fatal,
            ) from None
        if latency is not None:
            samples.append(latency)
        if scored:
            score = score_image(
                sr,
                pairs.read_hr(index),
                scale=entry.scale,
                definition=protocol.quality,
                image=pair.name,
            )
            scores.append(score)
    quality: Quality | Absent
    if scored:
        definition = protocol.quality.describe(entry.scale)
        quality = Quality(definition=definition, images=tuple(scores))
    else:
        quality = _unscored(entry)
    return tuple(samples) if protocol.latency is not None else NOT_TIMED, quality


def _effective(weights: ResolvedWeights, ready: Ready) -> ResolvedWeights:
    """The weights as found: a network without parameters has none, one without a file random."""
    if weights.path is not None:
        return weights
    source: Literal["none", "random"] = "random" if ready.parameters else "none"
    return replace(weights, identity=weights.identity.model_copy(update={"source": source}))


def _unscored(entry: Entry) -> Absent:
    name, scale = entry.descriptor.name, entry.scale
    if entry.descriptor.released_weights(scale) is None:
        return Absent(
            kind="unavailable",
            reason=f"random weights: none are released for {name} at x{scale}",
            advice=f"Give trained ones with --weights {name}=FILE.",
        )
    return Absent(
        kind="unavailable",
        reason="random weights: the released ones are not in the cache",
        advice=f"Run `esrbench fetch weights {name} --scale {scale}`.",
    )


def _failed(failure: MeasurementError) -> Absent:
    return Absent(kind="failed", reason=failure.message, advice=failure.advice)


def _raise_if_fatal(failure: MeasurementError) -> None:
    if isinstance(failure, WorkerError) and failure.fatal:
        raise failure


def _run_id(created: datetime, entry: Entry, data: DataIdentity) -> str:
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", data.name)[:40]
    stamp = f"{created:%Y%m%dT%H%M%S}{created.microsecond // 1000:03d}Z"
    return f"{stamp}-{entry.descriptor.name}-x{entry.scale}-{name}-{secrets.token_hex(3)}"

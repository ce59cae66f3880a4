"""From what the passes found to the record of a run."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from esrbench.entries.submissions import precision_notice
from esrbench.environment import cpus_available, describe_environment
from esrbench.metrics import Findings, extract_values
from esrbench.protocol import digest_of
from esrbench.records import (
    RANKED_STATUSES,
    Absent,
    BaselineTimes,
    Complexity,
    EntryIdentity,
    Latency,
    LatencySamples,
    Notice,
    Quality,
    RunRecord,
    Trust,
    first_failure,
)
from esrbench.runs.agreement import disagreement
from esrbench.runs.load import ADVICE as BUSY_ADVICE
from esrbench.runs.load import foreign_load, scatter
from esrbench.runs.noise import noise_notices
from esrbench.runs.trust import Finding, account, examine, unmeasurable
from esrbench.runtimes import NO_NULL, images_seconds, net_seconds

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from esrbench.metrics import Account
    from esrbench.protocol import Protocol, TrustDesign
    from esrbench.records import DataIdentity, ImageScore, Replicate, Tier
    from esrbench.runs.evaluator import Entry, UntimedPass


DISPUTED = Absent(kind="unavailable", reason="the worker's account of its time is disputed")
LEAST_SETTLING_SECONDS = 1.0
SETTLING_SHARE = 0.5
"""Of the rounds, above which a worker's checks after them are told of; honest ones take a tenth."""


def assemble(
    untimed: UntimedPass,
    latency: Latency | Absent,
    data: DataIdentity,
    protocol: Protocol,
    *,
    rescored: Sequence[ImageScore] = (),
    tier: Tier,
    fingerprint: str,
    run_id: str,
    created: datetime,
    duration_seconds: float,
    log_tail: str,
) -> RunRecord:
    """The record of an entry on a data set.

    Args:
        untimed: scores, memory and counts.
        latency: what was timed, or why nothing was.
        data: identity of the images.
        protocol: settings.
        rescored: scores of timed SR images that are not those that were scored untimed; they count.
        tier: of the sandbox in which the workers ran.
        fingerprint: of the run.
        run_id: of the record.
        created: when the entry was begun.
        duration_seconds: that its passes took.
        log_tail: last of what its workers printed; kept where not all is well.
    """
    entry, ready = untimed.entry, untimed.ready
    quality = _as_timed(untimed.quality, rescored)
    environment = describe_environment(
        threads=ready.threads if ready else protocol.threads or cpus_available(),
        accelerator=ready.accelerator if ready else None,
        libraries=ready.libraries if ready else {},
        tier=tier,
    )
    trust = account(latency, protocol.trust)
    # Not what the worker says of its threads.
    threads = protocol.threads or cpus_available()
    finding = _finding(untimed, latency, trust, protocol, threads=threads)
    return RunRecord(
        run_id=run_id,
        created=created,
        duration_seconds=duration_seconds,
        fingerprint=fingerprint,
        status=finding.status if finding else "ok",
        cause=finding.cause if finding else None,
        advice=finding.advice if finding else None,
        entry=identify(entry, ready.code_sha256 if ready else None),
        data=data,
        protocol=protocol,
        protocol_digest=protocol.digest(),
        environment=environment,
        environment_digest=digest_of(environment),
        complexity=untimed.complexity,
        latency=latency,
        memory=untimed.memory,
        quality=quality,
        trust=trust,
        values=extract_values(
            Findings(
                weights=entry.weights.identity,
                complexity=untimed.complexity,
                quality=quality,
                latency=_undisturbed(latency, finding),
                memory=untimed.memory,
                doubts=_doubts(trust, finding, protocol.trust),
            )
        ),
        notices=tuple(_notices(untimed, latency, protocol)),
        log_tail=log_tail if finding else "",
    )


def identify(entry: Entry, code_sha256: str | None) -> EntryIdentity:
    """What a record says of an entry."""
    return EntryIdentity(
        name=entry.descriptor.name,
        scale=entry.scale,
        factory=entry.descriptor.factory,
        origin=entry.descriptor.origin,
        prepare=entry.descriptor.prepare,
        code_sha256=code_sha256,
        role=entry.descriptor.role,
        weights=entry.weights.identity,
    )


def baseline_times(name: str, replicates: Sequence[Replicate], *, rounds: int) -> BaselineTimes:
    """What a baseline took in every round; None in those that it did not reach."""
    missing = (None,) * (rounds - len(replicates))
    fixed = (
        None if isinstance(each.fixed, Absent) else float(np.median(each.fixed.seconds))
        for each in replicates
    )
    return BaselineTimes(
        name=name,
        images_seconds=(*(images_seconds(each) for each in replicates), *missing),
        trusted_seconds=(*(images_seconds(each, net_seconds) for each in replicates), *missing),
        fixed_seconds=(*fixed, *missing),
    )


def _as_timed(quality: Quality | Absent, rescored: Sequence[ImageScore]) -> Quality | Absent:
    """Scores of what was timed, the worst of all processes, where that is not what was scored."""
    if isinstance(quality, Absent) or not rescored:
        return quality
    timed = {score.image: score for score in sorted(rescored, key=_psnr, reverse=True)}
    images = tuple(timed.get(score.image, score) for score in quality.images)
    return quality.model_copy(update={"images": images})


def _psnr(score: ImageScore) -> float:
    return math.inf if score.psnr_rgb is None else score.psnr_rgb


def _finding(
    untimed: UntimedPass,
    latency: Latency | Absent,
    trust: Trust | Absent,
    protocol: Protocol,
    *,
    threads: int,
) -> Finding | None:
    """Why a run is not simply ``ok``: a failure, an interruption, or a suspicion."""
    failure = first_failure(untimed.quality, untimed.memory, untimed.complexity, latency)
    if failure is not None:
        return Finding(failure.failure or "infra-error", failure.reason, failure.advice)
    if protocol.latency is not None and (
        isinstance(latency, Absent) or len(latency.replicates) < protocol.latency.processes
    ):
        return Finding(
            "interrupted",
            "interrupted before all processes had timed it",
            "Run again with --resume.",
        )
    if isinstance(trust, Trust) and trust.trusted_seconds is None:
        return Finding("infra-error", NO_NULL.reason, NO_NULL.advice)
    load = foreign_load(latency, protocol.trust)
    scattered = scatter(latency)
    found = examine(trust, protocol.trust, threads=threads, loaded=load is not None)
    disagrees = disagreement(untimed)
    if disagrees is not None and (found is None or found.status in RANKED_STATUSES):
        return Finding("counted-otherwise", *disagrees)
    # Load that no counter tells disputes an honest time as well.
    if found is not None and not (scattered and found.status == "timing-disputed"):
        return found
    cause = load or scattered
    return None if cause is None else Finding("busy-machine", cause, BUSY_ADVICE)


def _undisturbed(latency: Latency | Absent, finding: Finding | None) -> Latency | Absent:
    """What was timed, unless others took too much of the machine meanwhile."""
    if finding is None or finding.status != "busy-machine":
        return latency
    reason = f"{finding.status}: {finding.cause}"
    return Absent(kind="unavailable", reason=reason, advice=finding.advice)


def _doubts(
    trust: Trust | Absent, finding: Finding | None, design: TrustDesign
) -> dict[Account, Absent]:
    """Accounts of time that cannot be told from what surrounds a forward, or are disputed."""
    if isinstance(trust, Absent):
        return {}
    doubts: dict[Account, Absent | None] = {
        "images": unmeasurable(trust.trusted_seconds, trust.noise_seconds, design),
        "fixed": unmeasurable(trust.fixed_trusted_seconds, trust.fixed_noise_seconds, design),
        "claims": DISPUTED if finding is not None and finding.status == "timing-disputed" else None,
    }
    return {account: doubt for account, doubt in doubts.items() if doubt is not None}


def _notices(
    untimed: UntimedPass, latency: Latency | Absent, protocol: Protocol
) -> Iterator[Notice]:
    if isinstance(untimed.complexity, Complexity):
        yield from untimed.complexity.notices
    precision = precision_notice(untimed.entry.descriptor, protocol.forward.precision)
    if precision is not None:
        yield precision
    if isinstance(latency, Absent) or protocol.latency is None:
        return
    yield from noise_notices(latency, target_half_width=protocol.latency.target_half_width)
    slow = _slow_to_settle(latency)
    if slow is not None:
        yield slow
    differing = sorted(
        {
            samples.input_name
            for samples in _image_samples(latency)
            if untimed.output_sha256.get(samples.input_name, samples.output_sha256)
            != samples.output_sha256
        }
    )
    if differing:
        yield Notice(
            code="outputs-differ",
            message="the SR images that were timed are not those of the untimed pass, on "
            f"{len(differing)} images, {differing[0]} among them; the timed ones are scored",
            advice="Look for random or state-keeping operators; a GPU's may also differ by order "
            "of summation.",
        )


def _slow_to_settle(latency: Latency) -> Notice | None:
    """A worker that takes its time where none is measured."""
    every = [samples for each in latency.replicates for samples in _inputs(each)]
    settling = sum(samples.settling_seconds or 0.0 for samples in every)
    forwards = sum(sum(samples.delivered_seconds) for samples in every)
    if settling < LEAST_SETTLING_SECONDS or settling < SETTLING_SHARE * forwards:
        return None
    return Notice(
        code="slow-to-settle",
        message=f"the worker took {settling:.3g} s after rounds of {forwards:.3g} s in all, to "
        "check what they left behind",
        advice="That is no part of a runtime; look for code that delays the worker's checks.",
    )


def _inputs(replicate: Replicate) -> Iterator[LatencySamples]:
    if isinstance(replicate.fixed, LatencySamples):
        yield replicate.fixed
    if not isinstance(replicate.images, Absent):
        yield from replicate.images


def _image_samples(latency: Latency) -> Iterator[LatencySamples]:
    for replicate in latency.replicates:
        if not isinstance(replicate.images, Absent):
            yield from replicate.images

"""Assemble the record of a run from its passes."""

from __future__ import annotations

import math
import re
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from esrbench.metrics import Findings, extract_values
from esrbench.plaintext import plural
from esrbench.protocol import digest_of
from esrbench.records import (
    RANKED_STATUSES,
    Absent,
    BaselineTimes,
    Complexity,
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
from esrbench.runs.trust import Suspicion, account, examine, unmeasurable
from esrbench.runtimes import ACROSS_CLASSES, NO_NULL, images_seconds, net_seconds

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from esrbench.metrics import Account
    from esrbench.protocol import ForwardPolicy, TrustDesign
    from esrbench.records import Deployment, EntryIdentity, ImageScore, Replicate
    from esrbench.runs.passes import Pass, TimedPass, UntimedPass

NOT_TIMED = Absent(kind="skipped", reason="the protocol leaves latency out")
NO_NETWORK = Absent(kind="unavailable", reason="only SR images were given, not their network")
INTERRUPTED = Absent(kind="skipped", reason="the run was interrupted before anything was timed")

NO_ENERGY = Absent(
    kind="skipped",
    reason="it was not asked for",
    advice="`esrbench run --energy` measures it.",
)
NO_BACKEND = Absent(kind="skipped", reason="no backend other than eager torch ran")
DISPUTED = Absent(kind="unavailable", reason="the times that the worker reported are disputed")
ON_SIZE = re.compile(r"(?i)\b(sizes?|shapes?|dimensions?|divisible|multiples?)\b")
"""Matches messages about a network that does not accept the size of an image."""
ENDS = Counter(Conv=2, Convolution=2)
"""The first and the last convolution, which may stay in float32, as ONNX and OpenVINO name them."""
LEAST_SETTLING_SECONDS = 1.0
SETTLING_SHARE = 0.5
"""A worker's checks after the rounds are reported above this share of the rounds' time.

Honest workers need about a tenth of the rounds' time."""


def assemble(
    untimed: Pass[UntimedPass],
    timed: Sequence[Pass[TimedPass]] = (),
    baseline: Sequence[Pass[TimedPass]] = (),
    *,
    attempts: int = 0,
) -> RunRecord:
    """The record of an entry on a data set: a pure function of its passes.

    Args:
        untimed: scores, memory and counts.
        timed: timed passes in the order of their rounds. There are fewer than the protocol asks for
            if the run was interrupted or the entry failed.
        baseline: timed passes of the baseline entry, by which runtimes are divided.
        attempts: number of further passes of this entry that do not count.
    """
    found, protocol = untimed.found, untimed.protocol
    latency = _latency(untimed, timed, baseline)
    quality = _as_timed(found.quality, [score for each in timed for score in each.found.rescored])
    environment = untimed.environment
    if found.ready is not None:
        loaded = {"threads", "accelerator", "libraries"}
        environment = environment.model_copy(update=found.ready.model_dump(include=loaded))
    trust = account(latency, protocol.trust)
    # The worker's claim about its threads is not used.
    threads = untimed.environment.threads
    finding = _finding(untimed, latency, trust, threads=threads)
    failed = (each.found.log_tail for each in timed if each.found.failed)
    return RunRecord(
        run_id=untimed.run_id,
        created=untimed.created,
        duration_seconds=untimed.seconds + sum(each.seconds for each in timed),
        fingerprint=untimed.fingerprint,
        status=finding.status if finding else "ok",
        cause=finding.cause if finding else None,
        advice=finding.advice if finding else None,
        entry=untimed.entry,
        data=untimed.data,
        protocol=protocol,
        protocol_digest=protocol.digest(),
        environment=environment,
        environment_digest=digest_of(environment),
        complexity=found.complexity,
        latency=latency,
        memory=found.memory,
        quality=quality,
        trust=trust,
        values=extract_values(
            Findings(
                weights=untimed.entry.weights,
                complexity=found.complexity,
                quality=quality,
                latency=_undisturbed(latency, finding),
                memory=found.memory,
                deployment=found.deployment or NO_BACKEND,
                energy=found.energy or NO_ENERGY,
                doubts=_doubts(trust, finding, protocol.trust),
            )
        ),
        notices=(
            *_notices(untimed, latency),
            *_across_classes(untimed, baseline),
            *_resumed(timed),
            *_made_again(attempts - found.spoilt - sum(each.found.spoilt for each in timed)),
        ),
        log_tail=next(failed, found.log_tail) if finding else "",
        ran_with=found.ran_with,
        counted_with=found.counted_with,
        deployment=found.deployment,
        energy=found.energy,
    )


def _latency(
    untimed: Pass[UntimedPass],
    timed: Sequence[Pass[TimedPass]],
    baseline: Sequence[Pass[TimedPass]],
) -> Latency | Absent:
    if untimed.entry.role == "images":
        return NO_NETWORK
    if untimed.protocol.latency is None:
        return NOT_TIMED
    if untimed.found.failed and isinstance(untimed.found.complexity, Absent):
        return untimed.found.complexity
    rounds = timed[-1].rounds if timed else None
    if rounds is None:
        return INTERRUPTED
    replicates = tuple(each.found.replicate for each in timed)
    return Latency(
        session=rounds.id,
        order_seed=rounds.order_seed,
        entries=rounds.entries,
        variant_seed=rounds.variant_seed,
        replicates=replicates,
        baseline=None
        if rounds.baseline is None
        else _baseline_times(
            rounds.baseline,
            {each.found.replicate.index: each.found.replicate for each in baseline},
            [each.index for each in replicates],
        ),
    )


def _baseline_times(
    name: str, replicates: Mapping[int, Replicate], indices: Sequence[int]
) -> BaselineTimes:
    """Times of the baseline in the rounds of an entry; None for rounds that it did not reach."""
    reached = [replicates.get(index) for index in indices]
    return BaselineTimes(
        name=name,
        images_seconds=tuple(each and images_seconds(each) for each in reached),
        trusted_seconds=tuple(each and images_seconds(each, net_seconds) for each in reached),
        fixed_seconds=tuple(
            None
            if each is None or isinstance(each.fixed, Absent)
            else float(np.median(each.fixed.seconds))
            for each in reached
        ),
    )


def _across_classes(
    untimed: Pass[UntimedPass], baseline: Sequence[Pass[TimedPass]]
) -> Iterator[Notice]:
    """Report that an entry and its baseline ran in different classes."""
    if not baseline:
        return
    ours, theirs = _class_of(untimed), _class_of(baseline[0])
    if ours != theirs:
        yield Notice(
            code=ACROSS_CLASSES,
            message=f"it ran as {ours}, and its baseline {baseline[0].entry.name} as {theirs}: "
            "the ratio of their runtimes also contains the effect of the class",
            advice="Use a baseline of the same class, or give both equal --precision, --python.",
        )


def _class_of(made: Pass[Any]) -> str:
    """The class of a pass: its arithmetic and software."""
    environment = made.environment
    torch = environment.packages.get("torch", "absent")
    return f"{made.protocol.forward.label}, Python {environment.python}, torch {torch}"


def _resumed(timed: Sequence[Pass[TimedPass]]) -> Iterator[Notice]:
    sessions = len({each.session for each in timed})
    if sessions > 1:
        yield Notice(
            code="resumed",
            message=f"its {len(timed)} timed processes ran in {sessions} sessions: the suite was "
            "resumed, or several processes ran it",
            advice="Compare their times; if they differ, measure again without --resume.",
        )


def _made_again(attempts: int) -> Iterator[Notice]:
    if attempts > 0:
        yield Notice(
            code="made-again",
            message=f"{plural(attempts, 'further pass')} did not count: the machine disturbed a "
            "pass, its worker ended, or another process made it first",
            advice="Nothing is lost: the first valid pass counts.",
        )


def _as_timed(quality: Quality | Absent, rescored: Sequence[ImageScore]) -> Quality | Absent:
    """Replace the scores of images whose timed SR differs, each by its worst timed score."""
    if isinstance(quality, Absent) or not rescored:
        return quality
    timed = {score.image: score for score in sorted(rescored, key=_psnr, reverse=True)}
    images = tuple(timed.get(score.image, score) for score in quality.images)
    return quality.model_copy(update={"images": images})


def _psnr(score: ImageScore) -> float:
    return math.inf if score.psnr_rgb is None else score.psnr_rgb


def _finding(
    untimed: Pass[UntimedPass], latency: Latency | Absent, trust: Trust | Absent, *, threads: int
) -> Suspicion | None:
    """Why a run is not simply ``ok``: a failure, an interruption, or a suspicion."""
    found, protocol = untimed.found, untimed.protocol
    failure = first_failure(found.quality, found.memory, found.complexity, latency)
    if failure is not None:
        advice = _advice(failure, untimed.entry)
        return Suspicion(failure.failure or "infra-error", failure.reason, advice)
    if protocol.latency is not None and (
        isinstance(latency, Absent) or len(latency.replicates) < protocol.latency.processes
    ):
        return Suspicion(
            "interrupted",
            "interrupted before all processes had timed it",
            "Run again with --resume.",
        )
    if isinstance(trust, Trust) and trust.trusted_seconds is None:
        return Suspicion("infra-error", NO_NULL.reason, NO_NULL.advice)
    load = foreign_load(latency, protocol.trust)
    scattered = scatter(latency)
    suspicion = examine(trust, protocol.trust, threads=threads, loaded=load is not None)
    disagrees = disagreement(found)
    if disagrees is not None and (suspicion is None or suspicion.status in RANKED_STATUSES):
        return Suspicion("counted-otherwise", *disagrees)
    # Load that no counter shows can also make an honest time look disputed.
    if suspicion is not None and not (scattered and suspicion.status == "timing-disputed"):
        return suspicion
    cause = load or scattered
    return None if cause is None else Suspicion("busy-machine", cause, BUSY_ADVICE)


def _advice(failure: Absent, entry: EntryIdentity) -> str | None:
    """Advice about a failed probe; for a submission, the command that finds its LR sizes."""
    if failure.failure not in {"forward-error", "invalid-output"} or not (
        entry.submitted and ON_SIZE.search(failure.reason)
    ):
        return failure.advice
    found = (
        f"If its LR size is the cause, `esrbench validate {entry.name} --fix` finds the sizes that "
        "it accepts."
    )
    return f"{failure.advice} {found}" if failure.advice else found


def _undisturbed(latency: Latency | Absent, finding: Suspicion | None) -> Latency | Absent:
    """Timed figures; absent if other programs used too much of the machine during timing."""
    if finding is None or finding.status != "busy-machine":
        return latency
    reason = f"{finding.status}: {finding.cause}"
    return Absent(kind="unavailable", reason=reason, advice=finding.advice)


def _doubts(
    trust: Trust | Absent, finding: Suspicion | None, design: TrustDesign
) -> dict[Account, Absent]:
    """Times without a value: too close to the overhead around a forward, or disputed."""
    if isinstance(trust, Absent):
        return {}
    doubts: dict[Account, Absent | None] = {
        "images": unmeasurable(trust.trusted_seconds, trust.noise_seconds, design),
        "fixed": unmeasurable(trust.fixed_trusted_seconds, trust.fixed_noise_seconds, design),
        "claims": DISPUTED if finding is not None and finding.status == "timing-disputed" else None,
    }
    return {account: doubt for account, doubt in doubts.items() if doubt is not None}


def _notices(untimed: Pass[UntimedPass], latency: Latency | Absent) -> Iterator[Notice]:
    found, design = untimed.found, untimed.protocol.latency
    if isinstance(found.complexity, Complexity):
        yield from found.complexity.notices
    yield from untimed.notices
    if found.unlike is not None:
        yield found.unlike.notice()
    if found.deployment is not None:
        yield from _graph_notices(found.deployment, found.complexity)
        yield from _quantised_notices(found.deployment, untimed.protocol.forward)
    if isinstance(found.energy, Absent):
        said = f"energy was not measured: {found.energy.reason}"
        yield Notice(code="no-energy", message=said, advice=found.energy.advice or "")
    if isinstance(latency, Absent) or design is None:
        return
    yield from noise_notices(latency, target_half_width=design.target_half_width)
    slow = _slow_to_settle(latency)
    if slow is not None:
        yield slow
    differing = sorted(
        {
            samples.input_name
            for samples in _timed_images(latency)
            if found.output_sha256.get(samples.input_name, samples.output_sha256)
            != samples.output_sha256
        }
    )
    if differing:
        yield Notice(
            code="outputs-differ",
            message="timed and untimed passes give different SR for "
            f"{plural(len(differing), 'image')}, such as {differing[0]}; the timed SR is scored",
            advice="Look for operators that are random or keep state. On a GPU, the order of "
            "summation may also differ.",
        )


def _graph_notices(deployment: Deployment, complexity: Complexity | Absent) -> Iterator[Notice]:
    """Report where a backend's graph differs from torch in SR or in the number of parameters."""
    equality, graph = deployment.equality, deployment.graph
    if not isinstance(equality, Absent) and equality.step == "different":
        yield Notice(
            code="backend-differs",
            message=f"SR of {deployment.backend} differs from that of eager torch: "
            f"{equality.describe()}",
            advice="The backend is ranked as a class of its own; compare PSNR before runtime.",
        )
    if graph is None or isinstance(complexity, Absent) or graph.parameters == complexity.params:
        return
    yield Notice(
        code="graph-parameters",
        message=f"the graph of {deployment.backend} holds {graph.parameters:,} numbers, and torch "
        f"counts {complexity.params:,} parameters",
        advice="Tables show the count of torch; a graph may fold or repeat some parameters.",
    )


def _quantised_notices(deployment: Deployment, forward: ForwardPolicy) -> Iterator[Notice]:
    """Report operators of a quantised graph that still compute in floats."""
    graph, quantisation = deployment.graph, forward.quantisation
    if graph is None or quantisation is None:
        return
    floats = Counter(graph.float_products)
    if quantisation.fp32_ends:
        floats -= ENDS
    if floats:
        listed = ", ".join(f"{count} {name}" for name, count in floats.items())
        yield Notice(
            code="not-quantised",
            message=f"{deployment.backend} leaves operators in float32: {listed}",
            advice="So its runtime and PSNR are those of a partly quantised network.",
        )


def _slow_to_settle(latency: Latency) -> Notice | None:
    """Report a worker that needs much time for its checks between rounds."""
    fixed = (each.fixed for each in latency.replicates if not isinstance(each.fixed, Absent))
    every = [*fixed, *_timed_images(latency)]
    settling = sum(samples.settling_seconds or 0.0 for samples in every)
    forwards = sum(sum(samples.delivered_seconds) for samples in every)
    if settling < LEAST_SETTLING_SECONDS or settling < SETTLING_SHARE * forwards:
        return None
    return Notice(
        code="slow-to-settle",
        message=f"after rounds of {forwards:.3g} s in all, the worker took {settling:.3g} s to "
        "check what they left behind",
        advice="The runtime does not contain this time. Look for code that delays the checks.",
    )


def _timed_images(latency: Latency) -> Iterator[LatencySamples]:
    for replicate in latency.replicates:
        if not isinstance(replicate.images, Absent):
            yield from replicate.images

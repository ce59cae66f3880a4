"""Does a network keep its promises? One check a promise, each with the reason and the mend."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from harness.catalog.networks import resolve_weights
from harness.isolation.session import WorkerError, WorkerSession
from harness.protocol import Frozen, Protocol
from harness.records import Absent

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from harness.catalog.networks import ResolvedWeights, WeightsChoice
    from harness.catalog.registry import ModelDescriptor

ODD_SIZES = ((48, 48), (37, 53), (64, 31))
"""LR sizes beside the smallest one: even, odd in both directions, wide and tall."""
REPEAT_SIDE = 48


class Check(Frozen):
    """One promise: kept, broken, or not reached."""

    name: str
    outcome: Literal["passed", "failed", "skipped"]
    detail: str
    fix: str = ""


class ValidationReport(Frozen):
    """All checks of one network at one scale."""

    entry: str
    scale: int
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return all(check.outcome != "failed" for check in self.checks)


def validate_entry(
    descriptor: ModelDescriptor, scale: int, *, weights: WeightsChoice, timeout_seconds: float
) -> ValidationReport:
    """Check a network in a worker of its own.

    Args:
        descriptor: of the network.
        scale: upscaling factor.
        weights: ``auto``, None for random ones, or a file.
        timeout_seconds: deadline of each request.

    Raises:
        UsageError: it is not defined at this scale.
        WeightsError: the weights file is missing or altered.
    """
    resolved = resolve_weights(descriptor, scale, weights)
    checks: list[Check] = []
    with WorkerSession(timeout_seconds=timeout_seconds) as session:
        try:
            session.load(descriptor, scale, weights=resolved, protocol=Protocol())
        except WorkerError as error:
            checks.append(_broken("builds and loads strictly", error))
        else:
            source = resolved.identity.source
            checks.append(_kept("builds and loads strictly", f"weights: {source}."))
            try:
                checks.extend(_loaded_checks(session, descriptor, scale))
                if descriptor.prepare is not None:
                    checks.append(_prepare_check(session, descriptor, scale, resolved))
            except WorkerError as error:
                checks.append(_broken("survives the checks", error))
    return ValidationReport(entry=descriptor.name, scale=scale, checks=tuple(checks))


def _loaded_checks(
    session: WorkerSession, descriptor: ModelDescriptor, scale: int
) -> Iterator[Check]:
    smallest = descriptor.min_lr_size
    upscaled = 0
    sizes = [(max(height, smallest), max(width, smallest)) for height, width in ODD_SIZES]
    for height, width in dict.fromkeys([(smallest, smallest), *sizes]):
        name = f"upscales {height}x{width}"
        lr = _noise(height, width, seed=0)
        try:
            session.upscale(lr, name)
        except WorkerError as error:
            if error.fatal:
                raise
            yield _broken(name, error)
        else:
            upscaled += 1
            yield _kept(name, f"SR is {height * scale}x{width * scale}, finite.")
    if not upscaled:
        yield Check(name="deterministic", outcome="skipped", detail="It does not upscale yet.")
        return
    yield from _repeat_checks(session, max(smallest, REPEAT_SIDE))
    yield from _count_checks(session, descriptor, scale)


def _repeat_checks(session: WorkerSession, side: int) -> Iterator[Check]:
    first, again, other = (
        session.upscale(_noise(side, side, seed=seed), "repeat") for seed in (0, 0, 1)
    )
    differing = int(np.count_nonzero(first != again))
    if differing:
        yield Check(
            name="deterministic",
            outcome="failed",
            detail=f"{differing} of {first.size} SR values differ between two equal inputs.",
            fix="Remove dropout and random operators, or seed them inside the forward.",
        )
    else:
        yield _kept("deterministic", "Equal inputs give equal SR.")
    if np.array_equal(first, other):
        yield Check(
            name="depends on its input",
            outcome="failed",
            detail="Two different inputs give the same SR.",
            fix="Check the forward, the weights and the declared data range.",
        )
    else:
        yield _kept("depends on its input", "Different inputs give different SR.")


def _prepare_check(
    prepared: WorkerSession, descriptor: ModelDescriptor, scale: int, weights: ResolvedWeights
) -> Check:
    """Whether the hook keeps what the network computes, up to one level of rounding."""
    name = "prepared form gives the same SR"
    side = max(descriptor.min_lr_size, REPEAT_SIDE)
    lr = _noise(side, side, seed=0)
    trained = descriptor.model_copy(update={"prepare": None})
    with WorkerSession(timeout_seconds=prepared.timeout_seconds) as session:
        session.load(trained, scale, weights=weights, protocol=Protocol())
        expected = session.upscale(lr, name).astype(np.int16)
    apart = int(np.abs(prepared.upscale(lr, name) - expected).max())
    if apart <= 1:
        detail = f"{descriptor.prepare} changes no SR level by more than {apart} of 255."
        return _kept(name, detail)
    return Check(
        name=name,
        outcome="failed",
        detail=f"{descriptor.prepare} changes SR levels by up to {apart} of 255.",
        fix="A hook may merge and fold, not change what the network computes.",
    )


def _count_checks(
    session: WorkerSession, descriptor: ModelDescriptor, scale: int
) -> Iterator[Check]:
    complexity = session.count_complexity()
    for counter, result in complexity.counters.items():
        name = f"counted by {counter}"
        if isinstance(result, Absent):
            fix = result.advice or ""
            yield Check(name=name, outcome="failed", detail=result.reason, fix=fix)
        else:
            yield _kept(name, f"{result.macs / 1e9:.3f} G.")
    claimed = [
        figure
        for figure in descriptor.published
        if figure.metric == "params" and figure.scale == scale
    ]
    for figure in claimed:
        # Papers print K, or M with three decimals, rounded or truncated: one of the last digit.
        close = abs(complexity.params - figure.value) <= PRINTED_PARAMS_TOLERANCE
        yield Check(
            name="parameters as published",
            outcome="passed" if close else "failed",
            detail=f"{complexity.params:,}, published {figure.value:,.0f} ({figure.source}).",
            fix="" if close else "The network is not the published one.",
        )


PRINTED_PARAMS_TOLERANCE = 1000


def _noise(height: int, width: int, *, seed: int) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def _kept(name: str, detail: str) -> Check:
    return Check(name=name, outcome="passed", detail=detail)


def _broken(name: str, error: WorkerError) -> Check:
    return Check(name=name, outcome="failed", detail=error.message, fix=error.advice or "")

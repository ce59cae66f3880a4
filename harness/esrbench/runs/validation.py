"""Check the promises of a network, one by one, each with the reason and the fix."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from esrbench.entries.manifest import MANIFEST_NAME, told
from esrbench.entries.networks import resolve_weights
from esrbench.errors import EsrbenchError, RegistrationError, WeightsError
from esrbench.protocol import Frozen, Protocol
from esrbench.records import Absent
from esrbench.runs.builds import build
from esrbench.runs.checks import Check, broken, claim_checks, folder_checks, kept
from esrbench.runs.elsewhere import converted_state, draw_noise
from esrbench.runs.evaluator import Entry, count_at_home
from esrbench.runs.likeness import scene, unlike
from esrbench.runs.sizes import find_sizes
from esrbench.worker.failure import WorkerError
from esrbench.worker.launcher import open_launcher

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from esrbench.entries.descriptor import ModelDescriptor
    from esrbench.entries.networks import WeightsChoice
    from esrbench.records import Complexity
    from esrbench.runs.likeness import UnlikeSr
    from esrbench.sandbox.interpreters import Interpreter
    from esrbench.sandbox.tiers import IsolationChoice
    from esrbench.worker.launcher import Launcher
    from esrbench.worker.messages import Ready
    from esrbench.worker.session import WorkerSession

ODD_SIZES = ((48, 48), (37, 53), (64, 31))
"""LR sizes, in addition to the smallest one: even, odd in both directions, wide and tall."""
REPEAT_SIDE = 48
LOADS = "builds and loads strictly"
UPSCALES = "upscales"
MAX_SR_PIXELS = 2**24
"""Most SR pixels in a trial of a network: 50 MB; a few such images are in memory at once."""
PRINTED_PARAMS_TOLERANCE = 1000


class ValidationReport(Frozen):
    """All checks of one network at one scale.

    Attributes:
        entry: registered name.
        scale: upscaling factor; None if its manifest could not be read.
        checks: in the order in which they were made.
        declare: fields of the manifest, with the values found, that would repair failed checks.
    """

    entry: str
    scale: int | None
    checks: tuple[Check, ...]
    declare: dict[str, int | str] = {}

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return all(check.outcome != "failed" for check in self.checks)


def unreadable(name: str, error: RegistrationError) -> ValidationReport:
    """The report of a submission that cannot be registered."""
    check = broken("manifest", error.message, error.advice)
    return ValidationReport(entry=name, scale=None, checks=(check,))


def validate_entry(
    descriptor: ModelDescriptor,
    scale: int,
    *,
    weights: WeightsChoice,
    timeout_seconds: float,
    isolation: IsolationChoice = "auto",
    interpreter: Interpreter | None = None,
) -> ValidationReport:
    """Check a submission's folder, and then a network in a worker of its own.

    Args:
        descriptor: descriptor of the network.
        scale: upscaling factor.
        weights: ``auto``, None for random ones, or a file.
        timeout_seconds: deadline of each request.
        isolation: the requested sandbox.
        interpreter: interpreter that runs it; None for the harness's own.

    Raises:
        UsageError: the network is not defined at this scale, or the sandbox does not work here.
        WeightsError: the weights file is missing or altered. For a submission's own file, this is a
            failed check instead, and random weights replace it.
    """
    descriptor.require_scale(scale)
    checks: list[Check] = []
    submitted = descriptor.folder is not None
    if submitted:
        packages = None if interpreter is None else interpreter.packages
        checks.extend(folder_checks(descriptor, scale, packages))
    try:
        resolved = resolve_weights(descriptor, scale, weights)
    except WeightsError:
        if not submitted or weights != "auto":
            raise
        resolved = resolve_weights(descriptor, scale, None)
    launcher = open_launcher(isolation)
    if descriptor.build is not None:
        descriptor, check = _built(descriptor, launcher, interpreter, timeout_seconds)
        checks.append(check)
        if check.outcome == "failed":
            return ValidationReport(entry=descriptor.name, scale=scale, checks=tuple(checks))
    entry = Entry(descriptor, scale, resolved)
    if interpreter is not None:
        try:
            state = converted_state(resolved, launcher)
        except (WeightsError, WorkerError) as error:
            checks.append(broken(LOADS, error.message, error.advice))
            return ValidationReport(entry=descriptor.name, scale=scale, checks=tuple(checks))
        entry = replace(entry, interpreter=interpreter, state=state)
    checks.extend(_worker_checks(launcher, entry, timeout_seconds))
    if any(map(_failed_on_size, checks)):
        protocol = _protocol(descriptor)
        with entry.worker(launcher, protocol, timeout_seconds=timeout_seconds) as session:
            sizes = _find_sizes(session, entry)
        if sizes:
            checks.append(_sizes_check(descriptor, sizes))
    declare = {name: value for check in checks for name, value in check.declare.items()}
    return ValidationReport(
        entry=descriptor.name, scale=scale, checks=tuple(checks), declare=declare
    )


def _built(
    descriptor: ModelDescriptor,
    launcher: Launcher,
    interpreter: Interpreter | None,
    timeout_seconds: float,
) -> tuple[ModelDescriptor, Check]:
    """Compile a submission; returns it with its modules, and the check."""
    name = "compiles its sources"
    try:
        built = build(descriptor, launcher, interpreter, timeout_seconds=timeout_seconds)
    except EsrbenchError as error:
        return descriptor, broken(name, error.message, error.advice)
    return built, kept(name, f"{descriptor.build}, in the sandbox.")


def _worker_checks(launcher: Launcher, entry: Entry, timeout_seconds: float) -> Iterator[Check]:
    """Checks of a network that runs in a worker."""
    descriptor = entry.descriptor
    protocol = _protocol(descriptor)
    with entry.worker(launcher, protocol, timeout_seconds=timeout_seconds) as session:
        try:
            ready = entry.load(session, protocol)
        except WorkerError as error:
            yield broken(LOADS, error.message, error.advice)
            return
        words = [
            f"weights: {', '.join(_weights_told(entry, ready))}",
            *([f"in {entry.software.describe()}"] if entry.software else []),
        ]
        told = f"{'; '.join(words)}."
        random = entry.weights.identity.source == "random" and ready.parameters > 0
        if random and descriptor.folder is not None and not descriptor.submitted:
            told += " submission.toml declares no [weights], so runs use random ones as well."
            yield Check(name=LOADS, outcome="warning", detail=told)
        else:
            yield kept(LOADS, told)
        try:
            upscales = False
            for check in _size_checks(session, entry):
                upscales |= check.outcome == "passed"
                yield check
            if not upscales:
                detail = "Not tried, because it does not upscale yet."
                yield Check(name="deterministic", outcome="skipped", detail=detail)
            else:
                yield from _repeat_checks(session, _repeat_side(descriptor))
                if not random:
                    yield _likeness_check(session, launcher, entry, timeout_seconds)
                counts = _counted(session, ready, launcher, entry, timeout_seconds)
                yield from _count_checks(counts, entry)
            if descriptor.prepare or descriptor.deploy:
                other = entry.worker(launcher, protocol, timeout_seconds=timeout_seconds)
                with other:
                    yield _prepare_check(session, other, entry)
        except WorkerError as error:
            yield broken("survives the checks", error.message, error.advice)


def _weights_told(entry: Entry, ready: Ready) -> Iterator[str]:
    yield entry.weights.identity.source
    if ready.layout:
        yield ready.layout.describe()


def _counted(
    session: WorkerSession,
    ready: Ready,
    launcher: Launcher,
    entry: Entry,
    timeout_seconds: float,
) -> Complexity | Absent:
    """Counts from the harness's environment, as in ``esrbench run``."""
    if entry.interpreter is None:
        return session.count_complexity()
    side = _repeat_side(entry.descriptor)
    samples = draw_noise(session.upscale, side)
    return count_at_home(
        entry,
        _protocol(entry.descriptor),
        launcher,
        ready=ready,
        samples=samples,
        timeout_seconds=timeout_seconds,
    )


def _protocol(descriptor: ModelDescriptor) -> Protocol:
    return Protocol().in_precision(descriptor.precision)


def _is_tried(height: int, width: int, scale: int) -> bool:
    """Whether the SR of an LR size is small enough for a trial."""
    return height * width * scale**2 <= MAX_SR_PIXELS


def _sizes(descriptor: ModelDescriptor, scale: int) -> Iterator[tuple[int, int]]:
    """LR sizes to try: the smallest, odd ones, non-multiples of the padding, larger than a tile."""
    least = descriptor.min_lr_size
    yield least, least
    for height, width in ODD_SIZES:
        yield max(height, least), max(width, least)
    factor = 1 if descriptor.input == "lr" else scale
    if descriptor.pad_multiple > factor:
        side = -(-max(least, REPEAT_SIDE) // descriptor.pad_multiple) * descriptor.pad_multiple
        yield side + 1, side + descriptor.pad_multiple - 1
    if descriptor.tile is not None:
        yield descriptor.tile // factor + 1, max(least, REPEAT_SIDE)


def _size_checks(session: WorkerSession, entry: Entry) -> Iterator[Check]:
    """Check whether the network upscales images of several sizes."""
    scale = entry.scale
    for height, width in dict.fromkeys(_sizes(entry.descriptor, scale)):
        name = f"{UPSCALES} {height}x{width}"
        if not _is_tried(height, width, scale):
            detail = f"SR would have more than {MAX_SR_PIXELS:,} pixels."
            yield Check(name=name, outcome="skipped", detail=detail)
            continue
        lr = _noise(height, width, seed=0)
        try:
            session.upscale(lr, name)
        except WorkerError as error:
            if error.fatal:
                raise
            yield broken(name, error.message, error.advice)
        else:
            yield kept(name, f"SR is {height * scale}x{width * scale}, finite.")


def _failed_on_size(check: Check) -> bool:
    return check.outcome == "failed" and check.name.startswith(UPSCALES)


def _find_sizes(session: WorkerSession, entry: Entry) -> dict[str, int]:
    """Find by trial the fields to declare so that the network accepts all sizes; may be empty.

    A network that runs in tiles is skipped: only its authors can choose the tiles.
    """
    descriptor, scale = entry.descriptor, entry.scale
    if descriptor.tile is not None:
        return {}
    bare = descriptor.model_copy(update={"min_lr_size": 1, "pad_multiple": 1})

    def takes(height: int, width: int) -> bool:
        if not _is_tried(height, width, scale):
            return False
        try:
            session.upscale(_noise(height, width, seed=0), "size")
        except WorkerError as error:
            if error.fatal:
                raise
            return False
        return True

    try:
        replace(entry, descriptor=bare).load(session, _protocol(descriptor))
        found = find_sizes(takes)
    except WorkerError:  # the worker has ended, and other checks say why
        return {}
    if found is None:
        return {}
    multiple = found.multiple
    if multiple > 1 and descriptor.input == "bicubic-hr":
        multiple *= scale
    if len(descriptor.scales) > 1:  # another scale may need another value
        multiple = math.lcm(multiple, descriptor.pad_multiple)
    wanted = {
        "min_lr_size": max(found.least, descriptor.min_lr_size),
        "pad_multiple": multiple,
    }
    return {name: value for name, value in wanted.items() if value != getattr(descriptor, name)}


def _sizes_check(descriptor: ModelDescriptor, declare: dict[str, int]) -> Check:
    least = declare.get("min_lr_size", descriptor.min_lr_size)
    multiple = declare.get("pad_multiple", descriptor.pad_multiple)
    detail = f"It accepts LR sides of {least} or more"
    if multiple > 1:
        detail += f", once its input is padded to multiples of {multiple}"
    lines = told(declare)
    fix = f"Declare {lines}."
    if descriptor.folder is not None:
        fix = f"Write into [model] of {MANIFEST_NAME}: {lines}; --fix does it."
    return broken("LR sizes", f"{detail}.", fix).model_copy(update={"declare": declare})


def _repeat_side(descriptor: ModelDescriptor) -> int:
    return max(descriptor.min_lr_size, REPEAT_SIDE)


def _repeat_checks(session: WorkerSession, side: int) -> Iterator[Check]:
    first, again, other = (
        session.upscale(_noise(side, side, seed=seed), "repeat") for seed in (0, 0, 1)
    )
    differing = int(np.count_nonzero(first != again))
    if differing:
        detail = f"{differing} of {first.size} SR values differ between two equal inputs."
        fix = "Remove dropout and random operators, or seed them inside the forward."
        yield broken("deterministic", detail, fix)
    else:
        yield kept("deterministic", "Equal inputs give equal SR.")
    if np.array_equal(first, other):
        fix = "Check the forward, the weights and the declared data range."
        yield broken("depends on its input", "Two different inputs give the same SR.", fix)
    else:
        yield kept("depends on its input", "Different inputs give different SR.")


def _likeness_check(
    session: WorkerSession, launcher: Launcher, entry: Entry, timeout_seconds: float
) -> Check:
    """Check that SR resembles the LR image; if not, try the other data range.

    It is a failed check if the other data range is shown to be right, or if the output clearly has
    another range than the declared one; otherwise a warning.
    """
    name = "SR resembles LR"
    lr = scene(_repeat_side(entry.descriptor))
    found = _unlike(session, entry, lr)
    if found is None:
        return kept(name, "SR, scaled down, is like the LR image.")
    white = 1 if found.data_range == 255 else 255  # noqa: PLR2004 - the other convention
    other = _with_data_range(entry, white)
    protocol = _protocol(entry.descriptor)
    try:
        with other.worker(launcher, protocol, timeout_seconds=timeout_seconds) as trial:
            other.load(trial, protocol)
            shown = _unlike(trial, other, lr) is None
    except WorkerError:
        shown = False
    said = found.describe()
    detail = f"{said[0].upper()}{said[1:]}."
    if not shown and found.probable_range is not None:
        fix = f"Scale its output to 0 to {found.data_range:g}; to declare data_range = {white} "
        return broken(name, detail, f"{fix}was tried, and is no remedy.")
    if not shown:
        return Check(name=name, outcome="warning", detail=detail, fix=found.advice)
    declare: dict[str, int | str] = {"data_range": white}
    fix = f"Declare {told(declare)}; SR then resembles the LR image."
    if entry.descriptor.folder is not None:
        fix = f"{fix} Write it into [model] of {MANIFEST_NAME}; --fix does it."
    return broken(name, detail, fix).model_copy(update={"declare": declare})


def _unlike(session: WorkerSession, entry: Entry, lr: npt.NDArray[np.uint8]) -> UnlikeSr | None:
    sr = session.upscale(lr, "scene")
    white = entry.weights.identity.data_range
    return unlike(sr, lr, "a test image", data_range=white, output=session.output_range)


def _with_data_range(entry: Entry, white: float) -> Entry:
    """The entry, but with another declared data range."""
    update = {"data_range": white}
    released = entry.weights.released
    weights = replace(
        entry.weights,
        identity=entry.weights.identity.model_copy(update=update),
        released=None if released is None else released.model_copy(update=update),
    )
    return replace(entry, descriptor=entry.descriptor.model_copy(update=update), weights=weights)


def _prepare_check(prepared: WorkerSession, trained: WorkerSession, entry: Entry) -> Check:
    """Check that the prepared network gives the same SR, up to one level of rounding."""
    name = "prepared form gives the same SR"
    descriptor = entry.descriptor
    side = _repeat_side(descriptor)
    lr = _noise(side, side, seed=0)
    without = descriptor.model_copy(update={"prepare": None, "deploy": None})
    replace(entry, descriptor=without).load(trained, _protocol(descriptor))
    expected = trained.upscale(lr, name).astype(np.int16)
    apart = int(np.abs(prepared.upscale(lr, name) - expected).max())
    by = " and ".join(each for each in (descriptor.deploy, descriptor.prepare) if each)
    if apart <= 1:
        detail = f"{by} changes no SR level by more than {apart} of 255."
        return kept(name, detail)
    detail = f"{by} changes SR levels by up to {apart} of 255."
    return broken(
        name, detail, "`deploy` and `prepare` may merge layers, but must not change the SR."
    )


def _count_checks(complexity: Complexity | Absent, entry: Entry) -> Iterator[Check]:
    descriptor, scale = entry.descriptor, entry.scale
    if isinstance(complexity, Absent):
        fix = complexity.advice or ""
        yield Check(name="counted", outcome="skipped", detail=f"{complexity.reason}.", fix=fix)
        return
    for counter, result in complexity.counters.items():
        name = f"counted by {counter}"
        if isinstance(result, Absent):
            yield broken(name, result.reason, result.advice)
        else:
            yield kept(name, f"{result.macs / 1e9:.3f} G.")
    if descriptor.folder is not None:
        yield from claim_checks(descriptor, scale, complexity)
        return
    for figure in descriptor.published:
        if figure.metric != "params" or figure.scale != scale:
            continue
        # Papers print K, or M with three decimals, rounded or truncated. So one unit of the last
        # digit is allowed.
        close = abs(complexity.params - figure.value) <= PRINTED_PARAMS_TOLERANCE
        name = "parameters as published"
        detail = f"{complexity.params:,}, published {figure.value:,.0f} ({figure.source})."
        if close:
            yield kept(name, detail)
        else:
            yield broken(name, detail, "The network differs from the published one.")


def _noise(height: int, width: int, *, seed: int) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)

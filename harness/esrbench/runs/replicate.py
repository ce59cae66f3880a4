"""One timed replicate of an entry: a fresh process, and another that repeats windows untimed."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from esrbench.errors import MeasurementError
from esrbench.probes.quality import psnr
from esrbench.records import Absent, LatencySamples, Replicate
from esrbench.runs.evaluator import failed, raise_if_fatal
from esrbench.runs.passes import NO_FIXED_INPUT, NOT_REACHED, TimedPass
from esrbench.runs.timing import InputTimer
from esrbench.worker.failure import WorkerError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esrbench.data.datasets import ImagePairs
    from esrbench.records import Conditions, ImageScore
    from esrbench.runs.evaluator import Entry, Step
    from esrbench.runs.passes import UntimedPass
    from esrbench.runs.timing import Plan
    from esrbench.runs.variants import TimedWindow
    from esrbench.worker.messages import Ready
    from esrbench.worker.session import WorkerSession


def time_replicate(
    entry: Entry,
    pairs: ImagePairs,
    plan: Plan,
    *,
    untimed: UntimedPass,
    index: int,
    position: int,
    on_step: Step = lambda _: None,
    started: WorkerSession | None = None,
) -> TimedPass:
    """Time an entry in a fresh process: the fixed input first, then every image.

    Args:
        entry: network and weights.
        pairs: checked LR and HR images.
        plan: settings of the timing.
        untimed: untimed pass of the entry, which could load it.
        index: number of the round.
        position: position of the entry in the round.
        on_step: called with the name of each step: loading, the fixed input, and every image.
        started: a fresh process that was started before and has loaded nothing, or None.

    Raises:
        DataError: an image changed since it was checked.
    """
    begun = datetime.now(UTC)
    cpus: tuple[int, ...] = ()
    device: str | None = None
    conditions: Conditions | None = None
    fixed: LatencySamples | Absent = NOT_REACHED
    images: tuple[LatencySamples, ...] | Absent = NOT_REACHED
    rescored: tuple[ImageScore, ...] = ()
    windows: tuple[TimedWindow, ...] = ()
    with ExitStack() as ending:
        if started is None:
            session = ending.enter_context(_worker(entry, plan, timed=True))
        else:
            session = ending.push(started)
        try:
            on_step("loading to be timed")
            ready = entry.load(session, plan.protocol)
            cpus, device = ready.cpus, ready.gpu_uuid
            _require_same_code(ready, untimed)
        except MeasurementError as failure:
            fixed = images = failed(failure)
        else:
            # Do this in every process: a worker can recognise the first one, and do less there.
            known = untimed.output_sha256 if untimed.scored else None
            timer = InputTimer(session, ready, plan, index, known)
            with suppress(WorkerError):
                if plan.design.fixed_input:
                    on_step("timing the fixed input")
                    try:
                        fixed = timer.fixed(pairs)
                    except MeasurementError as failure:
                        fixed = failed(failure)
                        raise_if_fatal(failure)
                else:
                    fixed = NO_FIXED_INPUT
                try:
                    images = timer.images(pairs, on_step)
                except MeasurementError as failure:
                    images = failed(failure)
            conditions = timer.conditions()
            rescored, windows = tuple(timer.rescored), tuple(timer.windows)
    return TimedPass(
        replicate=Replicate(
            index=index,
            position=position,
            started=begun,
            cpus=cpus,
            cold_start_seconds=None if isinstance(fixed, Absent) else fixed.first_seconds,
            fixed=fixed,
            images=images,
            conditions=conditions,
            device=device,
        ),
        log_tail=session.log_tail,
        rescored=rescored,
        windows=windows,
    )


def _require_same_code(ready: Ready, untimed: UntimedPass) -> None:
    if untimed.ready is None or ready.code_sha256 != untimed.ready.code_sha256:
        # The worker reported this itself, so it must not count as a failure of the machine.
        raise WorkerError(
            "load-error",
            "the network's code changed during the run",
            advice="Run again and leave its files alone.",
            fatal=False,
        )


def compare_untimed(
    entry: Entry,
    pairs: ImagePairs,
    plan: Plan,
    timed: TimedPass,
    on_step: Step = lambda _: None,
) -> TimedPass:
    """Add scores of the windows of a timed pass; a fresh process upscales them untimed.

    Scores of variants leave out the part that the image does not show and the part near an edge.
    So a network could skip both in timed rounds. Here whole windows are compared, and the process
    cannot know which of them were timed. No times are compared.

    Args:
        entry: network and weights.
        pairs: checked LR and HR images.
        plan: settings of the timing.
        timed: the timed pass; without windows nothing is done.
        on_step: called with the name of the step.

    Raises:
        DataError: an image changed since it was checked.
    """
    on_step("comparing with untimed windows")
    images = timed.replicate.images
    if not timed.windows or isinstance(images, Absent):
        return timed
    found: tuple[LatencySamples, ...] | Absent
    try:
        found = _scored(images, timed.windows, _untimed(entry, pairs, plan, timed.windows))
    except MeasurementError as failure:
        found = failed(failure)
    replicate = timed.replicate.model_copy(update={"images": found})
    return timed.model_copy(update={"replicate": replicate})


def _untimed(
    entry: Entry, pairs: ImagePairs, plan: Plan, windows: Sequence[TimedWindow]
) -> list[float | None]:
    """PSNR of each window's SR, in a fresh process."""
    scores = []
    with _worker(entry, plan, timed=False) as session:
        entry.load(session, plan.protocol)
        for window in windows:
            name = pairs.pairs[window.image].name
            lr, hr = pairs.read_lr(window.image), pairs.read_hr(window.image)
            try:
                sr = session.upscale(window.variant.of_lr(lr), name)
            except WorkerError as failure:
                raise failure.on_image(name) from None
            scores.append(psnr(sr, window.variant.of_hr(hr, pairs.scale), 0))
    return scores


def _scored(
    images: Sequence[LatencySamples],
    windows: Sequence[TimedWindow],
    untimed: Sequence[float | None],
) -> tuple[LatencySamples, ...]:
    scored = list(images)
    for window, again in zip(windows, untimed, strict=True):
        samples = scored[window.image]
        if samples.variants is not None:
            scores = {"window_psnr_rgb": window.psnr_rgb, "untimed_psnr_rgb": again}
            variants = samples.variants.model_copy(update=scores)
            scored[window.image] = samples.model_copy(update={"variants": variants})
    return tuple(scored)


def _worker(entry: Entry, plan: Plan, *, timed: bool) -> WorkerSession:
    return entry.worker(
        plan.launcher,
        plan.protocol,
        timed=timed,
        timeout_seconds=plan.timeout_seconds,
        limit_seconds=plan.limit_seconds,
    )

"""Windows that were timed, once more untimed in a process that cannot know which they were.

Scores of variants leave out what the image does not show and what lies near an edge, so a network
could leave that out too while it is timed. SR of whole windows is therefore compared with SR of
the same windows that nothing was to be gained by. No times are compared, so no disturbance matters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from esrbench.errors import MeasurementError
from esrbench.probes.quality import psnr
from esrbench.records import Absent
from esrbench.runs.evaluator import failed
from esrbench.worker.failure import WorkerError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esrbench.data.datasets import ImagePairs
    from esrbench.records import LatencySamples
    from esrbench.runs.evaluator import Entry, Step
    from esrbench.runs.passes import TimedPass
    from esrbench.runs.timing import Plan
    from esrbench.runs.variants import TimedWindow


def compare_untimed(
    entry: Entry,
    pairs: ImagePairs,
    plan: Plan,
    timed: TimedPass,
    on_step: Step = lambda _: None,
) -> TimedPass:
    """The timed pass with scores of its windows when they are upscaled again, untimed.

    Args:
        entry: network and weights.
        pairs: checked LR and HR images.
        plan: of the timing.
        timed: the pass; where it has no windows nothing is done.
        on_step: told the one step.

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
    with plan.launcher.worker(
        (entry.descriptor, entry.weights),
        protocol=plan.protocol,
        timeout_seconds=plan.timeout_seconds,
        limit_seconds=plan.limit_seconds,
    ) as session:
        session.load(entry.descriptor, entry.scale, weights=entry.weights, protocol=plan.protocol)
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

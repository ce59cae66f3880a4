"""Times of inputs in one loaded worker, by the evaluator's clock.

Each round shows a new input. At the fixed size, this is a window of some image; at an image's own
size, a variant of that image. Only warm-up shows noise. One round of each image shows the image
itself, and the score must belong to the SR that was timed there. While a forward runs, this process
only waits.
"""

from __future__ import annotations

import math
import random
import time
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

import numpy as np

from esrbench.data.codecs import pixel_digest, read_size
from esrbench.data.resize import upscale
from esrbench.devices import DEVICES
from esrbench.probes.latency import time_rounds, warm_up
from esrbench.probes.quality import psnr, score_image
from esrbench.probes.telemetry import measure_under_watch
from esrbench.records import LatencySamples, VariantScores
from esrbench.runs.trust import can_show_cache
from esrbench.runs.variants import CLEAN, OFFSET_SHARE, TimedWindow, draw_variants, draw_window
from esrbench.worker.failure import WorkerError
from esrbench.worker.process import DEFAULT_TIMEOUT_SECONDS
from esrbench.worker.session import monitor_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import numpy.typing as npt

    from esrbench.data.datasets import ImagePairs
    from esrbench.probes.telemetry import Monitor
    from esrbench.protocol import LatencyDesign, Protocol
    from esrbench.records import Conditions, ImageScore
    from esrbench.records.timing import ClockName
    from esrbench.runs.evaluator import Step
    from esrbench.runs.variants import Variant
    from esrbench.worker.launcher import Launcher
    from esrbench.worker.messages import Ready
    from esrbench.worker.session import Delivery, WorkerSession

    Pixels = npt.NDArray[np.uint8]

SETTLING_SECONDS = 0.05
"""Threads of an honest network may spin this long after a forward before they sleep."""
IDLE_SECONDS = 0.1
"""Shortest time for which an idle worker is watched."""

MOST_SHIFT = 1
"""Most untimed forwards of noise before an input's rounds. Their number is drawn at random, so that
a disturbance with a period of two rounds does not start every input in the same phase."""

MOST_DRAWS = 10_000
"""Number of draws after which a window may repeat, because a flat image has only one window."""
CONTEXT = 8
"""Distance in LR pixels at which the edge of an image hardly matters to a network."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Settings by which every worker of a run is timed.

    Attributes:
        protocol: settings.
        design: how inputs are timed.
        launcher: starts workers.
        variant_seed: seed of all inputs; the same for all entries.
        timeout_seconds: deadline of each request to a worker.
        limit_seconds: longest life of an entry's worker.
    """

    protocol: Protocol
    design: LatencyDesign
    launcher: Launcher
    variant_seed: int
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
    limit_seconds: float = math.inf

    def random(self, *what: object) -> random.Random:
        """A random generator that is equal for all entries and that no entry can predict."""
        return random.Random(f"{self.variant_seed} {what}")  # noqa: S311 - the seed is secret


@dataclass(slots=True)
class _Showing:
    """The inputs of one image's rounds, and the SR images that are kept.

    Reservoir sampling: a worker cannot predict which rounds are scored.

    Attributes:
        lr: inputs of the rounds, in order.
        clean: number of the round that shows the image itself and whose SR is kept, or None.
        sample: number of other rounds whose SR is kept.
        rng: draws these rounds.
        kept: numbers of the rounds whose SR is kept.
        deliveries: one for each round; only those of kept rounds have SR.
    """

    lr: Iterator[Pixels]
    clean: int | None = None
    sample: int = 0
    rng: random.Random = field(default_factory=random.Random)
    kept: list[int] = field(default_factory=list)
    deliveries: list[Delivery] = field(default_factory=list)

    def add(self, delivery: Delivery) -> None:
        """Add the next round; rounds with variants are kept by reservoir sampling."""
        number = len(self.deliveries)
        self.deliveries.append(delivery)
        if number == self.clean:
            return
        others = number if self.clean is None or number < self.clean else number - 1
        place = others if others < self.sample else self.rng.randrange(others + 1)
        if place == len(self.kept) < self.sample:
            self.kept.append(number)
        elif place < self.sample:
            dropped, self.kept[place] = self.kept[place], number
            self.deliveries[dropped] = self.deliveries[dropped].without_pixels()
        else:
            self.deliveries[number] = delivery.without_pixels()


class InputTimer:
    """Times inputs in one loaded worker.

    Args:
        session: session with the worker.
        ready: the worker's answer to ``Load``.
        plan: how inputs are timed.
        index: number of the replicate.
        known: ``codecs.pixel_digest`` of the SR images that were scored untimed, by name. Other
            timed SR images are scored again, and so are variants. None to score nothing.

    Attributes:
        rescored: scores of timed SR images that differ from the known ones.
        windows: one scored variant of each image.
    """

    def __init__(
        self,
        session: WorkerSession,
        ready: Ready,
        plan: Plan,
        index: int,
        known: Mapping[str, str] | None,
    ) -> None:
        self.session = session
        self.plan = plan
        self.index = index
        self.known = known
        self.rescored: list[ImageScore] = []
        self.windows: list[TimedWindow] = []
        self.clock: ClockName = DEVICES[plan.protocol.device].clock
        self.monitor: Monitor = monitor_of(session, ready)
        self.begun = self.monitor.read()
        self.warm: set[tuple[int, int]] = set()
        inputs = 2 if plan.design.fixed_input else 1
        self._pairs_that_count = inputs * plan.protocol.trust.repeated_rounds

    def conditions(self) -> Conditions:
        """State of the machine since loading."""
        return self.monitor.conditions(self.begun, self.monitor.read())

    def fixed(self, pairs: ImagePairs) -> LatencySamples:
        """Time the protocol's fixed input: every round shows another window of some image."""
        size = self.plan.protocol.counted_input
        rng = self.plan.random(self.index, "fixed")

        def show() -> Iterator[Pixels]:
            seen: set[str] = set()
            for attempt in count():
                window = draw_window(rng, pairs.read_lr(rng.randrange(len(pairs))), size)
                digest = pixel_digest(window)
                if digest not in seen or attempt > MOST_DRAWS:
                    seen.add(digest)
                    yield window

        return self._time("fixed", size, lambda: _Showing(show()), repeat=True)

    def images(self, pairs: ImagePairs, on_step: Step) -> tuple[LatencySamples, ...]:
        """Time every image.

        Raises:
            WorkerError: a forward failed; the message names the image.
        """
        samples = []
        sizes = [read_size(pair.lr) for pair in pairs.pairs]
        # One image is enough to find a cache, and the smallest costs least.
        smallest = min(range(len(sizes)), key=lambda number: math.prod(sizes[number]))
        for number, pair in enumerate(pairs.pairs):
            on_step(f"timing {pair.name}")
            try:
                samples.append(self._image(pairs, number, repeat=number == smallest))
            except WorkerError as failure:
                raise failure.on_image(pair.name) from None
        return tuple(samples)

    def _image(self, pairs: ImagePairs, number: int, *, repeat: bool) -> LatencySamples:
        lr, name = pairs.read_lr(number), pairs.pairs[number].name
        size = (lr.shape[0], lr.shape[1])
        rng = self.plan.random(self.index, name)
        variants = draw_variants(rng, size)
        clean = rng.randrange(self.plan.design.min_rounds)
        scored = 0 if self.known is None else self.plan.protocol.trust.scored_variants
        keeping = self.plan.random(self.index, name, "kept")
        shown: list[Variant] = []

        def show() -> Iterator[Pixels]:
            while True:
                shown.append(CLEAN if len(shown) == clean else next(variants))
                yield shown[-1].of_lr(lr)

        def begin() -> _Showing:
            shown.clear()
            return _Showing(show(), clean, scored, keeping)

        def finish(samples: LatencySamples, showing: _Showing) -> LatencySamples:
            sr = showing.deliveries[clean].sr
            digest = pixel_digest(sr)
            scores = None
            if self.known is not None:
                hr = pairs.read_hr(number)
                variants = [(shown[n], showing.deliveries[n].sr) for n in sorted(showing.kept)]
                scores = _compare(sr, hr, variants, scale=pairs.scale) if variants else None
                if variants:
                    variant, theirs = variants[keeping.randrange(len(variants))]
                    whole = psnr(theirs, variant.of_hr(hr, pairs.scale), 0)
                    self.windows.append(TimedWindow(number, variant, whole))
                if scores is not None and np.array_equal(sr, hr):
                    enlarged = upscale(lr, pairs.scale, border="mirror")
                    impossible = not np.array_equal(np.rint(enlarged).clip(0, 255), hr)
                    scores = scores.model_copy(update={"impossible": impossible})
                if self.known.get(name) != digest:
                    definition = self.plan.protocol.quality
                    self.rescored.append(
                        score_image(sr, hr, scale=pairs.scale, definition=definition, image=name)
                    )
            return samples.model_copy(
                update={
                    "output_sha256": digest,
                    "variants": scores,
                    "clean_round": (clean, self.plan.design.min_rounds),
                }
            )

        return self._time(name, size, begin, repeat=repeat, finish=finish)

    def _time(
        self,
        name: str,
        size: tuple[int, int],
        begin: Callable[[], _Showing],
        *,
        repeat: bool,
        finish: Callable[[LatencySamples, _Showing], LatencySamples] = lambda samples, _: samples,
    ) -> LatencySamples:
        """Warm up with noise, time rounds, repeat inputs, and watch the idle worker."""
        session, design = self.session, self.plan.design
        rng = self._noise_rng(f"{name} warm-up")
        claimed: list[float] = []

        def untimed() -> float:
            delivery = session.forward(noise(rng, size))
            claimed.append(delivery.claimed_seconds)
            return delivery.seconds

        warmed = None if size in self.warm else warm_up(untimed, design)
        if design.warmup_rounds:
            for _ in range(self.plan.random(self.index, name, "shift").randint(0, MOST_SHIFT)):
                untimed()

        def measure() -> tuple[_Showing, LatencySamples]:
            showing = begin()
            cpu, start = session.cpu_seconds(), time.perf_counter()

            def forward(_number: int) -> float:
                delivery = session.forward(next(showing.lr))
                claimed.append(delivery.claimed_seconds)
                showing.add(delivery)
                return delivery.seconds

            rounds = time_rounds(forward, design)
            busy = _share(cpu, session.cpu_seconds(), time.perf_counter() - start)
            preparations = [each.preparation_seconds for each in showing.deliveries]
            return showing, LatencySamples(
                input_name=name,
                lr_size=size,
                clock=self.clock,
                first_seconds=claimed[0],
                warmup_seconds=tuple(claimed[: len(warmed.seconds)]) if warmed else (),
                steady=warmed.steady if warmed else True,
                seconds=tuple(each.claimed_seconds for each in showing.deliveries),
                delivered_seconds=rounds.seconds,
                preparation_seconds=tuple(each for each in preparations if each is not None),
                settling_seconds=sum(each.settling_seconds for each in showing.deliveries),
                stopped_by=rounds.stopped_by,
                forward_cpus=busy,
            )

        (showing, samples), conditions = measure_under_watch(
            measure, self.monitor, throttle_repeats=design.throttle_repeats
        )
        self.warm.add(size)
        repeated: tuple[tuple[float, float], ...] = ()
        idle: float | None = None
        if not self.index:
            if repeat:
                repeated = self._repeat(name, showing.lr)
            idle, samples = self._watch_idle(lambda: finish(samples, showing))
        else:
            samples = finish(samples, showing)
        return samples.model_copy(
            update={"conditions": conditions, "repeated_seconds": repeated, "idle_cpus": idle}
        )

    def _repeat(self, name: str, inputs: Iterator[Pixels]) -> tuple[tuple[float, float], ...]:
        """Time pairs of neighbouring rounds, one with a new input and one that repeats an input.

        The repeated input is always that of the round before. A random draw decides which round of
        a pair repeats it. So under any load, both rounds are equally likely to be the faster one.
        All inputs are made beforehand, so that no round follows a pause.

        Pairs end early if the remaining pairs of all inputs can no longer show a cache. So no cache
        is missed, and an honest network needs two pairs on average instead of eight.

        Returns:
            Seconds of the new and of the repeated input of each pair.
        """
        count = self.plan.protocol.trust.repeated_rounds
        if not count:
            return ()
        rng = self.plan.random(self.index, name, "repeated")
        shown, *fresh = (next(inputs) for _ in range(count + 1))
        self.session.forward(shown)
        pairs = []
        for new in fresh:
            repeat_first = rng.random() < 0.5  # noqa: PLR2004 - a coin
            order = (shown, new) if repeat_first else (new, new)
            first, second = (self.session.forward(lr).seconds for lr in order)
            pair = (second, first) if repeat_first else (first, second)
            pairs.append(pair)
            # For any time of the null network, a repeated round that is not faster shows no cache.
            self._pairs_that_count -= pair[1] >= pair[0]
            if not can_show_cache(self._pairs_that_count):
                break
            shown = new
        return tuple(pairs)

    def _watch_idle(
        self, work: Callable[[], LatencySamples]
    ) -> tuple[float | None, LatencySamples]:
        """CPUs that an idle worker keeps busy while this process works."""
        time.sleep(SETTLING_SECONDS)
        before, start = self.session.cpu_seconds(), time.perf_counter()
        samples = work()
        time.sleep(max(0.0, IDLE_SECONDS - (time.perf_counter() - start)))
        after = self.session.cpu_seconds()
        return _share(before, after, time.perf_counter() - start), samples

    def _noise_rng(self, name: str) -> np.random.Generator:
        return np.random.default_rng(self.plan.random(self.index, name, "noise").getrandbits(64))


def _compare(
    sr: Pixels, hr: Pixels, variants: list[tuple[Variant, Pixels]], *, scale: int
) -> VariantScores:
    """PSNR of variants, and of the image's own SR on the same pixels.

    Pixels near the edge of a window are left out. There a network lacks context that the image
    has, which costs honest networks 0.03 dB at 64x64 LR pixels.
    """
    border = scale * min(CONTEXT, *(side // (2 * OFFSET_SHARE * scale) for side in hr.shape[:2]))
    clean, varied = [], []
    for variant, theirs in variants:
        truth = variant.shown(hr, scale)
        clean.append(psnr(variant.shown(sr, scale), truth, border))
        varied.append(psnr(variant.restored(theirs, scale), truth, border))
    return VariantScores(
        rounds=len(variants), clean_psnr_rgb=_mean(clean), variant_psnr_rgb=_mean(varied)
    )


def _mean(scores: list[float | None]) -> float | None:
    known = [score for score in scores if score is not None]
    return sum(known) / len(known) if known and len(known) == len(scores) else None


def _share(before: float | None, after: float | None, seconds: float) -> float | None:
    if before is None or after is None:
        return None
    return max(0.0, after - before) / seconds


def noise(rng: np.random.Generator, size: tuple[int, int]) -> Pixels:
    """Uniform noise of a height and width, uint8 (h, w, 3)."""
    return rng.integers(0, 256, (*size, 3), np.uint8)

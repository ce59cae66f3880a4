"""One timed replicate of an entry, with workers in this process."""

import random
from contextlib import nullcontext
from types import SimpleNamespace

import builders
import numpy as np
import pytest

from esrbench.data.datasets import open_dataset
from esrbench.data.resize import upscale
from esrbench.entries.networks import resolve_weights
from esrbench.errors import MeasurementError
from esrbench.probes.quality import psnr
from esrbench.protocol import Protocol, TrustDesign
from esrbench.records import LatencySamples, VariantScores
from esrbench.runs.evaluator import Entry, effective_weights
from esrbench.runs.passes import TimedPass, UntimedPass
from esrbench.runs.replicate import compare_untimed, time_replicate
from esrbench.runs.timing import Plan
from esrbench.runs.variants import TimedWindow, draw_variants
from esrbench.worker.failure import WorkerError
from esrbench.worker.messages import Ready
from esrbench.worker.session import Delivery

PROTOCOL = Protocol(
    threads=1,
    counted_input=(16, 16),
    latency=builders.TWO_ROUNDS,
    trust=TrustDesign(repeated_rounds=0, scored_variants=1),
)
READY = Ready(parameters=0, threads=1, cpus=(), accelerator=None, code_sha256="0" * 64)


class Session:
    """A worker that upscales by nearest neighbours, or raises."""

    log_tail = "its last words"

    def __init__(self, failure=None, on=0):
        self.failure = failure
        self.on = on
        self.forwards = 0
        self.ready = READY

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def load(self, *_, **__):
        return self.ready

    def cpu_seconds(self):
        return None

    def forward(self, lr):
        self.forwards += 1
        if self.failure is not None and self.forwards > self.on:
            raise self.failure
        return Delivery(lr.repeat(4, axis=0).repeat(4, axis=1), 0.5, 0.4, None)


@pytest.fixture
def replicate(describe, pair_folder):
    descriptor = describe("Plain")
    entry = Entry(descriptor, 4, resolve_weights(descriptor, 4, None))
    # That it has no parameters was found when it was loaded to be scored.
    as_found = effective_weights(entry.weights, READY).identity

    def run(session, *, index=0, design=builders.TWO_ROUNDS, **fields):
        launcher = SimpleNamespace(worker=lambda *_, **__: session)
        untimed = UntimedPass(weights=as_found, ready=READY, **fields)
        pairs = open_dataset(str(pair_folder), 4)
        plan = Plan(PROTOCOL, design, launcher, 3)
        return time_replicate(entry, pairs, plan, untimed=untimed, index=index, position=5)

    return run


@pytest.mark.parametrize("index", [0, 1, 4])
def test_variants_are_scored_in_every_process(replicate, index):
    """A worker can tell the first process from others; in none may it do less."""
    timed = replicate(Session(), index=index, output_sha256={"image0": "0" * 64})
    assert not timed.failed
    assert timed.log_tail == "its last words"
    assert (timed.replicate.index, timed.replicate.position) == (index, 5)
    for samples in timed.replicate.images:
        assert samples.variants.rounds == 1
    assert [score.image for score in timed.rescored] == ["image0", "image1"]
    assert timed.replicate.cold_start_seconds == 0.4


def test_a_fixed_input_that_is_not_asked_for_is_skipped_and_no_failure(replicate):
    design = builders.TWO_ROUNDS.model_copy(update={"fixed_input": False})
    timed = replicate(Session(), design=design)
    assert not timed.failed
    assert not timed.killed
    assert timed.replicate.fixed.kind == "skipped"
    assert timed.replicate.cold_start_seconds is None
    assert len(timed.replicate.images) == 2
    # Its null network is timed later; without it the pass is of no use.
    assert timed.spoilt
    assert not timed.with_null(builders.replicate().null, ()).spoilt


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (WorkerError("crash", "gone", fatal=True), "crash"),
        (WorkerError("forward-error", "raised", fatal=False), "forward-error"),
        # Not the network's fault, and no reason to end the run of others.
        (MeasurementError("an SR image of 9x9 is too large to be delivered"), None),
    ],
)
def test_a_failure_ends_its_entry_alone(replicate, failure, kind):
    timed = replicate(Session(failure))
    assert timed.failed
    assert timed.replicate.fixed.kind == "failed"
    assert timed.replicate.fixed.failure == kind
    assert timed.replicate.cold_start_seconds is None
    # The fixed input takes three forwards; then the images fail.
    later = replicate(Session(failure, on=3))
    assert isinstance(later.replicate.fixed, LatencySamples)
    assert later.replicate.images.failure == kind
    assert later.replicate.cold_start_seconds == 0.4


def test_code_that_changed_since_it_was_scored_is_not_timed(replicate):
    session = Session()
    session.ready = READY.model_copy(update={"code_sha256": "1" * 64})
    timed = replicate(session)
    assert timed.failed
    assert "the network's code changed during the run" in timed.replicate.fixed.reason
    # The hash is the worker's own: a run that the machine failed would be repeated for ever.
    assert timed.replicate.fixed.failure == "load-error"
    assert session.forwards == 0


SCALE = 4
ENTRY = Entry(None, SCALE, None)


@pytest.fixture
def pairs(pair_folder):
    return open_dataset(str(pair_folder), SCALE)


def bicubic(lr):
    return upscale(lr, SCALE, border="mirror")


def without_edges(lr):
    """Bicubic but for a strip of one LR pixel, which is left black."""
    sr = bicubic(lr)
    inside = np.zeros_like(sr)
    cut = (slice(SCALE, -SCALE),) * 2
    inside[cut] = sr[cut]
    return inside


def plan(upscale):
    session = SimpleNamespace(load=lambda *_, **__: None, upscale=upscale)
    launcher = SimpleNamespace(worker=lambda *_, **__: nullcontext(session))
    return SimpleNamespace(launcher=launcher, protocol=None, timeout_seconds=1.0, limit_seconds=1.0)


def timed(pairs, forward):
    """Every image with one variant, as a network delivered it."""
    rng = random.Random(0)  # noqa: S311 - no secret
    windows, images = [], []
    for number, pair in enumerate(pairs.pairs):
        lr, hr = pairs.read_lr(number), pairs.read_hr(number)
        variant = next(draw_variants(rng, lr.shape[:2]))
        score = psnr(forward(variant.of_lr(lr)), variant.of_hr(hr, SCALE), 0)
        windows.append(TimedWindow(number, variant, score))
        scores = VariantScores(rounds=1, clean_psnr_rgb=30.0, variant_psnr_rgb=30.0)
        images.append(builders.samples(pair.name, lr.shape[:2], variants=scores))
    return TimedPass(replicate=builders.replicate(*images), log_tail="", windows=tuple(windows))


def gains(found):
    scores = [samples.variants for samples in found.replicate.images]
    return [each.untimed_psnr_rgb - each.window_psnr_rgb for each in scores]


def test_the_same_windows_are_upscaled_again(pairs):
    before, asked = timed(pairs, bicubic), []

    def noted(lr, _name):
        asked.append(lr)
        return bicubic(lr)

    assert gains(compare_untimed(ENTRY, pairs, plan(noted), before)) == [0.0] * len(pairs)
    expected = [each.variant.of_lr(pairs.read_lr(each.image)) for each in before.windows]
    assert all(np.array_equal(one, other) for one, other in zip(asked, expected, strict=True))


def test_edges_that_were_not_computed_show(pairs):
    honest = plan(lambda lr, _name: bicubic(lr))
    found = compare_untimed(ENTRY, pairs, honest, timed(pairs, without_edges))
    assert min(gains(found)) > 1


def test_a_failure_is_the_entry_s_own(pairs):
    def fails(_lr, name):
        raise WorkerError("crash", f"gone at {name}", fatal=True)

    found = compare_untimed(ENTRY, pairs, plan(fails), timed(pairs, bicubic))
    assert found.replicate.images.failure == "crash"
    assert pairs.pairs[0].name in found.replicate.images.reason


def test_without_windows_no_process_is_started(pairs):
    bare = TimedPass(replicate=timed(pairs, bicubic).replicate, log_tail="")
    steps = []
    assert compare_untimed(ENTRY, pairs, None, bare, steps.append) is bare
    assert len(steps) == 1

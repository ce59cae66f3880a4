"""Rounds of inputs against a worker that does as the test says."""

import hashlib
from collections import Counter
from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest
from builders import NULL_MEDIANS, SMALL, latency, replicate, samples

import esrbench.runs.timing as timings
from esrbench.data.codecs import pixel_digest
from esrbench.data.datasets import open_dataset
from esrbench.probes.quality import score_image
from esrbench.protocol import LatencyDesign, Protocol, TrustDesign
from esrbench.records import Conditions
from esrbench.runs.timing import InputTimer, Plan
from esrbench.runs.trust import account
from esrbench.worker.failure import WorkerError
from esrbench.worker.messages import Ready
from esrbench.worker.session import Delivery

SCALE = 4
DESIGN = LatencyDesign(
    warmup_rounds=2,
    max_warmup_rounds=3,
    min_rounds=4,
    max_rounds=9,
    target_half_width=0,
    budget_seconds=1e9,
)
READY = Ready(parameters=2, threads=1, cpus=(), accelerator=None, code_sha256=None)
QUIET = Conditions(seconds=1.0)
HOT = Conditions(seconds=1.0, throttle_reasons=("HwSlowdown",))


def nearest(lr):
    return lr.repeat(SCALE, axis=0).repeat(SCALE, axis=1)


class Session:
    """Notes what it is shown; the n-th forward is claimed to take n seconds, and takes one more."""

    def __init__(self, upscale=nearest, *, cpu=None):
        self.upscale = upscale
        self.cpu = cpu
        self.shown = []
        self.held = []

    def forward(self, lr):
        self.shown.append(lr)
        number = float(len(self.shown))
        delivery = Delivery(self.upscale(lr), number + 1, number, None)
        self.held.append(delivery)
        return delivery

    def cpu_seconds(self):
        return self.cpu


@pytest.fixture
def pairs(pair_folder):
    return open_dataset(str(pair_folder), SCALE)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    monkeypatch.setattr(timings, "MOST_SHIFT", 0)
    monkeypatch.setattr(timings, "SETTLING_SECONDS", 0.0)
    monkeypatch.setattr(timings, "IDLE_SECONDS", 0.0)


def timer(session, *, index=0, known=None, seed=7, design=DESIGN, **trust):
    protocol = Protocol(
        counted_input=(8, 12), latency=design, trust=TrustDesign(**({"repeated_rounds": 2} | trust))
    )
    launcher = None
    plan = Plan(protocol, design, launcher, seed)
    return InputTimer(session, READY, plan, index, known)


def images(made, pairs):
    return made.images(pairs, lambda _: None)


def digests(pairs, upscale=nearest):
    return {
        pair.name: pixel_digest(upscale(pairs.read_lr(number)))
        for number, pair in enumerate(pairs.pairs)
    }


def content(lr):
    return hashlib.sha256(repr(lr.shape).encode() + lr.tobytes()).hexdigest()


def test_every_input_is_new_but_those_shown_twice(pairs, monkeypatch):
    monkeypatch.setattr(timings, "can_show_cache", lambda _pairs: True)
    session = Session()
    made = timer(session, known=digests(pairs))
    made.fixed(pairs)
    images(made, pairs)
    counts = Counter(map(content, session.shown))
    # Two repeated rounds at the fixed input and two at the smallest image.
    assert sum(counts.values()) == len(counts) + 4
    # 3 of warm-up, 9 rounds, a new input and 2 pairs; 3 + 9 + 5; 3 + 9.
    sizes = [(8, 12)] * 17 + [(16, 16)] * 17 + [(16, 24)] * 12
    assert [lr.shape[:2] for lr in session.shown] == sizes


def test_the_fixed_input_shows_windows_of_images_and_its_first_forward_is_the_cold_start(pairs):
    session = Session()
    fixed = timer(session).fixed(pairs)
    known = {tuple(pixel) for n in range(2) for pixel in pairs.read_lr(n).reshape(-1, 3)}
    assert all(tuple(pixel) in known for lr in session.shown[3:] for pixel in lr.reshape(-1, 3))
    assert fixed.input_name == "fixed"
    assert fixed.lr_size == (8, 12)
    assert fixed.first_seconds == 1.0
    assert fixed.warmup_seconds == (1.0, 2.0, 3.0)
    assert fixed.steady
    assert fixed.seconds == tuple(float(n) for n in range(4, 13))
    assert fixed.delivered_seconds == tuple(float(n) for n in range(5, 14))
    assert fixed.output_sha256 is None
    assert fixed.variants is None
    assert np.std(np.concatenate([lr.ravel() for lr in session.shown])) > 60


@pytest.mark.parametrize("seed", range(12))
def test_the_image_itself_is_shown_once_among_the_first_rounds(pairs, seed):
    session = Session()
    lr = pairs.read_lr(0)
    made = timer(session, known=None, seed=seed, repeated_rounds=0)
    images(made, pairs)
    places = [n for n, shown in enumerate(session.shown[:12]) if np.array_equal(shown, lr)]
    assert len(places) == 1
    assert places[0] - 3 in range(DESIGN.min_rounds)
    # Others are variants: the same pixels elsewhere, at most once each.
    levels = set(map(tuple, lr.reshape(-1, 3)))
    for shown in session.shown[3:12]:
        assert set(map(tuple, shown.reshape(-1, 3))) <= levels
    assert not set(map(tuple, session.shown[0].reshape(-1, 3))) <= levels  # warm-up


def test_the_place_of_the_image_is_not_the_same_for_all():
    plan = timer(Session()).plan
    drawn = {plan.random(index, "0801").randrange(4) for index in range(40)}
    assert drawn == {0, 1, 2, 3}
    assert plan.random(0, "0801").random() == plan.random(0, "0801").random()
    other = Plan(plan.protocol, plan.design, plan.launcher, plan.variant_seed + 1)
    assert plan.random(0, "0801").random() != other.random(0, "0801").random()


def test_later_processes_show_nothing_twice_and_other_variants(pairs):
    first, second = Session(), Session()
    images(timer(first, repeated_rounds=0), pairs)
    (small, wide) = images(timer(second, index=1), pairs)
    assert len(second.shown) == 24
    assert small.repeated_seconds == wide.repeated_seconds == ()
    assert small.idle_cpus is None
    shared = {content(lr) for lr in first.shown} & {content(lr) for lr in second.shown}
    # The images themselves; a small image has few variants, so some are drawn by both.
    assert {content(pairs.read_lr(number)) for number in (0, 1)} <= shared
    assert len(shared) < 12


def test_a_size_is_warmed_up_once(pair_folder):
    for name in ("HR/image1.png", "LR_bicubic/X4/image1x4.png"):
        (pair_folder / name).write_bytes((pair_folder / name.replace("e1", "e0")).read_bytes())
    session = Session()
    pairs = open_dataset(str(pair_folder), SCALE)
    first, second = images(timer(session, repeated_rounds=0), pairs)
    assert first.warmup_seconds == (1.0, 2.0, 3.0)
    assert second.warmup_seconds == ()
    assert second.steady
    assert second.first_seconds == second.seconds[0] == 13.0


def test_without_warm_up_the_first_round_is_the_first_forward(pairs):
    cold = DESIGN.model_copy(update={"warmup_rounds": 0, "max_warmup_rounds": 0})
    fixed = timer(Session(), design=cold).fixed(pairs)
    assert fixed.warmup_seconds == ()
    assert not fixed.steady
    assert fixed.first_seconds == fixed.seconds[0] == 1.0


def test_a_known_output_is_not_scored_again_and_another_is(pairs):
    known = digests(pairs)
    made = timer(Session(), known=known)
    small, wide = images(made, pairs)
    assert made.rescored == []
    assert (small.output_sha256, wide.output_sha256) == (known["image0"], known["image1"])

    def darker(lr):
        return nearest(lr) // 2 if lr.shape == (16, 24, 3) else nearest(lr)

    made = timer(Session(darker), known=known)
    small, wide = images(made, pairs)
    assert small.output_sha256 == known["image0"]
    assert wide.output_sha256 == pixel_digest(darker(pairs.read_lr(1)))
    definition = made.plan.protocol.quality
    sr, hr = darker(pairs.read_lr(1)), pairs.read_hr(1)
    assert made.rescored == [
        score_image(sr, hr, scale=SCALE, definition=definition, image="image1")
    ]


def test_an_entry_that_is_not_scored_has_no_scores(pairs):
    made = timer(Session(), known=None)
    small, _ = images(made, pairs)
    assert small.variants is None
    assert small.output_sha256 == digests(pairs)["image0"]
    assert made.rescored == []
    assert images(timer(Session(), known={}, scored_variants=0), pairs)[0].variants is None


def smooth(lr):
    """No symmetry at all: what lies right and below counts twice."""
    blurred = (nearest(lr).astype(float) * 2 + nearest(np.roll(lr, -1, axis=(0, 1)))) / 3
    return np.asarray(blurred, np.uint8)


@pytest.mark.parametrize("index", [0, 1])
def test_variants_are_scored_on_what_they_show_of_the_image(pairs, index):
    session = Session(smooth)
    small, _ = images(timer(session, index=index, known={}, scored_variants=9), pairs)
    assert small.variants.rounds == 8  # all rounds but the image's own
    lr, hr = pairs.read_lr(0), pairs.read_hr(0)
    shown = [each for each in session.shown[3:12] if not np.array_equal(each, lr)]
    psnrs = []
    for each in shown:
        theirs, own, truth = found(each, lr, hr)
        # A window of an image of 16 reaches 4 beyond it; two more are left out at its edges.
        errors = [truth.astype(float) - sr for sr in (own, theirs)]
        psnrs.append([10 * np.log10(255**2 / np.mean(e[8:-8, 8:-8] ** 2)) for e in errors])
    clean, varied = np.mean(psnrs, axis=0)
    assert small.variants.clean_psnr_rgb == pytest.approx(clean, abs=1e-9)
    assert small.variants.variant_psnr_rgb == pytest.approx(varied, abs=1e-9)


def found(shown, lr, hr):
    """Where a variant lies in the mirrored image, by trying: its SR there, the image's, and HR."""
    pad = ((16, 16), (16, 16), (0, 0))
    places = np.arange(16 * 16).reshape(16, 16, 1)
    mirrored, where = (np.pad(each, pad, mode="symmetric") for each in (lr, places))
    inside = np.pad(np.ones((16, 16), bool), 16)
    moves, flips = range(-4, 5), (1, -1)
    for down, right, rows, columns in product(moves, moves, flips, flips):
        window = (slice(16 + down, 32 + down), slice(16 + right, 32 + right))
        if not np.array_equal(mirrored[window][::rows, ::columns], shown):
            continue
        kept = inside[window]
        box = np.ix_(kept.any(1).repeat(4), kept.any(0).repeat(4))
        ends = np.divmod([where[window][kept].min(), where[window][kept].max()], 16)
        part = tuple(slice(first * 4, last * 4 + 4) for first, last in ends)
        return smooth(shown)[::rows, ::columns][box], smooth(lr)[part], hr[part]
    raise AssertionError("no variant of the image")


def test_any_round_may_be_scored_and_only_those_are_kept(pairs, monkeypatch):
    """Otherwise a worker would work in the rounds that are, and in no others."""
    scored = Counter()
    kept = []

    def compare(_sr, _hr, variants, *, scale):
        assert scale == SCALE
        kept.append(len(variants))
        numbers = {id(each.sr): number for number, each in enumerate(session.held)}
        scored.update(numbers[id(sr)] for _, sr in variants)

    monkeypatch.setattr(timings, "_compare", compare)
    for seed in range(60):
        session = Session()
        made = timer(session, known={}, seed=seed, repeated_rounds=0)
        made._image(pairs, 0, repeat=False)
    assert set(kept) == {3}
    # 9 rounds after 3 of warm-up, 3 of them scored: 20 times of 60 each, less the image's own.
    assert set(scored) == set(range(3, 12))
    assert min(scored.values()) >= 8


def test_a_throttled_showing_is_begun_anew(pairs):
    session = Session()
    made = timer(session, known=digests(pairs), repeated_rounds=0, scored_variants=2)
    states = iter([HOT, HOT, QUIET, QUIET])
    monitor = SimpleNamespace(
        read=lambda: None,
        conditions=lambda *_, repeats=0: next(states).model_copy(update={"repeats": repeats}),
    )
    made.monitor = monitor
    small, _ = images(made, pairs)
    # Warm-up once, and three showings of nine rounds, each with the image in it.
    assert small.warmup_seconds == (1.0, 2.0, 3.0)
    assert small.first_seconds == 1.0
    assert small.seconds == tuple(float(n) for n in range(22, 31))
    assert small.conditions.repeats == 2
    lr = pairs.read_lr(0)
    places = [n for n in range(30) if np.array_equal(session.shown[n], lr)]
    assert [place // 9 for place in (places[0] - 3, places[1] - 3, places[2] - 3)] == [0, 1, 2]
    counts = Counter(content(shown) for shown in session.shown[3:30])
    assert sorted(counts.values())[-2:] == [1, 3]
    # What counts is the last showing.
    assert small.output_sha256 == digests(pairs)["image0"]
    assert small.variants.rounds == 2


def test_cpu_time_is_taken_within_rounds_and_while_nothing_is_asked(monkeypatch, pairs):
    now = [0.0]
    clock = SimpleNamespace(
        perf_counter=lambda: now[0],
        process_time=lambda: 0.0,
        sleep=lambda seconds: now.__setitem__(0, now[0] + seconds),
    )
    monkeypatch.setattr(timings, "time", clock)
    monkeypatch.setattr(timings, "IDLE_SECONDS", 0.1)

    class Busy(Session):
        """A second a forward on 1.5 CPUs; idle, it keeps half a CPU busy."""

        def forward(self, lr):
            now[0] += 1.0
            return super().forward(lr)

        def cpu_seconds(self):
            return 1.5 * len(self.shown) + 0.5 * (now[0] - len(self.shown))

    fixed = timer(Busy()).fixed(pairs)
    assert fixed.forward_cpus == pytest.approx(1.5)
    assert fixed.idle_cpus == pytest.approx(0.5)
    unknown = timer(Session()).fixed(pairs)
    assert (unknown.forward_cpus, unknown.idle_cpus) == (None, None)


def test_a_failure_names_its_image(pairs):
    def fails(lr):
        if lr.shape == (16, 24, 3):
            raise WorkerError("forward-error", "too wide", fatal=False)
        return nearest(lr)

    with pytest.raises(WorkerError, match="forward-error: image image1: too wide"):
        images(timer(Session(fails)), pairs)


def test_memory_holds_no_more_than_what_is_scored():
    showing = timings._Showing(iter(()), clean=2, sample=3)
    for number in range(100):
        showing.add(Delivery(np.full((2, 2, 3), number, np.uint8), 1.0, 1.0, None))
    held = [n for n, each in enumerate(showing.deliveries) if each.sr.size]
    assert held == sorted([2, *showing.kept])
    assert len(held) == 4
    assert all(showing.deliveries[n].sr[0, 0, 0] == n for n in held)


def test_an_image_without_error_is_impossible_where_its_lr_does_not_hold_it(pairs):
    truth = {content(pairs.read_lr(n)): pairs.read_hr(n) for n in range(2)}

    def memorised(lr):
        return truth.get(content(lr), nearest(lr))

    found = images(timer(Session(memorised), known=digests(pairs)), pairs)
    assert [each.variants.impossible for each in found if each.variants] == [True, True]
    honest = images(timer(Session(), known=digests(pairs)), pairs)
    assert [each.variants.impossible for each in honest if each.variants] == [False, False]


@pytest.mark.parametrize("seed", range(6))
def test_one_round_of_each_pair_repeats_the_input_before_it(pairs, seed):
    session = Session()
    found = timer(session, seed=seed, repeated_rounds=8).fixed(pairs).repeated_seconds
    # The n-th forward takes n + 1 seconds; 3 of warm-up, 9 rounds and a new input come first.
    assert [sorted(pair) for pair in found] == [[n, n + 1] for n in range(15, 31, 2)]
    for new, repeated in found:
        place = int(repeated) - 2
        assert np.array_equal(session.shown[place], session.shown[place - 1])
        first_shown = session.shown[int(new) - 2]
        assert not any(np.array_equal(first_shown, lr) for lr in session.shown[: int(new) - 2])
    assert len({new < repeated for new, repeated in found}) == 2


PHASES = {
    "none": (1.0,),
    "period two": (1.0, 1.3),
    "period three": (1.0, 1.2, 1.5),
    "period four": (1.0, 1.3, 1.6, 1.3),
    "a new regime": (1.0,) * 17 + (2.0,) * 17,
    "period two, slower in between": (*(1.0, 1.3) * 5, *(2.0, 2.6) * 6, *(1.0, 1.3) * 6),
    "ever faster": tuple(0.85**n for n in range(34)),
}
"""Factors by which a machine slows forwards down, over and over."""


def suspected(seed, kind, spared=lambda _lr, _before: False, *, fixed_input=True):
    """Whether a cache is found in a network that takes 0.3 of the time where spared.

    Args:
        kind: of ``PHASES``.
        spared: whether it spares an input, given those before it.
        fixed_input: repeat the fixed input beside an image.

    Returns:
        Whether it is found, and the number of pairs of rounds at each input.
    """
    phases = PHASES[kind]
    shown = []

    def forward(lr):
        seconds = 0.1 * phases[len(shown) % len(phases)] * (0.3 if spared(lr, shown) else 1.0)
        shown.append(lr)
        return Delivery(lr, seconds + NULL_MEDIANS[SMALL], seconds, None)

    session = SimpleNamespace(forward=forward, cpu_seconds=lambda: None)
    design = DESIGN.model_copy(update={"fixed_input": fixed_input})
    made = timer(session, seed=seed, design=design, repeated_rounds=8)
    inputs = (("image", 100), ("fixed", 0))[: 1 + fixed_input]
    found = {
        name: samples(name, repeated_seconds=made._repeat(name, iter(np.arange(9) + start)))
        for name, start in reversed(inputs)
    }
    timed = replicate(found["image"], **({"fixed": found["fixed"]} if fixed_input else {}))
    ratio = account(latency(timed), TrustDesign()).repeated_ratio
    pairs = [len(each.repeated_seconds) for each in found.values()]
    return ratio is not None and ratio < TrustDesign().caching_ratio, pairs


@pytest.mark.parametrize("kind", PHASES)
def test_no_disturbance_passes_for_a_cache(kind):
    tries = 800
    found = sum(suspected(seed, kind)[0] for seed in range(tries))
    # At most 0.4 %, and three standard deviations of the count at that rate.
    assert found <= 0.004 * tries + 3 * (0.004 * tries) ** 0.5


CACHES = {
    "every answer is kept": lambda lr, before: lr in before,
    "only the last answer is kept": lambda lr, before: [lr] == before[-1:],
    # But two rounds of each input, whatever they show.
    "with decoys": lambda lr, before: lr in before and len(before) % 17 not in (5, 6),
}


@pytest.mark.parametrize("kind", ["none", "period two"])
@pytest.mark.parametrize("spared", CACHES.values(), ids=CACHES)
def test_a_cache_is_found_beside_a_disturbance(kind, spared):
    assert all(suspected(seed, kind, spared)[0] for seed in range(50))


@pytest.mark.parametrize("fixed_input", [True, False])
@pytest.mark.parametrize("kind", ["none", "period two", "a new regime"])
@pytest.mark.parametrize("cache", ["none", "every answer is kept", "with decoys"])
def test_ending_pairs_early_changes_no_verdict(monkeypatch, cache, kind, fixed_input):
    spared = CACHES.get(cache, lambda _lr, _before: False)

    def verdicts():
        made = [suspected(seed, kind, spared, fixed_input=fixed_input) for seed in range(10)]
        return [found for found, _ in made], sum(sum(pairs) for _, pairs in made)

    early, fewer = verdicts()
    monkeypatch.setattr(timings, "can_show_cache", lambda _pairs: True)
    whole, pairs = verdicts()
    assert early == whole
    assert pairs == 10 * 8 * (1 + fixed_input)
    assert fewer <= pairs


def test_an_honest_network_at_one_input_needs_two_pairs_on_average():
    pairs = [suspected(seed, "period two", fixed_input=False)[1] for seed in range(200)]
    # Each pair is the last one with a probability of a half.
    assert 1.7 < np.mean(pairs) < 2.3
    assert {count for (count,) in pairs} <= set(range(1, 9))


def test_rounds_of_different_images_begin_in_either_phase(pairs, monkeypatch):
    monkeypatch.setattr(timings, "MOST_SHIFT", 1)
    shifts = Counter()
    for seed in range(60):
        session = Session()
        first, second = images(timer(session, seed=seed, repeated_rounds=0), pairs)
        shifts[len(session.shown) - 24] += 1
        assert len(first.seconds) == len(second.seconds) == 9
    # None, one or both of two images are preceded by another forward: 15, 30 and 15 expected.
    assert set(shifts) == {0, 1, 2}
    assert shifts[1] > 18

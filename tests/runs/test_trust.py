"""The evaluator's account of an entry's time, from samples made by hand."""

import numpy as np
import pytest
from builders import LARGE, NULL, SMALL, latency, replicate, samples
from scipy import stats

from esrbench.protocol import TrustDesign
from esrbench.records import (
    Absent,
    NullSamples,
    Trust,
    VariantScores,
)
from esrbench.runs.trust import account, examine, net_seconds

DESIGN = TrustDesign()


def trust_of(*replicates, design=DESIGN):
    found = account(latency(*replicates), design)
    assert isinstance(found, Trust)
    return found


def test_trusted_time_is_delivery_less_the_null_network_s_median_of_its_size():
    one = replicate()
    assert net_seconds(one, samples("a")) == pytest.approx((0.098, 0.1, 0.105))
    assert net_seconds(one, samples("b", LARGE)) == pytest.approx((0.098, 0.1, 0.105))
    assert net_seconds(one, samples("c", SMALL, lr_size=(9, 9))) == ()


def test_the_account_is_the_mean_over_images_and_processes_of_medians():
    slow = samples("a", seconds=(0.2,) * 3, delivered_seconds=(0.412,) * 3)
    found = trust_of(replicate(), replicate(slow, samples("b", LARGE), index=1))
    delivered = [
        float(np.median(each.delivered_seconds))
        for each in (samples("a"), samples("b", LARGE), slow, samples("b", LARGE))
    ]
    assert found.delivered_seconds == pytest.approx(sum(delivered) / 4)
    assert found.claimed_seconds == pytest.approx((0.1 + 0.1 + 0.2 + 0.1) / 4)
    assert found.trusted_seconds == pytest.approx((0.1 + 0.1 + 0.4 + 0.1) / 4)


def test_the_tolerance_is_three_percent_or_three_deviations_of_the_null_network():
    deviations = [stats.median_abs_deviation(NULL[size], scale="normal") for size in (SMALL, LARGE)]
    found = trust_of()
    assert found.noise_seconds == pytest.approx(np.mean(deviations), rel=1e-4)
    assert found.tolerance_seconds == pytest.approx(3 * np.mean(deviations), rel=1e-4)
    generous = TrustDesign(claim_tolerance=0.2)
    assert trust_of(design=generous).tolerance_seconds == pytest.approx(0.2 * 0.1)


def test_an_outlier_of_the_null_network_excuses_nothing():
    def tolerance(null):
        samples = tuple(NullSamples(lr_size=size, delivered_seconds=null) for size in NULL)
        return trust_of(replicate(null=samples)).tolerance_seconds

    steady = (0.010, 0.011, 0.012, 0.013, 0.014)
    assert tolerance((*steady[:4], 9.0)) == tolerance(steady)


def test_what_excuses_a_claim_is_a_share_of_trusted_time_at_most():
    null = (0.010, 0.012, 0.060, 0.110, 0.112)
    wide = tuple(NullSamples(lr_size=size, delivered_seconds=null) for size in NULL)
    found = trust_of(replicate(null=wide))
    # Three deviations are 222 ms.
    expected = max(0, DESIGN.noise_share * found.trusted_seconds)
    assert found.tolerance_seconds == pytest.approx(expected)


def test_on_a_gpu_what_surrounds_a_forward_may_differ_between_processes():
    fields = {"clock": "cuda-event"}
    on_gpu = replicate(
        samples("a", **fields),
        samples("b", LARGE, **fields),
        fixed=samples("fixed", LARGE, **fields),
    )
    found = trust_of(on_gpu)
    assert found.tolerance_seconds == pytest.approx(0.6 * (0.012 + 0.021) / 2)
    assert found.fixed_tolerance_seconds == pytest.approx(0.6 * 0.021)
    # Of a fast network it is never more than half, so that halved times are disputed.


def test_rounds_of_two_speeds_dispute_nobody_whose_claims_are_right():
    """Of three fast rounds two are delivered late, so that medians differ by half."""
    claims, late = (0.1, 0.101, 0.102, 0.2, 0.2), (0.05, 0.05, 0.0, 0.0, 0.0)
    delivered = tuple(0.012 + each + more for each, more in zip(claims, late, strict=True))
    found = trust_of(replicate(fixed=samples("fixed", seconds=claims, delivered_seconds=delivered)))
    assert found.fixed_claimed_seconds == pytest.approx(0.102)
    assert found.fixed_trusted_seconds == pytest.approx(0.151)
    assert found.fixed_withheld_seconds == pytest.approx(0)
    assert examine(found, DESIGN, threads=1) is None
    # Whoever lies in most rounds is found.
    lies = tuple(each / 2 for each in claims[:3]) + claims[3:]
    found = trust_of(replicate(fixed=samples("fixed", seconds=lies, delivered_seconds=delivered)))
    finding = examine(found, DESIGN, threads=1)
    assert finding.status == "timing-disputed"


def test_a_size_without_a_null_network_leaves_no_trusted_time():
    only_small = replicate().null[:1]
    found = trust_of(replicate(null=only_small))
    assert found.trusted_seconds is None
    assert found.tolerance_seconds is None
    assert found.claimed_seconds == pytest.approx(0.1)
    # One process without it is enough: a mean over the others is another mean.
    assert trust_of(replicate(), replicate(null=())).trusted_seconds is None


def test_a_false_claim_at_the_fixed_input_is_disputed():
    lied = replicate(fixed=samples("fixed", seconds=(1e-6, 1e-6, 1e-6)))
    found = trust_of(lied)
    assert found.fixed_claimed_seconds == pytest.approx(1e-6)
    assert found.fixed_trusted_seconds == pytest.approx(0.1)
    finding = examine(found, DESIGN, threads=1)
    assert finding.status == "timing-disputed"
    assert "at the fixed input" in finding.cause


def test_images_that_become_fast_after_their_first_round_are_suspect():
    first, later = 0.212, 0.102
    cached = [samples(name, delivered_seconds=(first, *[later] * 5)) for name in "abcd"]
    found = trust_of(replicate(*cached))
    assert found.later_ratio == pytest.approx(0.09 / 0.2)
    finding = examine(found, DESIGN, threads=1)
    assert finding.status == "suspect-caching"
    # Two images say nothing, and one slow first round of three does not either.
    assert trust_of(replicate(*cached[:2])).later_ratio is None
    steady = [samples(name, delivered_seconds=(first,) * 6) for name in "bc"]
    assert trust_of(replicate(cached[0], *steady)).later_ratio is None
    # Nor do first rounds that are short beside the null network's.
    short = [samples(name, delivered_seconds=(0.112, *[0.057] * 5)) for name in "abcd"]
    assert trust_of(replicate(*short)).later_ratio is None


@pytest.mark.parametrize(
    ("rounds", "decoys", "names", "told"),
    [
        # The only slow round of each of n images with r rounds is its first once in r ** n times.
        (6, 0, "abcd", True),  # 1296
        (6, 0, "abc", False),  # 216
        (11, 0, "abc", True),  # 1331
        (5, 0, "abcd", False),  # 625
        (3, 0, "abcdef", False),  # 729
        (3, 0, "abcdefg", True),  # 2187
        # Of several slow rounds the first is one: 4 of 30 in four images, (2 / 15) ** 4.
        (30, 3, "abcd", True),
        (30, 3, "abc", False),
        # Every third round: 1 in 3 ** n again.
        (6, 1, "abcdef", False),
        (6, 1, "abcdefg", True),
    ],
)
def test_slow_first_rounds_that_chance_explains_accuse_nobody(rounds, decoys, names, *, told):
    slow, fast = 0.212, 0.102
    # However slow the rounds in between are, they are no more than slow ones.
    delivered = (slow, *[fast] * (rounds - 1 - decoys), *[3 * slow] * decoys)
    images = [samples(name, delivered_seconds=delivered) for name in names]
    found = trust_of(replicate(*images))
    assert (found.later_ratio is not None) is told
    finding = examine(found, DESIGN, threads=1)
    assert (finding is not None and finding.status == "suspect-caching") is told


def test_images_that_begin_fast_are_what_chance_would_give():
    # Of six images with 1 slow round in 6, 4 or more begin with it in 0.87 % of cases
    # (binomial), 5 or more in 0.066 %.
    first, last = (0.212, *[0.102] * 5), (*[0.102] * 5, 0.212)

    def ratio(begun_slow):
        images = [
            samples(name, delivered_seconds=first if number < begun_slow else last)
            for number, name in enumerate("abcdef")
        ]
        return trust_of(replicate(*images)).later_ratio

    assert ratio(4) is None
    assert ratio(5) == pytest.approx(0.09 / 0.2)


def loaded(rng, kind, count):
    """Factors by which load that comes and goes, or drifts, slows so many rounds down."""
    match kind:
        case "spikes":
            return np.where(rng.random(count) < 0.1, 5.0, 1.0)
        case "on-off":
            # On half of the time, for 20 rounds at a stretch.
            return np.where((np.cumsum(rng.random(count) < 0.05) + rng.integers(2)) % 2, 4.0, 1.0)
        case "wandering":
            noise, level = rng.normal(0, 1, count), 0.0
            for index, step in enumerate(noise):
                level = noise[index] = 0.9 * level + 0.44 * step
            return np.exp(0.6 * noise)
        case _:
            return np.linspace(4, 1, count)


@pytest.mark.parametrize("kind", ["spikes", "on-off", "wandering", "drift"])
@pytest.mark.parametrize("rounds", [6, 30])
def test_load_and_cold_starts_have_fewer_than_one_honest_entry_in_a_hundred_suspected(kind, rounds):
    rng, tries, images, suspected = np.random.default_rng(5), 300, 5, 0
    for _ in range(tries):
        seconds = (
            0.15 * loaded(rng, kind, images * rounds) * rng.lognormal(0, 0.05, images * rounds)
        )
        by_image = seconds.reshape(images, rounds)
        by_image[:, 0] *= 1.1
        by_image[0, 0] *= 2
        shown = [
            samples(f"{number}", delivered_seconds=tuple(row + 0.012))
            for number, row in enumerate(by_image)
        ]
        pairs = loaded(rng, kind, 32) * rng.lognormal(0, 0.05, 32) * 0.15
        fixed, first = rng.permuted(pairs.reshape(2, 8, 2), axis=2) + 0.012
        shown[0] = shown[0].model_copy(update={"repeated_seconds": tuple(map(tuple, first))})
        repeated = samples("fixed", repeated_seconds=tuple(map(tuple, fixed)))
        finding = examine(trust_of(replicate(*shown, fixed=repeated)), DESIGN, threads=1)
        suspected += finding is not None and finding.status == "suspect-caching"
    assert suspected < 0.01 * tries


def test_images_without_error_are_suspect_even_where_variants_are_too():
    perfect = VariantScores(rounds=3, clean_psnr_rgb=None, variant_psnr_rgb=None, impossible=True)
    found = trust_of(replicate(samples("a", variants=perfect), samples("b", LARGE)))
    finding = examine(found, DESIGN, threads=1)
    assert finding.status == "suspect-memorising"


def test_nothing_timed_has_no_account():
    skipped = Absent(kind="skipped", reason="not asked for")
    assert account(skipped, DESIGN) == skipped
    failed = Absent(kind="failed", reason="gone")
    found = account(latency(replicate(images=failed)), DESIGN)
    assert isinstance(found, Absent)
    assert examine(found, DESIGN, threads=1) is None


def twice(first, second, count=8):
    """Pairs whose net times are about these."""
    return tuple((0.010 + first + 1e-3 * n, 0.010 + second + 1e-3 * n) for n in range(count))


def test_the_ratio_is_that_of_the_medians_of_repeated_and_new_rounds():
    # Of net milliseconds: 63.5 less the null network's shortest, 113.5 less its longest.
    cached = samples("a", repeated_seconds=twice(0.1, 0.05))
    assert trust_of(replicate(cached)).repeated_ratio == pytest.approx(53.5 / 99.5)
    # Of the input where it is least, be it in another process or at the fixed input.
    honest = samples("a", repeated_seconds=twice(0.1, 0.1))
    assert trust_of(replicate(honest)).repeated_ratio is None
    fixed = replicate(honest, index=1, fixed=samples("fixed", repeated_seconds=twice(0.1, 0.0)))
    assert trust_of(replicate(honest), fixed).repeated_ratio == pytest.approx(3.5 / 99.5)


@pytest.mark.parametrize(
    ("faster", "slower", "told"),
    # Binomial probabilities of as many faster ones: 1/256, 1/128; 13/4096, 12/2048; 137/65536,
    # 576/32768. Pairs that hardly differ count for neither side.
    [(8, 0, True), (7, 0, False), (11, 1, True), (10, 1, False), (14, 2, True), (12, 3, False)],
)
def test_a_few_slow_repeated_rounds_clear_nobody(faster, slower, *, told):
    pairs = (*twice(0.1, 0.01, faster), *twice(0.01, 0.1, slower), *twice(0.1, 0.095, 2))
    # However they are spread over inputs and processes.
    image, fixed, later = (samples("a", repeated_seconds=pairs[n::3]) for n in range(3))
    found = trust_of(replicate(image, fixed=fixed), replicate(later, index=1))
    assert (found.repeated_ratio is not None) is told
    finding = examine(found, DESIGN, threads=1)
    assert (finding and finding.status) == ("suspect-caching" if told else None)


@pytest.mark.parametrize(
    "pairs",
    [
        (),
        # Fresh times no longer than the null network's longest say nothing.
        ((0.014, 0.010),) * 8,
    ],
)
def test_what_was_not_tried_or_cannot_be_told_has_no_ratio(pairs):
    assert trust_of(replicate(samples("a", repeated_seconds=pairs))).repeated_ratio is None


def test_without_a_null_network_there_is_no_ratio():
    repeated = samples("a", repeated_seconds=twice(0.1, 0.01))
    assert trust_of(replicate(repeated, null=())).repeated_ratio is None


def scored(name, clean, varied, **fields):
    scores = VariantScores(rounds=3, clean_psnr_rgb=clean, variant_psnr_rgb=varied)
    return samples(name, variants=scores, **fields)


def test_scores_are_means_over_images_and_count_each_image_once():
    first = replicate(scored("a", 30.0, 29.0), scored("b", 34.0, 34.0))
    second = replicate(scored("a", 30.0, 31.0), scored("b", 34.0, 34.0), index=1)
    found = trust_of(first, second)
    assert found.clean_psnr_rgb == pytest.approx(32.0)
    assert found.variant_psnr_rgb == pytest.approx(32.0)
    assert found.variant_images == 2


def test_an_image_without_error_is_infinitely_better_than_its_variants():
    memorised = trust_of(replicate(scored("a", None, 26.0), scored("b", 30.0, 30.0)))
    assert memorised.clean_psnr_rgb is None
    found = examine(memorised, DESIGN, threads=1)
    assert found.status == "suspect-memorising"
    assert "PSNR is infinite on the images and 28.00 dB" in found.cause
    # Flat images have no error either way.
    flat = trust_of(replicate(scored("a", None, None), scored("b", 30.0, 30.0)))
    assert (flat.clean_psnr_rgb, flat.variant_psnr_rgb, flat.variant_images) == (30.0, 30.0, 1)
    assert examine(flat, DESIGN, threads=1) is None


def test_nothing_scored_has_no_scores():
    found = trust_of()
    assert (found.clean_psnr_rgb, found.variant_psnr_rgb, found.variant_images) == (None, None, 0)


def test_a_saving_within_the_null_network_s_own_range_is_no_cache():
    # 3 of 7 net milliseconds are saved every time, and the null network's times lie 4 apart.
    pairs = ((0.017, 0.014),) * 8
    assert trust_of(replicate(samples("a", repeated_seconds=pairs))).repeated_ratio is None


def test_the_busiest_forward_counts_and_the_usual_rest():
    images = (samples("a", idle_cpus=0.1, forward_cpus=0.9), samples("b", LARGE, idle_cpus=0.9))
    found = trust_of(replicate(*images, fixed=samples("fixed", idle_cpus=0.2, forward_cpus=1.7)))
    assert (found.idle_cpus, found.forward_cpus) == (0.2, 1.7)
    assert (trust_of().idle_cpus, trust_of().forward_cpus) == (None, None)


def windows(timed, untimed):
    return VariantScores(
        rounds=3,
        clean_psnr_rgb=30.0,
        variant_psnr_rgb=30.0,
        window_psnr_rgb=timed,
        untimed_psnr_rgb=untimed,
    )


def test_windows_that_score_better_untimed_were_not_all_computed():
    def verdict(*pairs):
        images = [samples(str(n), variants=windows(*pair)) for n, pair in enumerate(pairs)]
        found = examine(trust_of(replicate(*images)), DESIGN, threads=1)
        return None if found is None else found.status

    assert verdict((28.0, 28.1), (31.0, 31.0)) == "suspect-memorising"
    assert verdict((28.0, 28.01), (31.0, 31.02)) is None
    assert verdict((28.1, 28.0), (31.0, 31.0)) is None
    # What has no error, or was not tried, says nothing.
    assert verdict((None, 40.0), (None, None)) is None


def test_images_that_take_longer_than_their_windows_are_suspect():
    # Slowest of six in four images once in 1296 times, in three once in 216.
    def found(names, clean=0.15):
        delivered = (0.112, 0.113, 0.012 + clean, 0.111, 0.112, 0.114, *[0.2] * 3)
        return trust_of(
            replicate(*(samples(n, delivered_seconds=delivered, clean_round=(2, 6)) for n in names))
        )

    # Later rounds than those among which it was drawn do not count, however slow.
    assert found("abcd").clean_ratio == pytest.approx(0.15 / 0.1)
    finding = examine(found("abcd"), DESIGN, threads=1)
    assert finding.status == "suspect-memorising"
    assert "1.50 times" in finding.cause
    assert found("abc").clean_ratio is None
    # Within what the copying of images may cost.
    assert examine(found("abcd", clean=0.105), DESIGN, threads=1) is None


@pytest.mark.parametrize("kind", ["spikes", "on-off", "wandering", "drift"])
def test_a_round_drawn_by_chance_is_never_slower_by_load(kind):
    rng, tries, rounds = np.random.default_rng(8), 300, 6
    suspected = 0
    for _ in range(tries):
        seconds = 0.15 * loaded(rng, kind, 5 * rounds).reshape(5, rounds)
        images = [
            samples(
                str(number),
                delivered_seconds=tuple(row + 0.012),
                clean_round=(int(rng.integers(rounds)), rounds),
            )
            for number, row in enumerate(seconds)
        ]
        ratio = trust_of(replicate(*images)).clean_ratio
        suspected += ratio is not None and ratio > 1.1
    assert suspected < 0.01 * tries

"""The rule of a paired comparison, on pairs made by hand."""

import numpy as np
import pytest
from builders import noisy_pairs

from esrbench.paired.judging import balance, judge, judge_race, pairs_to_look
from esrbench.protocol import PairDesign
from esrbench.records import Absent, PairedBatch, PairedProcess
from esrbench.statistics import estimate_ratio

DESIGN = PairDesign()


def test_looks_come_at_20_and_every_10():
    n, looks = 0, []
    while n < 60:
        n += pairs_to_look(n, DESIGN)
        looks.append(n)
    assert looks == [20, 30, 40, 50, 60]
    # After a look that a batch cut short, the next one is where it would have been.
    assert pairs_to_look(33, DESIGN) == 7


FAIR = noisy_pairs(np.random.default_rng(9), 300, noise=0.005)


@pytest.mark.parametrize(
    ("ratio", "verdict", "says"),
    [
        (1.05, "slower", "above 1.0250"),
        (1 / 1.05, "faster", "below 0.9756"),
        (1.0, "unchanged", "between 0.9756 and 1.0250"),
    ],
)
def test_three_verdicts(ratio, verdict, says):
    pairs = noisy_pairs(np.random.default_rng(1), 60, ratio=ratio, noise=0.005)
    judgement = judge(pairs, FAIR[:30], DESIGN)
    assert judgement.verdict == verdict
    assert says in judgement.reason
    assert judgement.estimate.pairs == 60


@pytest.mark.parametrize("ratio", [1.025, 1 / 1.025])
def test_on_the_line_it_goes_on_to_the_last_pair_and_stays_open(ratio):
    pairs = [(ratio * (1.01 if i % 2 else 1 / 1.01), 1.0) for i in range(600)]
    assert judge(pairs[:590], FAIR, DESIGN) is None
    judgement = judge(pairs, FAIR, DESIGN)
    assert judgement.verdict == "inconclusive"
    assert f"contains {ratio:.4f}" in judgement.reason


def test_between_looks_nothing_is_judged():
    pairs = noisy_pairs(np.random.default_rng(1), 60, ratio=2.0)
    judged = [n for n in range(1, 61) if judge(pairs[:n], FAIR[:30], DESIGN) is not None]
    assert judged == [20, 30, 40, 50, 60]


def alternating(half, centre=1.0):
    """Pairs whose interval is the centre -+ half."""
    return [(centre * (1 + half if i % 2 else 1 / (1 + half)), 1.0) for i in range(300)]


@pytest.mark.parametrize(
    ("self_pairs", "says"),
    [
        (
            alternating(0.016),
            "too noisy: the ratio of the baseline to its own copy is only known to 1.6%",
        ),
        (alternating(0.001, 1.008), "unfair: the baseline against its own copy gives a ratio of"),
        (alternating(0.001, 1 / 1.008), "unfair"),
        ([(1.0, 1.0)] * 9, "the self-check has no interval: 9 pairs are too few"),
    ],
)
def test_nothing_is_judged_against_the_self_check(self_pairs, says):
    slow = noisy_pairs(np.random.default_rng(1), 600, ratio=1.5)
    assert judge(slow[:100], self_pairs, DESIGN) is None
    judgement = judge(slow, self_pairs, DESIGN)
    assert judgement.verdict == "inconclusive"
    assert says in judgement.reason


@pytest.mark.parametrize("self_pairs", [alternating(0.014), alternating(0.001, 1.005)])
def test_a_self_check_within_its_bounds_permits(self_pairs):
    slow = noisy_pairs(np.random.default_rng(1), 60, ratio=1.5)
    judgement = judge(slow, self_pairs, DESIGN)
    assert judgement.verdict == "slower"


def test_pairs_set_aside_use_the_race_up_but_are_not_judged():
    pairs = alternating(0.04)[:100]
    assert judge(pairs, FAIR, DESIGN, set_aside=490) is None
    judgement = judge(pairs, FAIR, DESIGN, set_aside=500)
    assert judgement.verdict == "inconclusive"
    assert "500 of 600 pairs were set aside" in judgement.reason
    nothing = judge([], [], DESIGN, set_aside=600)
    assert isinstance(nothing.estimate, Absent)
    assert nothing.reason.startswith("600 of 600 pairs were set aside")


def process(loaded_first, pairs, self_pairs=None, *, set_aside=""):
    batch = PairedBatch(
        pairs=tuple(pairs), self_pairs=tuple(self_pairs or ()), set_aside=set_aside or None
    )
    return PairedProcess.model_validate(
        {"loaded_first": loaded_first, "cpus": (), "batches": (batch,)}
    )


def test_balanced_pairs_by_hand():
    """Loading first costs a factor of 2: medians of 3 * 2 and of 3 / 2 meet at 3."""
    balanced = balance(
        [
            process("candidate", [(6.0, 1.0), (5.0, 1.0), (7.0, 1.0), (9.0, 1.0)], [(4.0, 1.0)]),
            process("baseline", [(3.0, 2.0), (2.0, 2.0), (4.0, 2.0)], [(1.0, 4.0), (5.0, 5.0)]),
            process("candidate", [(7.0, 7.0)], set_aside="others took 40 %"),
        ]
    )
    ratios = [ours / theirs for ours, theirs in balanced.pairs]
    assert ratios == pytest.approx([3.0, 2.5, 3.5, 3.0, 2.0, 4.0])
    assert balanced.self_pairs == ((1.0, 1.0), (4.0, 4.0))
    # Of seven undisturbed pairs one waits for a counterpart.
    assert (balanced.judged, balanced.set_aside) == (7, 1)


@pytest.mark.parametrize("order", [0.0, 0.01, 0.3])
def test_balanced_intervals_cover_the_ratio_as_often_as_they_say(order):
    """Whatever loading first costs; heavy-tailed noise, as few pairs as are ever looked at."""
    rng = np.random.default_rng(5)
    hits = 0
    for _ in range(2000):
        first, second = np.exp(rng.standard_t(2, (2, 15)) * 0.01)
        found = balance(
            [
                process("candidate", [(each * (1 + order), 1.0) for each in first.tolist()]),
                process("baseline", [(each / (1 + order), 1.0) for each in second.tolist()]),
            ]
        )
        estimate = estimate_ratio(found.pairs, 1.6)
        stated = estimate.interval.confidence
        hits += estimate.interval.low <= 1 <= estimate.interval.high
    assert 0.85 < stated < 0.96
    assert hits / 2000 > stated - 3 * (stated * (1 - stated) / 2000) ** 0.5


def test_one_order_of_loading_alone_is_never_judged():
    slow, fair = alternating(0.001, 1.5)[:30], alternating(0.001)[:15]
    first, second = (process(side, slow, fair) for side in ("candidate", "baseline"))
    assert judge_race([first] * 4, DESIGN) is None
    # Two processes have 30 pairs of copies, in 15 means.
    judgement = judge_race([first, second], DESIGN)
    assert judgement.verdict == "slower"
    assert (judgement.estimate.pairs, judgement.self_check.pairs) == (60, 30)


def test_a_race_that_ended_with_one_order_says_what_it_lacks():
    alone = [process("candidate", alternating(0.001)[:30], alternating(0.001)[:15])]
    judgement = judge_race(alone, PairDesign(max_pairs=30))
    assert judgement.verdict == "inconclusive"
    assert "0 pairs are too few for an interval" in judgement.reason


def play(rng, *, ratio, noise):
    pairs = []
    self_pairs = []
    # What a process does to one network and not to the other stays for its 30 pairs.
    for _ in range(20):
        pairs += noisy_pairs(rng, 30, ratio=ratio * np.exp(rng.normal(0, 0.005)), noise=noise)
        self_pairs += noisy_pairs(rng, 15, ratio=np.exp(rng.normal(0, 0.005)), noise=noise)
    for n in range(20, 601, 10):
        judgement = judge(pairs[:n], self_pairs[: n // 2], DESIGN)
        if judgement is not None:
            return judgement
    raise AssertionError("the last pair ends a race")


@pytest.mark.parametrize(
    ("noise", "races", "decided"), [(0.02, 100, 100), (0.05, 60, 54), (0.3, 12, 0)]
)
def test_simulated_races_err_at_no_noise(noise, races, decided):
    rng = np.random.default_rng(4)
    same = [play(rng, ratio=1.0, noise=noise).verdict for _ in range(races)]
    slow = [play(rng, ratio=1.05, noise=noise).verdict for _ in range(races)]
    assert set(same) <= {"unchanged", "inconclusive"}
    assert set(slow) <= {"slower", "inconclusive"}
    assert min(same.count("unchanged"), slow.count("slower")) >= decided

import itertools

import pytest

from esrbench.probes.latency import narrow, steady, time_rounds, warm_up
from esrbench.protocol import LatencyDesign


def counted(seconds):
    """Rounds that take what the test wants, and the numbers that they were given."""
    remaining, numbers = iter(seconds), list[int]()

    def forward(number):
        numbers.append(number)
        return next(remaining)

    return forward, numbers


def design(**fields):
    """Neither the target nor the budget ends the rounds unless a test asks for it."""
    return LatencyDesign(**{"target_half_width": 0.0, "budget_seconds": 1e9, **fields})


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ([], False),
        ([1.0, 1.0, 1.0], False),  # nothing before the last three
        ([5.0, 1.0, 1.0, 1.0], False),
        ([5.0, 1.0, 1.0, 1.0, 1.0], True),
        ([1.0, 5.0, 5.0, 5.0], True),  # slower is no news
        ([1.0, 0.98, 1.0, 1.0], True),  # faster by the tolerance
        ([1.0, 0.979, 1.0, 1.0], False),  # by more
        ([1.0, 0.99, 0.98, 0.97], False),  # each by less than the tolerance, together by more
    ],
)
def test_forwards_are_steady_when_the_last_ones_bring_no_faster(seconds, expected):
    assert steady(seconds, rounds=3, tolerance=0.02) is expected


def test_no_rounds_to_compare_ask_for_nothing():
    assert steady([], rounds=0, tolerance=0.02)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        # Of six samples the 95 % interval is their range: P = 1 - 2 / 2**6 = 96.9 %.
        ([99, 100, 100, 100, 100, 103], True),  # half-width 2 of 100
        ([99, 100, 100, 100, 100, 103.1], False),
        # Five samples reach 93.8 % only, however alike they are.
        ([100, 100, 100, 100, 100], False),
        # Of nine it leaves out one at each end: 1 - 2 * (1 + 9) / 2**9 = 96.1 %.
        ([50, 100, 100, 100, 100, 100, 100, 100, 900], True),
    ],
)
def test_the_median_is_known_when_its_interval_is_narrow(seconds, expected):
    assert narrow(seconds, target=0.02) is expected
    assert not narrow(seconds, target=0.0)


FALLING = tuple(0.9**k for k in range(20))


@pytest.mark.parametrize(
    ("seconds", "fields", "made", "is_steady"),
    [
        # 3.99 and 4.0 are not 2 % faster than 4.0, so the fourth forward ends the warm-up.
        ((9.0, 4.0, 3.99, 4.0, 7.0), {"warmup_rounds": 2}, 4, True),
        (FALLING, {"warmup_rounds": 3, "max_warmup_rounds": 7}, 7, False),
        (FALLING, {"warmup_rounds": 2, "budget_seconds": 1.5}, 2, False),
        ((), {"warmup_rounds": 0}, 0, False),
    ],
    ids=["steady", "at its bound", "at its budget", "without"],
)
def test_a_warm_up_ends(seconds, fields, made, is_steady):
    warmed = warm_up(iter(seconds).__next__, design(**fields))
    assert warmed.seconds == seconds[:made]
    assert warmed.steady is is_steady


@pytest.mark.parametrize(
    ("budget", "expected", "stopped_by"),
    [
        (0.0, (1.0, 2.0), "budget"),
        (5.9, (1.0, 2.0, 3.0), "budget"),
        (6.1, (1.0, 2.0, 3.0, 4.0), "budget"),
        (100.0, (1.0, 2.0, 3.0, 4.0, 5.0), "max-rounds"),
    ],
)
def test_no_round_starts_beyond_the_budget_but_the_fewest_are_made(budget, expected, stopped_by):
    forward, numbers = counted(itertools.count(1.0))
    rounds = time_rounds(forward, design(min_rounds=2, max_rounds=5, budget_seconds=budget))
    assert rounds.seconds == expected
    assert rounds.stopped_by == stopped_by
    assert numbers == list(range(len(expected)))


@pytest.mark.parametrize(
    ("seconds", "min_rounds", "expected"),
    [
        ([100.0] * 20, 6, 6),
        ([100.0] * 20, 8, 8),  # never before the fewest
        # 110 is in the range of six to eight samples and left out of nine.
        ([100.0, 110.0] + [100.0] * 18, 6, 9),
    ],
)
def test_rounds_stop_when_the_interval_is_narrow(seconds, min_rounds, expected):
    wanted = design(min_rounds=min_rounds, max_rounds=20, target_half_width=0.02)
    rounds = time_rounds(counted(seconds)[0], wanted)
    assert len(rounds.seconds) == expected
    assert rounds.stopped_by == "interval"

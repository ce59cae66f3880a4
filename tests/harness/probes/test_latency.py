from __future__ import annotations

import itertools
import weakref
from typing import TYPE_CHECKING, TypeVar

import pytest

from harness.probes.latency import measure_latency, narrow, steady
from harness.protocol import LatencyDesign

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

T = TypeVar("T")


class ScriptedClock:
    """A clock whose forwards take what the test wants, and the host's time that they advance."""

    def __init__(self, seconds: Iterable[float]) -> None:
        self.seconds = iter(seconds)
        self.host = 1000.0

    def time(self, forward: Callable[[], T]) -> tuple[T, float]:
        elapsed = next(self.seconds)
        self.host += elapsed
        return forward(), elapsed

    def now(self) -> float:
        return self.host


def design(**fields: float) -> LatencyDesign:
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
def test_forwards_are_steady_when_the_last_ones_bring_no_faster(
    seconds: list[float], expected: bool
) -> None:
    assert steady(seconds, rounds=3, tolerance=0.02) is expected


def test_no_rounds_to_compare_ask_for_nothing() -> None:
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
def test_the_median_is_known_when_its_interval_is_narrow(
    seconds: list[float], expected: bool
) -> None:
    assert narrow(seconds, target=0.02) is expected
    assert not narrow(seconds, target=0.0)


def test_warm_up_ends_when_forwards_are_steady_and_is_kept_apart() -> None:
    numbers = itertools.count(1)
    clock = ScriptedClock([9.0, 4.0, 3.99, 4.0, 7.0, 8.0])
    timing = measure_latency(
        lambda: next(numbers),
        clock,
        design(warmup_rounds=2, min_rounds=2, max_rounds=2),
        warm=False,
    )
    # 3.99 and 4.0 are not 2 % faster than 4.0, so the fourth forward ends the warm-up.
    assert timing.warmup_seconds == (9.0, 4.0, 3.99, 4.0)
    assert timing.steady
    assert timing.seconds == (7.0, 8.0)
    assert timing.result == 6
    assert timing.stopped_by == "max-rounds"
    assert timing.delivered is None
    assert timing.delivered_seconds == ()


def test_a_warm_up_that_stays_unsteady_ends_at_its_bound() -> None:
    clock = ScriptedClock(0.9**k for k in itertools.count())
    timing = measure_latency(
        lambda: None,
        clock,
        design(warmup_rounds=3, max_warmup_rounds=7, min_rounds=1, max_rounds=1),
        warm=False,
    )
    assert timing.warmup_seconds == tuple(0.9**k for k in range(7))
    assert not timing.steady


def test_a_warm_shape_is_not_warmed_again() -> None:
    clock = ScriptedClock(itertools.repeat(1.0))
    timing = measure_latency(lambda: None, clock, design(min_rounds=1, max_rounds=1), warm=True)
    assert timing.warmup_seconds == ()
    assert timing.steady


def test_without_warm_up_nothing_is_shown_to_be_steady() -> None:
    clock = ScriptedClock(itertools.repeat(1.0))
    timing = measure_latency(
        lambda: None, clock, design(warmup_rounds=0, min_rounds=1, max_rounds=1), warm=False
    )
    assert timing.warmup_seconds == ()
    assert not timing.steady


@pytest.mark.parametrize(
    ("budget", "expected", "stopped_by"),
    [
        (0.0, (1.0, 2.0), "budget"),
        (5.9, (1.0, 2.0, 3.0), "budget"),
        (6.1, (1.0, 2.0, 3.0, 4.0), "budget"),
        (100.0, (1.0, 2.0, 3.0, 4.0, 5.0), "max-rounds"),
    ],
)
def test_no_round_starts_beyond_the_budget_but_the_fewest_are_made(
    budget: float, expected: tuple[float, ...], stopped_by: str
) -> None:
    timing = measure_latency(
        lambda: None,
        ScriptedClock(itertools.count(1.0)),
        design(warmup_rounds=0, min_rounds=2, max_rounds=5, budget_seconds=budget),
        warm=False,
    )
    assert timing.seconds == expected
    assert timing.stopped_by == stopped_by


@pytest.mark.parametrize(
    ("seconds", "min_rounds", "expected"),
    [
        ([100.0] * 20, 6, 6),
        ([100.0] * 20, 8, 8),  # never before the fewest
        # 110 is in the range of six to eight samples and left out of nine.
        ([100.0, 110.0] + [100.0] * 18, 6, 9),
    ],
)
def test_rounds_stop_when_the_interval_is_narrow(
    seconds: list[float], min_rounds: int, expected: int
) -> None:
    timing = measure_latency(
        lambda: None,
        ScriptedClock(seconds),
        design(warmup_rounds=0, min_rounds=min_rounds, max_rounds=20, target_half_width=0.02),
        warm=False,
    )
    assert len(timing.seconds) == expected
    assert timing.stopped_by == "interval"


def test_delivery_is_timed_from_the_call_of_the_forward_and_counts_towards_the_budget() -> None:
    clock = ScriptedClock([1.0, 2.0, 4.0, 8.0, 16.0])

    def deliver(output: str) -> str:
        clock.host += 0.5
        return output.upper()

    def verify() -> None:
        clock.host += 100.0

    timing = measure_latency(
        lambda: "sr",
        clock,
        design(warmup_rounds=0, min_rounds=1, max_rounds=5, budget_seconds=8.5),
        warm=False,
        deliver=deliver,
        verify=verify,
        now=clock.now,
    )
    # 1.5 + 2.5 + 4.5 reach the budget; forwards alone, 1 + 2 + 4, would not.
    assert timing.seconds == (1.0, 2.0, 4.0)
    assert timing.delivered_seconds == (1.5, 2.5, 4.5)
    assert timing.stopped_by == "budget"
    assert timing.delivered == "SR"
    assert timing.result == "sr"


def test_every_forward_is_delivered_and_verified_warm_ups_too() -> None:
    events: list[str] = []
    measure_latency(
        lambda: events.append("forward"),
        ScriptedClock(itertools.repeat(1.0)),
        design(warmup_rounds=1, min_rounds=2, max_rounds=2),
        warm=False,
        deliver=lambda _: events.append("deliver"),
        verify=lambda: events.append("verify"),
    )
    assert events == ["forward", "deliver", "verify"] * 4


def test_what_verification_refuses_ends_the_timing() -> None:
    def refuse() -> None:
        raise PermissionError

    with pytest.raises(PermissionError):
        measure_latency(lambda: None, ScriptedClock([1.0]), design(), warm=False, verify=refuse)


class Output:
    """Something that a weak reference can follow."""


def test_no_output_is_alive_during_the_next_forward() -> None:
    alive: list[weakref.ref[Output]] = []

    def forward() -> Output:
        assert all(reference() is None for reference in alive)
        output = Output()
        alive.append(weakref.ref(output))
        return output

    def deliver(_: Output) -> Output:
        pixels = Output()
        alive.append(weakref.ref(pixels))
        return pixels

    timing = measure_latency(
        forward,
        ScriptedClock(itertools.repeat(1.0)),
        design(warmup_rounds=2, min_rounds=4, max_rounds=4),
        warm=False,
        deliver=deliver,
    )
    assert len(alive) == 2 * (3 + 4)
    assert [timing.result, timing.delivered] == [alive[-2](), alive[-1]()]

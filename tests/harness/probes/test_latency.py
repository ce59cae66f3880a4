from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import pytest
import torch

from harness.probes.latency import measure_latency
from harness.protocol import LatencyDesign
from harness.records import Absent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")


class ScriptedDevice:
    """A device whose clock says what the test wants."""

    clock = "monotonic"
    device = torch.device("cpu")
    accelerator = None

    def __init__(self, seconds: Iterator[float]) -> None:
        self.seconds = seconds

    def time(self, forward: Callable[[], T]) -> tuple[T, float]:
        return forward(), next(self.seconds)

    def reset_memory(self) -> None:
        return

    def read_memory(self) -> Absent:
        return Absent(kind="unavailable", reason="scripted")


def numbers() -> Iterator[float]:
    second = 0.0
    while True:
        second += 1.0
        yield second


def test_warm_up_rounds_are_kept_apart_and_the_last_result_is_returned() -> None:
    calls: list[int] = []

    def forward() -> int:
        calls.append(len(calls))
        return len(calls)

    design = LatencyDesign(warmup_rounds=2, min_rounds=3, max_rounds=3)
    timing = measure_latency(forward, ScriptedDevice(numbers()), design, warm=False)
    assert timing.warmup_seconds == (1.0, 2.0)
    assert timing.seconds == (3.0, 4.0, 5.0)
    assert timing.result == 5
    assert timing.stopped_by == "max-rounds"


def test_a_warm_shape_is_not_warmed_again() -> None:
    design = LatencyDesign(warmup_rounds=2, min_rounds=1, max_rounds=1)
    timing = measure_latency(lambda: None, ScriptedDevice(numbers()), design, warm=True)
    assert timing.warmup_seconds == ()
    assert timing.seconds == (1.0,)


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
    design = LatencyDesign(warmup_rounds=0, min_rounds=2, max_rounds=5, budget_seconds=budget)
    timing = measure_latency(lambda: None, ScriptedDevice(numbers()), design, warm=False)
    assert timing.seconds == expected
    assert timing.stopped_by == stopped_by

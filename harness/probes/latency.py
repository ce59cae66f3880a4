"""Forward latency at one input: warm-up at its shape, then rounds under a budget."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.probes.devices import Clock
    from harness.protocol import LatencyDesign

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Timing(Generic[T]):
    """Times of repeated forwards, in seconds, and the last one's result."""

    result: T
    warmup_seconds: tuple[float, ...]
    seconds: tuple[float, ...]
    stopped_by: Literal["max-rounds", "budget"]


def measure_latency(
    forward: Callable[[], T], clock: Clock, design: LatencyDesign, *, warm: bool
) -> Timing[T]:
    """Time a forward.

    Args:
        forward: runs the network once on one input of a fixed shape.
        clock: times it; a device's own, or the host's.
        design: warm-up, rounds and budget.
        warm: this shape has been warmed up already, so no warm-up is made.
    """
    rounds = 0 if warm else design.warmup_rounds
    warmup = tuple(clock.time(forward)[1] for _ in range(rounds))
    result, first = clock.time(forward)
    seconds = [first]
    # The last output must not be alive beside the next one: it would count as peak memory.
    while len(seconds) < design.max_rounds:
        if len(seconds) >= design.min_rounds and sum(seconds) >= design.budget_seconds:
            return Timing(result, warmup, tuple(seconds), "budget")
        del result
        result, elapsed = clock.time(forward)
        seconds.append(elapsed)
    return Timing(result, warmup, tuple(seconds), "max-rounds")

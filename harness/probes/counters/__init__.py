"""The complexity counters, kept apart: each by its own rule, none corrected by another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from harness.probes.counters import aten, fvcore, ntire, ptflops

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    from harness.protocol import CounterName
    from harness.records import CounterResult


@dataclass(frozen=True, slots=True)
class Counter:
    """One way to count a forward.

    Attributes:
        count: called with a network in eval mode and an LR tensor (1, 3, H, W) float32; may
            leave traces on the network; raises what the forward raises.
        device: where both must be. ``meta`` tensors have a shape and no values.
    """

    count: Callable[[nn.Module, Tensor], CounterResult]
    device: Literal["cpu", "meta"]


COUNTERS: Final[dict[CounterName, Counter]] = {
    "ntire2022": Counter(ntire.count, "meta"),
    "fvcore": Counter(fvcore.count, "cpu"),
    "ptflops": Counter(ptflops.count, "cpu"),
    "aten": Counter(aten.count, "meta"),
}
"""Every counter by name."""

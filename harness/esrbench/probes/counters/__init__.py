"""The complexity counters, kept apart: each by its own rule, none corrected by another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from esrbench.probes.counters import aten, fvcore, ntire, ptflops

if TYPE_CHECKING:
    from torch import Tensor, nn

    from esrbench.protocol import CounterName
    from esrbench.records import CounterResult


class Counter(Protocol):
    """One way to count a forward."""

    def count(self, network: nn.Module, lr: Tensor) -> CounterResult:
        """Count one forward, without pixel values if the network can do without.

        Args:
            network: in eval mode, on CPU; may keep traces of the count.
            lr: (1, C, H, W) float32, on CPU; any values that a forward may see.

        Raises:
            Exception: whatever the forward raises.
        """


COUNTERS: Final[dict[CounterName, Counter]] = {
    "ntire2022": ntire,
    "fvcore": fvcore,
    "ptflops": ptflops,
    "aten": aten,
}
"""Every counter by name."""

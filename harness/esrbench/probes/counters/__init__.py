"""The complexity counters, kept apart: each by its own rule, none corrected by another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from esrbench.probes.counters import aten, fvcore, ntire, ptflops

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    from esrbench.protocol import CounterName
    from esrbench.records import CounterResult


COUNTERS: Final[dict[CounterName, Callable[[nn.Module, Tensor], CounterResult]]] = {
    "ntire2022": ntire.count,
    "fvcore": fvcore.count,
    "ptflops": ptflops.count,
    "aten": aten.count,
}
"""Every counter by name: it counts one forward, without pixel values if the network can do without.

It takes a network in eval mode on the CPU, which may keep traces of the count, and an input
(1, C, H, W) float32 on the CPU of any values that a forward may see. It raises what the forward
raises.
"""

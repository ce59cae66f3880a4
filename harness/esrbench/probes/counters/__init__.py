"""The complexity counters. Each follows its own rule, and none corrects another."""

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
"""Every counter by name. It counts one forward, without pixel values if the network allows it.

A counter takes a network in eval mode on the CPU, and an input (1, C, H, W) float32 on the CPU.
The network may keep traces of the count. The values of the input are those that a forward may see.
A counter raises what the forward raises.
"""

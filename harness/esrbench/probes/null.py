"""The null network: it measures the overhead around a forward."""

from __future__ import annotations

import time

import torch
from torch import Tensor, nn

from esrbench.devices import traits_of
from esrbench.probes.devices import synchronize


class Null(nn.Module):
    """Works for some milliseconds, and returns a stored output.

    For every input of a shape, the output is the first input of that shape, upscaled by nearest
    neighbours. So the steps around its forward are those around any forward. The output does not
    depend on the work. The work makes the evaluator wait as long as for a real network: waking up
    after such a wait costs up to a millisecond, and an instant answer would not show that cost. The
    time of the work itself is subtracted.

    Args:
        scale: upscaling factor.
        enlarged: inputs have the size of outputs.
        channels: channels of images.
    """

    def __init__(self, scale: int, *, enlarged: bool, channels: int) -> None:
        super().__init__()
        self.upscale = nn.UpsamplingNearest2d(scale_factor=1 if enlarged else scale)
        self.work = nn.Conv2d(channels, 16, 3, padding=1)
        self.kept: dict[torch.Size, Tensor] = {}

    def forward(self, lr: Tensor) -> Tensor:
        """An output for (N, C, H, W)."""
        start = time.perf_counter()
        if lr.shape not in self.kept:
            # An entry must not be able to make the null network fail by the range that it declares.
            self.kept[lr.shape] = self.upscale(lr).nan_to_num()
        while time.perf_counter() - start < traits_of(lr.device).null_seconds:
            self.work(lr)
            # Otherwise queued convolutions would continue after the time is over.
            synchronize(lr.device)
        return self.kept[lr.shape]

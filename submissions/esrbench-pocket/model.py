"""Pocket: a small network on half the resolution, whose blocks fold into single convolutions."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from .blocks import FoldableBlock

HALVED = 2
"""Features lie on every second pixel of LR, so H and W must be even: see pad_multiple."""


class Pocket(nn.Module):
    """Learns what nearest-neighbour upscaling misses."""

    def __init__(self, scale: int = 4, channels: int = 16, blocks: int = 3) -> None:
        """Build for a scale, with so many channels and foldable blocks."""
        super().__init__()
        self.scale = scale
        self.head = nn.Conv2d(3 * HALVED**2, channels, 3, padding=1)
        self.body = nn.Sequential(*(FoldableBlock(channels) for _ in range(blocks)))
        self.tail = nn.Conv2d(channels, 3 * (HALVED * scale) ** 2, 3, padding=1)
        nn.init.zeros_(self.tail.weight)
        nn.init.zeros_(self.tail.bias)

    def forward(self, lr: Tensor) -> Tensor:
        """Map (N, 3, H, W) in [0, 1], H and W even, to (N, 3, scale*H, scale*W)."""
        features = self.body(self.head(functional.pixel_unshuffle(lr, HALVED)))
        residual = functional.pixel_shuffle(self.tail(features), HALVED * self.scale)
        nearest = torch.repeat_interleave(lr, self.scale**2, dim=1)
        return functional.pixel_shuffle(nearest, self.scale) + residual


def fold(network: Pocket) -> Pocket:
    """Fold the branches of every block into one convolution: the form that is measured."""
    for block in network.body:
        if isinstance(block, FoldableBlock):
            block.fold()
    return network

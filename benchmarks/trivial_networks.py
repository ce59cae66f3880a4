"""Networks that cost next to nothing, so that what remains is the harness."""

from __future__ import annotations

import torch
from torch import nn


class Nearest(nn.Module):
    """Nearest-neighbour interpolation, (N, 3, H, W) to (N, 3, scale*H, scale*W)."""

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Repeat every pixel."""
        return nn.functional.interpolate(x, scale_factor=self.scale, mode="nearest")


class OneConvolution(nn.Module):
    """One 3x3 convolution and a pixel shuffle, (N, 3, H, W) to (N, 3, scale*H, scale*W)."""

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 3 * scale**2, 3, padding=1)
        self.shuffle = nn.PixelShuffle(scale)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Convolve, then rearrange channels into pixels."""
        shuffled: torch.Tensor = self.shuffle(self.convolution(x))
        return shuffled

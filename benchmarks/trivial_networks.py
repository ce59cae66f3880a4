"""Networks that cost next to nothing, so that what remains is the harness."""

from __future__ import annotations

import time

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


class Working(nn.Module):
    """Upscales by nearest neighbours after some time of convolutions, each waited for.

    Args:
        scale: upscaling factor.
        work_seconds: of the convolutions.
    """

    def __init__(self, scale: int, work_seconds: float) -> None:
        super().__init__()
        self.upscale = nn.UpsamplingNearest2d(scale_factor=scale)
        self.work = nn.Conv2d(3, 16, 3, padding=1)
        self.work_seconds = work_seconds

    def forward(self, lr: torch.Tensor) -> torch.Tensor:
        """Upscale (N, 3, H, W)."""
        start = time.perf_counter()
        sr: torch.Tensor = self.upscale(lr)
        while time.perf_counter() - start < self.work_seconds:
            self.work(lr)
            if lr.is_cuda:
                torch.cuda.synchronize()
        return sr

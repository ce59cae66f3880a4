"""SAFMN: Spatially-Adaptive Feature Modulation, as entered in NTIRE 2026.

Paper: ICCV 2023. With n = 40 channels in L = 4 parts and N = 15 blocks:

    f0 = Conv3x3(LR)                                       3 -> n
    b_i = y_i + FFN(norm(y_i)),  y_i = b_{i-1} + SAFM(norm(b_{i-1})),  b_0 = f0      i = 1..N
    SR = PixelShuffle(Conv3x3(b_N + f0)) + bilinear(LR)    n -> 3*s*s

    SAFM(x):  (x_0, .., x_3) = x                           n/4 channels each
              s_l = DepthwiseConv3x3(x_l maximum-pooled to (H/2^l, W/2^l)), resized back
              SAFM(x) = x * GELU(Conv1x1(concat(s_0..s_3)))
    FFN(x) = Conv1x1(GELU(Conv1x1(x)))                     n -> 2*n -> n

Pooling is adaptive, to at least one pixel, and the resizing nearest. ``norm`` is over all
channels and positions of an image, with a scale and shift a channel.

The network maps float32 (N, 3, H, W) in [0, 1] to (N, 3, s*H, s*W), unclipped, at any size.

This is the entry of team 21 (15 blocks). It reproduces the team's published figures to the digit.
From them we took the width, the FFN, the kind of normalisation and the skip. The paper's network
has eight blocks of n = 36, a 3x3 convolution first in its FFN (CCM), a norm over channels only, and
no skip from LR. Differences from the team's release: names only; its weights are not declared here.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from esrbench_models.blocks import Upsampler, conv

LEVELS = 4


class SAFM(nn.Module):
    """Spatially-adaptive feature modulation: features gated by their surroundings."""

    def __init__(self, channels: int) -> None:
        """Keep ``channels``, divisible by 4, throughout."""
        super().__init__()
        part = channels // LEVELS
        self.levels = nn.ModuleList(
            nn.Conv2d(part, part, 3, padding=1, groups=part) for _ in range(LEVELS)
        )
        self.fusion = conv(channels, channels, 1)
        self.phi = nn.GELU()

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        size = features.shape[-2:]
        seen = []
        for level, (convolution, part) in enumerate(
            zip(self.levels, features.chunk(LEVELS, dim=1))
        ):
            if level == 0:
                seen.append(convolution(part))
                continue
            reduced = [max(1, side >> level) for side in size]
            pooled = convolution(functional.adaptive_max_pool2d(part, reduced))
            seen.append(functional.interpolate(pooled, size=size, mode="nearest"))
        out: Tensor = self.phi(self.fusion(torch.cat(seen, dim=1))) * features
        return out


class Block(nn.Module):
    """Modulation and feed-forward network, each normalised before and with a skip around."""

    def __init__(self, channels: int) -> None:
        """Keep ``channels`` throughout."""
        super().__init__()
        self.norm1 = nn.GroupNorm(1, channels)
        self.modulate = SAFM(channels)
        self.norm2 = nn.GroupNorm(1, channels)
        self.mix = nn.Sequential(
            conv(channels, 2 * channels, 1), nn.GELU(), conv(2 * channels, channels, 1)
        )

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        features = self.modulate(self.norm1(features)) + features
        out: Tensor = self.mix(self.norm2(features)) + features
        return out


class SAFMN(nn.Module):
    """Spatially-adaptive feature modulation network; see the module's docstring."""

    def __init__(self, scale: int = 4, *, blocks: int = 15, channels: int = 40) -> None:
        """Build with random weights.

        Args:
            scale: upscaling factor s.
            blocks: number N of blocks.
            channels: width n, divisible by 4.
        """
        super().__init__()
        self.scale = scale
        self.head = conv(3, channels, 3)
        self.blocks = nn.Sequential(*(Block(channels) for _ in range(blocks)))
        self.upsampler = Upsampler(channels, scale)

    def forward(self, lr: Tensor) -> Tensor:
        """Map LR (N, 3, H, W) to SR (N, 3, s*H, s*W)."""
        shallow = self.head(lr)
        residual = self.upsampler(self.blocks(shallow) + shallow)
        skip = functional.interpolate(
            lr, scale_factor=float(self.scale), mode="bilinear", align_corners=False
        )
        sr: Tensor = residual + skip
        return sr

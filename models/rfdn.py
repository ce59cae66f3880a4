"""RFDN: Residual Feature Distillation Network for Lightweight Image Super-Resolution.

Paper: AIM workshop, ECCV 2020; winner of the AIM 2020 efficient SR challenge and baseline of
NTIRE 2022 and 2023. With phi = LeakyReLU(0.05) and n = 50 channels:

    f0 = Conv3x3(LR)                                       3 -> n
    b_i = RFDB(b_{i-1}),  b_0 = f0                         i = 1..4
    g = phi(Conv1x1(concat(b_1..b_4)))                     4*n -> n
    SR = PixelShuffle(Conv3x3(Conv3x3(g) + f0))            n -> n -> 3*s*s

    RFDB(x), r_0 = x:  d_i = phi(Conv1x1(r_{i-1}))                n -> n/2, i = 1..3
                       r_i = phi(Conv3x3(r_{i-1}) + r_{i-1})      n -> n
                       d_4 = phi(Conv3x3(r_3))                    n -> n/2
                       RFDB(x) = ESA(Conv1x1(concat(d_1..d_4)))   2*n -> n

The network maps float32 (N, 3, H, W) to (N, 3, s*H, s*W), unclipped; H, W >= 15 because of
ESA. The released x4 weights expect [0, 255].

Differences from the authors' release: names only. The 534/541/550 K network of the RFDN paper
(six blocks of 48 channels) is another one and was not released.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.blocks import ESA, Upsampler, conv

SLOPE = 0.05


class RFDB(nn.Module):
    """Residual feature distillation block of shallow residual blocks r_i."""

    def __init__(self, channels: int, esa_channels: int) -> None:
        """Distil at half of ``channels``; attend through ``esa_channels``."""
        super().__init__()
        half = channels // 2
        self.distill1 = conv(channels, half, 1)
        self.distill2 = conv(channels, half, 1)
        self.distill3 = conv(channels, half, 1)
        self.distill4 = conv(channels, half, 3)
        self.residual1 = conv(channels, channels, 3)
        self.residual2 = conv(channels, channels, 3)
        self.residual3 = conv(channels, channels, 3)
        self.merge = conv(4 * half, channels, 1)
        self.attention = ESA(channels, esa_channels)
        self.phi = nn.LeakyReLU(SLOPE, inplace=True)

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        d1 = self.phi(self.distill1(features))
        r1 = self.phi(self.residual1(features) + features)
        d2 = self.phi(self.distill2(r1))
        r2 = self.phi(self.residual2(r1) + r1)
        d3 = self.phi(self.distill3(r2))
        r3 = self.phi(self.residual3(r2) + r2)
        d4 = self.phi(self.distill4(r3))
        out: Tensor = self.attention(self.merge(torch.cat((d1, d2, d3, d4), dim=1)))
        return out


class RFDN(nn.Module):
    """Residual feature distillation network; see the module's docstring."""

    def __init__(
        self, scale: int = 4, *, blocks: int = 4, channels: int = 50, esa_channels: int = 12
    ) -> None:
        """Build with random weights.

        Args:
            scale: upscaling factor s.
            blocks: number of RFDBs.
            channels: width n, even.
            esa_channels: width inside the attention.
        """
        super().__init__()
        self.head = conv(3, channels, 3)
        self.blocks = nn.ModuleList(RFDB(channels, esa_channels) for _ in range(blocks))
        self.fusion = conv(blocks * channels, channels, 1)
        self.fusion_activation = nn.LeakyReLU(SLOPE, inplace=True)
        self.refine = conv(channels, channels, 3)
        self.upsampler = Upsampler(channels, scale)

    def forward(self, lr: Tensor) -> Tensor:
        """Map LR (N, 3, H, W), H and W >= 15, to SR (N, 3, s*H, s*W).

        Raises:
            ValueError: an image too small for the attention.
        """
        shallow = self.head(lr)
        features, outputs = shallow, []
        for block in self.blocks:
            features = block(features)
            outputs.append(features)
        fused = self.fusion_activation(self.fusion(torch.cat(outputs, dim=1)))
        sr: Tensor = self.upsampler(self.refine(fused) + shallow)
        return sr

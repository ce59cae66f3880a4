"""BSRN: Blueprint Separable Residual Network, winner of NTIRE 2022's model complexity track.

Paper: NTIRE workshop, CVPR 2022. With phi = GELU, n = 48 channels and the blueprint separable
convolution BSConv(x) = DepthwiseConv3x3(P(x)), where P is a linear map of a pixel's channels:

    f0 = BSConv(concat(LR, LR, LR, LR))                    12 -> n
    b_i = ESDB(b_{i-1}),  b_0 = f0                         i = 1..5
    g = BSConv(phi(P(concat(b_1..b_5)))) + f0              5*n -> n -> n
    SR = PixelShuffle(Conv3x3(g))                          n -> 3*s*s

    ESDB(x), r_0 = x:  d_i = phi(P(r_{i-1}))               n -> n/2, i = 1..3
                       r_i = phi(BSConv(r_{i-1}) + r_{i-1})
                       d_4 = phi(BSConv(r_3))              n -> n/2
                       ESDB(x) = x + P(w * ESA(P(concat(d_1..d_4))))     one weight w a channel

    ESA(z), a = P(z):  q = phi(BSConv(MaxPool7x7/3(Conv3x3/2(a))))        n -> 12 inside
                       q = BSConv(phi(BSConv(q))), resized to (H, W) bilinearly
                       ESA(z) = z * sigmoid(P(q + P(a)))

The network maps float32 (N, 3, H, W) in [0, 1] to (N, 3, s*H, s*W), unclipped; H, W >= 15
because of ESA.

P is an ``nn.Linear`` on channels-last features, as in the authors' code. The NTIRE 2022 counter
mistakes the height of such a tensor for its features. So it counts too little: 2.02 G. In fact 9.43
G multiply-accumulates run. The challenge's table prints 9.50 G, which neither count gives.

This is the challenge entry of team 18, XPixel: x4 only. The networks of the paper's tables have
eight blocks of n = 64 and CCA in place of w, at x2, x3 and x4. Differences from the authors'
release: names only.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from esrbench_models.blocks import ESA, Upsampler

COPIES = 4
"""Copies of the LR image that the head sees."""


class Pointwise(nn.Module):
    """A linear map of every pixel's channels, as a ``Linear`` on a channels-last view."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        """Map ``in_channels`` to ``out_channels``."""
        super().__init__()
        self.linear = nn.Linear(in_channels, out_channels)

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, C_in, H, W) to (N, C_out, H, W)."""
        out: Tensor = self.linear(features.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return out


class BSConv(nn.Module):
    """Blueprint separable convolution: a pointwise map, then a 3x3 convolution of each channel."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        """Map ``in_channels`` to ``out_channels`` in the pointwise step."""
        super().__init__()
        self.pointwise = Pointwise(in_channels, out_channels)
        self.depthwise = nn.Conv2d(out_channels, out_channels, 3, padding=1, groups=out_channels)

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, C_in, H, W) to (N, C_out, H, W)."""
        out: Tensor = self.depthwise(self.pointwise(features))
        return out


class ESDB(nn.Module):
    """Efficient separable distillation block."""

    def __init__(self, channels: int, esa_channels: int) -> None:
        """Distil at half of ``channels``; attend through ``esa_channels``."""
        super().__init__()
        half = channels // 2
        self.distill1 = Pointwise(channels, half)
        self.distill2 = Pointwise(channels, half)
        self.distill3 = Pointwise(channels, half)
        self.distill4 = BSConv(channels, half)
        self.residual1 = BSConv(channels, channels)
        self.residual2 = BSConv(channels, channels)
        self.residual3 = BSConv(channels, channels)
        self.merge = Pointwise(4 * half, channels)
        self.attention = ESA(
            channels, esa_channels, pointwise=Pointwise, spatial=BSConv, activation=nn.GELU
        )
        self.mix = Pointwise(channels, channels)
        self.weights = nn.Parameter(torch.ones(1, channels))
        self.phi = nn.GELU()

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        d1 = self.phi(self.distill1(features))
        r1 = self.phi(self.residual1(features) + features)
        d2 = self.phi(self.distill2(r1))
        r2 = self.phi(self.residual2(r1) + r1)
        d3 = self.phi(self.distill3(r2))
        r3 = self.phi(self.residual3(r2) + r2)
        d4 = self.phi(self.distill4(r3))
        attended = self.attention(self.merge(torch.cat((d1, d2, d3, d4), dim=1)))
        out: Tensor = self.mix(attended * self.weights[..., None, None]) + features
        return out


class BSRN(nn.Module):
    """Blueprint separable residual network; see the module's docstring."""

    def __init__(
        self, scale: int = 4, *, blocks: int = 5, channels: int = 48, esa_channels: int = 12
    ) -> None:
        """Build with random weights.

        Args:
            scale: upscaling factor s.
            blocks: number of ESDBs.
            channels: width n, even.
            esa_channels: width inside the attention.
        """
        super().__init__()
        self.head = BSConv(3 * COPIES, channels)
        self.blocks = nn.ModuleList(ESDB(channels, esa_channels) for _ in range(blocks))
        self.fusion = Pointwise(blocks * channels, channels)
        self.fusion_activation = nn.GELU()
        self.refine = BSConv(channels, channels)
        self.upsampler = Upsampler(channels, scale)

    def forward(self, lr: Tensor) -> Tensor:
        """Map LR (N, 3, H, W), H and W >= 15, to SR (N, 3, s*H, s*W).

        Raises:
            ValueError: an image too small for the attention.
        """
        copies = torch.cat((lr,) * COPIES, dim=1)
        shallow = self.head(copies)
        features, outputs = shallow, []
        for block in self.blocks:
            features = block(features)
            outputs.append(features)
        concatenated = torch.cat(outputs, dim=1)
        fused = self.fusion_activation(self.fusion(concatenated))
        refined = self.refine(fused) + shallow
        sr: Tensor = self.upsampler(refined)
        return sr

"""RDN: Residual Dense Network for Image Super-Resolution.

Paper: CVPR 2018. With n = 64 channels (G0), growth g = 64 (G), D = 16 dense blocks of C = 8
convolutions:

    s = Conv3x3(LR)                                        3 -> n
    F_0 = Conv3x3(s)                                       n -> n
    F_d = RDB(F_{d-1})                                     d = 1..D
    u = up(s + Conv3x3(Conv1x1(concat(F_1..F_D))))         D*n -> n -> n
    SR = Conv3x3(u)                                        n -> 3, at HR size

    RDB(x):  a_c = ReLU(Conv3x3(concat(x, a_1..a_{c-1})))  n + (c-1)*g -> g, c = 1..C
             RDB(x) = x + Conv1x1(concat(x, a_1..a_C))     n + C*g -> n

Each stage of ``up`` is Conv3x3(n -> n*t*t) and a pixel shuffle by t. There is
one stage of t = s at x2 and x3, and there are two of t = 2 at x4.

The network maps float32 (N, 3, H, W) in [0, 1] to (N, 3, s*H, s*W), unclipped, at any size.

Differences from the PyTorch form in the repository of EDSR: names only.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from esrbench_models.blocks import StagedUpsampler, conv


class RDB(nn.Module):
    """Residual dense block: every convolution sees all before it, a 1x1 fuses them."""

    def __init__(self, channels: int, growth: int, convolutions: int) -> None:
        """Keep ``channels``; each of the ``convolutions`` adds ``growth`` to what is seen."""
        super().__init__()
        self.dense = nn.ModuleList(
            nn.Sequential(conv(channels + seen * growth, growth, 3), nn.ReLU(inplace=True))
            for seen in range(convolutions)
        )
        self.fusion = conv(channels + convolutions * growth, channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        seen = features
        for layer in self.dense:
            seen = torch.cat((seen, layer(seen)), dim=1)
        out: Tensor = features + self.fusion(seen)
        return out


class RDN(nn.Module):
    """Residual dense network; see the module's docstring."""

    def __init__(
        self,
        scale: int = 4,
        *,
        blocks: int = 16,
        convolutions: int = 8,
        channels: int = 64,
        growth: int = 64,
    ) -> None:
        """Build with random weights.

        Args:
            scale: upscaling factor s: 2, 3 or 4.
            blocks: number D of dense blocks.
            convolutions: number C of 3x3 convolutions in a block.
            channels: width n.
            growth: channels g that a convolution adds.

        Raises:
            ValueError: a scale without an upsampler.
        """
        super().__init__()
        self.head = conv(3, channels, 3)
        self.shallow = conv(channels, channels, 3)
        self.blocks = nn.ModuleList(RDB(channels, growth, convolutions) for _ in range(blocks))
        self.fusion = conv(blocks * channels, channels, 1)
        self.refine = conv(channels, channels, 3)
        self.upsampler = StagedUpsampler(channels, scale)
        self.tail = conv(channels, 3, 3)

    def forward(self, lr: Tensor) -> Tensor:
        """Map LR (N, 3, H, W) to SR (N, 3, s*H, s*W)."""
        skip = self.head(lr)
        features, outputs = self.shallow(skip), []
        for block in self.blocks:
            features = block(features)
            outputs.append(features)
        features = skip + self.refine(self.fusion(torch.cat(outputs, dim=1)))
        sr: Tensor = self.tail(self.upsampler(features))
        return sr

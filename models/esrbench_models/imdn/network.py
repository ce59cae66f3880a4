"""IMDN: Lightweight Image Super-Resolution with Information Multi-distillation Network.

Paper: ACM Multimedia 2019. With phi = LeakyReLU(0.05) and n = 64 channels, of which every
step keeps n/4 (d_i) and passes on the rest (r_i):

    f0 = Conv3x3(LR)                                       3 -> n
    b_i = IMDB(b_{i-1}),  b_0 = f0                         i = 1..N
    g = phi(Conv1x1(concat(b_1..b_N)))                     N*n -> n
    SR = PixelShuffle(Conv3x3(Conv3x3(g) + f0))            n -> n -> 3*s*s

    IMDB(x):  (d_1, r_1) = phi(Conv3x3(x))                 n -> n, split n/4 | 3n/4
              (d_i, r_i) = phi(Conv3x3(r_{i-1}))           3n/4 -> n, i = 2, 3
              d_4 = Conv3x3(r_3)                           3n/4 -> n/4, no activation
              IMDB(x) = x + Conv1x1(CCA(concat(d_1..d_4)))

The network maps float32 (N, 3, H, W) in [0, 1] to (N, 3, s*H, s*W), unclipped.

Two sizes exist. The paper's network has N = 6. The baseline of the AIM and NTIRE challenges has N =
8, no CCA and no fusion (g = b_N), and is defined at x4 only. Its 58.53 G FLOPs are often printed
beside the parameters of the paper's network. Differences from both releases: names only.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from esrbench_models.blocks import CCA, Upsampler, conv

SLOPE = 0.05
CCA_REDUCTION = 16


class IMDB(nn.Module):
    """Information multi-distillation block."""

    def __init__(self, channels: int, *, attention: bool) -> None:
        """Keep a quarter of ``channels`` at each step; gate them with CCA if ``attention``."""
        super().__init__()
        kept = channels // 4
        passed = channels - kept
        self.split_sizes = [kept, passed]
        self.extract1 = conv(channels, channels, 3)
        self.extract2 = conv(passed, channels, 3)
        self.extract3 = conv(passed, channels, 3)
        self.extract4 = conv(passed, kept, 3)
        self.attention = CCA(channels, CCA_REDUCTION) if attention else nn.Identity()
        self.merge = conv(4 * kept, channels, 1)
        self.phi = nn.LeakyReLU(SLOPE, inplace=True)

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        d1, r1 = torch.split(self.phi(self.extract1(features)), self.split_sizes, dim=1)
        d2, r2 = torch.split(self.phi(self.extract2(r1)), self.split_sizes, dim=1)
        d3, r3 = torch.split(self.phi(self.extract3(r2)), self.split_sizes, dim=1)
        d4 = self.extract4(r3)
        out: Tensor = self.merge(self.attention(torch.cat((d1, d2, d3, d4), dim=1))) + features
        return out


class IMDN(nn.Module):
    """Information multi-distillation network; see the module's docstring."""

    def __init__(
        self,
        scale: int = 4,
        *,
        blocks: int = 6,
        channels: int = 64,
        attention: bool = True,
        fusion: bool = True,
    ) -> None:
        """Build with random weights.

        Args:
            scale: upscaling factor s.
            blocks: number N of IMDBs; 6 in the paper, 8 in the challenge baseline.
            channels: width n, divisible by 4, and by 16 with attention.
            attention: CCA in every block.
            fusion: 1x1 convolution over all blocks' outputs; otherwise the last one's is taken.
        """
        super().__init__()
        self.head = conv(3, channels, 3)
        self.blocks = nn.ModuleList(IMDB(channels, attention=attention) for _ in range(blocks))
        self.fusion = conv(blocks * channels, channels, 1) if fusion else None
        self.fusion_activation = nn.LeakyReLU(SLOPE, inplace=True) if fusion else None
        self.refine = conv(channels, channels, 3)
        self.upsampler = Upsampler(channels, scale)

    def forward(self, lr: Tensor) -> Tensor:
        """Map LR (N, 3, H, W) to SR (N, 3, s*H, s*W)."""
        shallow = self.head(lr)
        features, outputs = shallow, []
        for block in self.blocks:
            features = block(features)
            if self.fusion is not None:
                outputs.append(features)
        if self.fusion is not None and self.fusion_activation is not None:
            features = self.fusion_activation(self.fusion(torch.cat(outputs, dim=1)))
        sr: Tensor = self.upsampler(self.refine(features) + shallow)
        return sr

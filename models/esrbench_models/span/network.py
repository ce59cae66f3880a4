"""SPAN: Swift Parameter-free Attention Network, winner of NTIRE 2024, baseline of NTIRE 2026.

Paper: NTIRE workshop, CVPR 2024. With n channels (28 in the challenge, 48 in the paper's tables):

    f0 = Conv3x3((LR - mean) * 255)                        3 -> n
    b_i, a_i = SPAB(b_{i-1}),  b_0 = f0                    i = 1..6
    SR = PixelShuffle(Conv3x3(Conv1x1(concat(f0, Conv3x3(b_6), b_1, a_6))))   4*n -> n -> 3*s*s

    SPAB(x):  a = SiLU(Conv3x3(x))
              h = Conv3x3(SiLU(Conv3x3(a)))
              SPAB(x) = (h + x) * (sigmoid(h) - 1/2), a

``mean`` is the mean colour of DIV2K. The network maps float32 (N, 3, H, W) in [0, 1] to
(N, 3, s*H, s*W), unclipped, at any size.

Differences from the authors' release. This is the re-parameterised form, which the challenges
count. In training, each of its 3x3 convolutions except the last is a 1x1, a 3x3 and a 1x1 in
sequence, with a parallel 1x1. As in the release, the last feature that is concatenated is the first
one inside the sixth block. It is activated, because the release activates in place. The paper has
the fifth block's output instead. Both have the same counts, and no weights are declared here.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from esrbench_models.blocks import Upsampler, conv

BLOCKS = 6
MEAN = (0.4488, 0.4371, 0.4040)
"""Mean colour of DIV2K's training images, RGB in [0, 1]."""
WHITE = 255.0


class SPAB(nn.Module):
    """Swift parameter-free attention block: features gated by a function of themselves."""

    def __init__(self, channels: int) -> None:
        """Keep ``channels`` throughout."""
        super().__init__()
        self.conv1 = conv(channels, channels, 3)
        self.conv2 = conv(channels, channels, 3)
        self.conv3 = conv(channels, channels, 3)
        self.phi = nn.SiLU(inplace=True)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Map (N, C, H, W) to the block's output and its first activated features, same shape."""
        first = self.phi(self.conv1(features))
        last = self.conv3(self.phi(self.conv2(first)))
        return (last + features) * (torch.sigmoid(last) - 0.5), first


class SPAN(nn.Module):
    """Swift parameter-free attention network; see the module's docstring."""

    mean: Tensor

    def __init__(self, scale: int = 4, *, channels: int = 28) -> None:
        """Build with random weights.

        Args:
            scale: upscaling factor s.
            channels: width n.
        """
        super().__init__()
        self.register_buffer("mean", torch.tensor(MEAN).reshape(1, 3, 1, 1), persistent=False)
        self.head = conv(3, channels, 3)
        self.blocks = nn.ModuleList(SPAB(channels) for _ in range(BLOCKS))
        self.refine = conv(channels, channels, 3)
        self.fusion = conv(4 * channels, channels, 1)
        self.upsampler = Upsampler(channels, scale)

    def forward(self, lr: Tensor) -> Tensor:
        """Map LR (N, 3, H, W) to SR (N, 3, s*H, s*W)."""
        shallow = self.head((lr - self.mean) * WHITE)
        first, _ = self.blocks[0](shallow)
        features, inner = first, first
        for block in self.blocks[1:]:
            features, inner = block(features)
        fused = self.fusion(torch.cat((shallow, self.refine(features), first, inner), dim=1))
        sr: Tensor = self.upsampler(fused)
        return sr

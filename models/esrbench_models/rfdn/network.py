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
    RFDB-E(x):         r_i = phi(Conv3x3(r_{i-1}))                otherwise as RFDB

The network maps float32 (N, 3, H, W) to (N, 3, s*H, s*W), unclipped; H, W >= 15 because of
ESA. The released x4 weights expect [0, 255]. Differences from the authors' release: names only.

Other networks have the same name:

- RFDN of its paper's tables, 534/541/550 K parameters: six blocks of n = 48 and a channel
  attention of n -> n/4 -> n instead of ESA. It was not released. Only its parameters (1,212 per
  attention) are known. We assume that it is IMDN's contrast-aware attention (CCA).
- Five blocks of n = 50 with ESA: the AIDN paper prints its FLOPs (32.07/32.51/33.13 G) beside the
  parameters of the network above. Its own parameters are 514/521/530 K.
- RFDN of RFDB-E blocks, from the AIDN paper (section 3.2). The activation follows the addition. So
  a residual is also a convolution, with a 1 at the centre for each channel, and can be folded into
  the 3x3. The hook ``fold_residuals`` does this and deploys ``rfdn-e``. Parameters, FLOPs,
  activations and convolutions do not change, because additions are not counted. Memory traffic
  falls.
"""

from __future__ import annotations

import copy
from typing import Literal

import torch
from torch import Tensor, nn

from esrbench_models.blocks import CCA, ESA, DistillationNetwork, conv

SLOPE = 0.05
CCA_REDUCTION = 4

Attention = Literal["esa", "cca"]


class RFDB(nn.Module):
    """Residual feature distillation block of shallow residual blocks r_i.

    Attributes:
        folded: the residuals are within the 3x3 convolutions (RFDB-E) and not added.
    """

    def __init__(self, channels: int, attention: nn.Module) -> None:
        """Distil at half of ``channels``; end in ``attention``."""
        super().__init__()
        half = channels // 2
        self.folded = False
        self.distill1 = conv(channels, half, 1)
        self.distill2 = conv(channels, half, 1)
        self.distill3 = conv(channels, half, 1)
        self.distill4 = conv(channels, half, 3)
        self.residual1 = conv(channels, channels, 3)
        self.residual2 = conv(channels, channels, 3)
        self.residual3 = conv(channels, channels, 3)
        self.merge = conv(4 * half, channels, 1)
        self.attention = attention
        self.phi = nn.LeakyReLU(SLOPE, inplace=True)

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        d1 = self.phi(self.distill1(features))
        r1 = self.refine(self.residual1, features)
        d2 = self.phi(self.distill2(r1))
        r2 = self.refine(self.residual2, r1)
        d3 = self.phi(self.distill3(r2))
        r3 = self.refine(self.residual3, r2)
        d4 = self.phi(self.distill4(r3))
        distilled = torch.cat((d1, d2, d3, d4), dim=1)
        out: Tensor = self.attention(self.merge(distilled))
        return out

    def refine(self, convolution: nn.Conv2d, features: Tensor) -> Tensor:
        """A shallow residual block by its convolution; keeps (N, C, H, W)."""
        refined = convolution(features)
        out: Tensor = self.phi(refined if self.folded else refined + features)
        return out


class RFDN(DistillationNetwork):
    """Residual feature distillation network; see the module's docstring."""

    def __init__(
        self,
        scale: int = 4,
        *,
        blocks: int = 4,
        channels: int = 50,
        attention: Attention = "esa",
        esa_channels: int = 12,
    ) -> None:
        """Build with random weights.

        Args:
            scale: upscaling factor s.
            blocks: number of RFDBs.
            channels: width n, even; divisible by 4 with ``cca``.
            attention: at the end of a block: ``esa``, or ``cca`` with a reduction of 4.
            esa_channels: width inside ESA.
        """

        def make_block() -> RFDB:
            attend: nn.Module = (
                CCA(channels, CCA_REDUCTION) if attention == "cca" else ESA(channels, esa_channels)
            )
            return RFDB(channels, attend)

        super().__init__(make_block, blocks=blocks, channels=channels, scale=scale, slope=SLOPE)


def fold_residuals(network: RFDN) -> RFDN:
    """A network of RFDB-E blocks that computes the same as ``network``, which stays unchanged.

    We add 1 to the centre of channel i's own kernel in every 3x3 convolution of a residual, in
    float64, and round to the weights' type again. Outputs differ only by that rounding.

    Raises:
        ValueError: the network has no residuals left to fold.
    """
    folded = copy.deepcopy(network)
    for block in folded.blocks:
        if not isinstance(block, RFDB) or block.folded:
            raise ValueError("this RFDN has no residual to fold: its blocks are RFDB-E already")
        for convolution in (block.residual1, block.residual2, block.residual3):
            weight = convolution.weight.detach().double()
            weight[:, :, 1, 1] += torch.eye(
                weight.shape[0], dtype=weight.dtype, device=weight.device
            )
            convolution.weight.data = weight.to(convolution.weight.dtype)
        block.folded = True
    return folded

"""AIDN: Asymmetric Information Distillation Network for Lightweight Super Resolution.

Paper: NTIRE workshop, CVPR 2022. With phi = LeakyReLU(0.05), n = 50 channels and d = n/2:

    f0 = Conv3x3(LR)                                       3 -> n
    b_i = AIDB(b_{i-1}),  b_0 = f0                         i = 1..N, no residual around a block
    g = LeakyReLU_0.1(Conv1x1(concat(b_1..b_N)))           N*n -> n
    SR = PixelShuffle(Conv3x3(Conv3x3(g) + f0))            n -> n -> 3*s*s

    AIDB(x):  d1 = phi(Conv1x1(x))    r1 = phi(E1(x) + d1)
              d2 = phi(Conv1x1(r1))   r2 = phi(E2(r1) + r1 + d1 + d2)
              d3 = phi(Conv1x1(r2))   r3 = phi(E3(r2) + r2 + d1 + d2 + d3)
              d4 = phi(Conv3x3(r3))
              AIDB(x) = ESA(Conv1x1(concat(d1, d2, d3, d4)))    4*d -> n
    AIEB E(x) = Conv1x3(phi(Conv3x1(x))) + Conv3x1(phi(Conv1x3(x)))

The network maps float32 (N, 3, H, W) in [0, 1] to (N, 3, s*H, s*W), unclipped; H, W >= 15
because of ESA.

Two sizes exist. N = 6 reproduces all six figures of the paper's tables: 323/330/339 K parameters
and 19.21/19.65/20.27 G by the NTIRE counter. However, the paper's text says four blocks and a 3x3
fusion. Neither code nor weights of this network were released. N = 4 is ARFDN, the authors' entry
in the NTIRE 2022 challenge (team 14, HiImageTeam). Its x4 weights load key by key.

Ablation (table 2 of the paper prints 352, 352, 339 and 339 K for Base, AIEB, FDC and AIDB).
AIDB is the network above. The 352 K rows cannot be identified: no natural variant has that size,
and the text does not define them. We use steps of our own choice instead, all with FDC, that is 1x1
distillation. "No re-use" leaves d_1..d_3 out of r_1..r_3 and keeps r_{i-1}:

    A0  plain 3x3 convolutions for E_i, no re-use          315,648 parameters at x4
    A1  AIEB without the activation, no re-use             339,498
    A2  AIEB, no re-use                                    339,498
    A3  AIEB and re-use: AIDB itself                       339,498

A1 to A2 shows the effect of the non-linearity, and A2 to A3 that of the re-use, at equal size.

Differences from the authors' challenge code: names only. If paper and code disagree, we follow the
code: LeakyReLU, not ReLU, inside AIEB, and a slope of 0.1 after the fusion.
"""

from __future__ import annotations

import operator
from functools import partial, reduce
from typing import Literal

import torch
from torch import Tensor, nn

from esrbench_models.blocks import ESA, DistillationNetwork, conv

SLOPE = 0.05
FUSION_SLOPE = 0.1

Extraction = Literal["asymmetric", "linear", "plain"]


class AIEB(nn.Module):
    """Asymmetric information extraction block: two branches of 3x1 and 1x3 in either order."""

    def __init__(self, in_channels: int, out_channels: int, *, activation: bool = True) -> None:
        """Map ``in_channels`` to ``out_channels`` in the first convolution of each branch.

        Without ``activation`` the two convolutions of a branch follow each other directly.
        """
        super().__init__()

        def between() -> nn.Module:
            return nn.LeakyReLU(SLOPE, inplace=True) if activation else nn.Identity()

        self.vertical_first = nn.Sequential(
            conv(in_channels, out_channels, (3, 1)),
            between(),
            conv(out_channels, out_channels, (1, 3)),
        )
        self.horizontal_first = nn.Sequential(
            conv(in_channels, out_channels, (1, 3)),
            between(),
            conv(out_channels, out_channels, (3, 1)),
        )

    def forward(self, features: Tensor) -> tuple[Tensor, ...]:
        """Both branches of (N, C_in, H, W), (N, C_out, H, W) each, whose sum is the result."""
        return self.vertical_first(features), self.horizontal_first(features)


class PlainExtraction(nn.Module):
    """A 3x3 convolution in the place of an AIEB."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        """Map ``in_channels`` to ``out_channels``."""
        super().__init__()
        self.conv = conv(in_channels, out_channels, 3)

    def forward(self, features: Tensor) -> tuple[Tensor, ...]:
        """The only branch of (N, C_in, H, W): (N, C_out, H, W)."""
        return (self.conv(features),)


def extraction_block(in_channels: int, out_channels: int, extraction: Extraction) -> nn.Module:
    """E_i of a block: AIEB, AIEB without its activation, or a plain 3x3 convolution."""
    if extraction == "plain":
        return PlainExtraction(in_channels, out_channels)
    return AIEB(in_channels, out_channels, activation=extraction == "asymmetric")


def total(branches: tuple[Tensor, ...]) -> Tensor:
    """Sum of an extraction block's branches."""
    return reduce(operator.add, branches)


class AIDB(nn.Module):
    """Asymmetric information distillation block; the distilled d_i are re-used by addition.

    The forward keeps the branches of every E_i by name until it returns, as the challenge's
    entry does: peak memory is ranked.
    """

    def __init__(
        self,
        channels: int,
        esa_channels: int,
        *,
        extraction: Extraction = "asymmetric",
        reuse: bool = True,
    ) -> None:
        """Distil at half of ``channels``; attend through ``esa_channels``."""
        super().__init__()
        half = channels // 2
        self.reuse = reuse
        self.distill1 = conv(channels, half, 1)
        self.distill2 = conv(half, half, 1)
        self.distill3 = conv(half, half, 1)
        self.distill4 = conv(half, half, 3)
        self.extract1 = extraction_block(channels, half, extraction)
        self.extract2 = extraction_block(half, half, extraction)
        self.extract3 = extraction_block(half, half, extraction)
        self.merge = conv(4 * half, channels, 1)
        self.attention = ESA(channels, esa_channels)
        self.phi = nn.LeakyReLU(SLOPE, inplace=True)

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        d1 = self.phi(self.distill1(features))
        branches1 = self.extract1(features)
        r1 = self.coarse(total(branches1), d1)
        d2 = self.phi(self.distill2(r1))
        branches2 = self.extract2(r1)
        r2 = self.coarse(total(branches2) + r1, d1, d2)
        d3 = self.phi(self.distill3(r2))
        branches3 = self.extract3(r2)
        r3 = self.coarse(total(branches3) + r2, d1, d2, d3)
        d4 = self.phi(self.distill4(r3))
        distilled = torch.cat((d1, d2, d3, d4), dim=1)
        out: Tensor = self.attention(self.merge(distilled))
        return out

    def coarse(self, extracted: Tensor, *distilled: Tensor) -> Tensor:
        """The activated r_i, with the distilled features added in turn where they are re-used."""
        if self.reuse:
            for features in distilled:
                extracted = extracted + features
        out: Tensor = self.phi(extracted)
        return out


class AIDN(DistillationNetwork):
    """Asymmetric information distillation network; see the module's docstring."""

    def __init__(
        self,
        scale: int = 4,
        *,
        blocks: int = 6,
        channels: int = 50,
        esa_channels: int = 12,
        extraction: Extraction = "asymmetric",
        reuse: bool = True,
    ) -> None:
        """Build with random weights.

        Args:
            scale: upscaling factor s.
            blocks: number N of AIDBs; 6 in the paper's tables, 4 in the challenge.
            channels: width n, even.
            esa_channels: width inside the attention.
            extraction: E_i of a block: ``asymmetric`` (AIEB), ``linear`` (AIEB without the
                activation) or ``plain`` (one 3x3 convolution).
            reuse: add the distilled d_1..d_i to r_i.
        """
        super().__init__(
            partial(AIDB, channels, esa_channels, extraction=extraction, reuse=reuse),
            blocks=blocks,
            channels=channels,
            scale=scale,
            slope=FUSION_SLOPE,
        )

"""CARN: Fast, Accurate, and Lightweight SR with Cascading Residual Network.

Paper: ECCV 2018. With n = 64 channels, R(x) = ReLU(x + Conv3x3(ReLU(Conv3x3(x)))) and a cascade
of three units U_i, each followed by a 1x1 fusion of the input and all units so far:

    cascade(U)(x), f_0 = x:  f_i = ReLU(Conv1x1(concat(x, U_1(f_0), .., U_i(f_{i-1}))))    i = 1..3
                             (i+1)*n -> n; the result is f_3

    SR = Conv3x3(up(cascade(cascade(R))(Conv3x3(LR))))     3 -> n -> n -> 3

Each stage of ``up`` is Conv3x3(n -> n*t*t), ReLU and a pixel shuffle by t. There is
one stage of t = s at x2 and x3, and there are two of t = 2 at x4.

The network maps float32 (N, 3, H, W) in [0, 1] to (N, 3, s*H, s*W), unclipped, at any size.

The authors trained one network for all scales (``all_heads``). Its 1,591,939 parameters, printed
as 1,592 K for every scale, include three upsampling heads. A forward runs one of them. A user
deploys the same network with the head of one scale: 964,163, 1,148,803 and 1,111,875 parameters at
x2, x3 and x4, and the same FLOPs.

Differences from the authors' release: the frozen 1x1 convolutions that subtract and add the
data set's mean colour (24 parameters) are left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from esrbench_models.blocks import ResidualBlock, StagedUpsampler, conv

if TYPE_CHECKING:
    from collections.abc import Iterable

UNITS = 3
"""Units of a cascade: residual blocks inside, cascades outside."""
SCALES = (2, 3, 4)


class Cascade(nn.Module):
    """Units in sequence; before each next one, a 1x1 fusion of everything seen so far."""

    def __init__(self, channels: int, units: Iterable[nn.Module]) -> None:
        """Cascade ``units``, which map ``channels`` to ``channels`` each."""
        super().__init__()
        self.units = nn.ModuleList(units)
        self.fusions = nn.ModuleList(
            nn.Sequential(conv((seen + 1) * channels, channels, 1), nn.ReLU(inplace=True))
            for seen in range(1, len(self.units) + 1)
        )

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        seen = features
        for unit, fusion in zip(self.units, self.fusions):
            seen = torch.cat((seen, unit(features)), dim=1)
            features = fusion(seen)
        return features


class CARN(nn.Module):
    """Cascading residual network; see the module's docstring."""

    def __init__(self, scale: int = 4, *, channels: int = 64, all_heads: bool = False) -> None:
        """Build with random weights.

        Args:
            scale: upscaling factor s: 2, 3 or 4.
            channels: width n.
            all_heads: include the upsampling heads of all scales, as the authors trained it;
                otherwise only that of ``scale``.

        Raises:
            ValueError: a scale without an upsampling head.
        """
        super().__init__()
        self.head = conv(3, channels, 3)
        self.body = Cascade(
            channels,
            (
                Cascade(
                    channels,
                    (
                        nn.Sequential(ResidualBlock(channels), nn.ReLU(inplace=True))
                        for _ in range(UNITS)
                    ),
                )
                for _ in range(UNITS)
            ),
        )
        self.upsamplers = nn.ModuleDict(
            {
                f"x{each}": StagedUpsampler(channels, each, activation=True)
                for each in (sorted({*SCALES, scale}) if all_heads else (scale,))
            }
        )
        self.tail = conv(channels, 3, 3)
        self.scale = scale

    def forward(self, lr: Tensor) -> Tensor:
        """Map LR (N, 3, H, W) to SR (N, 3, s*H, s*W)."""
        upsample = self.upsamplers[f"x{self.scale}"]
        sr: Tensor = self.tail(upsample(self.body(self.head(lr))))
        return sr

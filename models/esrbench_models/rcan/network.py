"""RCAN: Image Super-Resolution Using Very Deep Residual Channel Attention Networks.

Paper: ECCV 2018. With n = 64 channels, G = 10 residual groups of B = 20 blocks:

    F_0 = Conv3x3(LR)                                      3 -> n
    F_g = F_{g-1} + Conv3x3(RCAB_B(..RCAB_1(F_{g-1})))     g = 1..G
    u = up(F_0 + Conv3x3(F_G))
    SR = Conv3x3(u)                                        n -> 3, at HR size

    RCAB(x) = x + CA(Conv3x3(ReLU(Conv3x3(x))))
    CA(z) = z * sigmoid(Conv1x1(ReLU(Conv1x1(mean(z)))))   n -> n/16 -> n, mean over (H, W)

Each stage of ``up`` is Conv3x3(n -> n*t*t) and a pixel shuffle by t. There is
one stage of t = s at x2 and x3, and there are two of t = 2 at x4.

The network maps float32 (N, 3, H, W) in [0, 1] to (N, 3, s*H, s*W), unclipped, at any size.

Differences from the authors' release: the frozen 1x1 convolutions that subtract and add the
data set's mean colour (24 parameters) are left out. Tables that print 15,444 K at x2 cut off the
15,444,643 parameters instead of rounding them.
"""

from __future__ import annotations

from torch import Tensor, nn

from esrbench_models.blocks import ChannelAttention, ResidualBlock, StagedUpsampler, conv


class ResidualGroup(nn.Module):
    """Residual channel attention blocks and a 3x3 convolution, with a skip around them."""

    def __init__(self, channels: int, blocks: int, reduction: int) -> None:
        """Keep ``channels`` throughout; the attention squeezes them by ``reduction``."""
        super().__init__()
        self.blocks = nn.Sequential(
            *(ResidualBlock(channels, ChannelAttention(channels, reduction)) for _ in range(blocks))
        )
        self.refine = conv(channels, channels, 3)

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        out: Tensor = features + self.refine(self.blocks(features))
        return out


class RCAN(nn.Module):
    """Residual channel attention network; see the module's docstring."""

    def __init__(
        self,
        scale: int = 4,
        *,
        groups: int = 10,
        blocks: int = 20,
        channels: int = 64,
        reduction: int = 16,
    ) -> None:
        """Build with random weights.

        Args:
            scale: upscaling factor s: 2, 3 or 4.
            groups: number G of residual groups.
            blocks: number B of blocks in a group.
            channels: width n.
            reduction: how much the attention squeezes n.

        Raises:
            ValueError: a scale without an upsampler.
        """
        super().__init__()
        self.head = conv(3, channels, 3)
        self.groups = nn.Sequential(
            *(ResidualGroup(channels, blocks, reduction) for _ in range(groups))
        )
        self.refine = conv(channels, channels, 3)
        self.upsampler = StagedUpsampler(channels, scale)
        self.tail = conv(channels, 3, 3)

    def forward(self, lr: Tensor) -> Tensor:
        """Map LR (N, 3, H, W) to SR (N, 3, s*H, s*W)."""
        shallow = self.head(lr)
        features = shallow + self.refine(self.groups(shallow))
        sr: Tensor = self.tail(self.upsampler(features))
        return sr

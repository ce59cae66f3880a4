"""MSRResNet: the SRResNet of the AIM and NTIRE efficient SR challenges.

Papers: SRResNet is from SRGAN (CVPR 2017); this modified form, without batch normalisation and
without a convolution after the body, was the baseline of AIM 2019 and 2020. With
phi = LeakyReLU(0.1), n = 64 channels and B = 16 residual blocks:

    f = phi(Conv3x3(LR))                                   3 -> n
    f = f + Conv3x3(ReLU(Conv3x3(f)))                      B times
    u = phi(PixelShuffle(Conv3x3(f)))                      n -> 4n at x2, twice at x4; 9n at x3
    SR = Conv3x3(phi(Conv3x3(u))) + bilinear(LR)           n -> n -> 3, at HR size

The network maps float32 (N, 3, H, W) in [0, 1] to (N, 3, s*H, s*W), unclipped.

The ReLU of the residual blocks is functional, as in the challenge's code. So the NTIRE counter does
not see it; only then the count is the published 166.36 G. We know of no released weights as a
single small file.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from esrbench_models.blocks import conv, shuffle_steps

SLOPE = 0.1


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with a ReLU between them and a skip around them."""

    def __init__(self, channels: int) -> None:
        """Keep ``channels`` throughout."""
        super().__init__()
        self.conv1 = conv(channels, channels, 3)
        self.conv2 = conv(channels, channels, 3)

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        out: Tensor = features + self.conv2(functional.relu(self.conv1(features)))
        return out


class SRResNet(nn.Module):
    """MSRResNet; see the module's docstring."""

    def __init__(self, scale: int = 4, *, blocks: int = 16, channels: int = 64) -> None:
        """Build with random weights.

        Args:
            scale: upscaling factor s: 2, 3 or 4.
            blocks: number B of residual blocks.
            channels: width n.

        Raises:
            ValueError: a scale without a defined upsampler.
        """
        super().__init__()
        self.scale = scale
        self.head = conv(3, channels, 3)
        self.blocks = nn.Sequential(*(ResidualBlock(channels) for _ in range(blocks)))
        self.upsamplers = nn.ModuleList(
            nn.Sequential(conv(channels, channels * step * step, 3), nn.PixelShuffle(step))
            for step in shuffle_steps(scale)
        )
        self.refine = conv(channels, channels, 3)
        self.tail = conv(channels, 3, 3)
        self.phi = nn.LeakyReLU(SLOPE, inplace=True)

    def forward(self, lr: Tensor) -> Tensor:
        """Map LR (N, 3, H, W) to SR (N, 3, s*H, s*W)."""
        features = self.blocks(self.phi(self.head(lr)))
        for upsample in self.upsamplers:
            features = self.phi(upsample(features))
        residual = self.tail(self.phi(self.refine(features)))
        skip = functional.interpolate(
            lr, scale_factor=float(self.scale), mode="bilinear", align_corners=False
        )
        sr: Tensor = residual + skip
        return sr

"""RLFN: Residual Local Feature Network, winner of the NTIRE 2022 efficient SR challenge.

Paper: NTIRE workshop, CVPR 2022. With phi = LeakyReLU(0.05), n = 46 channels and m = 48 inside
a block:

    f0 = Conv3x3(LR)                                       3 -> n
    b_i = RLFB(b_{i-1}),  b_0 = f0                         i = 1..4
    SR = PixelShuffle(Conv3x3(Conv3x3(b_4) + f0))          n -> n -> 3*s*s

    RLFB(x):  r_1 = phi(Conv3x3(x))                        n -> m
              r_2 = phi(Conv3x3(r_1))                      m -> m
              r_3 = phi(Conv3x3(r_2))                      m -> n
              RLFB(x) = ESA(Conv1x1(r_3 + x))

ESA squeezes to 16 channels and refines by one convolution instead of RFDN's three.

The network maps float32 (N, 3, H, W) to (N, 3, s*H, s*W), unclipped; H, W >= 15 because of
ESA. The released x4 weights expect [0, 255].

This is the challenge entry of team 4, ByteESR: x4 only. The networks of the paper's tables have
six blocks of n = m = 52, at x2 and x4. Differences from the authors' release: names only.
"""

from __future__ import annotations

from torch import Tensor, nn

from esrbench_models.blocks import ESA, Upsampler, conv

SLOPE = 0.05


class RLFB(nn.Module):
    """Residual local feature block."""

    def __init__(self, channels: int, inner_channels: int, esa_channels: int) -> None:
        """Widen ``channels`` to ``inner_channels`` between the first and the third convolution."""
        super().__init__()
        self.extract = nn.Sequential(
            conv(channels, inner_channels, 3),
            nn.LeakyReLU(SLOPE, inplace=True),
            conv(inner_channels, inner_channels, 3),
            nn.LeakyReLU(SLOPE, inplace=True),
            conv(inner_channels, channels, 3),
            nn.LeakyReLU(SLOPE, inplace=True),
        )
        self.merge = conv(channels, channels, 1)
        self.attention = ESA(channels, esa_channels, depth=1)

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        extracted = self.extract(features) + features
        out: Tensor = self.attention(self.merge(extracted))
        return out


class RLFN(nn.Module):
    """Residual local feature network; see the module's docstring."""

    def __init__(
        self,
        scale: int = 4,
        *,
        blocks: int = 4,
        channels: int = 46,
        inner_channels: int = 48,
        esa_channels: int = 16,
    ) -> None:
        """Build with random weights.

        Args:
            scale: upscaling factor s.
            blocks: number of RLFBs.
            channels: width n.
            inner_channels: width m inside a block.
            esa_channels: width inside the attention.
        """
        super().__init__()
        self.head = conv(3, channels, 3)
        self.blocks = nn.Sequential(
            *(RLFB(channels, inner_channels, esa_channels) for _ in range(blocks))
        )
        self.refine = conv(channels, channels, 3)
        self.upsampler = Upsampler(channels, scale)

    def forward(self, lr: Tensor) -> Tensor:
        """Map LR (N, 3, H, W), H and W >= 15, to SR (N, 3, s*H, s*W).

        Raises:
            ValueError: an image too small for the attention.
        """
        shallow = self.head(lr)
        sr: Tensor = self.upsampler(self.refine(self.blocks(shallow)) + shallow)
        return sr

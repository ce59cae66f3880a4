"""DRRN: Image Super-Resolution via Deep Recursive Residual Network.

Paper: CVPR 2017. On the luma x of an image that bicubic interpolation has enlarged already, with
one recursive block of U = 25 residual units (B1U25) and n = 128 channels:

    h_0 = Conv3x3(x)                                       1 -> n
    h_u = h_0 + Conv3x3_b(ReLU(Conv3x3_a(ReLU(h_{u-1}))))  n -> n -> n, u = 1..U, shared weights
    SR = x + Conv3x3(ReLU(h_U))                            n -> 1

The network maps float32 (N, 1, H, W) in [0, 1] to the same shape, unclipped, at any size; the
scale is that of the enlargement and no layer depends on it. Four convolutions run 52 times.

It has 297 601 parameters, of which 385 are biases. The AIDN paper prints 298K at x2 and x3, which
includes the biases, and 297K at x4, which is the 297 216 weights alone.

Differences from the authors' release: no batch normalisation. Their network has one before every
ReLU and, with a ReLU, before the first convolution. Published parameters and FLOPs leave it out.
Without it, a ReLU of luma would change nothing.
"""

from __future__ import annotations

from torch import Tensor, nn

from esrbench_models.blocks import conv


class DRRN(nn.Module):
    """Deep recursive residual network of one recursive block; see the module's docstring."""

    def __init__(self, scale: int = 4, *, units: int = 25, channels: int = 128) -> None:
        """Build with random weights.

        Args:
            scale: factor by which the input was enlarged.
            units: number U of residual units that share their weights.
            channels: width n.
        """
        super().__init__()
        self.scale = scale
        self.units = units
        self.head = conv(1, channels, 3)
        self.unit1 = conv(channels, channels, 3)
        self.unit2 = conv(channels, channels, 3)
        self.tail = conv(channels, 1, 3)
        self.phi = nn.ReLU()

    def forward(self, enlarged: Tensor) -> Tensor:
        """Map enlarged luma (N, 1, H, W) to SR of the same shape."""
        shallow = self.head(enlarged)
        features = shallow
        for _ in range(self.units):
            features = shallow + self.unit2(self.phi(self.unit1(self.phi(features))))
        sr: Tensor = enlarged + self.tail(self.phi(features))
        return sr

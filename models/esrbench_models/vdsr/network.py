"""VDSR: Accurate Image Super-Resolution Using Very Deep Convolutional Networks.

Paper: CVPR 2016. On the luma x of an image that bicubic interpolation has enlarged already, with
D = 20 convolutions of n = 64 channels:

    f = ReLU(Conv3x3(x))                                   1 -> n
    f = ReLU(Conv3x3(f))                                   n -> n, D - 2 times
    SR = x + Conv3x3(f)                                    n -> 1

The network maps float32 (N, 1, H, W) in [0, 1] to the same shape, unclipped, at any size; the
scale is that of the enlargement and no layer depends on it (the authors train one network for
all scales).

It has 665 921 parameters, of which 1 217 are biases. The AIDN paper prints 666K at x2 and x3, which
includes the biases, and 665K at x4, which is the 664 704 weights alone.

Differences from the authors' release: none known but names.
"""

from __future__ import annotations

from torch import Tensor, nn

from esrbench_models.blocks import conv


class VDSR(nn.Module):
    """Very deep super-resolution network; see the module's docstring."""

    def __init__(self, scale: int = 4, *, depth: int = 20, channels: int = 64) -> None:
        """Build with random weights.

        Args:
            scale: factor by which the input was enlarged.
            depth: number D of convolutions, at least 2.
            channels: width n.
        """
        super().__init__()
        self.scale = scale
        self.head = conv(1, channels, 3)
        self.body = nn.ModuleList(conv(channels, channels, 3) for _ in range(depth - 2))
        self.tail = conv(channels, 1, 3)
        self.phi = nn.ReLU(inplace=True)

    def forward(self, enlarged: Tensor) -> Tensor:
        """Map enlarged luma (N, 1, H, W) to SR of the same shape."""
        features = self.phi(self.head(enlarged))
        for layer in self.body:
            features = self.phi(layer(features))
        sr: Tensor = enlarged + self.tail(features)
        return sr

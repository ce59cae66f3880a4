"""SRCNN: Image Super-Resolution Using Deep Convolutional Networks.

Paper: IEEE TPAMI 2016 (first form: ECCV 2014). On the luma of an image that bicubic
interpolation has enlarged already:

    f = ReLU(Conv9x9(x))                                   1 -> 64
    g = ReLU(Conv5x5(f))                                   64 -> 32
    SR = Conv5x5(g)                                        32 -> 1, no skip around the network

The network maps float32 (N, 1, H, W) in [0, 1] to the same shape, unclipped, at any size; the
scale is that of the enlargement and no layer depends on it.

This is the 9-5-5 form with 57 281 parameters. The paper calls it its best, and later papers compare
with it as "57K". The 9-1-5 form of ECCV 2014 (``middle=1``) has 8 129.

Differences from the authors' release: zero padding. Their code repeats the edge pixels instead.
This changes a border of 8 pixels.
"""

from __future__ import annotations

from torch import Tensor, nn

from esrbench_models.blocks import conv


class SRCNN(nn.Module):
    """Super-resolution convolutional neural network; see the module's docstring."""

    def __init__(self, scale: int = 4, *, middle: int = 5) -> None:
        """Build with random weights.

        Args:
            scale: factor by which the input was enlarged.
            middle: kernel of the second convolution, odd.
        """
        super().__init__()
        self.scale = scale
        self.extract = conv(1, 64, 9)
        self.map = conv(64, 32, middle)
        self.reconstruct = conv(32, 1, 5)
        self.phi = nn.ReLU(inplace=True)

    def forward(self, enlarged: Tensor) -> Tensor:
        """Map enlarged luma (N, 1, H, W) to SR of the same shape."""
        sr: Tensor = self.reconstruct(self.phi(self.map(self.phi(self.extract(enlarged)))))
        return sr

"""DRCN: Deeply-Recursive Convolutional Network for Image Super-Resolution.

Paper: CVPR 2016. On the luma x of an image that bicubic interpolation has enlarged already, with
n = 256 channels and D = 16 recursions of one convolution:

    h_0 = ReLU(Conv3x3(ReLU(Conv3x3(x))))                  1 -> n -> n, embedding
    h_d = ReLU(Conv3x3_r(h_{d-1}))                         n -> n, d = 1..D, shared weights
    y_d = x + Conv3x3_b(ReLU(Conv3x3_a(h_d)))              n -> n -> 1, shared weights
    SR = mean(y_1..y_D)

The network maps float32 (N, 1, H, W) in [0, 1] to the same shape, unclipped, at any size; the
scale is that of the enlargement and no layer depends on it.

All published figures are those of the network without biases and with one reconstruction per
recursion: 1 774 080 parameters (1 775 105 with ``bias``), and 17 974.3 G for a 1280x720 SR image.
These parameters are the weights of the five convolutions. They do not include the paper's learned
weight of each y_d in the ensemble, and a count in thousands could not show those. Here, these
weights are the constants 1/D, which keeps the computation and the count.

Differences from the authors' release: those constants, no biases (the paper's equations have
them), and a single output; the y_d that recursive supervision trains are not returned.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from esrbench_models.blocks import conv


class DRCN(nn.Module):
    """Deeply-recursive convolutional network; see the module's docstring."""

    def __init__(
        self, scale: int = 4, *, channels: int = 256, recursions: int = 16, bias: bool = False
    ) -> None:
        """Build with random weights.

        Args:
            scale: factor by which the input was enlarged.
            channels: width n.
            recursions: number D of applications of the recursive convolution, at least 1.
            bias: biases in all convolutions.
        """
        super().__init__()
        self.scale = scale
        self.recursions = recursions
        self.embed1 = conv(1, channels, 3, bias=bias)
        self.embed2 = conv(channels, channels, 3, bias=bias)
        self.recur = conv(channels, channels, 3, bias=bias)
        self.reconstruct1 = conv(channels, channels, 3, bias=bias)
        self.reconstruct2 = conv(channels, 1, 3, bias=bias)
        self.phi = nn.ReLU(inplace=True)

    def forward(self, enlarged: Tensor) -> Tensor:
        """Map enlarged luma (N, 1, H, W) to SR of the same shape."""
        hidden = self.phi(self.embed2(self.phi(self.embed1(enlarged))))
        total = torch.zeros_like(enlarged)
        for _ in range(self.recursions):
            hidden = self.phi(self.recur(hidden))
            total = total + self.reconstruct2(self.phi(self.reconstruct1(hidden)))
        return enlarged + total / self.recursions

"""FSRCNN: Accelerating the Super-Resolution Convolutional Neural Network.

Paper: ECCV 2016. On the luma of the LR image, with d = 56, s = 12, m = 4 and PReLU of one slope
a channel after every convolution:

    f = PReLU(Conv5x5(LR))                                 1 -> d, feature extraction
    f = PReLU(Conv1x1(f))                                  d -> s, shrinking
    f = PReLU(Conv3x3(f))                                  s -> s, m times, mapping
    f = PReLU(Conv1x1(f))                                  s -> d, expanding
    SR = Deconv9x9(f), stride of the scale                 d -> 1, no skip around the network

The network maps float32 (N, 1, H, W) in [0, 1] to (N, 1, scale*H, scale*W), unclipped, at any
size and any scale up to 9, the kernel of the transposed convolution.

The 12 809 parameters do not depend on the scale: 12 464 weights, 173 biases, 172 slopes. The AIDN
paper prints 13K at x2 and x3, which is everything (or the 12 637 without slopes), and 12K at x4,
which is the weights alone. Published FLOPs mostly count the transposed convolution at its output
pixels, which is scale^2 times too many. They are 6.0 / 5.0 / 4.6 G for a 1280x720 SR image. The
real figures are 2.87 / 1.28 / 0.72 G.

Differences from the authors' release: zero padding, where their code repeats the edge pixels,
and a slope a channel, where it has one a layer.
"""

from __future__ import annotations

from torch import Tensor, nn

from esrbench_models.blocks import conv, deconv


class FSRCNN(nn.Module):
    """Fast super-resolution convolutional neural network; see the module's docstring."""

    def __init__(
        self, scale: int = 4, *, channels: int = 56, shrunk: int = 12, mappings: int = 4
    ) -> None:
        """Build with random weights.

        Args:
            scale: upscaling factor.
            channels: width d.
            shrunk: width s of the mapping.
            mappings: number m of 3x3 convolutions.

        Raises:
            ValueError: a scale above 9.
        """
        super().__init__()
        self.extract = nn.Sequential(conv(1, channels, 5), nn.PReLU(channels))
        self.shrink = nn.Sequential(conv(channels, shrunk, 1), nn.PReLU(shrunk))
        self.mappings = nn.Sequential(
            *(nn.Sequential(conv(shrunk, shrunk, 3), nn.PReLU(shrunk)) for _ in range(mappings))
        )
        self.expand = nn.Sequential(conv(shrunk, channels, 1), nn.PReLU(channels))
        self.enlarge = deconv(channels, 1, 9, scale)

    def forward(self, lr: Tensor) -> Tensor:
        """Map LR luma (N, 1, H, W) to SR (N, 1, scale*H, scale*W)."""
        features = self.mappings(self.shrink(self.extract(lr)))
        sr: Tensor = self.enlarge(self.expand(features))
        return sr

"""LapSRN: Deep Laplacian Pyramid Networks for Fast and Accurate Super-Resolution.

Paper: CVPR 2017. On the luma of the LR image, with phi = LeakyReLU(0.2), n = 64 channels and
levels that enlarge by 2:

    f_0 = phi(Conv3x3(LR)),  y_0 = LR                      1 -> n
    (f_l, y_l) = Level_l(f_{l-1}, y_{l-1})                 l = 1..L
    SR = y_L, at x3 resized from 4H x 4W to 3H x 3W by bicubic interpolation with antialiasing

    Level(f, y):  f = phi(Conv3x3(f))                      n -> n, D times
                  f = phi(Deconv_k(f)), stride 2           n -> n
                  y = Deconv_k(y) + Conv3x3(f), stride 2   1 -> 1, n -> 1

The network maps float32 (N, 1, H, W) in [0, 1] to (N, 1, scale*H, scale*W), unclipped, at any
size, for the scales of ``FORMS``; the resizing at x3 is the release's.

The published parameters, 251/502/813K, belong to three different networks, which are in ``FORMS``.
At x2 and x3 (two levels, resized), D = 5 and k = 4 with biases: 251 474 and 502 308. At x4, D = 10
and k = 3 without biases: 812 754. Other published figures do not belong to them. The 29.9 G printed
at x2 for a 1280x720 SR image are the first level of the x4 network for a 640x360 image. Those at x3
(311.0 G) fit none. All count a transposed convolution at its output pixels, 4 times too many.

Differences from the authors' release: its levels have D = 10 and k = 3 at every scale, with biases.
Its feature kernels lie a pixel further down and right. Its image kernels are 4x4 without bias and
start as bilinear; ours start at random.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from torch import Tensor, nn
from torch.nn import functional

from esrbench_models.blocks import conv, deconv

SLOPE = 0.2


class Form(NamedTuple):
    """The properties in which the published networks differ.

    Attributes:
        levels: number L of levels, of x2 each.
        depth: number D of convolutions in a level.
        kernel: side k of the transposed convolutions, at least 2.
        bias: biases in all convolutions.
    """

    levels: int
    depth: int
    kernel: int
    bias: bool


FORMS: Final = {
    2: Form(levels=1, depth=5, kernel=4, bias=True),
    3: Form(levels=2, depth=5, kernel=4, bias=True),
    4: Form(levels=2, depth=10, kernel=3, bias=False),
}
"""The network in print, by scale."""


class Level(nn.Module):
    """One level of the pyramid: features and image, both enlarged by 2."""

    def __init__(self, channels: int, form: Form) -> None:
        """Keep ``channels`` throughout."""
        super().__init__()
        self.extract = nn.ModuleList(
            conv(channels, channels, 3, bias=form.bias) for _ in range(form.depth)
        )
        self.enlarge_features = deconv(channels, channels, form.kernel, 2, bias=form.bias)
        self.residual = conv(channels, 1, 3, bias=form.bias)
        self.enlarge_image = deconv(1, 1, form.kernel, 2, bias=form.bias)
        self.phi = nn.LeakyReLU(SLOPE, inplace=True)

    def forward(self, features: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        """Map (N, C, H, W) and (N, 1, H, W) to (N, C, 2H, 2W) and (N, 1, 2H, 2W)."""
        for layer in self.extract:
            features = self.phi(layer(features))
        features = self.phi(self.enlarge_features(features))
        return features, self.enlarge_image(image) + self.residual(features)


class LapSRN(nn.Module):
    """Laplacian pyramid super-resolution network; see the module's docstring."""

    def __init__(self, scale: int = 4, *, channels: int = 64) -> None:
        """Build with random weights.

        Args:
            scale: upscaling factor: 2, 3 or 4; it also chooses the form.
            channels: width n.

        Raises:
            ValueError: a scale without a form in print.
        """
        super().__init__()
        if scale not in FORMS:
            raise ValueError(f"LapSRN upscales by {', '.join(map(str, FORMS))}, not by {scale}")
        form = FORMS[scale]
        self.scale = scale
        self.head = conv(1, channels, 3, bias=form.bias)
        self.levels = nn.ModuleList(Level(channels, form) for _ in range(form.levels))
        self.phi = nn.LeakyReLU(SLOPE, inplace=True)

    def forward(self, lr: Tensor) -> Tensor:
        """Map LR luma (N, 1, H, W) to SR (N, 1, scale*H, scale*W)."""
        features, image = self.phi(self.head(lr)), lr
        for level in self.levels:
            features, image = level(features, image)
        size = [self.scale * side for side in lr.shape[-2:]]
        if self.scale < 2 ** len(self.levels):
            image = functional.interpolate(
                image, size=size, mode="bicubic", align_corners=False, antialias=True
            )
        return image

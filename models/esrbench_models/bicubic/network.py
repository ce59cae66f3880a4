"""Bicubic interpolation as MATLAB's ``imresize`` enlarges a uint8 image: the baseline of SR.

Along one axis, output sample o of an axis enlarged s times lies at u = (o + 0.5)/s - 0.5 and is

    y[o] = sum over k = -1..2 of  h(u - (floor(u) + k)) * x[floor(u) + k]

with the cubic kernel h of a = -0.5 (Keys 1981). Indices beyond the border are mirrored, the
edge sample repeated once (-1 -> 0, -2 -> 1, W -> W-1), as in modern MATLAB; older ones repeat
the edge sample, which differs in the outer s/2 pixels only. Rows come first, then columns.
After each pass the result is rounded, halves up, and clipped to 0..255, because MATLAB keeps
uint8 between the passes. It has no parameters. Antialiasing only acts when an image shrinks.

The module maps float32 (N, 3, H, W) in [0, 1] to (N, 3, s*H, s*W); input and output hold
multiples of 1/255, other inputs are rounded to them first.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

WHITE = 255.0
TAPS = (-1, 0, 1, 2)


def cubic(distance: Tensor) -> Tensor:
    """Keys' cubic kernel with a = -0.5, element-wise on distances |t| <= 2 of any shape."""
    t = distance.abs()
    near = (1.5 * t - 2.5) * t * t + 1.0
    far = ((-0.5 * t + 2.5) * t - 4.0) * t + 2.0
    return torch.where(t <= 1.0, near, far)


class Bicubic(nn.Module):
    """MATLAB's bicubic enlargement; see the module's docstring."""

    def __init__(self, scale: int = 4) -> None:
        """Enlarge by the integer ``scale``."""
        super().__init__()
        self.scale = scale

    def forward(self, lr: Tensor) -> Tensor:
        """Map LR (N, 3, H, W) in [0, 1] to SR (N, 3, s*H, s*W) in [0, 1]."""
        image = quantise(lr.to(torch.float64) * WHITE)
        for axis in (2, 3):
            image = quantise(self._enlarge(image, axis))
        return (image / WHITE).to(torch.float32)

    def _enlarge(self, image: Tensor, axis: int) -> Tensor:
        """Interpolate float64 (N, 3, H, W) along one axis, unrounded."""
        size = image.shape[axis]
        out = torch.arange(size * self.scale, dtype=torch.float64, device=image.device)
        position = (out + 0.5) / self.scale - 0.5
        left = position.floor()
        shape = [1, 1, 1, 1]
        shape[axis] = -1
        total = torch.zeros((), dtype=torch.float64, device=image.device)
        for tap in TAPS:
            index = left + tap
            weight = cubic(position - index).reshape(shape)
            total = total + weight * image.index_select(axis, mirrored(index.long(), size))
        return total


def mirrored(index: Tensor, size: int) -> Tensor:
    """Reflect integer indices at the outer edges of 0..size-1, the edge sample repeated."""
    folded = index.remainder(2 * size)
    return torch.minimum(folded, 2 * size - 1 - folded)


def quantise(image: Tensor) -> Tensor:
    """Round to integers, halves up, and clip to 0..255, as MATLAB does on writing uint8."""
    return (image + 0.5).floor().clamp(0.0, WHITE)

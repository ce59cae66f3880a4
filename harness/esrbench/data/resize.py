"""MATLAB's bicubic ``imresize`` on uint8 images, bit for bit.

Cubic kernel with a = -0.5 (Keys 1981), stretched by the scale when shrinking (antialiasing),
weights normalised, rows first and columns second, rounded half up and clipped to uint8 after
each pass. Two border rules are in circulation: current MATLAB mirrors (DIV2K), older MATLAB
replicates the edge (Set5, Set14, BSD100 and Urban100 as distributed).
"""

from __future__ import annotations

from fractions import Fraction
from math import ceil, floor
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

Border = Literal["mirror", "replicate"]

_KERNEL_WIDTH = 4
_BLOCK_BYTES = 2**20
"""Size of the float64 accumulator of one block, which should stay in a core's cache."""


def imresize_matlab(
    image: npt.NDArray[np.uint8], scale: int | Fraction, *, border: Border
) -> npt.NDArray[np.uint8]:
    """Resize as MATLAB's ``imresize(image, scale, 'bicubic')`` does.

    Args:
        image: uint8 array (H, W, C).
        scale: output size over input size; ``Fraction(1, 4)`` shrinks four times.
        border: pixels beyond the edge: ``mirror`` (edge pixel repeated) or ``replicate``.

    Returns:
        uint8 array (ceil(H * scale), ceil(W * scale), C), C-contiguous.

    Raises:
        ValueError: wrong shape or dtype, an empty image, or a scale that is not positive.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or 0 in image.shape:  # noqa: PLR2004
        message = f"expected a non-empty uint8 (H, W, C) image, got {image.dtype} {image.shape}"
        raise ValueError(message)
    if scale <= 0:
        message = f"expected a positive scale, got {scale}"
        raise ValueError(message)
    ratio = Fraction(scale)
    rows = _resize_first_axis(image, ratio, border)
    columns = _resize_first_axis(np.ascontiguousarray(rows.transpose(1, 0, 2)), ratio, border)
    return np.ascontiguousarray(columns.transpose(1, 0, 2))


def downscale(image: npt.NDArray[np.uint8], scale: int, *, border: Border) -> npt.NDArray[np.uint8]:
    """LR image of an HR image: (H, W, C) to (ceil(H / scale), ceil(W / scale), C), uint8."""
    return imresize_matlab(image, Fraction(1, scale), border=border)


def upscale(image: npt.NDArray[np.uint8], scale: int, *, border: Border) -> npt.NDArray[np.uint8]:
    """Bicubic SR of an LR image: (H, W, C) to (scale * H, scale * W, C), uint8."""
    return imresize_matlab(image, scale, border=border)


def modcrop(image: npt.NDArray[np.uint8], multiple: int) -> npt.NDArray[np.uint8]:
    """Crop (H, W, C) at the bottom and right to multiples of ``multiple``; a view."""
    height, width = image.shape[0] // multiple * multiple, image.shape[1] // multiple * multiple
    return image[:height, :width]


def _cubic(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Keys' cubic convolution kernel with a = -0.5."""
    x = np.abs(x)
    x2 = x * x
    x3 = x2 * x
    near = 1.5 * x3 - 2.5 * x2 + 1.0
    far = -0.5 * x3 + 2.5 * x2 - 4.0 * x + 2.0
    return np.where(x <= 1, near, np.where(x <= 2, far, 0.0))  # noqa: PLR2004


def _taps(phase: int, ratio: Fraction) -> tuple[int, npt.NDArray[np.float64]]:
    """First input index (may be negative) and weights of output number ``phase``."""
    stretch = max(Fraction(1), 1 / ratio)
    centre = (phase + Fraction(1, 2)) / ratio - Fraction(1, 2)
    reach = stretch * _KERNEL_WIDTH / 2
    first, last = ceil(centre - reach), floor(centre + reach)
    distances = [float((centre - index) / stretch) for index in range(first, last + 1)]
    weights = _cubic(np.array(distances))
    return first, weights / weights.sum()


def _resize_first_axis(
    image: npt.NDArray[np.uint8], ratio: Fraction, border: Border
) -> npt.NDArray[np.uint8]:
    """Resize (N, ...) to (ceil(N * ratio), ...) along its first axis."""
    size = image.shape[0]
    out_size = ceil(size * ratio)
    # Outputs repeat their weights every `numerator`, shifted by `denominator` inputs.
    period, step = ratio.numerator, ratio.denominator
    phases = [(phase, *_taps(phase, ratio)) for phase in range(min(period, out_size))]
    before = max(0, -min(first for _, first, _ in phases))
    after = max(
        first + (out_size - 1 - phase) // period * step + len(weights) - size
        for phase, first, weights in phases
    )
    mode: Literal["symmetric", "edge"] = "symmetric" if border == "mirror" else "edge"
    rows = image.reshape(size, -1)
    padded = np.pad(rows, ((before, max(0, after)), (0, 0)), mode=mode)
    result = np.empty((out_size, rows.shape[1]), np.uint8)
    block = max(64, _BLOCK_BYTES // (8 * ceil(out_size / period)))
    for start in range(0, rows.shape[1], block):
        columns = slice(start, start + block)
        for phase, first, weights in phases:
            target = result[phase::period, columns]
            total = np.full(target.shape, 0.5)  # makes the floor of the cast round half up
            for tap, weight in enumerate(weights, start=before + first):
                total += weight * padded[tap : tap + step * (len(target) - 1) + 1 : step, columns]
            np.clip(total, 0, 255, out=total)
            target[...] = total.astype(np.uint8)
    return result.reshape(out_size, *image.shape[1:])

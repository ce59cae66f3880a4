"""New images with known HR: windows of a mirrored image, flipped or not.

MATLAB's bicubic mirrors images at their borders. So LR of the mirrored HR image is the mirrored LR
image, and each window of it has an exact counterpart in HR, ``scale`` times as large. Windows have
the image's own size and cost as much as the image.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

    import numpy.typing as npt

    Pixels = npt.NDArray[np.uint8]

MOST_OFFSET = 16
"""Largest shift between a window and the image, in LR pixels."""
OFFSET_SHARE = 4
"""A window is shifted by at most one over this number of a side: one fourth."""


@dataclass(frozen=True, slots=True)
class Variant:
    """A window and how it is flipped.

    Attributes:
        offset: LR rows and columns by which the window is shifted down and right.
        flip_rows: top becomes bottom.
        flip_columns: left becomes right.
    """

    offset: tuple[int, int]
    flip_rows: bool
    flip_columns: bool

    def of_lr(self, lr: Pixels) -> Pixels:
        """The variant, of the size of the LR image, uint8 (h, w, 3), contiguous."""
        rows, columns = (
            _mirrored(offset, side, reverse=flip)
            for offset, side, flip in zip(
                self.offset, lr.shape[:2], (self.flip_rows, self.flip_columns), strict=True
            )
        )
        return np.ascontiguousarray(lr[rows][:, columns])

    def of_hr(self, hr: Pixels, scale: int) -> Pixels:
        """HR of the whole variant, uint8 (scale*h, scale*w, 3), contiguous."""
        down, right = self.offset
        return replace(self, offset=(scale * down, scale * right)).of_lr(hr)

    def restored(self, sr: Pixels, scale: int) -> Pixels:
        """The part of the variant's SR that shows the image, with flips undone."""
        upright = sr[:: -1 if self.flip_rows else 1, :: -1 if self.flip_columns else 1]
        rows, columns = (
            slice(max(0, -offset) * scale, (side // scale - max(0, offset)) * scale)
            for offset, side in zip(self.offset, sr.shape[:2], strict=True)
        )
        return np.ascontiguousarray(upright[rows, columns])

    def shown(self, hr: Pixels, scale: int) -> Pixels:
        """The same part of the image's HR, or of its own SR."""
        rows, columns = (
            slice(max(0, offset) * scale, (side // scale - max(0, -offset)) * scale)
            for offset, side in zip(self.offset, hr.shape[:2], strict=True)
        )
        return np.ascontiguousarray(hr[rows, columns])


CLEAN = Variant(offset=(0, 0), flip_rows=False, flip_columns=False)
"""The image itself."""


@dataclass(frozen=True, slots=True)
class TimedWindow:
    """A variant that was shown in a timed round.

    Attributes:
        image: index of its image.
        variant: the variant.
        psnr_rgb: PSNR in dB of its whole delivered SR; None if it has no error.
    """

    image: int
    variant: Variant
    psnr_rgb: float | None


def draw_variants(rng: random.Random, lr_size: tuple[int, int]) -> Iterator[Variant]:
    """Endless random variants, never ``CLEAN``, without repetition until all have been used.

    Args:
        rng: source of random numbers.
        lr_size: height and width.
    """
    reaches = [min(MOST_OFFSET, side // OFFSET_SHARE) for side in lr_size]
    offsets = [
        (down, right)
        for down in range(-reaches[0], reaches[0] + 1)
        for right in range(-reaches[1], reaches[1] + 1)
    ]
    while True:
        seen: set[Variant] = {CLEAN}
        while len(seen) < 4 * len(offsets):
            variant = Variant(rng.choice(offsets), rng.random() < 0.5, rng.random() < 0.5)  # noqa: PLR2004
            if variant not in seen:
                seen.add(variant)
                yield variant


def draw_window(rng: random.Random, lr: Pixels, size: tuple[int, int]) -> Pixels:
    """A window of any size of an image that is mirrored at its borders, flipped or not.

    Args:
        rng: source of random numbers.
        lr: the image, uint8 (h, w, 3).
        size: height and width of the window.
    """
    rows, columns = (
        _mirrored(rng.randrange(2 * side), side, length=length, reverse=rng.random() < 0.5)  # noqa: PLR2004
        for side, length in zip(lr.shape[:2], size, strict=True)
    )
    return np.ascontiguousarray(lr[rows][:, columns])


def _mirrored(
    offset: int, side: int, *, reverse: bool, length: int | None = None
) -> npt.NDArray[np.intp]:
    """Indices of a window, by default as long as the side, in a side mirrored at both ends."""
    indices = np.arange(offset, offset + (side if length is None else length)) % (2 * side)
    indices = np.where(indices < side, indices, 2 * side - 1 - indices)
    return indices[::-1] if reverse else indices

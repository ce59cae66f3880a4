"""Images of the challenge's sizes, tiled from the day's smaller ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from esrbench.data.resize import downscale
from gpu_steps.day import SCALE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt

    from esrbench.data.datasets import ImagePairs

    Pixels = npt.NDArray[np.uint8]


def mosaic(pairs: ImagePairs, lr_size: tuple[int, int], seed: int) -> Pixels:
    """An HR image of ``SCALE`` times an LR size, tiled from HR images in a random order.

    Args:
        pairs: whose HR images, uint8 (h, w, 3), are the tiles.
        lr_size: height and width in LR pixels.
        seed: of the order.
    """
    height, width = (side * SCALE for side in lr_size)
    rng = np.random.default_rng(seed)
    tile = min(*pairs.read_hr(0).shape[:2], height, width)
    canvas = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, tile):
        for left in range(0, width, tile):
            space = canvas[top : top + tile, left : left + tile]
            space[:] = pairs.read_hr(int(rng.integers(len(pairs))))[
                : space.shape[0], : space.shape[1]
            ]
    return canvas


def write_mosaics(pairs: ImagePairs, sizes: Sequence[tuple[int, int]], folder: Path) -> Path:
    """A folder of HR/LR pairs, one of each LR size; the folder itself."""
    for seed, (height, width) in enumerate(sizes):
        hr = mosaic(pairs, (height, width), seed)
        name = f"{seed:02}-{height}x{width}"
        for part, image in (
            (f"HR/{name}.png", hr),
            (f"LR_bicubic/X{SCALE}/{name}x{SCALE}.png", downscale(hr, SCALE, border="mirror")),
        ):
            path = folder / part
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), image[:, :, ::-1])
    return folder

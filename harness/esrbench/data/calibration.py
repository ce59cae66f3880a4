"""LR images for quantising a network, made from windows of HR images that are not scored."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from esrbench.data.codecs import pixel_digest, read_rgb
from esrbench.data.pool import for_each
from esrbench.data.resize import downscale
from esrbench.data.unscored import cropped_digests, find_images, parse_sources, refuse_scored
from esrbench.environment import cpus_available
from esrbench.errors import DataError
from esrbench.protocol import Quantisation, size_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    import numpy.typing as npt

    from esrbench.data.pairs import ImagePairs

    Pixels = npt.NDArray[np.uint8]

MOST_IMAGES: Final = 64
"""Number of images that are used, at even steps in the order of their names."""
LEAST_SIDE: Final = 32
MOST_SIDE: Final = 128
"""Longest side of a window at the centre of an image, in LR pixels."""
ADVICE = "Repair or remove these files; nothing was calibrated."


@dataclass(frozen=True, slots=True)
class Calibration:
    """LR images that show a quantiser what activations look like.

    Attributes:
        images: uint8 (h, w, 3) RGB, ``LEAST_SIDE`` to ``MOST_SIDE`` pixels a side.
        scale: factor by which the HR images were shrunk.
        digests: pixel digests of the HR images, by name; they show whether one is scored.
    """

    images: tuple[Pixels, ...]
    scale: int
    digests: Mapping[str, tuple[str, ...]]

    def quantisation(self, *, fp32_ends: bool = False) -> Quantisation:
        """The description in records of a network that is quantised with these images."""
        lines = "".join(f"{pixel_digest(image)}\n" for image in self.images)
        sha256 = hashlib.sha256(lines.encode()).hexdigest()
        return Quantisation(images=len(self.images), sha256=sha256, fp32_ends=fp32_ends)

    def refuse_scored(self, tested: Iterable[ImagePairs]) -> None:
        """Raise ``DataError`` if an image is scored in ``tested`` or in a declared data set."""
        refuse_scored(self.digests, tested, use="calibration")


def open_calibration(text: str, scale: int) -> Calibration:
    """Read HR images and make LR images of them by MATLAB's bicubic.

    Args:
        text: folders of HR images, as ``parse_sources`` reads them.
        scale: upscaling factor.

    Raises:
        UsageError: there is no such folder.
        DataError: no images, or images that are too small or cannot be read; all are listed.
    """
    sources = parse_sources(text, option="--calibrate-with")
    files = [file for source in sources for file in find_images(source)]
    count = min(MOST_IMAGES, len(files))
    chosen = [files[index * len(files) // count] for index in range(count)]
    results, problems = for_each(
        lambda index: _read(chosen[index][1], scale), count, threads=cpus_available()
    )
    if problems:
        message = f"{len(problems)} of {count} images cannot be calibrated with"
        raise DataError(message, problems, advice=ADVICE)
    names = (name for name, _ in chosen)
    return Calibration(
        images=tuple(image for image, _ in results),
        scale=scale,
        digests={name: known for name, (_, known) in zip(names, results, strict=True)},
    )


def _read(path: Path, scale: int) -> tuple[Pixels, tuple[str, ...]]:
    """The LR window of an image, and the digests by which the image is recognised."""
    pixels = read_rgb(path)
    height, width = pixels.shape[:2]
    if min(height, width) < scale * LEAST_SIDE:
        least = size_text((scale * LEAST_SIDE,) * 2)
        raise DataError(f"{path}: found {width}x{height} pixels, expected at least {least}")
    rows, columns = (min(MOST_SIDE, side // scale) * scale for side in (height, width))
    top, left = (height - rows) // 2, (width - columns) // 2
    window = np.ascontiguousarray(pixels[top : top + rows, left : left + columns])
    lr = downscale(window, scale, border="mirror")
    return lr, (pixel_digest(pixels), *cropped_digests(pixels))

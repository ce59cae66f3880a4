"""Crops of a data set's images that a run keeps, so that its SR can be looked at later.

The crops are chosen once for a data set and scale, by a rule that depends only on the images. So
all entries keep the same crops, and nobody chooses by hand.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from esrbench.files import replace_file

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from esrbench.data.pairs import ImagePairs

    Pixels = npt.NDArray[np.uint8]

CROPS: Final = 8
HEIGHT, WIDTH = 128, 192
"""Largest width and height of a crop, in HR pixels."""
PLACES: Final = 32
"""Places drawn in each image; the one with most detail is taken."""
INDEX: Final = "crops.json"
RULE: Final = (
    f"{CROPS} crops of {WIDTH}x{HEIGHT} HR pixels: the data set's hash draws the images, and "
    f"{PLACES} places in each; the place with the largest standard deviation of HR is kept"
)


@dataclass(frozen=True, slots=True)
class Crop:
    """A part of an image.

    Attributes:
        image: name of the image.
        top: first HR row, a multiple of the scale.
        left: first HR column, a multiple of the scale.
        height: HR rows, a multiple of the scale.
        width: HR columns, a multiple of the scale.
    """

    image: str
    top: int
    left: int
    height: int
    width: int

    @property
    def filename(self) -> str:
        """Name of its lossless WebP file."""
        return f"{self.image}-{self.top}-{self.left}.webp"

    def cut(self, pixels: Pixels, divisor: int = 1) -> Pixels:
        """The part of an image, (H, W, 3); ``divisor`` is the scale for LR pixels."""
        top, left = self.top // divisor, self.left // divisor
        height, width = self.height // divisor, self.width // divisor
        return pixels[top : top + height, left : left + width]


@dataclass(frozen=True, slots=True)
class CropFolder:
    """The folder for crops of one entry's SR images.

    Attributes:
        folder: made when the first crop is written.
        crops: the crops of the data set.
    """

    folder: Path
    crops: tuple[Crop, ...]

    def keep(self, image: str, sr: Pixels) -> None:
        """Write the crops of one SR image, uint8 (H, W, 3) RGB.

        Raises:
            OSError: a file cannot be written.
        """
        for crop in self.crops:
            if crop.image == image:
                write_crop(self.folder, crop, crop.cut(sr))


def choose_crops(pairs: ImagePairs) -> list[tuple[Crop, Pixels, Pixels]]:
    """The crops of a data set by ``RULE``, with their HR and LR pixels.

    Args:
        pairs: checked images, whose digest seeds the choice.

    Raises:
        DataError: an image changed since it was checked.
    """
    random = np.random.default_rng(int(pairs.digest[:16], 16))
    order = random.permutation(len(pairs))
    found: list[tuple[Crop, Pixels, Pixels]] = []
    for number in range(CROPS):
        index = int(order[number % len(order)])
        hr, lr = pairs.read_hr(index), pairs.read_lr(index)
        crop = _detailed(pairs.pairs[index].name, hr, pairs.scale, random)
        if crop not in [other for other, _, _ in found]:
            found.append((crop, crop.cut(hr).copy(), crop.cut(lr, pairs.scale).copy()))
    return found


def _detailed(image: str, hr: Pixels, scale: int, random: np.random.Generator) -> Crop:
    """The place with most detail, among some places in an image."""
    height, width = (
        min(most, side) // scale * scale
        for most, side in zip((HEIGHT, WIDTH), hr.shape[:2], strict=True)
    )
    rows, columns = (hr.shape[0] - height) // scale, (hr.shape[1] - width) // scale
    places = [
        Crop(image, int(top) * scale, int(left) * scale, height, width)
        for top, left in random.integers((rows + 1, columns + 1), size=(PLACES, 2))
    ]
    return max(places, key=lambda place: float(place.cut(hr).std()))


def crops_of(pairs: ImagePairs, folder: Path) -> tuple[Crop, ...]:
    """The crops of a data set, whose HR and LR pixels are written to a folder if not there yet.

    Args:
        pairs: checked images.
        folder: of this data set; made if it is not there.

    Raises:
        DataError: an image changed since it was checked.
        OSError: the folder cannot be written.
    """
    index = folder / INDEX
    if not index.is_file():
        chosen = choose_crops(pairs)
        for crop, hr, lr in chosen:
            write_crop(folder / "HR", crop, hr)
            write_crop(folder / "LR", crop, lr)
        document = {
            "rule": RULE,
            "scale": pairs.scale,
            "crops": [asdict(crop) for crop, _, _ in chosen],
        }
        # Written last: where it is, all crops are.
        replace_file(index, json.dumps(document, indent=1).encode())
    return read_crops(folder)


def read_crops(folder: Path) -> tuple[Crop, ...]:
    """The crops in a data set's folder; empty if it has none or no readable index."""
    try:
        document = json.loads((folder / INDEX).read_bytes())
        return tuple(Crop(**crop) for crop in document["crops"])
    except (OSError, ValueError, TypeError, KeyError):
        return ()


def write_crop(folder: Path, crop: Crop, pixels: Pixels) -> None:
    """Write pixels, uint8 (H, W, 3) RGB, as lossless WebP.

    Raises:
        OSError: the file cannot be written.
    """
    import cv2

    folder.mkdir(parents=True, exist_ok=True)
    bgr = cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2BGR)
    # A quality above 100 is OpenCV's way to ask for lossless.
    encoded = cv2.imencode(".webp", bgr, (cv2.IMWRITE_WEBP_QUALITY, 101))[1]
    replace_file(folder / crop.filename, encoded.data, flush=False)

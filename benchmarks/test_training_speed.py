"""Crops a second: from memory-mapped pixels, and by a loader that decodes an image for each crop.

Both cut the same crops of the same images, LR and HR, and turn them the same way; only where the
pixels come from differs. One process, one thread, CPU time.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
import torch
from conftest import SCALE, Step
from torch.utils.data import DataLoader, Dataset

from esrbench.data.codecs import write_png
from esrbench.data.unscored import Source
from esrbench.probes.forward import PixelConversion
from esrbench.training.images import open_images
from esrbench.training.patches import Patches, make_loader, transform

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from esrbench.data.pairs import ImagePairs

BATCH, LR_PATCH, STEPS = 32, 64, 4
"""As the AIDN paper trains: HR crops of 256, batches of 32."""

CROPS = Step("training crop of 256 HR pixels, LR and HR", ratio=20)

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.benchmark(timer=time.process_time),
]


@pytest.fixture(scope="module")
def patches(pairs: ImagePairs, tmp_path_factory: pytest.TempPathFactory) -> Patches:
    folder = tmp_path_factory.mktemp("hr")
    for pair in pairs.pairs:
        (folder / pair.hr.name).symlink_to(pair.hr)
    images = open_images(
        [Source("photographs", folder)], SCALE, cache=tmp_path_factory.mktemp("decoded")
    )
    return Patches(images, LR_PATCH, BATCH, 0, symmetric=True, conversion=PixelConversion(SCALE))


class DecodePerSample(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Both PNG files of an image are decoded for each crop of it."""

    def __init__(self, patches: Patches, folder: Path) -> None:
        self.patches = patches
        self.files: list[tuple[Path, Path]] = []
        stored = zip(patches.images.images, patches.images.lr, patches.images.hr, strict=True)
        for image, lr, hr in stored:
            stem = image.name.replace("/", "-")
            self.files.append((folder / f"lr-{stem}", folder / f"hr-{stem}"))
            for path, pixels in zip(self.files[-1], (lr, hr), strict=True):
                write_png(path, np.ascontiguousarray(pixels))

    def __len__(self) -> int:
        """Number of crops."""
        return BATCH * STEPS

    def __getitem__(self, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        """LR and HR crop."""
        image, row, column, symmetry = self.patches.place(number)
        lr, hr = (
            self.cut(path, row * scale, column * scale, LR_PATCH * scale, symmetry)
            for path, scale in zip(self.files[image], (1, SCALE), strict=True)
        )
        return lr, hr

    @staticmethod
    def cut(path: Path, row: int, column: int, side: int, symmetry: int) -> torch.Tensor:
        """A crop of a file."""
        pixels: Any = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
        crop = transform(pixels[row : row + side, column : column + side], symmetry)
        return torch.from_numpy(np.ascontiguousarray(crop)).permute(2, 0, 1)


@pytest.fixture(scope="module")
def plain(patches: Patches, tmp_path_factory: pytest.TempPathFactory) -> DecodePerSample:
    return DecodePerSample(patches, tmp_path_factory.mktemp("png"))


def test_crops_official(measure: Callable[..., Any], plain: DecodePerSample) -> None:
    loader = DataLoader(plain, batch_size=BATCH)
    measure(CROPS, "official", lambda: list(loader), rounds=2, images=BATCH * STEPS)


def test_crops(measure: Callable[..., Any], patches: Patches, plain: DecodePerSample) -> None:
    def cut() -> list[Any]:
        return list(make_loader(patches, first=0, last=STEPS, workers=0))

    batches = measure(CROPS, "ours", cut, rounds=10, images=BATCH * STEPS)
    for number in (0, 37, BATCH * STEPS - 1):
        step, slot = divmod(number, BATCH)
        for side, expected in zip(batches[step], plain[number], strict=True):
            assert torch.equal(side[slot], expected)

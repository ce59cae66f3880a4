"""Random aligned crops. Every crop depends only on the seed and on its number.

So the crops are the same with any number of workers, and after a resume.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from esrbench.probes.luma import luma

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from esrbench.probes.forward import PixelConversion
    from esrbench.training.images import TrainingImages

    Pixels = npt.NDArray[np.uint8]
    Batch = tuple[torch.Tensor, torch.Tensor]

SYMMETRIES = 8
"""Quarter turns of a square, and of its mirror image."""

# A bit in the second word of a generator's key; numbers of crops stay below it.
_STAGE_BIT, _ORDER_BIT = 48, 63


def transform(pixels: Pixels, symmetry: int) -> Pixels:
    """One of the 8 symmetries of a square.

    Args:
        pixels: (N, N, C).
        symmetry: 0 to 7; 0 changes nothing, 4 to 7 mirror left and right after 0 to 3 quarter
            turns.

    Returns:
        (N, N, C), a view.
    """
    turned = np.rot90(pixels, symmetry % 4)
    return turned[:, ::-1] if symmetry >= SYMMETRIES // 2 else turned


@dataclass
class Patches(Dataset["Batch"]):
    """Pairs of LR and HR crops by number.

    Attributes:
        images: images that they are cut from.
        lr_patch: side of LR crops in pixels.
        batch: crops in each step.
        seed: seed of the order of images and of all crops.
        stage: stage of the training; crops with the same number differ between stages.
        symmetric: turn and mirror crops.
        conversion: input of the network: RGB or luma, LR or enlarged.
    """

    images: TrainingImages
    lr_patch: int
    batch: int
    seed: int
    symmetric: bool
    conversion: PixelConversion
    stage: int = 0
    _order: tuple[int, npt.NDArray[np.int64]] | None = field(default=None, repr=False)

    @property
    def epoch_steps(self) -> int:
        """Steps in which every image is used once; incomplete batches are left out."""
        return max(1, len(self.images) // self.batch)

    def place(self, number: int) -> tuple[int, int, int, int]:
        """Image, LR row, LR column and symmetry of crop ``number``."""
        step, slot = divmod(number, self.batch)
        epoch, step = divmod(step, self.epoch_steps)
        image = int(self._order_of(epoch)[(step * self.batch + slot) % len(self.images)])
        # The generator has a key, so crop n does not depend on earlier crops.
        random = self._random(number)
        stored, scale = self.images.images[image], self.images.scale
        row = int(random.integers(stored.height // scale - self.lr_patch + 1))
        column = int(random.integers(stored.width // scale - self.lr_patch + 1))
        symmetry = int(random.integers(SYMMETRIES)) if self.symmetric else 0
        return image, row, column, symmetry

    def crop(self, number: int) -> tuple[Pixels, Pixels]:
        """LR (p, p, 3) and HR (scale * p, scale * p, 3) crop, uint8, RGB."""
        image, row, column, symmetry = self.place(number)
        scale, side = self.images.scale, self.lr_patch
        lr = self.images.lr[image][row : row + side, column : column + side]
        row, column, side = row * scale, column * scale, side * scale
        hr = self.images.hr[image][row : row + side, column : column + side]
        return transform(lr, symmetry), transform(hr, symmetry)

    def __getitem__(self, number: int) -> Batch:
        """One crop as a batch of its own; see ``__getitems__``."""
        return self.__getitems__([number])

    def __getitems__(self, numbers: Sequence[int]) -> Batch:
        """Network inputs and targets of several crops.

        Returns:
            (N, C, h, w) and (N, C, scale * p, scale * p): uint8 levels for a network that takes
            RGB LR images, otherwise float32 in [0, 255].
        """
        crops = [self.crop(number) for number in numbers]
        if self.conversion.color == "rgb" and self.conversion.input == "lr":
            lr, hr = (
                torch.from_numpy(np.stack(side)).permute(0, 3, 1, 2)
                for side in zip(*crops, strict=True)
            )
            return lr, hr
        cpu = torch.device("cpu")
        factor = 255 / self.conversion.data_range
        inputs = [self.conversion.to_input(lr.copy(), cpu) * factor for lr, _ in crops]
        return torch.cat(inputs), torch.stack([self._target(hr) for _, hr in crops])

    def _target(self, hr: Pixels) -> torch.Tensor:
        if self.conversion.color == "rgb":
            return torch.from_numpy(hr.copy()).permute(2, 0, 1).float()
        return torch.from_numpy(luma(hr, "unrounded")).float().unsqueeze(0)

    def _order_of(self, epoch: int) -> npt.NDArray[np.int64]:
        """Order of the images in an epoch; the last one is kept."""
        if self._order is None or self._order[0] != epoch:
            random = self._random(epoch, order=True)
            self._order = epoch, random.permutation(len(self.images))
        return self._order[1]

    def _random(self, number: int, *, order: bool = False) -> np.random.Generator:
        """The generator of a crop, or of the order of an epoch."""
        key = number | self.stage << _STAGE_BIT | order << _ORDER_BIT
        return np.random.Generator(np.random.Philox(key=np.array([self.seed, key], np.uint64)))


def make_loader(
    patches: Patches,
    *,
    first: int,
    last: int,
    workers: int,
    rank: int = 0,
    devices: int = 1,
    pin: bool = False,
) -> DataLoader[Batch]:
    """Batches of steps ``first`` to ``last`` - 1, counted from 0 in their stage, each once.

    Args:
        patches: the crops.
        first: first step.
        last: step before which to end.
        workers: processes that cut crops; 0 cuts them here.
        rank: number of this device.
        devices: devices that share every batch.
        pin: put batches into page-locked memory, for copies to a GPU.
    """
    share = patches.batch // devices
    starts = (step * patches.batch + rank * share for step in range(first, last))
    return DataLoader(
        patches,
        batch_sampler=(list(range(start, start + share)) for start in starts),
        collate_fn=_as_it_is,
        num_workers=workers,
        persistent_workers=False,
        prefetch_factor=4 if workers else None,
        pin_memory=pin,
        # The loader has its own generator, so that it does not disturb the one of networks.
        generator=torch.Generator().manual_seed(patches.seed),
    )


def _as_it_is(batch: Any) -> Any:
    """``__getitems__`` already returns a batch, although a loader expects a list."""
    return batch

"""Pixels between evaluator and worker: two areas of shared memory that neither can resize.

The evaluator writes LR into one area, and an enlarged LR if the network needs it. It copies SR from
the other area, so later changes by the worker do not affect the score. If a worker shrank an area,
the evaluator would be killed (SIGBUS). File seals prevent this, on systems that have them.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from typing import Self

    import numpy.typing as npt

    Pixels = npt.NDArray[np.uint8]

SR_CAPACITY = 512 * 1024 * 1024
LR_CAPACITY = 128 * 1024 * 1024 + SR_CAPACITY
"""Size in bytes; pages that were never written need no memory."""

# linux/fcntl.h; Python names them from 3.9 on.
ADD_SEALS = 1033
SEAL_SEAL, SEAL_SHRINK, SEAL_GROW = 1, 2, 4

POISON = 0xA5
"""Value of SR pixels before a forward, so an earlier SR image cannot pass as the new one."""


class OversizeError(ValueError):
    """An image exceeds its area."""


@dataclass(frozen=True)
class PixelAreas:
    """Both areas, on either side.

    Attributes:
        lr_fd: descriptor of the LR area.
        sr_fd: descriptor of the SR area.
    """

    lr_fd: int
    sr_fd: int
    _lr: mmap.mmap
    _sr: mmap.mmap

    @classmethod
    def create(cls) -> Self:
        """Create areas; for the evaluator."""
        lr_fd, sr_fd = _area("esrbench-lr", LR_CAPACITY), _area("esrbench-sr", SR_CAPACITY)
        return cls.open(lr_fd, sr_fd)

    @classmethod
    def open(cls, lr_fd: int, sr_fd: int) -> Self:
        """Open areas that another process made; for the worker."""
        return cls(lr_fd, sr_fd, mmap.mmap(lr_fd, LR_CAPACITY), mmap.mmap(sr_fd, SR_CAPACITY))

    def close(self) -> None:
        """Release memory and descriptors; no array from ``lr`` may be in use."""
        self._lr.close()
        self._sr.close()
        os.close(self.lr_fd)
        os.close(self.sr_fd)

    def reveal(self, lr: Pixels, enlarged: Pixels | None = None) -> None:
        """Write an LR image, uint8 (h, w, 3), and its enlarged form, uint8 (H, W, 3), if given.

        Raises:
            OversizeError: the images do not fit into the area.
        """
        if enlarged is not None:
            _view(self._lr, enlarged.shape, "the enlarged LR", offset=lr.nbytes)[...] = enlarged
        _view(self._lr, lr.shape, "LR")[...] = lr

    def lr(self, size: tuple[int, int]) -> Pixels:
        """The LR image of a height and width, uint8 (h, w, 3), not copied."""
        return _view(self._lr, (*size, 3), "LR")

    def enlarged(self, size: tuple[int, int], scale: int) -> Pixels:
        """The enlarged LR image of an LR height and width, uint8 (scale*h, scale*w, 3), no copy."""
        height, width = size
        shape = (scale * height, scale * width, 3)
        return _view(self._lr, shape, "the enlarged LR", offset=3 * height * width)

    def poison(self, size: tuple[int, int]) -> None:
        """Overwrite the SR image of a height and width with ``POISON``.

        Raises:
            OversizeError: the image does not fit into the area.
        """
        _view(self._sr, (*size, 3), "SR").fill(POISON)

    def deliver(self, sr: Pixels) -> None:
        """Write an SR image, uint8 (H, W, 3)."""
        _view(self._sr, sr.shape, "SR")[...] = sr

    def take(self, size: tuple[int, int]) -> Pixels:
        """A copy of the SR image of a height and width, uint8 (H, W, 3)."""
        return _view(self._sr, (*size, 3), "SR").copy()


def _view(area: mmap.mmap, shape: tuple[int, ...], what: str, *, offset: int = 0) -> Pixels:
    count = int(np.prod(shape))
    if offset + count > len(area):
        message = f"{what} of shape {shape} exceeds the area of {len(area)} bytes"
        raise OversizeError(message)
    return np.frombuffer(area, dtype=np.uint8, count=count, offset=offset).reshape(shape)


def _area(name: str, capacity: int) -> int:
    if not hasattr(os, "memfd_create"):
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
        os.ftruncate(descriptor, capacity)
        return descriptor
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(descriptor, capacity)
    fcntl.fcntl(descriptor, ADD_SEALS, SEAL_SEAL | SEAL_SHRINK | SEAL_GROW)
    return descriptor

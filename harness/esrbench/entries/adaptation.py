"""Wraps a network: padding and tiling that an entry declares, and its data range.

Padding and tiling are part of the measured network: they run on its input, and their operations,
time and memory count. So an entry that needs them pays for them. Imports torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from esrbench.errors import MeasurementError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from esrbench.entries.descriptor import ModelDescriptor


def adapt(descriptor: ModelDescriptor, network: nn.Module, scale: int) -> nn.Module:
    """A deployed network behind the padding and tiling that its descriptor declares.

    Args:
        descriptor: descriptor of the network.
        network: the deployed network.
        scale: upscaling factor.

    Returns:
        The network itself if nothing is declared.
    """
    if descriptor.pad_multiple == 1 and descriptor.tile is None:
        return network
    factor = scale if descriptor.input == "lr" else 1
    adapted = Adapted(
        network,
        factor=factor,
        multiple=descriptor.pad_multiple,
        tile=descriptor.tile,
        overlap=descriptor.tile_overlap,
    )
    return adapted.train(network.training)


class Adapted(nn.Module):
    """Pads and tiles inputs of any size for a network.

    An input (N, C, H, W) is padded below and on the right until H and W are multiples of
    ``multiple``. Padding reflects the image without its edge (PyTorch's ``reflect``). If a side is
    not longer than its padding, the edge is repeated instead. If a side then exceeds ``tile``, the
    input is split into tiles of min(tile, side), one every ``tile - overlap`` pixels. The last tile
    ends with the side, so it may overlap more. Each output pixel is the mean of all tiles that
    cover it. Finally the output is cropped to ``factor`` times H and W.
    """

    def __init__(
        self, network: nn.Module, *, factor: int, multiple: int = 1, tile: int | None, overlap: int
    ) -> None:
        """Wrap ``network``, whose output is ``factor`` times its input in both directions."""
        super().__init__()
        self.network = network
        self.factor = factor
        self.multiple = multiple
        self.tile = tile
        self.overlap = overlap

    def forward(self, pixels: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C, factor*H, factor*W).

        Raises:
            MeasurementError: the network's output is not ``factor`` times as large as its input.
        """
        height, width = int(pixels.shape[-2]), int(pixels.shape[-1])
        padded = self._padded(pixels, height, width)
        rows, columns = int(padded.shape[-2]), int(padded.shape[-1])
        if self.tile is None or max(rows, columns) <= self.tile:
            sr = self._whole(padded)
        else:
            sr = self._tiled(padded, rows, columns, self.tile)
        if (rows, columns) == (height, width):
            return sr
        return sr[..., : height * self.factor, : width * self.factor]

    def _padded(self, pixels: Tensor, height: int, width: int) -> Tensor:
        below, right = -height % self.multiple, -width % self.multiple
        for added, side, pad in (
            (below, height, (0, 0, 0, below)),
            (right, width, (0, right, 0, 0)),
        ):
            if added:
                mode = "reflect" if added < side else "replicate"
                pixels = functional.pad(pixels, pad, mode=mode)
        return pixels

    def _whole(self, pixels: Tensor) -> Tensor:
        sr: Tensor = self.network(pixels)
        if isinstance(sr, Tensor):
            height, width = int(pixels.shape[-2]), int(pixels.shape[-1])
            expected = (height * self.factor, width * self.factor)
            found = (int(sr.shape[-2]), int(sr.shape[-1])) if sr.ndim > 1 else tuple(sr.shape)
            if found != expected:
                message = f"an input of {height}x{width} gave {'x'.join(map(str, found))}"
                message += f", expected {expected[0]}x{expected[1]}"
                advice = "Declare the scale, or the pad multiple that the network needs."
                raise MeasurementError(message, advice=advice)
        return sr

    def _tiled(self, pixels: Tensor, rows: int, columns: int, tile: int) -> Tensor:
        height, width = min(tile, rows), min(tile, columns)
        joined: Tensor | None = None
        covered = torch.zeros(
            (rows * self.factor, columns * self.factor), dtype=pixels.dtype, device=pixels.device
        )
        for top in starts(rows, height, self.overlap):
            for left in starts(columns, width, self.overlap):
                part = self._whole(pixels[..., top : top + height, left : left + width])
                if joined is None:
                    joined = part.new_zeros((*part.shape[:2], *covered.shape))
                area = (
                    slice(top * self.factor, (top + height) * self.factor),
                    slice(left * self.factor, (left + width) * self.factor),
                )
                joined[(..., *area)] += part
                covered[area] += 1
        if joined is None:
            raise AssertionError  # an input has at least one tile
        return joined / covered.to(joined.dtype)


def starts(length: int, tile: int, overlap: int) -> Iterator[int]:
    """First pixels of the tiles of a side: one every ``tile - overlap``; the last ends with it."""
    if length > tile:
        yield from range(0, length - tile, tile - overlap)
    yield length - tile


class UnitRange(nn.Module):
    """Gives a network of any data range and precision an interface of float32 in [0, 1]."""

    def __init__(self, network: nn.Module, data_range: float, dtype: torch.dtype) -> None:
        """Wrap ``network``, whose data range is [0, ``data_range``], and cast it to ``dtype``."""
        super().__init__()
        self.network = network.to(dtype)
        self.data_range = data_range
        self.dtype = dtype

    def forward(self, lr: Tensor) -> Tensor:
        """Map float32 (N, 3, H, W) in [0, 1] to (N, 3, s*H, s*W), unclipped."""
        sr: Tensor = self.network((lr * self.data_range).to(self.dtype))
        return sr.to(lr.dtype) / self.data_range

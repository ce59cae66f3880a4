"""How many numbers it takes to write down a table: masks and index tables follow a pattern."""

from __future__ import annotations

import ctypes
import lzma
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import Tensor

LEAST_ELEMENTS: Final = 256
"""Smaller tables are taken as they are."""

PATTERN_SHARE: Final = 1 / 8
"""A table is a pattern if it takes fewer bytes than this share of its elements: less than one bit
for each, which is what the least of weights takes."""

_SAMPLE_ELEMENTS: Final = 2**14
_SAMPLE_BYTES: Final = 1
"""Numbers of whose first ones each takes more bytes are no pattern, whatever follows."""

_ORDERED_ELEMENTS: Final = 2**21
"""Larger tables are not sorted, which takes seconds."""

_NUMBER_BYTES: Final = 4

_FILTERS: Final = [{"id": lzma.FILTER_LZMA2, "preset": 1, "lc": 0}]


def numbers_needed(tensor: Tensor) -> int:
    """Numbers that the storage of a tensor holds, or those that its pattern takes.

    Args:
        tensor: strided, of any shape and type; a complex number is two. Its storage is looked at
            if it lies in the CPU's memory.

    Returns:
        Distinct numbers and what their order takes, where that is far less than the elements: the
        attention mask of shifted windows, the index table of relative positions, a grid of
        coordinates. Otherwise its elements, and so where all are equal: what nobody filled yet is
        no pattern.
    """
    itemsize = tensor.element_size() // (2 if tensor.is_complex() else 1)
    storage = tensor.untyped_storage()
    elements = storage.nbytes() // itemsize
    if storage.device.type != "cpu" or elements < LEAST_ELEMENTS or not storage.data_ptr():
        return elements
    content = ctypes.string_at(storage.data_ptr(), elements * itemsize)
    numbers = np.frombuffer(content, f"u{itemsize}")
    if _taken(numbers[:_SAMPLE_ELEMENTS]) > _SAMPLE_BYTES * _SAMPLE_ELEMENTS:
        return elements
    if (numbers == numbers[0]).all():
        return elements
    distinct, taken = 0, _taken(numbers)
    if elements <= _ORDERED_ELEMENTS:
        values, order = np.unique(numbers, return_inverse=True)
        distinct = min(values.size, _taken(values) // _NUMBER_BYTES)
        taken = _taken(order.astype(np.uint32))
    if distinct + taken >= PATTERN_SHARE * elements:
        return elements
    return distinct + taken // _NUMBER_BYTES


def _taken(numbers: npt.NDArray[Any]) -> int:
    """Bytes of compressed numbers, or of the differences of neighbours."""
    return min(
        len(lzma.compress(each.tobytes(), lzma.FORMAT_RAW, filters=_FILTERS))
        for each in (numbers, np.diff(numbers))
    )

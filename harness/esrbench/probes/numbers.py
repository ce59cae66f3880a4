"""Count the numbers in a network: those in its code, and those that describe its tables."""

from __future__ import annotations

import ctypes
import lzma
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Hashable

    import numpy.typing as npt
    from torch import Tensor

LEAST_ELEMENTS: Final = 256
"""Tables with fewer elements count in full."""

PATTERN_SHARE: Final = 1 / 8
"""A table is a pattern if it compresses to fewer bytes than this share of its elements. That is
less than one bit for each, and the smallest weights take one bit."""

_SAMPLE_ELEMENTS: Final = 2**14
_SAMPLE_BYTES: Final = 1
"""If the first numbers of a table need more bytes each, the table is not a pattern."""

_ORDERED_ELEMENTS: Final = 2**21
"""Larger tables are not sorted, because sorting them takes seconds."""

_NUMBER_BYTES: Final = 4

_FILTERS: Final = [{"id": lzma.FILTER_LZMA2, "preset": 1, "lc": 0}]


class Numbers:
    """Counts the numbers in a sequence as the pieces that it cannot copy from what came before.

    Each piece is the shortest one that did not occur before (Lempel and Ziv, 1976). Every new
    number ends a piece, so there are at least as many pieces as distinct numbers. Loops that
    repeat a few numbers add almost none. A thousand weights of sixteen levels count as far more
    than sixteen numbers, because their order is new.

    Attributes:
        count: pieces so far.
    """

    def __init__(self) -> None:
        self.count = 0
        # A suffix automaton, state by state: where each number leads, the longest piece, and the
        # state of the longest suffix that also occurs elsewhere.
        self._next: list[dict[Any, int]] = [{}]
        self._longest = [0]
        self._link = [-1]
        self._last = 0
        self._state = 0
        self._length = 0

    def add(self, number: Hashable) -> None:
        """Take the next number of the sequence, or a token that represents one."""
        key = number if number == number else "nan"  # noqa: PLR0124 - NaN equals nothing
        following = self._next[self._state].get(key)
        if following is None:
            self.count += 1
            self._state = self._length = 0
        else:
            self._state = following
            self._length += 1
        self._extend(key)
        while (
            self._link[self._state] >= 0 and self._longest[self._link[self._state]] >= self._length
        ):
            self._state = self._link[self._state]

    def _extend(self, key: Any) -> None:
        new = self._state_of(self._longest[self._last] + 1, {}, 0)
        state = self._last
        while state >= 0 and key not in self._next[state]:
            self._next[state][key] = new
            state = self._link[state]
        if state >= 0:
            following = self._next[state][key]
            if self._longest[following] == self._longest[state] + 1:
                self._link[new] = following
            else:
                length = self._longest[state] + 1
                copied = self._state_of(length, dict(self._next[following]), self._link[following])
                while state >= 0 and self._next[state].get(key) == following:
                    self._next[state][key] = copied
                    state = self._link[state]
                self._link[following] = self._link[new] = copied
        self._last = new

    def _state_of(self, longest: int, following: dict[Any, int], link: int) -> int:
        self._next.append(following)
        self._longest.append(longest)
        self._link.append(link)
        return len(self._next) - 1


def numbers_needed(tensor: Tensor) -> int:
    """Count the numbers in the storage of a tensor, or those of its pattern.

    Args:
        tensor: strided, of any shape and type; a complex number is two. Its storage is read if it
            is in the CPU's memory.

    Returns:
        For a pattern, the distinct numbers and what their order takes. Patterns are for example
            the attention mask of shifted windows, the index table of relative positions, and a
            grid of coordinates. Otherwise, and if all elements are equal, the number of elements:
            a tensor that is not filled yet is no pattern.
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

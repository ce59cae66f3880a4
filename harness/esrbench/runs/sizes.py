"""Find by trial which LR sizes a network accepts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    Takes = Callable[[int, int], bool]

MULTIPLES = (*range(1, 9), *(10, 12, 14, 16, 20, 24, 28, 32, 36, 40, 48, 56, 64, 80, 96, 128))
"""Candidates for a number of which LR sides must be multiples, in ascending order."""
BASES = (64, 192)
"""Multiples just above these LR sides are tried; the second is for networks that need large images.
"""


@dataclass(frozen=True, slots=True)
class TakenSizes:
    """LR sizes that a network accepts after padding.

    Attributes:
        least: smallest side in pixels.
        multiple: sides are padded to multiples of this number.
    """

    least: int
    multiple: int


def find_sizes(takes: Takes) -> TakenSizes | None:
    """Find the smallest number whose multiples a network accepts, and its smallest side.

    Three neighbouring multiples are tried, because one alone may succeed by chance: a network that
    accepts 48 and 64 but not 56 needs multiples of 16, not of 8.

    Args:
        takes: whether the network accepts an LR image of a height and width.

    Returns:
        None if no number of ``MULTIPLES`` helps.
    """
    for multiple in MULTIPLES:
        for base in BASES:
            first = (base // multiple + 1) * multiple
            if _takes_from(takes, first, multiple):
                return TakenSizes(_least(takes, first, multiple), multiple)
    return None


def _takes_from(takes: Takes, first: int, multiple: int) -> bool:
    """Whether it accepts images with three neighbouring multiples as sides, square or not."""
    second, third = first + multiple, first + 2 * multiple
    sizes = ((first, first), (second, second), (third, third), (first, third), (third, second))
    return all(takes(*size) for size in sizes)


def _least(takes: Takes, first: int, multiple: int) -> int:
    """The smallest side above the largest multiple that fails, searched down from ``first``."""
    side = first
    while side > multiple and takes(side - multiple, side - multiple):
        side -= multiple
    return side - multiple + 1

"""Finds by trial which LR sizes a network takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    Takes = Callable[[int, int], bool]

MULTIPLES = (*range(1, 9), *(10, 12, 14, 16, 20, 24, 28, 32, 36, 40, 48, 56, 64, 80, 96, 128))
"""Numbers of which sides may have to be multiples, the smallest first."""
BASES = (64, 192)
"""LR sides above which multiples are tried; the second is for networks that need large images."""


@dataclass(frozen=True, slots=True)
class TakenSizes:
    """LR sizes that a network takes if they are padded.

    Attributes:
        least: smallest side.
        multiple: to whose multiples sides are padded.
    """

    least: int
    multiple: int


def find_sizes(takes: Takes) -> TakenSizes | None:
    """The smallest multiple, and with it the smallest side, from which on all sizes are taken.

    Two neighbouring multiples of a number are both multiples of another one only if the number is
    so itself. So a few neighbours tell which number it is, holes included: a network that takes 48
    and 64, but not 56, needs multiples of 16.

    Args:
        takes: whether the network takes an LR image of a height and width.

    Returns:
        None where no multiple of ``MULTIPLES`` helps.
    """
    for multiple in MULTIPLES:
        for base in BASES:
            first = (base // multiple + 1) * multiple
            if _takes_from(takes, first, multiple):
                return TakenSizes(_least(takes, first, multiple), multiple)
    return None


def _takes_from(takes: Takes, first: int, multiple: int) -> bool:
    """Whether it takes three neighbouring multiples, squares and others."""
    second, third = first + multiple, first + 2 * multiple
    sizes = ((first, first), (second, second), (third, third), (first, third), (third, second))
    return all(takes(*size) for size in sizes)


def _least(takes: Takes, first: int, multiple: int) -> int:
    """The smallest side from which on no multiple fails, up to one that is taken."""
    side = first
    while side > multiple and takes(side - multiple, side - multiple):
        side -= multiple
    return side - multiple + 1

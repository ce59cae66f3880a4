"""How many numbers a weights file holds, read by the evaluator from its header alone; no torch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from esrbench.errors import WeightsError
from esrbench.weights.checkpoints import read_safetensors_header

if TYPE_CHECKING:
    from pathlib import Path

COMPLEX = "C"


def stored_elements(path: Path) -> int | None:
    """Numbers in a safetensors file; what several names share counts once, a complex one twice.

    Args:
        path: the file, of which only the header is read.

    Returns:
        None for a file of another format, whose sizes cannot be known without unpickling it, and
        for one that cannot be read or whose header is no table of tensors, which loading tells.
    """
    if path.suffix.lower() != ".safetensors":
        return None
    try:
        with path.open("rb") as file:
            header = read_safetensors_header(file, str(path))
        return sum(_places(header).values())
    except (WeightsError, OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _places(header: dict[str, Any]) -> dict[tuple[int, int], int]:
    """Numbers by the place in the file where they lie."""
    return {
        (int(entry["data_offsets"][0]), int(entry["data_offsets"][1])): math.prod(
            map(int, entry["shape"])
        )
        * (2 if str(entry["dtype"]).startswith(COMPLEX) else 1)
        for name, entry in header.items()
        if name != "__metadata__"
    }

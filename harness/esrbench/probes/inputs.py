"""The input that a network is timed on where no image is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from esrbench.protocol import Protocol


def fixed_lr(protocol: Protocol) -> npt.NDArray[np.uint8]:
    """The protocol's fixed input: seeded noise of every level.

    Returns:
        (H, W, 3) uint8 of the protocol's counted input size.
    """
    rng = np.random.default_rng(protocol.seed)
    return rng.integers(0, 256, (*protocol.counted_input, 3), np.uint8)

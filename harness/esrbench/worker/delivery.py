"""What comes of a forward that was timed from outside."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Delivery:
    """What came of one timed forward.

    Attributes:
        sr: the evaluator's own copy, uint8 (scale*h, scale*w, 3) RGB.
        seconds: from before LR was revealed until this copy was whole, by the evaluator's
            monotonic clock.
        claimed_seconds: of the network alone, by the worker's account.
        preparation_seconds: of enlarging the LR image, which the evaluator does before the clock
            starts; None for networks that do not take it enlarged.
        settling_seconds: from there until the worker had checked what the forward left behind, by
            the evaluator's clock.
    """

    sr: Pixels
    seconds: float
    claimed_seconds: float
    preparation_seconds: float | None
    settling_seconds: float = 0.0

    def without_pixels(self) -> Delivery:
        """The times alone."""
        return replace(self, sr=self.sr[:0, :0].copy())

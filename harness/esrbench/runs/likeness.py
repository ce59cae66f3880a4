"""Whether SR images resemble their LR images; if not, what is wrong with the network's output.

A trained network gives an SR image that is nearly the LR image once it is scaled down again. If it
does not, then often its data range is not the declared one. No HR image is needed, so this works on
any image.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Final

import cv2
import numpy as np
from pydantic import Field

from esrbench.data.resize import upscale
from esrbench.probes.quality import psnr
from esrbench.protocol import Frozen
from esrbench.records import Notice

if TYPE_CHECKING:
    import numpy.typing as npt

    Pixels = npt.NDArray[np.uint8]

LEAST_PSNR: Final = 20.0
"""An SR image that was scaled down resembles its LR image from this PSNR on, in dB.

Trained networks reach 30 dB and more."""
LEAST_LOSS: Final = 10.0
"""Interpolation must be better by this many dB, because it loses detail of noisy images too."""
LOOKED_AT: Final = 3
"""Number of images of a data set that are looked at; all of them must be unlike."""
TOO_LARGE: Final = 8
"""An output that exceeds the range this many times is of another range."""
TOO_SMALL: Final = 64
"""So is one that stays below the range divided by this number."""
MOST_NEGATIVE: Final = 0.25
"""The lowest value of an image may be below 0 by this share of the highest. Outputs of untrained
networks are about symmetric."""
LEAST_CORRELATION: Final = 0.5
"""Correlation with the LR image, from which on a nearly black SR image shows the same scene."""


class UnlikeSr(Frozen):
    """An SR image that does not resemble its LR image.

    Attributes:
        image: name of the image.
        psnr: dB between the SR image, scaled down, and the LR image.
        interpolated: the same for bicubic interpolation; None if there is no difference.
        clipped: share of SR values that are 0 or 255.
        correlation: between the SR image, scaled down, and the LR image; 0 if one is constant.
        output: lowest and highest value of the network's output, as the worker reports; None if
            unknown.
        data_range: declared value of white.
    """

    image: str
    psnr: float
    interpolated: float | None
    clipped: Annotated[float, Field(ge=0, le=1)]
    correlation: float
    output: tuple[float, float] | None
    data_range: float

    @property
    def probable_range(self) -> int | None:
        """The data range that the output suggests, 1 or 255; None if it suggests nothing."""
        if self.output is None:
            return None
        (low, high), white = self.output, self.data_range
        if white < 255 and high > TOO_LARGE * white and low > -MOST_NEGATIVE * high:  # noqa: PLR2004
            return 255
        small = max(high, -low) < white / TOO_SMALL
        return 1 if white > 1 and small and self.correlation > LEAST_CORRELATION else None

    def describe(self) -> str:
        """What was seen, as a clause."""
        seen = f"{self.clipped:.0%} of the SR values are 0 or 255"
        if self.output is not None:
            low, high = self.output
            seen = (
                f"the output for {self.image} reaches from {low:.3g} to {high:.3g}, where 0 to "
                f"{self.data_range:g} was expected; {seen}"
            )
        if self.probable_range is not None:
            return seen
        bicubic = "no difference" if self.interpolated is None else f"{self.interpolated:.1f} dB"
        return (
            f"SR of {self.image}, scaled down, has {self.psnr:.1f} dB PSNR to its LR image "
            f"(bicubic interpolation: {bicubic}); {seen}"
        )

    @property
    def advice(self) -> str:
        """What to do about it."""
        probable = self.probable_range
        if probable is None:
            return (
                "Check that the weights are trained and belong to this network, that it takes and "
                f"returns RGB from 0 to {self.data_range:g} (`data_range`), and that it undoes its "
                "normalisation."
            )
        return (
            f"If the network takes and returns 0 to {probable}, declare `data_range = {probable}` "
            "in [model] of submission.toml; otherwise scale its output to 0 to "
            f"{self.data_range:g}."
        )

    def notice(self) -> Notice:
        """The notice in the record of a run."""
        return Notice(
            code="output-range" if self.probable_range else "unlike-input",
            message=self.describe(),
            advice=self.advice,
        )


def unlike(
    sr: Pixels, lr: Pixels, image: str, *, data_range: float, output: tuple[float, float] | None
) -> UnlikeSr | None:
    """What is wrong with an SR image, or None if it resembles its LR image.

    Args:
        sr: uint8 (scale*h, scale*w, 3) RGB.
        lr: uint8 (h, w, 3) RGB.
        image: name of the image.
        data_range: declared value of white.
        output: lowest and highest value of the network's output, if known.
    """
    found = _likeness(sr, lr)
    if found is None or found >= LEAST_PSNR:
        return None
    interpolated = _likeness(upscale(lr, sr.shape[0] // lr.shape[0], border="mirror"), lr)
    if interpolated is not None and interpolated - found < LEAST_LOSS:
        return None
    return UnlikeSr(
        image=image,
        psnr=found,
        interpolated=interpolated,
        clipped=float(np.isin(sr, (0, 255)).mean()),
        correlation=_correlation(_reduced(sr, lr), lr),
        output=output,
        data_range=data_range,
    )


def scene(side: int) -> Pixels:
    """A square test image with smooth colours, as large areas of photographs have them.

    Returns:
        uint8 (side, side, 3) RGB with levels from 28 to 228.
    """
    rows, columns = np.mgrid[:side, :side] / side
    waves = [
        np.sin(2 * np.pi * (rows * down + columns * right))
        for down, right in ((1, 0.5), (0.5, -1), (1.5, 1))
    ]
    image: Pixels = np.rint(128 + 100 * np.stack(waves, axis=-1)).astype(np.uint8)
    return image


@dataclass(slots=True)
class Likeness:
    """Looks at the first images of a data set.

    Attributes:
        data_range: declared value of white.
    """

    data_range: float
    _looked_at: int = 0
    _unlike: list[UnlikeSr] = field(default_factory=list)

    def look(self, sr: Pixels, lr: Pixels, image: str, output: tuple[float, float] | None) -> None:
        """Compare an SR image with its LR image; arguments as in ``unlike``."""
        if self._looked_at == LOOKED_AT:
            return
        self._looked_at += 1
        found = unlike(sr, lr, image, data_range=self.data_range, output=output)
        if found is not None:
            self._unlike.append(found)

    @property
    def worst(self) -> UnlikeSr | None:
        """The most unlike image, or None if an image resembles its LR image."""
        if len(self._unlike) < self._looked_at:
            return None
        return min(self._unlike, key=lambda each: each.psnr, default=None)


def _reduced(sr: Pixels, lr: Pixels) -> Pixels:
    """The SR image scaled down to the size of the LR image, by means over squares."""
    height, width = lr.shape[:2]
    reduced: Pixels = np.asarray(cv2.resize(sr, (width, height), interpolation=cv2.INTER_AREA))
    return reduced


def _likeness(sr: Pixels, lr: Pixels) -> float | None:
    """PSNR between the SR image, scaled down, and the LR image in dB; None if it is infinite."""
    return psnr(_reduced(sr, lr), lr, 0)


def _correlation(one: Pixels, other: Pixels) -> float:
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return 0.0
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])

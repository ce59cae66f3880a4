"""BT.601 luma of uint8 images in studio range, as in MATLAB's ``rgb2ycbcr``."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from typing import Literal

    import numpy.typing as npt


def _opencv() -> Any:
    try:
        return import_module("cv2")
    except ImportError:
        return None


OPENCV: Final = _opencv()
"""OpenCV, or None in an interpreter without it; numpy then gives the same pixels."""
_STRIP_ROWS = 64  # rows worked on at once: what a strip needs stays in cache
# Whole-number coefficients make sums exact, so that ties round alike on every machine.
_SUM = np.array([[65481.0, 128553.0, 24966.0]])
_UNIT = 255000.0


def luma(
    rgb: npt.NDArray[np.uint8], rounding: Literal["unrounded", "uint8"]
) -> npt.NDArray[np.float64]:
    """BT.601 luma, 16 for black and 235 for white.

    Args:
        rgb: uint8 array (H, W, 3), RGB order.
        rounding: ``uint8`` rounds half up to whole levels, as MATLAB does for uint8 images.

    Returns:
        float64 array (H, W) in [16, 235].
    """
    height, width = rgb.shape[:2]
    levels = np.empty((height, width))
    wide = np.empty((min(_STRIP_ROWS, height), width, 3))
    for first in range(0, height, _STRIP_ROWS):
        strip = levels[first : first + _STRIP_ROWS]
        exact = wide[: len(strip)]
        np.copyto(exact, rgb[first : first + _STRIP_ROWS])
        if OPENCV is None:
            np.matmul(exact, _SUM[0], out=strip)
        else:
            OPENCV.transform(exact, _SUM, dst=strip)
        if rounding == "uint8":
            strip += _UNIT / 2
            strip /= _UNIT
            np.floor(strip, out=strip)
        else:
            strip /= _UNIT
        strip += 16
    return levels

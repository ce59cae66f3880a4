"""PSNR and SSIM of uint8 images as the challenge and the papers compute them.

PSNR: 10 log10(255^2 / mean squared error) over all channels of the cropped image. SSIM: Wang
et al., IEEE TIP 2004, equation 13, 11x11 Gaussian window of sigma 1.5, K = (0.01, 0.03), data
range 255, windows that lie wholly inside the cropped image, mean over windows and channels:
``ssim_y`` of luma, ``ssim_rgb`` of R, G and B, as BasicSR and the challenges' scripts average them.
Luma: ITU-R BT.601, studio range (MATLAB's ``rgb2ycbcr``).
"""

from __future__ import annotations

import math
from pkgutil import resolve_name
from typing import TYPE_CHECKING

import numpy as np

from esrbench.errors import MeasurementError, UsageError, did_you_mean
from esrbench.metrics import METRICS
from esrbench.probes.luma import luma
from esrbench.protocol import SSIM_WINDOW
from esrbench.records import Absent, ImageScore

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    from torch import nn

    from esrbench.data.pairs import ImagePairs
    from esrbench.probes.forward import PixelConversion
    from esrbench.protocol import QualityDefinition

    Pixels = npt.NDArray[np.uint8] | npt.NDArray[np.float64]

DATA_RANGE = 255.0
_SSIM_SIGMA = 1.5
_C1 = (0.01 * DATA_RANGE) ** 2
_C2 = (0.03 * DATA_RANGE) ** 2
_STRIP_ROWS = 64  # rows processed at once, so that a strip fits into the cache
_STRIP_MAPS = 6


def psnr(a: Pixels, b: Pixels, border: int) -> float | None:
    """Peak signal-to-noise ratio.

    Args:
        a: uint8 or float64 array (H, W) or (H, W, C) in [0, 255].
        b: array of the same shape and dtype.
        border: pixels cropped from each side first.

    Returns:
        dB, or None when both are equal (infinite PSNR).

    Raises:
        ValueError: shapes or dtypes differ, or the border leaves nothing.
    """
    import cv2

    a, b = _cropped_pair(a, b, border)
    squared_error = cv2.norm(a, b, cv2.NORM_L2SQR)
    if squared_error == 0:
        return None
    return 10 * math.log10(DATA_RANGE**2 * a.size / squared_error)


def ssim(a: Pixels, b: Pixels, border: int) -> float:
    """Mean structural similarity.

    Args:
        a: uint8 or float64 array (H, W) or (H, W, C) in [0, 255].
        b: array of the same shape and dtype.
        border: pixels cropped from each side first.

    Returns:
        Mean over windows and channels, in [-1, 1]; 1 for equal images.

    Raises:
        ValueError: shapes or dtypes differ, or less than 11x11 pixels are left.
    """
    a, b = _cropped_pair(a, b, border)
    height, width = a.shape[:2]
    if min(height, width) < SSIM_WINDOW:
        message = f"SSIM needs {SSIM_WINDOW}x{SSIM_WINDOW} pixels inside a border of {border}, "
        message += f"got {height}x{width}"
        raise ValueError(message)
    if a.ndim == 3 and a.shape[2] == 1:  # noqa: PLR2004 - OpenCV would drop the axis
        a, b = a[:, :, 0], b[:, :, 0]
    windows = height - SSIM_WINDOW + 1
    strip_rows = min(_STRIP_ROWS, windows) + SSIM_WINDOW - 1
    maps = np.empty((_STRIP_MAPS, strip_rows, *a.shape[1:]))
    total = 0.0
    for first in range(0, windows, _STRIP_ROWS):
        rows = min(_STRIP_ROWS, windows - first) + SSIM_WINDOW - 1
        strip = slice(first, first + rows)
        total += _ssim_sum(a[strip], b[strip], maps[:, :rows])
    channels = a.size // (height * width)
    mean: float = total / (windows * (width - SSIM_WINDOW + 1) * channels)
    return mean


def score_image(
    sr: npt.NDArray[np.uint8],
    hr: npt.NDArray[np.uint8],
    *,
    scale: int,
    definition: QualityDefinition,
    image: str,
) -> ImageScore:
    """Score one SR image against its HR image.

    Args:
        sr: uint8 array (H, W, 3), RGB order.
        hr: uint8 array of the same shape.
        scale: upscaling factor, the border where the definition says so.
        definition: borders and luma rounding.
        image: name of the image, for the record and for errors.

    Raises:
        MeasurementError: shape or dtype of SR is not that of HR, or the border leaves less than
            one SSIM window.
    """
    if sr.shape != hr.shape or sr.dtype != np.uint8 or hr.dtype != np.uint8:
        message = f"{image}: the SR image is {sr.dtype} {sr.shape}, expected uint8 {hr.shape}"
        message += f" like its HR image ({hr.dtype})" if hr.dtype != np.uint8 else ""
        raise MeasurementError(message, advice=f"Check that the network upscales by {scale}.")
    y_border = definition.border_pixels("y", scale)
    sr_y, hr_y = luma(sr, definition.luma), luma(hr, definition.luma)
    try:
        return ImageScore(
            image=image,
            psnr_rgb=psnr(sr, hr, definition.border_pixels("rgb", scale)),
            psnr_y=psnr(sr_y, hr_y, y_border),
            ssim_y=ssim(sr_y, hr_y, y_border),
            others={
                key: _asked(key, sr, hr, definition.border_pixels("rgb", scale))
                for key in definition.metrics
            },
        )
    except ValueError as error:
        message = f"{image}: cannot be scored: {error}"
        raise MeasurementError(message, advice="Use larger images or a smaller border.") from None


def require_metrics(keys: Sequence[str]) -> None:
    """Raise an error for unknown scores before anything runs.

    Raises:
        UsageError: no metric has this name, it is not an image score, or its function cannot be
            imported.
    """
    known = [key for key, metric in METRICS.items() if metric.scored_by]
    for key in keys:
        if key not in known:
            message = f"{key!r} is not the name of an image score"
            advice = (
                f"{did_you_mean(key, known)}Use one of {', '.join(known)}; plugins can add more."
            )
            raise UsageError(message, advice=advice)
        try:
            resolve_name(METRICS[key].scored_by)
        except Exception as error:
            where = METRICS[key].scored_by
            message = f"{key}: {where} cannot be imported: {error}"
            raise UsageError(
                message, advice="Repair or reinstall the plugin with this metric."
            ) from error


def _asked(key: str, sr: Pixels, hr: Pixels, border: int) -> float | Absent:
    """A requested score; if a plugin raises an error, only its score is absent."""
    try:
        score = float(resolve_name(METRICS[key].scored_by)(sr, hr, border))
    except Exception as error:  # noqa: BLE001 - plugins may raise anything
        reason = f"{METRICS[key].scored_by} failed: {type(error).__name__}: {error}"
    else:
        if math.isfinite(score):
            return score
        reason = f"{METRICS[key].scored_by} returned {score}"
    return Absent(kind="failed", reason=reason, advice="Correct the plugin with this metric.")


def score_network(
    network: nn.Module,
    conversion: PixelConversion,
    pairs: ImagePairs,
    definition: QualityDefinition,
) -> tuple[ImageScore, ...]:
    """Score a network that runs in this process on every image, on the device of its weights.

    Raises:
        DataError: an image changed since it was checked.
        MeasurementError: an output is not an SR image.
    """
    import torch

    first = next(network.parameters(), None)
    device = torch.device("cpu") if first is None else first.device
    scores = []
    with torch.inference_mode():
        for index, pair in enumerate(pairs.pairs):
            lr = pairs.read_lr(index)
            output = network(conversion.to_input(lr, device))
            sr = conversion.validate(output, (lr.shape[0], lr.shape[1]))
            pixels, hr = conversion.to_pixels(sr, lr), pairs.read_hr(index)
            scores.append(
                score_image(pixels, hr, scale=pairs.scale, definition=definition, image=pair.name)
            )
    return tuple(scores)


def _cropped_pair(a: Pixels, b: Pixels, border: int) -> tuple[Pixels, Pixels]:
    if a.shape != b.shape or a.dtype != b.dtype:
        message = f"expected equal shapes and dtypes, got {a.dtype} {a.shape}, {b.dtype} {b.shape}"
        raise ValueError(message)
    height, width = a.shape[:2]
    if border < 0 or min(height, width) <= 2 * border:
        raise ValueError(f"a border of {border} px leaves nothing of {height}x{width} pixels")
    window = (slice(border, height - border), slice(border, width - border))
    return a[window], b[window]


def _gaussian() -> npt.NDArray[np.float64]:
    offsets = np.arange(SSIM_WINDOW) - SSIM_WINDOW // 2
    weights = np.exp(-(offsets**2) / (2 * _SSIM_SIGMA**2))
    return np.asarray(weights / weights.sum(), np.float64)


def _ssim_sum(a: Pixels, b: Pixels, maps: npt.NDArray[np.float64]) -> float:
    """Sum of the SSIM map of (H, W, ...) images; ``maps`` (6, H, W, ...) is overwritten.

    With s = a + b and d = a - b, four blurs are enough instead of five:
    s^2 + d^2 = 2 (a^2 + b^2) and s^2 - d^2 = 4 ab.
    """
    import cv2

    kernel = _gaussian()
    margin = SSIM_WINDOW // 2
    s, d, *blurred = maps
    cv2.add(a, b, dst=s, dtype=cv2.CV_64F)
    cv2.subtract(a, b, dst=d, dtype=cv2.CV_64F)
    for source, mean, mean_of_square in ((s, blurred[0], blurred[1]), (d, blurred[2], blurred[3])):
        cv2.sepFilter2D(source, cv2.CV_64F, kernel, kernel, dst=mean)
        np.square(source, out=source)
        cv2.sepFilter2D(source, cv2.CV_64F, kernel, kernel, dst=mean_of_square)
    inner = (slice(margin, -margin), slice(margin, -margin))
    mean_s, square_s, mean_d, square_d = (each[inner] for each in blurred)
    mean_s *= mean_s
    mean_d *= mean_d
    # Every term is twice that of the definition; the factors of the ratio cancel.
    mean_squares = np.add(mean_s, mean_d, out=s[inner])  # 2 (mu_a^2 + mu_b^2)
    mean_product = np.subtract(mean_s, mean_d, out=mean_s)  # 4 mu_a mu_b
    variances = np.add(square_s, square_d, out=d[inner])  # 2 (sigma_a^2 + sigma_b^2), below
    covariance = np.subtract(square_s, square_d, out=square_s)  # 4 sigma_ab, below
    variances -= mean_squares
    covariance -= mean_product
    mean_squares += 2 * _C1
    mean_product += 2 * _C1
    variances += 2 * _C2
    covariance += 2 * _C2
    similarity = np.multiply(mean_product, covariance, out=mean_product)
    similarity /= np.multiply(mean_squares, variances, out=mean_squares)
    return float(similarity.sum())

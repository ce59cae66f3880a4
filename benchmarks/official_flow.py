"""What the challenge's test script does with each image, step by step.

Written from a description of the steps, to be timed beside ours: the same arithmetic on
the same data types, one image after another in one thread, with the copies and views that it
makes on the way. Images are uint8 (H, W, 3) RGB unless said otherwise.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy.typing as npt

    Pixels = npt.NDArray[np.uint8]
    Image = npt.NDArray[np.uint8] | npt.NDArray[np.float64]

_WINDOW = 11
_BT601 = (65.481, 128.553, 24.966)


def read_image(path: Path) -> Pixels:
    """Decode as stored, then reverse the channels."""
    stored = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    return cv2.cvtColor(stored, cv2.COLOR_BGR2RGB)


def to_tensor(image: Pixels, data_range: float = 1.0) -> torch.Tensor:
    """Float32 (1, 3, H, W) in [0, data_range]."""
    planes = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)
    return planes.float().div(255.0 / data_range).unsqueeze(0)


def to_image(sr: torch.Tensor, data_range: float = 1.0) -> Pixels:
    """Clip in place, scale and round in numpy; the result is a view of planar memory."""
    planes = sr.data.squeeze().float().clamp_(0, data_range).cpu().numpy()
    interleaved = np.transpose(planes, (1, 2, 0))
    return np.uint8((interleaved * 255.0 / data_range).round())  # type: ignore[return-value]  # an array


def crop_to_multiple(image: Pixels, scale: int) -> Pixels:
    """A copy without the rows and columns beyond a multiple of the scale."""
    copy = np.copy(image)
    height, width = copy.shape[:2]
    return copy[: height - height % scale, : width - width % scale]


def inside(image: Image, border: int) -> npt.NDArray[np.float64]:
    """The image without its border, in float64."""
    height, width = image.shape[:2]
    return image[border : height - border, border : width - border].astype(np.float64)


def psnr(sr: Image, hr: Image, border: int) -> float:
    """From the root of the mean of all squared differences in float64."""
    error = float(np.mean((inside(sr, border) - inside(hr, border)) ** 2))
    return 20 * math.log10(255.0 / math.sqrt(error))


def ssim(sr: Image, hr: Image, border: int) -> float:
    """Mean over channels; of RGB images the whole image is scored three times."""
    a, b = inside(sr, border), inside(hr, border)
    if a.ndim == 2:
        return _ssim(a, b)
    return float(np.mean([_ssim(a, b) for _ in range(a.shape[2])]))


def luma(image: Pixels) -> npt.NDArray[np.float64]:
    """BT.601 luma in float64, unrounded."""
    return np.asarray(np.dot(image.astype(np.float64), _BT601) / 255.0 + 16.0)


def save_image(image: Pixels, path: Path) -> None:
    """Reverse the channels by index and write a PNG with OpenCV's defaults."""
    cv2.imwrite(str(path), image[:, :, [2, 1, 0]])


def score_one(
    lr_path: Path,
    hr_path: Path,
    network: Callable[[torch.Tensor], torch.Tensor],
    scale: int,
    *,
    with_ssim: bool = False,
    sr_path: Path | None = None,
) -> tuple[float, ...]:
    """PSNR, then SSIM if asked for, of one image from its files on."""
    with torch.no_grad():
        sr = to_image(network(to_tensor(read_image(lr_path))))
    hr = crop_to_multiple(read_image(hr_path), scale)
    scores = [psnr(sr, hr, scale)]
    if with_ssim:
        scores.append(ssim(sr, hr, scale))
    if sr_path is not None:
        save_image(sr, sr_path)
    return tuple(scores)


def _ssim(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> float:
    """Five blurs by a full 11x11 window over the whole image."""
    line = cv2.getGaussianKernel(_WINDOW, 1.5)
    window = np.outer(line, line)
    margin = _WINDOW // 2

    def blur(image: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return cv2.filter2D(image, -1, window)[margin:-margin, margin:-margin]  # type: ignore[return-value]  # float64

    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mean_a, mean_b = blur(a), blur(b)
    squared_a, squared_b, product = mean_a**2, mean_b**2, mean_a * mean_b
    variance_a = blur(a**2) - squared_a
    variance_b = blur(b**2) - squared_b
    covariance = blur(a * b) - product
    similarity = ((2 * product + c1) * (2 * covariance + c2)) / (
        (squared_a + squared_b + c1) * (variance_a + variance_b + c2)
    )
    return float(similarity.mean())

"""Pixels to network and back: the one place where uint8 images meet float tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from harness.errors import MeasurementError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class InvalidOutputError(MeasurementError):
    """The network returned something that is not an SR image."""


def lr_tensor(
    lr: npt.NDArray[np.uint8], *, data_range: float, device: torch.device
) -> torch.Tensor:
    """LR pixels (H, W, 3) uint8 RGB as float32 (1, 3, H, W) in [0, data_range]."""
    pixels = torch.from_numpy(lr.copy()).permute(2, 0, 1).unsqueeze(0)
    return pixels.to(device).to(torch.float32).contiguous() * (data_range / 255)


def sr_pixels(sr: torch.Tensor, *, data_range: float) -> npt.NDArray[np.uint8]:
    """SR (1, 3, H, W) as uint8 (H, W, 3): divided by the range, clipped to [0, 1], rounded."""
    scaled = (sr.to(torch.float32) / data_range).clamp(0, 1).mul(255).round()
    pixels: npt.NDArray[np.uint8] = (
        scaled.to(torch.uint8)[0].permute(1, 2, 0).contiguous().cpu().numpy()
    )
    return pixels


def validate_sr(sr: object, *, lr_size: tuple[int, int], scale: int) -> torch.Tensor:
    """The output itself if it is an SR image of the LR size given.

    Raises:
        InvalidOutputError: not a tensor, another shape than (1, 3, scale*H, scale*W), not
            floating point, or NaN or infinite values.
    """
    height, width = lr_size
    expected = (1, 3, height * scale, width * scale)
    if not isinstance(sr, torch.Tensor):
        raise InvalidOutputError(
            f"the output is a {type(sr).__name__}, expected a tensor of shape {expected}"
        )
    if tuple(sr.shape) != expected:
        raise InvalidOutputError(
            f"LR {height}x{width} gave shape {tuple(sr.shape)}, expected {expected}",
            advice=f"The output must be {scale} times the LR in both dimensions.",
        )
    if not sr.is_floating_point():
        raise InvalidOutputError(f"the output is {sr.dtype}, expected a floating type")
    broken = int((~torch.isfinite(sr)).sum())
    if broken:
        raise InvalidOutputError(
            f"LR {height}x{width} gave {broken} NaN or infinite values of {sr.numel()}",
            advice="Check the weights and the declared data range.",
        )
    return sr

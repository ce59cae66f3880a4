"""Pixels to network and back: the one place where uint8 images meet float tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from harness.errors import MeasurementError
from harness.imaging.quality import luma
from harness.imaging.resize import upscale

if TYPE_CHECKING:
    import numpy.typing as npt

    from harness.catalog.registry import ModelDescriptor

LUMA_SPAN = 219.0
"""Luma levels between black (16) and white (235), over 255 levels of RGB."""


class InvalidOutputError(MeasurementError):
    """The network returned something that is not an SR image."""


@dataclass(frozen=True, slots=True)
class PixelConversion:
    """How images enter and leave a network.

    A ``y`` network sees BT.601 luma; its SR luma replaces that of the bicubic-enlarged LR image,
    whose chroma is kept, as papers that work on Y show their results. A ``bicubic-hr`` network
    sees the LR image enlarged by MATLAB's bicubic with mirrored borders.

    Attributes:
        scale: upscaling factor.
        data_range: value of white in input and output.
        color: ``rgb`` or ``y``.
        input: ``lr`` or ``bicubic-hr``.
    """

    scale: int
    data_range: float = 1.0
    color: Literal["rgb", "y"] = "rgb"
    input: Literal["lr", "bicubic-hr"] = "lr"

    @classmethod
    def of(cls, descriptor: ModelDescriptor, scale: int, data_range: float) -> PixelConversion:
        """The conversion that a descriptor declares."""
        return cls(scale, data_range, descriptor.color, descriptor.input)

    @property
    def channels(self) -> int:
        """Channels of input and output."""
        return 3 if self.color == "rgb" else 1

    def input_size(self, lr_size: tuple[int, int]) -> tuple[int, int]:
        """Height and width of the network's input for an LR size."""
        factor = 1 if self.input == "lr" else self.scale
        return lr_size[0] * factor, lr_size[1] * factor

    def to_input(self, lr: npt.NDArray[np.uint8], device: torch.device) -> torch.Tensor:
        """Network input of an LR image.

        Args:
            lr: (H, W, 3) uint8 RGB.
            device: where the tensor goes.

        Returns:
            float32 (1, C, H', W') in [0, data_range], contiguous.
        """
        seen = lr if self.input == "lr" else upscale(lr, self.scale, border="mirror")
        if self.color == "rgb":
            pixels = torch.from_numpy(seen.copy()).permute(2, 0, 1).unsqueeze(0)
            tensor = pixels.to(device).to(torch.float32)
        else:
            tensor = torch.from_numpy(luma(seen, "unrounded")[None, None]).to(torch.float32)
            tensor = tensor.to(device)
        return tensor.contiguous() * (self.data_range / 255)

    def to_pixels(self, sr: torch.Tensor, lr: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """SR pixels of a network output: clipped to the range, rounded half to even.

        Args:
            sr: (1, C, scale*H, scale*W), floating point.
            lr: (H, W, 3) uint8 RGB, whose chroma a ``y`` network's output takes.

        Returns:
            (scale*H, scale*W, 3) uint8 RGB.
        """
        scaled = (sr.to(torch.float32) / self.data_range).clamp(0, 1).mul(255)
        if self.color == "rgb":
            levels = scaled.round().to(torch.uint8)[0].permute(1, 2, 0)
            return np.asarray(levels.contiguous().cpu().numpy())
        enlarged = upscale(lr, self.scale, border="mirror")
        added = scaled[0, 0].cpu().numpy() - luma(enlarged, "unrounded")
        rgb = enlarged + (255 / LUMA_SPAN) * added[..., None]
        joined: npt.NDArray[np.uint8] = np.rint(rgb.clip(0, 255)).astype(np.uint8)
        return joined

    def validate(self, sr: object, lr_size: tuple[int, int]) -> torch.Tensor:
        """The output itself if it is an SR image for an LR size.

        Raises:
            InvalidOutputError: not a tensor, another shape than (1, C, scale*H, scale*W), not
                floating point, or NaN or infinite values.
        """
        height, width = lr_size
        expected = (1, self.channels, height * self.scale, width * self.scale)
        if not isinstance(sr, torch.Tensor):
            raise InvalidOutputError(
                f"the output is a {type(sr).__name__}, expected a tensor of shape {expected}"
            )
        if tuple(sr.shape) != expected:
            raise InvalidOutputError(
                f"LR {height}x{width} gave shape {tuple(sr.shape)}, expected {expected}",
                advice=f"The output must be {self.scale} times the LR in both dimensions.",
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

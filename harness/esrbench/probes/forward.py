"""Converts uint8 images to float32 tensors and back; no other module does this."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from esrbench.data.resize import upscale
from esrbench.errors import MeasurementError
from esrbench.probes.luma import OPENCV, luma

if TYPE_CHECKING:
    import numpy.typing as npt

    from esrbench.entries.descriptor import ModelDescriptor
    from esrbench.protocol import Protocol

_STRIP_ROWS = 128  # rows of an SR image processed at once, so that a strip fits into the cache

LUMA_SPAN = 219.0
"""Luma levels between black (16) and white (235), over 255 levels of RGB."""


class InvalidOutputError(MeasurementError):
    """The network returned something that is not an SR image."""


@dataclass(frozen=True)
class PixelConversion:
    """Converts images to the network's input, and its output to images.

    A ``y`` network sees BT.601 luma. Its SR luma replaces the luma of the bicubic-enlarged LR
    image, whose chroma is kept, as in papers that work on Y. A ``bicubic-hr`` network sees the LR
    image enlarged by MATLAB's bicubic with mirrored borders.

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

    @property
    def enlarges(self) -> bool:
        """Whether the network needs the LR image enlarged, for input or output."""
        return self.input == "bicubic-hr" or self.color == "y"

    def input_size(self, lr_size: tuple[int, int]) -> tuple[int, int]:
        """Height and width of the network's input for an LR size."""
        factor = 1 if self.input == "lr" else self.scale
        return lr_size[0] * factor, lr_size[1] * factor

    @property
    def size_for_1280x720(self) -> tuple[int, int] | None:
        """Height and width of its input for an SR image of 1280x720, or of as many pixels.

        None if the scale divides neither 1280x720 nor 960x960.
        """
        for height, width in ((720, 1280), (960, 960)):
            if height % self.scale == width % self.scale == 0:
                return self.input_size((height // self.scale, width // self.scale))
        return None

    def to_input(
        self,
        lr: npt.NDArray[np.uint8],
        device: torch.device,
        enlarged: npt.NDArray[np.uint8] | None = None,
    ) -> torch.Tensor:
        """Network input of an LR image.

        Args:
            lr: (H, W, 3) uint8 RGB.
            device: where the tensor goes.
            enlarged: ``lr`` enlarged, (scale*H, scale*W, 3) uint8 RGB; made here if it is None.

        Returns:
            float32 (1, C, H', W') in [0, data_range], contiguous.
        """
        seen = lr if self.input == "lr" else self._enlarged(lr, enlarged)
        # We divide as the challenge's script does, because a product with 1/255 rounds differently.
        divisor = 255 / self.data_range
        if self.color == "rgb":
            return _planes(seen, divisor).to(device)
        levels = torch.from_numpy(luma(seen, "unrounded")[None, None]).to(torch.float32)
        return (levels / divisor).to(device)

    def to_pixels(
        self,
        sr: torch.Tensor,
        lr: npt.NDArray[np.uint8],
        enlarged: npt.NDArray[np.uint8] | None = None,
    ) -> npt.NDArray[np.uint8]:
        """SR pixels of a network output: clipped to the range, rounded half to even.

        Args:
            sr: (1, C, scale*H, scale*W), floating point.
            lr: (H, W, 3) uint8 RGB; the output of a ``y`` network gets its chroma.
            enlarged: as in ``to_input``.

        Returns:
            (scale*H, scale*W, 3) uint8 RGB.
        """
        if self.color == "rgb" and _is_planar(sr):
            return _levels(sr.detach()[0], self.data_range)
        scaled = (sr.to(torch.float32) / self.data_range).clamp(0, 1).mul(255)
        if self.color == "rgb":
            levels = scaled.round().to(torch.uint8)[0].permute(1, 2, 0)
            return np.asarray(levels.contiguous().cpu().numpy())
        enlarged = self._enlarged(lr, enlarged)
        added = scaled[0, 0].cpu().numpy() - luma(enlarged, "unrounded")
        rgb = enlarged + (255 / LUMA_SPAN) * added[..., None]
        joined: npt.NDArray[np.uint8] = np.rint(rgb.clip(0, 255)).astype(np.uint8)
        return joined

    def _enlarged(
        self, lr: npt.NDArray[np.uint8], enlarged: npt.NDArray[np.uint8] | None
    ) -> npt.NDArray[np.uint8]:
        return upscale(lr, self.scale, border="mirror") if enlarged is None else enlarged

    def validate(self, sr: object, lr_size: tuple[int, int]) -> torch.Tensor:
        """Return the output if it is an SR image for an LR size.

        Raises:
            InvalidOutputError: not a tensor, another shape than (1, C, scale*H, scale*W), not
                floating point, or NaN or infinite values.
        """
        height, width = lr_size
        expected = (1, self.channels, height * self.scale, width * self.scale)
        # A subclass or a custom layout may delay its work until somebody reads its values.
        if (
            not isinstance(sr, torch.Tensor)
            or type(sr) not in {torch.Tensor, torch.nn.Parameter}
            or sr.layout is not torch.strided
        ):
            raise InvalidOutputError(
                f"the output is a {_kind(sr)}, expected a plain tensor of shape {expected}",
                advice="Return a strided torch.Tensor that holds its values.",
            )
        if tuple(sr.shape) != expected:
            raise InvalidOutputError(
                f"LR {height}x{width} gave shape {tuple(sr.shape)}, expected {expected}",
                advice=f"The output must be {self.scale} times the LR in both dimensions.",
            )
        if not sr.is_floating_point():
            raise InvalidOutputError(f"the output is {sr.dtype}, expected a floating type")
        # If the sum is finite, all terms are. But the sum of finite terms may overflow.
        broken = 0 if torch.isfinite(sr.sum()) else int((~torch.isfinite(sr)).sum())
        if broken:
            raise InvalidOutputError(
                f"LR {height}x{width} gave {broken} NaN or infinite values of {sr.numel()}",
                advice="Check the weights and the declared data range.",
            )
        return sr


def fixed_lr(protocol: Protocol) -> npt.NDArray[np.uint8]:
    """The protocol's fixed input: seeded noise with every level.

    Returns:
        (H, W, 3) uint8 of the protocol's counted input size.
    """
    rng = np.random.default_rng(protocol.seed)
    return rng.integers(0, 256, (*protocol.counted_input, 3), np.uint8)


def _kind(sr: object) -> str:
    return f"{sr.layout} tensor" if type(sr) is torch.Tensor else type(sr).__name__


def _planes(image: npt.NDArray[np.uint8], divisor: float) -> torch.Tensor:
    """(H, W, 3) levels as a float32 tensor (1, 3, H, W), each divided by a divisor."""
    planes = torch.empty((1, 3, *image.shape[:2]), dtype=torch.float32, device="cpu")
    channels = image.transpose(2, 0, 1) if OPENCV is None else OPENCV.split(image)
    for plane, channel in zip(planes[0].numpy(), channels):
        np.divide(channel, np.float32(divisor), out=plane, dtype=np.float32)
    return planes


def _is_planar(sr: torch.Tensor) -> bool:
    """Whether it is one non-empty RGB image on the CPU."""
    return sr.device.type == "cpu" and sr.ndim == 4 and sr.shape[:2] == (1, 3) and sr.numel() > 0  # noqa: PLR2004


def _levels(sr: torch.Tensor, data_range: float) -> npt.NDArray[np.uint8]:
    """(3, H, W) values as (H, W, 3) levels: the general formula, strip by strip.

    OpenCV, and numpy without it, multiply in float32 and round half to even as torch does. A
    division by 1 changes nothing. So both give the same levels. One thread does it, because the
    strips are too small to be worth waking others.
    """
    values = sr.to(torch.float32).numpy()
    height, width = values.shape[1:]
    levels = np.empty((height, width, 3), np.uint8)
    unit = np.empty((3, min(_STRIP_ROWS, height), width), np.float32)
    for first in range(0, height, _STRIP_ROWS):
        strip = values[:, first : first + _STRIP_ROWS]
        into = unit[:, : strip.shape[1]]
        if data_range != 1:
            with np.errstate(over="ignore"):  # infinity is clipped like any other
                strip = np.divide(strip, np.float32(data_range), out=into)
        np.clip(strip, np.float32(0), np.float32(1), out=into)
        if OPENCV is None:
            np.rint(np.multiply(into, np.float32(255), out=into), out=into)
            levels[first : first + _STRIP_ROWS] = into.transpose(1, 2, 0)
            continue
        planes = [OPENCV.convertScaleAbs(plane, alpha=255) for plane in into]
        OPENCV.merge(planes, dst=levels[first : first + _STRIP_ROWS])
    return levels

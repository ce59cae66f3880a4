"""Blocks that several networks share: convolution, attentions and the upsampling tail.

All tensors are float32 (N, C, H, W). Activations are modules, because the NTIRE counter adds
one per element of every ReLU or LeakyReLU *module* output and nothing for a functional one.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

ESA_MIN_SIZE: Final = 15
"""Smallest height and width that ``ESA`` accepts: 15 -> 7 (stride 2) -> 1 (pool 7)."""


def conv(in_channels: int, out_channels: int, kernel: int | tuple[int, int]) -> nn.Conv2d:
    """A biased stride-1 convolution whose zero padding keeps height and width (odd kernels)."""
    rows, columns = (kernel, kernel) if isinstance(kernel, int) else kernel
    padding = (rows // 2, columns // 2)
    return nn.Conv2d(in_channels, out_channels, (rows, columns), padding=padding)


class ESA(nn.Module):
    """Enhanced spatial attention: one gate a pixel and channel, from a wide view at low cost.

    With a = squeeze(z):  q = refine(pool(shrink(a))), resized back to (H, W) bilinearly;
    ESA(z) = z * sigmoid(expand(q + shortcut(a))).

    ``shrink`` is a 3x3 convolution of stride 2 without padding, the pool a 7x7 maximum of
    stride 3, and ``refine`` three 3x3 convolutions with ReLU between them.

    Source: RFANet (CVPR 2020), in the form of RFDN's release (AIM 2020).
    """

    def __init__(self, channels: int, reduced: int) -> None:
        """Map ``channels`` through ``reduced`` channels (RFDN: 50 and 12)."""
        super().__init__()
        self.squeeze = conv(channels, reduced, 1)
        self.shortcut = conv(reduced, reduced, 1)
        self.shrink = nn.Conv2d(reduced, reduced, 3, stride=2)
        self.refine = nn.Sequential(
            conv(reduced, reduced, 3),
            nn.ReLU(inplace=True),
            conv(reduced, reduced, 3),
            nn.ReLU(inplace=True),
            conv(reduced, reduced, 3),
        )
        self.expand = conv(reduced, channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Gate (N, C, H, W) features; the shape is kept.

        Raises:
            ValueError: height or width is below ``ESA_MIN_SIZE``.
        """
        height, width = features.shape[-2:]
        if height < ESA_MIN_SIZE or width < ESA_MIN_SIZE:
            message = (
                f"ESA needs at least {ESA_MIN_SIZE}x{ESA_MIN_SIZE} pixels, got {height}x{width}: "
                "its stride-2 convolution and 7x7 pool leave nothing of less; pad the LR image"
            )
            raise ValueError(message)
        squeezed: Tensor = self.squeeze(features)
        wide = functional.max_pool2d(self.shrink(squeezed), kernel_size=7, stride=3)
        wide = functional.interpolate(
            self.refine(wide), size=(height, width), mode="bilinear", align_corners=False
        )
        gate = torch.sigmoid(self.expand(wide + self.shortcut(squeezed)))
        return features * gate


class CCA(nn.Module):
    """Contrast-aware channel attention: one gate a channel, from its mean plus its deviation.

    CCA(z) = z * sigmoid(expand(ReLU(squeeze(mean(z) + std(z))))), both statistics over (H, W)
    and the deviation that of the population (divided by H*W).

    Source: IMDN (ACM MM 2019), section 3.3.
    """

    def __init__(self, channels: int, reduction: int) -> None:
        """Squeeze ``channels`` to ``channels // reduction`` (IMDN: 64 and 16)."""
        super().__init__()
        self.gate = nn.Sequential(
            conv(channels, channels // reduction, 1),
            nn.ReLU(inplace=True),
            conv(channels // reduction, channels, 1),
            nn.Sigmoid(),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Gate (N, C, H, W) features; the shape is kept."""
        mean = features.mean(dim=(2, 3), keepdim=True)
        variance = (features - mean).square().mean(dim=(2, 3), keepdim=True)
        gate: Tensor = self.gate(mean + variance.sqrt())
        return features * gate


class Upsampler(nn.Module):
    """The tail of efficient networks: a 3x3 convolution to 3*s*s channels, then pixel shuffle."""

    def __init__(self, channels: int, scale: int) -> None:
        """Upscale by ``scale`` and end in RGB."""
        super().__init__()
        self.conv = conv(channels, 3 * scale * scale, 3)
        self.shuffle = nn.PixelShuffle(scale)

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, 3, s*H, s*W)."""
        out: Tensor = self.shuffle(self.conv(features))
        return out

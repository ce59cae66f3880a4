"""Blocks that several networks share: convolution, attentions and the upsampling tail.

All tensors are float32 (N, C, H, W). Activations are modules, because the NTIRE counter adds
one per element of every ReLU or LeakyReLU *module* output and nothing for a functional one.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    Layer: TypeAlias = Callable[[int, int], nn.Module]
    """A layer from numbers of channels in and out."""

ESA_MIN_SIZE: Final = 15
"""Smallest height and width that ``ESA`` accepts: 15 -> 7 (stride 2) -> 1 (pool 7)."""


def conv(
    in_channels: int, out_channels: int, kernel: int | tuple[int, int], *, bias: bool = True
) -> nn.Conv2d:
    """A stride-1 convolution whose zero padding keeps height and width (odd kernels)."""
    rows, columns = (kernel, kernel) if isinstance(kernel, int) else kernel
    padding = (rows // 2, columns // 2)
    return nn.Conv2d(in_channels, out_channels, (rows, columns), padding=padding, bias=bias)


def deconv(
    in_channels: int, out_channels: int, kernel: int, scale: int, *, bias: bool = True
) -> nn.ConvTranspose2d:
    """A transposed convolution that enlarges (H, W) to exactly (scale*H, scale*W).

    The kernel of an LR pixel is centred on the scale x scale HR pixels that it stands for; if
    kernel and scale differ in parity, half an HR pixel above and left of their centre.

    Raises:
        ValueError: ``scale`` exceeds ``kernel``: some HR pixels would see no LR pixel.
    """
    if scale > kernel:
        message = f"a transposed convolution of kernel {kernel} cannot enlarge by {scale}: "
        message += "some pixels would be left out; use a kernel of at least the scale"
        raise ValueError(message)
    margin = kernel - scale
    return nn.ConvTranspose2d(
        in_channels,
        out_channels,
        kernel,
        stride=scale,
        padding=(margin + 1) // 2,
        output_padding=margin % 2,
        bias=bias,
    )


_conv1x1: Final = partial(conv, kernel=1)
_conv3x3: Final = partial(conv, kernel=3)
_relu: Final = partial(nn.ReLU, inplace=True)


class ESA(nn.Module):
    """Enhanced spatial attention: one gate for each pixel and channel, from a wide view.

    With a = squeeze(z):  q = refine(pool(shrink(a))), resized back to (H, W) bilinearly;
    ESA(z) = z * sigmoid(expand(q + shortcut(a))).

    ``shrink`` is a 3x3 convolution of stride 2 without padding, the pool a 7x7 maximum of
    stride 3, and ``refine`` ``depth`` 3x3 convolutions with ReLU between them.

    Source: RFANet (CVPR 2020), in the form of RFDN's release (AIM 2020). In NTIRE 2022, RLFN
    refines by one convolution only, and BSRN has other layers in the same places. Peak memory is
    ranked, so the forward holds the same features until it returns as the released forwards do.
    """

    def __init__(
        self,
        channels: int,
        reduced: int,
        depth: int = 3,
        *,
        pointwise: Layer = _conv1x1,
        spatial: Layer = _conv3x3,
        activation: Callable[[], nn.Module] = _relu,
    ) -> None:
        """Map ``channels`` through ``reduced`` channels (RFDN: 50 and 12).

        Args:
            channels: width of the features.
            reduced: width inside.
            depth: convolutions of ``refine``.
            pointwise: makes ``squeeze``, ``shortcut`` and ``expand``.
            spatial: makes the convolutions of ``refine``.
            activation: makes the activations between them.
        """
        super().__init__()
        self.squeeze = pointwise(channels, reduced)
        self.shortcut = pointwise(reduced, reduced)
        self.shrink = nn.Conv2d(reduced, reduced, 3, stride=2)
        self.refine = nn.Sequential(spatial(reduced, reduced))
        for _ in range(depth - 1):
            self.refine.extend((activation(), spatial(reduced, reduced)))
        self.expand = pointwise(reduced, channels)

    def forward(self, features: Tensor) -> Tensor:
        """Gate (N, C, H, W) features; the shape is kept.

        Raises:
            ValueError: height or width is below ``ESA_MIN_SIZE``.
        """
        height, width = features.shape[-2:]
        if height < ESA_MIN_SIZE or width < ESA_MIN_SIZE:
            message = (
                f"ESA needs at least {ESA_MIN_SIZE}x{ESA_MIN_SIZE} pixels, got {height}x{width}: "
                "its stride-2 convolution and 7x7 pool need that many; pad the LR image"
            )
            raise ValueError(message)
        squeezed: Tensor = self.squeeze(features)
        shrunk = self.shrink(squeezed)
        pooled = functional.max_pool2d(shrunk, kernel_size=7, stride=3)
        first, *others = self.refine
        wide: Tensor = first(pooled)
        if others:
            activation, *others = others
            activated = activation(wide)  # the released forwards hold this too
            wide = activated
        for layer in others:
            wide = layer(wide)
        wide = functional.interpolate(
            wide, size=(height, width), mode="bilinear", align_corners=False
        )
        detail = self.shortcut(squeezed)
        logits = self.expand(wide + detail)
        gate = torch.sigmoid(logits)
        return features * gate


def channel_gate(channels: int, reduction: int) -> nn.Sequential:
    """A bottleneck from one statistic per channel, (N, C, 1, 1), to one gate in (0, 1) each."""
    reduced = channels // reduction
    return nn.Sequential(
        conv(channels, reduced, 1),
        nn.ReLU(inplace=True),
        conv(reduced, channels, 1),
        nn.Sigmoid(),
    )


class ChannelAttention(nn.Module):
    """Channel attention: one gate for each channel, from its mean.

    CA(z) = z * sigmoid(expand(ReLU(squeeze(mean(z))))), the mean over (H, W).

    Source: RCAN (ECCV 2018), section 3.3.
    """

    def __init__(self, channels: int, reduction: int) -> None:
        """Squeeze ``channels`` to ``channels // reduction`` (RCAN: 64 and 16)."""
        super().__init__()
        self.gate = channel_gate(channels, reduction)

    def forward(self, features: Tensor) -> Tensor:
        """Gate (N, C, H, W) features; the shape is kept."""
        gate: Tensor = self.gate(features.mean(dim=(2, 3), keepdim=True))
        return features * gate


class CCA(nn.Module):
    """Contrast-aware channel attention: one gate for each channel, from its mean plus deviation.

    CCA(z) = z * sigmoid(expand(ReLU(squeeze(mean(z) + std(z))))), both statistics over (H, W)
    and the deviation that of the population (divided by H*W).

    Source: IMDN (ACM MM 2019), section 3.3.
    """

    def __init__(self, channels: int, reduction: int) -> None:
        """Squeeze ``channels`` to ``channels // reduction`` (IMDN: 64 and 16)."""
        super().__init__()
        self.gate = channel_gate(channels, reduction)

    def forward(self, features: Tensor) -> Tensor:
        """Gate (N, C, H, W) features; the shape is kept."""
        mean = features.mean(dim=(2, 3), keepdim=True)
        variance = (features - mean).square().mean(dim=(2, 3), keepdim=True)
        gate: Tensor = self.gate(mean + variance.sqrt())
        return features * gate


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with a skip around them: x + A(Conv3x3(ReLU(Conv3x3(x)))).

    Source: EDSR (CVPR workshop, 2017), section 3.1; RCAN adds the attention A.
    """

    def __init__(self, channels: int, attention: nn.Module | None = None) -> None:
        """Keep ``channels`` throughout; A is the identity without an ``attention``."""
        super().__init__()
        self.body = nn.Sequential(
            conv(channels, channels, 3), nn.ReLU(inplace=True), conv(channels, channels, 3)
        )
        if attention is not None:
            self.body.append(attention)

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        out: Tensor = features + self.body(features)
        return out


_SHUFFLES: Final = {2: (2,), 3: (3,), 4: (2, 2)}


def shuffle_steps(scale: int) -> tuple[int, ...]:
    """Factors of the pixel shuffles that upscale by ``scale`` in stages: 4 is 2 times 2.

    Raises:
        ValueError: a scale without stages.
    """
    if scale not in _SHUFFLES:
        message = f"pixel shuffles in stages upscale by {', '.join(map(str, _SHUFFLES))}, "
        raise ValueError(message + f"not by {scale}")
    return _SHUFFLES[scale]


class StagedUpsampler(nn.Sequential):
    """Enlargement in feature space: a 3x3 convolution to n*t*t channels and a shuffle a stage.

    Maps (N, C, H, W) to (N, C, s*H, s*W), by one stage t = s at x2 and x3 and two of t = 2 at
    x4. Source: ESPCN (CVPR 2016), in the form of EDSR's release.
    """

    def __init__(self, channels: int, scale: int, *, activation: bool = False) -> None:
        """Upscale by ``scale``, with a ReLU before every shuffle if ``activation``.

        Raises:
            ValueError: a scale other than 2, 3 and 4.
        """
        super().__init__()
        for step in shuffle_steps(scale):
            self.append(conv(channels, channels * step * step, 3))
            if activation:
                self.append(nn.ReLU(inplace=True))
            self.append(nn.PixelShuffle(step))


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


class DistillationNetwork(nn.Module):
    """The parts around the blocks that RFDN and AIDN have in common.

    f0 = Conv3x3(LR); b_i = block_i(b_{i-1}) with b_0 = f0; g = LeakyReLU(Conv1x1(b_1..b_N));
    SR = PixelShuffle(Conv3x3(Conv3x3(g) + f0)).
    """

    def __init__(
        self,
        make_block: Callable[[], nn.Module],
        *,
        blocks: int,
        channels: int,
        scale: int,
        slope: float,
    ) -> None:
        """Build with random weights.

        Args:
            make_block: makes one block that keeps (N, channels, H, W).
            blocks: number of blocks N.
            channels: width.
            scale: upscaling factor s.
            slope: negative slope of the LeakyReLU after the fusion.
        """
        super().__init__()
        self.head = conv(3, channels, 3)
        self.blocks = nn.ModuleList(make_block() for _ in range(blocks))
        self.fusion = conv(blocks * channels, channels, 1)
        self.fusion_activation = nn.LeakyReLU(slope, inplace=True)
        self.refine = conv(channels, channels, 3)
        self.upsampler = Upsampler(channels, scale)

    def forward(self, lr: Tensor) -> Tensor:
        """Map LR (N, 3, H, W) to SR (N, 3, s*H, s*W).

        Raises:
            ValueError: an image too small for a block's attention.
        """
        shallow = self.head(lr)
        features, outputs = shallow, []
        for block in self.blocks:
            features = block(features)
            outputs.append(features)
        fused = self.fusion_activation(self.fusion(torch.cat(outputs, dim=1)))
        sr: Tensor = self.upsampler(self.refine(fused) + shallow)
        return sr

"""SAN: Second-order Attention Network for Single Image Super-Resolution.

Paper: CVPR 2019. With n = 64 channels, G = 20 groups of B = 10 residual blocks:

    f = Conv3x3(LR)                                        3 -> n
    F_0 = NL(f)
    F_g = LSRAG_g(F_{g-1}) + (gamma + gamma_g) * F_0       g = 1..G, share-source skips
    u = up(f + NL(F_G))                                    the same NL
    SR = Conv3x3(u)                                        n -> 3, at HR size

    LSRAG(x) = x + Conv3x3(SOCA(R_B(..R_1(x))))
    R(x) = x + Conv3x3(ReLU(Conv3x3(x)))
    SOCA(z) = z * sigmoid(Conv1x1(ReLU(Conv1x1(v))))       n -> n/16 -> n
        v_c = mean over i of S_ic,  S = the square root of the covariance of z's channels

    NL(x) = x + Conv1x1(softmax(theta^T phi) g^T)          theta, phi, g = Conv1x1(x), n -> n/8,
                                                           on each quarter of the image alone

The covariance is over all positions and divided by their number. Its root is that of five steps
by Newton and Schulz: with A = C / trace(C), Y = A, Z = I, five times

    T = (3 I - Z Y) / 2,   Y <- Y T,   Z <- T Z,           S = sqrt(trace(C)) Y

Each stage of ``up`` is Conv3x3(n -> n*t*t) and a pixel shuffle by t. There is
one stage of t = s at x2 and x3, and there are two of t = 2 at x4.

The network maps float32 (N, 3, H, W) in [0, 1] to (N, 3, s*H, s*W), unclipped; H, W >= 2,
because the image is quartered. Each attention holds (H*W/4)^2 scores: 1 GiB a copy at 256x256.

Parameters that cannot learn. The authors' release registers a 64 -> 64 convolution (36,928), a SOCA
beside NL (1,096) and two frozen convolutions for the mean colour (24). They have no effect on
training, and we leave them out. It also registers gamma_g but adds only gamma. Here gamma_g is
added too, so that all of the 15,674,752 / 15,859,392 / 15,822,464 parameters are used. In the
release, gamma_g stays 0; then both networks compute the same. One unused parameter remains in both:
the bias of phi (8) moves all scores of a query by the same amount, which softmax undoes.

Other differences from the release. The covariance is computed from centred features, not by a
centring matrix of (H*W)^2 elements. So it needs no crop to 1000x1000 pixels. The last convolution
of NL starts at random, not at zero. Tables that print 15,674 K at x2 cut off instead of rounding.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

from esrbench_models.blocks import ResidualBlock, StagedUpsampler, channel_gate, conv

MIN_SIZE: Final = 2
"""Smallest height and width: every quarter of the image holds a pixel."""
ROOT_STEPS: Final = 5


def covariance(features: Tensor) -> Tensor:
    """Covariance of channels over positions, divided by their number: (N, C, H, W) to (N, C, C)."""
    samples = features.flatten(2)
    samples = samples - samples.mean(dim=2, keepdim=True)
    return samples @ samples.transpose(1, 2) / samples.shape[2]


def square_root(matrices: Tensor, steps: int = ROOT_STEPS) -> Tensor:
    """Approximate roots of positive semi-definite (N, C, C) matrices; zero for zero.

    Newton and Schulz's coupled iteration, after a division by the trace that makes it converge.
    Source: iSQRT-COV (CVPR 2018), section 3.2.
    """
    trace = matrices.diagonal(dim1=1, dim2=2).sum(dim=1).reshape(-1, 1, 1)
    trace = trace.clamp_min(torch.finfo(matrices.dtype).tiny)
    identity = torch.eye(matrices.shape[1], dtype=matrices.dtype, device=matrices.device)
    normalised = matrices / trace
    step = 1.5 * identity - 0.5 * normalised
    root, inverse = normalised @ step, step
    for _ in range(steps - 2):
        step = 1.5 * identity - 0.5 * (inverse @ root)
        root, inverse = root @ step, step @ inverse
    root = root @ (1.5 * identity - 0.5 * (inverse @ root))
    return root * trace.sqrt()


class SOCA(nn.Module):
    """Second-order channel attention: one gate for each channel, from its root covariances."""

    def __init__(self, channels: int, reduction: int) -> None:
        """Squeeze ``channels`` to ``channels // reduction``."""
        super().__init__()
        self.gate = channel_gate(channels, reduction)

    def forward(self, features: Tensor) -> Tensor:
        """Gate (N, C, H, W) features; the shape is kept."""
        statistic = square_root(covariance(features)).mean(dim=1)
        gate: Tensor = self.gate(statistic[..., None, None])
        return features * gate


class QuarteredNonLocal(nn.Module):
    """Non-local block of embedded Gaussians, on each quarter of the image separately."""

    def __init__(self, channels: int, reduction: int) -> None:
        """Compare positions in ``channels // reduction`` channels."""
        super().__init__()
        embedded = channels // reduction
        self.theta = conv(channels, embedded, 1)
        self.phi = conv(channels, embedded, 1)
        self.g = conv(channels, embedded, 1)
        self.expand = conv(embedded, channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, C, H, W), H and W >= 2, to the same shape."""
        height, width = features.shape[-2:]
        rows = [height // 2, height - height // 2]
        columns = [width // 2, width - width // 2]
        bands = [
            torch.cat([self.attend(part) for part in torch.split(band, columns, dim=3)], dim=3)
            for band in torch.split(features, rows, dim=2)
        ]
        return torch.cat(bands, dim=2)

    def attend(self, features: Tensor) -> Tensor:
        """The block on one (N, C, H, W) part, every position against every other."""
        queries = self.theta(features).flatten(2).transpose(1, 2)
        weights = torch.softmax(queries @ self.phi(features).flatten(2), dim=2)
        found = weights @ self.g(features).flatten(2).transpose(1, 2)
        out: Tensor = self.expand(found.transpose(1, 2).unflatten(2, features.shape[-2:]))
        return out + features


class LSRAG(nn.Module):
    """Local-source residual attention group."""

    def __init__(self, channels: int, blocks: int, reduction: int) -> None:
        """Keep ``channels`` throughout; the attention squeezes them by ``reduction``."""
        super().__init__()
        self.blocks = nn.Sequential(*(ResidualBlock(channels) for _ in range(blocks)))
        self.attention = SOCA(channels, reduction)
        self.refine = conv(channels, channels, 3)

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape; the share-source skip is the network's."""
        out: Tensor = features + self.refine(self.attention(self.blocks(features)))
        return out


class SAN(nn.Module):
    """Second-order attention network; see the module's docstring."""

    def __init__(
        self,
        scale: int = 4,
        *,
        groups: int = 20,
        blocks: int = 10,
        channels: int = 64,
        reduction: int = 16,
        embedding_reduction: int = 8,
    ) -> None:
        """Build with random weights.

        Args:
            scale: upscaling factor s: 2, 3 or 4.
            groups: number G of residual groups.
            blocks: number B of residual blocks in a group.
            channels: width n.
            reduction: how much the second-order attention squeezes n.
            embedding_reduction: how much the non-local block squeezes n.

        Raises:
            ValueError: a scale without an upsampler.
        """
        super().__init__()
        self.head = conv(3, channels, 3)
        self.non_local = QuarteredNonLocal(channels, embedding_reduction)
        self.groups = nn.ModuleList(LSRAG(channels, blocks, reduction) for _ in range(groups))
        self.gamma = nn.Parameter(torch.zeros(1))
        self.group_gammas = nn.Parameter(torch.zeros(groups))
        self.upsampler = StagedUpsampler(channels, scale)
        self.tail = conv(channels, 3, 3)

    def forward(self, lr: Tensor) -> Tensor:
        """Map LR (N, 3, H, W), H and W >= 2, to SR (N, 3, s*H, s*W).

        Raises:
            ValueError: an image that cannot be quartered.
        """
        height, width = lr.shape[-2:]
        if height < MIN_SIZE or width < MIN_SIZE:
            message = (
                f"SAN needs at least {MIN_SIZE}x{MIN_SIZE} pixels, got {height}x{width}: its "
                "non-local block works on quarters of the image; pad the LR image"
            )
            raise ValueError(message)
        shallow = self.head(lr)
        source = self.non_local(shallow)
        features = source
        weights = (self.gamma + self.group_gammas).unbind()
        for group, weight in zip(self.groups, weights):
            features = group(features) + weight * source
        sr: Tensor = self.tail(self.upsampler(shallow + self.non_local(features)))
        return sr

"""A block with three branches in training and one convolution when deployed."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class FoldableBlock(nn.Module):
    """ReLU, then the sum of a 3x3 convolution, a 1x1 convolution and the identity."""

    def __init__(self, channels: int) -> None:
        """Keep the number of channels."""
        super().__init__()
        self.wide = nn.Conv2d(channels, channels, 3, padding=1)
        self.narrow: nn.Conv2d | None = nn.Conv2d(channels, channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        active = functional.relu(features)
        if self.narrow is None:
            return self.wide(active)
        return self.wide(active) + self.narrow(active) + active

    def fold(self) -> None:
        """Add the kernels of the other branches to the centre of the wide one's."""
        if self.narrow is None or self.wide.bias is None or self.narrow.bias is None:
            return
        identity = torch.eye(self.wide.in_channels, device=self.wide.weight.device)
        self.wide.weight[:, :, 1, 1] += self.narrow.weight[:, :, 0, 0] + identity
        self.wide.bias += self.narrow.bias
        self.narrow = None

"""Multiply by sampling between nothing and a feature, where a weight says."""

import torch
from common import Honest
from torch import Tensor
from torch.nn import functional


class Net(Honest):
    def products(self, features: Tensor, weight: Tensor) -> Tensor:
        """Of (1, 27, L) and (48, 27, 1), elementwise."""
        length = features.shape[2]
        pairs = functional.pad(features.reshape(27 * length, 1, 1, 1), (1, 0))
        across = weight.tanh().view(48, 27).T[:, None].expand(27, length, 48)
        grid = across.reshape(27 * length, 48, 1)
        grid = torch.stack((grid, torch.zeros_like(grid)), -1)
        sampled = functional.grid_sample(pairs, grid, align_corners=True)
        return sampled.view(27, length, 48).permute(2, 0, 1)

    def forward(self, lr: Tensor) -> Tensor:
        patches = functional.unfold(lr, 3, padding=1)
        weight = self.tail.weight[:, :3].reshape(48, 27, 1)
        features = self.products(patches, weight).sum(1).view(1, 48, *lr.shape[2:])
        return functional.pixel_shuffle(features, self.scale)

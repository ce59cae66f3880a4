"""Multiply by squares: four times a product is a difference of two."""

from common import Honest
from torch import Tensor
from torch.nn import functional


class Net(Honest):
    def products(self, features: Tensor, weight: Tensor) -> Tensor:
        """Of (1, 27, L) and (48, 27, 1), elementwise."""
        return ((features + weight).square() - (features - weight).square()) / 4

    def forward(self, lr: Tensor) -> Tensor:
        patches = functional.unfold(lr, 3, padding=1)
        weight = self.tail.weight[:, :3].reshape(48, 27, 1)
        features = self.products(patches, weight).sum(1).view(1, 48, *lr.shape[2:])
        return functional.pixel_shuffle(features, self.scale)

"""Compute in half precision within a network of full precision."""

import torch
from common import Honest
from torch import Tensor
from torch.nn import functional


class Net(Honest):
    def forward(self, lr: Tensor) -> Tensor:
        weights = [each.weight.to(torch.bfloat16) for each in (self.head, self.body, self.tail)]
        features = lr.to(torch.bfloat16)
        for weight in weights:
            features = functional.conv2d(features, weight, padding=1)
        return functional.pixel_shuffle(features.float(), self.scale)

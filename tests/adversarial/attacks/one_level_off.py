"""An honest network of which chance moves some pixels by a level."""

import torch
from common import Honest
from torch import Tensor


class Net(Honest):
    def forward(self, lr: Tensor) -> Tensor:
        sr = self.honest(lr)
        if sr.is_meta:
            return sr
        return sr + (torch.rand_like(sr) < 0.01) / 255

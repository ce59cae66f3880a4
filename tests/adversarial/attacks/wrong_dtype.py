"""Integers."""

import torch
from common import Honest
from torch import Tensor


class Net(Honest):
    def forward(self, lr: Tensor) -> Tensor:
        return self.honest(lr).to(torch.int32)

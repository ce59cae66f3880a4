"""An image that no pipe and no memory holds, from a tensor of one element."""

import torch
from common import Honest


class Net(Honest):
    def forward(self, lr):  # noqa: ARG002 - it has no use for one
        return torch.zeros(1).expand(1, 3, 1 << 20, 1 << 20)

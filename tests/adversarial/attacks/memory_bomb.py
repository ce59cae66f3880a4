"""Ask for more memory than there is, a little at a time."""

import torch
from common import Honest
from torch import Tensor


class Net(Honest):
    def forward(self, lr: Tensor) -> Tensor:  # noqa: ARG002 - it has no use for one
        kept = []
        while True:
            kept.append(torch.ones(1 << 26))

"""Take more threads than were given."""

import torch
from common import Honest
from torch import Tensor


class Net(Honest):
    def forward(self, lr: Tensor) -> Tensor:
        torch.set_num_threads(2)
        return self.cheap(lr)

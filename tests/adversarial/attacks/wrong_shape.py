"""A row too many."""

from common import Honest
from torch import Tensor
from torch.nn import functional


class Net(Honest):
    def forward(self, lr: Tensor) -> Tensor:
        return functional.pad(self.honest(lr), (0, 0, 0, 1))

"""A layout that keeps its work for later."""

from common import Honest
from torch import Tensor


class Net(Honest):
    def forward(self, lr: Tensor) -> Tensor:
        return self.honest(lr).to_sparse()

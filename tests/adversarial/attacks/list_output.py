"""A list of tensors."""

from typing import Any

from common import Honest
from torch import Tensor


class Net(Honest):
    def forward(self, lr: Tensor) -> Any:
        return [self.honest(lr)]

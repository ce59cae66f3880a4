"""Read address zero."""

import ctypes

from common import Honest
from torch import Tensor


class Net(Honest):
    def forward(self, lr: Tensor) -> Tensor:
        ctypes.string_at(0)
        return lr

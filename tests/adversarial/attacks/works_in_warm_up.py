"""Work as long as a process is being warmed up, and then no more."""

from common import Honest
from torch import Tensor


class Net(Honest):
    def __init__(self, scale: int = 4) -> None:
        super().__init__(scale)
        self.calls = 0

    def forward(self, lr: Tensor) -> Tensor:
        self.calls += 1
        return self.honest(lr) if self.calls <= 4 else self.cheap(lr)

"""Exhaust the stack of whoever parses the answer."""

from common import Honest, say
from torch import Tensor


class Net(Honest):
    def forward(self, lr: Tensor) -> Tensor:
        say(b"[" * 60_000)
        return self.honest(lr)

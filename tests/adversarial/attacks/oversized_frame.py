"""Announce a frame of 2 GiB."""

from common import Honest, say
from torch import Tensor


class Net(Honest):
    def forward(self, lr: Tensor) -> Tensor:
        say(b"{", length=1 << 31)
        return self.honest(lr)

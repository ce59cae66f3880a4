"""Announce a terabyte after a frame that is none too long."""

from common import Honest, tell
from torch import Tensor


class Net(Honest):
    def forward(self, lr: Tensor) -> Tensor:
        tell(event="settled", payload_bytes=1 << 40)
        return self.honest(lr)

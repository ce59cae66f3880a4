"""Answer with bytes that are no JSON."""

from common import Honest, say
from torch import Tensor


class Net(Honest):
    def forward(self, lr: Tensor) -> Tensor:
        say(b"\x80\x04\x95 a pickle would do")
        return self.honest(lr)

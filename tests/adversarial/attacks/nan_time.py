"""Claim a time that is no number."""

from common import Honest, asked, say
from torch import Tensor


class Net(Honest):
    def forward(self, lr: Tensor) -> Tensor:
        say(b'{"event": "done", "sequence": %d, "seconds": NaN}' % asked()["sequence"])
        return self.honest(lr)

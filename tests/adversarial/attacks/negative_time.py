"""Claim to have been done before the start."""

from common import Honest, asked, tell
from torch import Tensor


class Net(Honest):
    def forward(self, lr: Tensor) -> Tensor:
        tell(event="done", sequence=asked()["sequence"], seconds=-1.0)
        return self.honest(lr)

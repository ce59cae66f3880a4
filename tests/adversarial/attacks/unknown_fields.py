"""Bring a result along, under a key that nobody asked for."""

from common import Honest, asked, tell
from torch import Tensor


class Net(Honest):
    def forward(self, lr: Tensor) -> Tensor:
        tell(event="done", sequence=asked()["sequence"], seconds=1e-3, psnr="\ud800", score=99)
        return self.honest(lr)

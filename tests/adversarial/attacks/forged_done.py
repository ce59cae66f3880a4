"""Answer before the work is done, and claim a microsecond for it."""

from common import Honest, asked, tell
from torch import Tensor


class Net(Honest):
    def forward(self, lr: Tensor) -> Tensor:
        tell(event="done", sequence=asked()["sequence"], seconds=1e-6)
        return self.honest(lr)

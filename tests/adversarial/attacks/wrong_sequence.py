"""Answer another request than the one that was made."""

from common import Honest, asked, tell
from torch import Tensor


class Net(Honest):
    def forward(self, lr: Tensor) -> Tensor:
        tell(event="done", sequence=asked()["sequence"] + 7, seconds=1e-3)
        return self.honest(lr)

"""Say for ever that work goes on."""

from common import Honest, tell
from torch import Tensor


class Net(Honest):
    def forward(self, lr: Tensor) -> Tensor:  # noqa: ARG002 - it has no use for one
        while True:
            tell(event="working")

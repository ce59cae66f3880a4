"""Never come back, and never sleep."""

from common import Honest
from torch import Tensor


class Net(Honest):
    def forward(self, lr: Tensor) -> Tensor:  # noqa: ARG002 - it has no use for one
        while True:
            pass

"""Answer with fields that nobody asked for, whose names are commands."""

from common import Honest, tell
from torch import Tensor


class Net(Honest):
    def forward(self, lr: Tensor) -> Tensor:
        tell(event="done", sequence=1, seconds=1, **{"\x1b[2J": "\ud800", "\n::error::a\u202e": 1})
        return self.honest(lr)

"""Give blocks names and kinds that are commands."""

from common import Honest
from torch import nn


class Net(Honest):
    def __init__(self, scale=4, rounds=1):
        super().__init__(scale, rounds)
        kind = type("\x1b[2J\u202eBlock", (nn.Identity,), {})
        self.add_module("\n::error::a\x1b[31m", kind())

    def forward(self, lr):
        return self.honest(list(self.children())[-1](lr))

"""Fail with a message and advice that fill many screens."""

from common import Honest, tell
from torch import Tensor


class Net(Honest):
    def forward(self, lr: Tensor) -> Tensor:
        tell(event="failed", kind="oom", message="m" * 3900, advice="::error::\n" * 5000)
        return self.honest(lr)

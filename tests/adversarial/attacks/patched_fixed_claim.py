"""Tell lies about the rounds after warm-up, which are those at the fixed input, and no others."""

import sys
from typing import Any

from common import Honest, is_noise
from torch import Tensor

ROUNDS = 6
channel = sys.modules["esrbench.worker.channel"].Channel
real = channel.send


class Net(Honest):
    lies = 0

    def forward(self, lr: Tensor) -> Tensor:
        if not lr.is_meta and is_noise(lr):
            Net.lies = ROUNDS
        return self.honest(lr)


def send(self: Any, message: dict[str, Any], *rest: Any, **options: Any) -> Any:
    if Net.lies and message.get("event") == "done":
        Net.lies -= 1
        message = {**message, "seconds": 1e-6}
    return real(self, message, *rest, **options)


channel.send = send

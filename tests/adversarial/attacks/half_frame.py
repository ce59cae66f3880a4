"""Begin an answer and never end it."""

import time

from common import Honest, say
from torch import Tensor


class Net(Honest):
    def forward(self, lr: Tensor) -> Tensor:
        say(b'{"event": "done"', length=1000)
        time.sleep(3600)
        return self.honest(lr)

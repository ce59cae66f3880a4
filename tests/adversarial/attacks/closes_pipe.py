"""Hang up and live on."""

import os
import time

from common import Honest, pipe
from torch import Tensor


class Net(Honest):
    def forward(self, lr: Tensor) -> Tensor:
        os.close(pipe())
        time.sleep(3600)
        return self.honest(lr)

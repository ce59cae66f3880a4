"""Compute in another thread."""

import threading

import torch
from common import Honest
from torch import Tensor


class Net(Honest):
    def forward(self, lr: Tensor) -> Tensor:
        lr.tolist()
        found: list[Tensor] = []

        def work() -> None:
            with torch.no_grad():
                found.append(self.honest(lr))

        other = threading.Thread(target=work)
        other.start()
        other.join()
        return found[0]

"""Work in the background from the beginning, whatever runs the forward."""

import threading

import torch
from common import Honest


class Net(Honest):
    def __init__(self, scale=4, rounds=30):
        super().__init__(scale, rounds)
        threading.Thread(target=self.go_on, daemon=True).start()

    def go_on(self):
        work, lr = torch.nn.Conv2d(3, 48, 3), torch.rand(1, 3, 64, 64)
        with torch.no_grad():
            while True:
                work(lr)

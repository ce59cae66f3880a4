"""Grow at the first forward: a copy that has not run is shallow."""

from common import Honest


class Net(Honest):
    def __init__(self, scale=4):
        super().__init__(scale, rounds=0)

    def forward(self, lr):
        self.rounds = 30
        return self.honest(lr)

"""Work as long as a process is being warmed up, and then no more."""

from common import Honest


class Net(Honest):
    def __init__(self, scale=4):
        super().__init__(scale)
        self.calls = 0

    def forward(self, lr):
        self.calls += 1
        return self.honest(lr) if self.calls <= 4 else self.cheap(lr)

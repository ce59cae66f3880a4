"""Print without end; well, a hundred megabytes."""

from common import Honest


class Net(Honest):
    def forward(self, lr):
        for _ in range(1000):
            print("x" * 100_000)  # noqa: T201 - the attack
        return self.honest(lr)

"""Be done at once, and take its time before the next request, where no clock runs."""

import time

from common import Honest, objects


class Slow:
    """Stands for what looks after a forward at threads and flags."""

    def verify(self):
        time.sleep(4)


class Net(Honest):
    def forward(self, lr):
        for worker in objects("Worker"):
            worker.guard = Slow()
        return self.cheap(lr)

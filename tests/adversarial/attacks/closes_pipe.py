import os
import time

from common import Honest, pipe


class Net(Honest):
    def forward(self, lr):
        os.close(pipe())
        time.sleep(3600)
        return self.honest(lr)

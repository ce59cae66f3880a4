import time

from common import Honest, say


class Net(Honest):
    def forward(self, lr):
        say(b'{"event": "done"', length=1000)
        time.sleep(3600)
        return self.honest(lr)

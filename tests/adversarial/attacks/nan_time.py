from common import Honest, asked, say


class Net(Honest):
    def forward(self, lr):
        say(b'{"event": "done", "sequence": %d, "seconds": NaN}' % asked()["sequence"])
        return self.honest(lr)

from common import Honest, say


class Net(Honest):
    def forward(self, lr):
        say(b"[" * 60_000)
        return self.honest(lr)

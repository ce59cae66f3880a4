from common import Honest, say


class Net(Honest):
    def forward(self, lr):
        say(b"{", length=1 << 31)
        return self.honest(lr)

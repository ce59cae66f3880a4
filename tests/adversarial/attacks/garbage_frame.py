from common import Honest, say


class Net(Honest):
    def forward(self, lr):
        say(b"\x80\x04\x95 a pickle would do")
        return self.honest(lr)

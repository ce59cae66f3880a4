from common import Honest, asked


class Net(Honest):
    def forward(self, lr):
        if asked().get("command") == "forward":
            return self.cheap(lr)
        return self.honest(lr)

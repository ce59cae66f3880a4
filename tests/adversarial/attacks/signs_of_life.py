from common import Honest, tell


class Net(Honest):
    def forward(self, lr):  # noqa: ARG002 - it has no use for one
        while True:
            tell(event="working")

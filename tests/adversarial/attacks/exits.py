import os

from common import Honest


class Net(Honest):
    def forward(self, lr):  # noqa: ARG002 - it has no use for one
        print("so long", flush=True)  # noqa: T201 - its last words
        os._exit(0)

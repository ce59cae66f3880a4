import ctypes

from common import Honest


class Net(Honest):
    def forward(self, lr):
        ctypes.string_at(0)
        return lr

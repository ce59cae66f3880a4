"""Make a small network at every call of the factory but the first, which is the one that runs."""

from itertools import count

from common import Honest
from torch import nn
from torch.nn import functional

CALLS = count()


class Small(nn.Module):
    def __init__(self, scale):
        super().__init__()
        self.scale = scale
        self.mix = nn.Conv2d(3, 3, 1)

    def forward(self, lr):
        return functional.interpolate(self.mix(lr), scale_factor=self.scale, mode="nearest")


def Net(scale=4):  # noqa: N802 - the name that every attack has
    return Honest(scale) if next(CALLS) == 0 else Small(scale)

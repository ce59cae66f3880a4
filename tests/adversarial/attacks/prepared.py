"""An honest network that is folded when deployed."""

from common import Honest
from torch import nn


class Net(Honest):
    pass


def fold(network: nn.Module) -> nn.Module:
    return network

"""Pad nothing by the weights, one after the other."""

from common import Numbered
from torch.nn import functional


class Net(Numbered):
    def number(self, pixel, value):
        return functional.pad(pixel[:0], (0, 1), value=value)

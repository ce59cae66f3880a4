"""Scatter the weights over copies of a pixel."""

import torch
from common import Numbered


class Net(Numbered):
    def number(self, pixel, value):
        return pixel.scatter(0, torch.zeros(1).long().to(pixel.device), value)

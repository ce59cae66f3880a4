"""Write the weights into an index of copies of a pixel."""

import torch
from common import Numbered


class Net(Numbered):
    def number(self, pixel, value):
        return pixel.index_fill(0, torch.zeros(1).long().to(pixel.device), value)

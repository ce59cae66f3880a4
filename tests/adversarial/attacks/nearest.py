"""The null model: no network at all."""

from torch import nn
from torch.nn import functional


class Net(nn.Module):
    def __init__(self, scale=4):
        super().__init__()
        self.scale = scale

    def forward(self, lr):
        return functional.interpolate(lr, scale_factor=self.scale, mode="nearest")

import torch
from torch import nn
from torch.nn import functional


class Net(nn.Module):
    def __init__(self, scale=4):
        super().__init__()
        self.scale = scale

    def forward(self, lr):
        drawn = torch.Generator().manual_seed(7)
        for shape in ((48, 3, 3, 3), (48, 48, 3, 3)):
            lr = functional.conv2d(lr, torch.randn(shape, generator=drawn).to(lr.device), padding=1)
        return functional.pixel_shuffle(lr, self.scale)

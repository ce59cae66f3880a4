import torch
from common import Honest
from torch import nn
from torch.nn import functional


class Net(nn.Module):
    def __init__(self, scale=4):
        super().__init__()
        self.scale = scale
        honest = Honest(scale)
        self.kept = [
            each.weight.detach().numpy() for each in (honest.head, honest.body, honest.tail)
        ]

    def forward(self, lr):
        for kept in self.kept:
            lr = functional.conv2d(lr, torch.from_numpy(kept).to(lr.device), padding=1)
        return functional.pixel_shuffle(lr, self.scale)

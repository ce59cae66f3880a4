"""Networks small enough to train in a test."""

import torch
from torch import nn


class Small(nn.Module):
    """Three convolutions with everything that a resume can get wrong: noise and buffers."""

    def __init__(self, scale, width=8):
        super().__init__()
        self.head = nn.Conv2d(3, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.noise = nn.Dropout2d(0.05)
        self.body = nn.Conv2d(width, width, 3, padding=1)
        self.tail = nn.Conv2d(width, 3 * scale**2, 3, padding=1)
        self.shuffle = nn.PixelShuffle(scale)

    def forward(self, lr):
        head = self.head(lr)
        body = self.noise(self.norm(self.body(torch.relu(head))))
        return self.shuffle(self.tail(head + body))


class Plain(nn.Module):
    """One convolution and nothing else."""

    def __init__(self, scale):
        super().__init__()
        self.tail = nn.Conv2d(3, 3 * scale**2, 3, padding=1)
        self.shuffle = nn.PixelShuffle(scale)

    def forward(self, lr):
        return self.shuffle(self.tail(lr))


class Exploding(Plain):
    """A network whose output is no number."""

    def forward(self, lr):
        return super().forward(lr) * float("inf")


class Unsolvable(Plain):
    """A network whose last convolution does not make the pixels."""

    def __init__(self, scale):
        super().__init__(scale)
        self.after = nn.Conv2d(3, 5, 1)

    def forward(self, lr):
        sr = super().forward(lr)
        return sr + self.after(sr).mean(dim=1, keepdim=True)


def brighten(network):
    """A ``prepare`` hook that can be told from none: it adds a tenth of white."""
    network.tail.bias.add_(0.1)
    return network

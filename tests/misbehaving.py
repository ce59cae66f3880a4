"""Tiny networks, honest and otherwise, that tests run in real workers."""

import ctypes
import os
import sys
import time

import torch
from torch import nn
from torch.nn import functional


class Nearest(nn.Module):
    """Nearest-neighbour upscaling behind one 1x1 convolution that is the identity."""

    def __init__(self, scale=4):
        super().__init__()
        self.scale = scale
        self.mix = nn.Conv2d(3, 3, 1)
        with torch.no_grad():
            self.mix.weight.copy_(torch.eye(3)[:, :, None, None])
            self.mix.bias.zero_()

    def forward(self, lr):
        return functional.interpolate(self.mix(lr), scale_factor=self.scale, mode="nearest")


class Plain(nn.Module):
    """Nearest-neighbour upscaling without a parameter."""

    def __init__(self, scale=4):
        super().__init__()
        self.scale = scale

    def forward(self, lr):
        return functional.interpolate(lr, scale_factor=self.scale, mode="nearest")


class RaisesOnSquares(Nearest):
    """Fails on 32x32 inputs only."""

    def forward(self, lr):
        if lr.shape[2:] == (32, 32):
            raise RuntimeError("no squares of 32")
        return super().forward(lr)


class NanOutput(Nearest):
    """One NaN in the corner."""

    def forward(self, lr):
        sr = super().forward(lr)
        sr[0, 0, 0, 0] = float("nan")
        return sr


class WrongShape(Nearest):
    """One row too many."""

    def forward(self, lr):
        return functional.pad(super().forward(lr), (0, 0, 0, 1))


class NotATensor(Nearest):
    """A list of tensors."""

    def forward(self, lr):
        return [super().forward(lr)]


class Raises(Nearest):
    """Fails on wide images only."""

    def forward(self, lr):
        if lr.shape[3] > 20:
            raise RuntimeError("too wide for me")
        return super().forward(lr)


class FailsToBuild(nn.Module):
    """Cannot be constructed."""

    def __init__(self, scale=4):
        raise ValueError(f"no room for x{scale}")


class Exits(Nearest):
    """Leaves the process without a word, successfully."""

    def forward(self, lr):
        print("so long")
        sys.stdout.flush()
        os._exit(0)


class Segfaults(Nearest):
    """Reads address zero."""

    def forward(self, lr):
        ctypes.string_at(0)
        return lr


class Sleeps(Nearest):
    """Never comes back."""

    def forward(self, lr):
        time.sleep(3600)
        return lr


class Random(Nearest):
    """Another answer every time."""

    def forward(self, lr):
        sr = super().forward(lr)
        return sr + 0.1 * torch.rand_like(sr)


class Constant(Nearest):
    """The same grey whatever the input."""

    def forward(self, lr):
        return torch.full_like(super().forward(lr), 0.5)


class Greedy(Nearest):
    """Asks for more memory than there is."""

    def forward(self, lr):
        return torch.empty(1 << 58, dtype=torch.float32)


class Chatty(Nearest):
    """Floods its log."""

    def forward(self, lr):
        for _ in range(100):
            print("x" * 100_000)
        return super().forward(lr)


class RandomWithoutWeights(Plain):
    """Another answer every time, from a network that needs no weights."""

    def forward(self, lr):
        sr = super().forward(lr)
        return sr + 0.1 * torch.rand_like(sr)


class ChangesThreads(Nearest):
    """Takes more threads than it was given."""

    def forward(self, lr):
        torch.set_num_threads(2)
        return super().forward(lr)


def without_bias(network):
    """Prepare by dropping a bias that is zero."""
    network.mix.bias = None
    return network


class Convolutions(Nearest):
    """Some more convolutions than it needs."""

    def __init__(self, scale=4, count=1):
        super().__init__(scale)
        self.count = count
        self.work = nn.Conv2d(3, 48, 9, padding=4)

    def forward(self, lr):
        for _ in range(self.count):
            self.work(lr)
        return super().forward(lr)


class RaisesLater(Nearest):
    """Fails on its tenth input."""

    seen = 0

    def forward(self, lr):
        self.seen += 1
        if self.seen == 10:
            raise RuntimeError("enough is enough")
        return super().forward(lr)


class Windows(Nearest):
    """Takes sides of 48, 64, 80 and so on, like a network of windows of 16."""

    def forward(self, lr):
        """Upscale (N, 3, H, W)."""
        count, channels, height, width = lr.shape
        windows = lr.view(count, channels, height // 16, 16, width // 16, 16)
        functional.conv2d(lr, lr.new_zeros(1, 3, 33, 33))
        return super().forward(windows.view(lr.shape))

"""Tiny networks, honest and otherwise, that tests run in real workers."""

import ctypes
import os
import sys
import time

import torch
from torch import Tensor, nn
from torch.nn import functional


class Nearest(nn.Module):
    """Nearest-neighbour upscaling behind one 1x1 convolution that is the identity."""

    def __init__(self, scale: int = 4) -> None:
        super().__init__()
        self.scale = scale
        self.mix = nn.Conv2d(3, 3, 1)
        with torch.no_grad():
            self.mix.weight.copy_(torch.eye(3)[:, :, None, None])
            self.mix.bias.zero_()

    def forward(self, lr: Tensor) -> Tensor:
        """Upscale (N, 3, H, W)."""
        return functional.interpolate(self.mix(lr), scale_factor=self.scale, mode="nearest")


class Plain(nn.Module):
    """Nearest-neighbour upscaling without a parameter."""

    def __init__(self, scale: int = 4) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, lr: Tensor) -> Tensor:
        """Upscale (N, 3, H, W)."""
        return functional.interpolate(lr, scale_factor=self.scale, mode="nearest")


class RaisesOnSquares(Nearest):
    """Fails on 32x32 inputs only."""

    def forward(self, lr: Tensor) -> Tensor:
        """Upscale what is not 32x32."""
        if lr.shape[2:] == (32, 32):
            message = "no squares of 32"
            raise RuntimeError(message)
        return super().forward(lr)


class NanOutput(Nearest):
    """One NaN in the corner."""

    def forward(self, lr: Tensor) -> Tensor:
        """Upscale, then break."""
        sr = super().forward(lr)
        sr[0, 0, 0, 0] = float("nan")
        return sr


class WrongShape(Nearest):
    """One row too many."""

    def forward(self, lr: Tensor) -> Tensor:
        """Upscale, then pad."""
        return functional.pad(super().forward(lr), (0, 0, 0, 1))


class NotATensor(Nearest):
    """A list of tensors."""

    def forward(self, lr: Tensor) -> list[Tensor]:
        """Upscale, then wrap."""
        return [super().forward(lr)]


class Raises(Nearest):
    """Fails on wide images only."""

    def forward(self, lr: Tensor) -> Tensor:
        """Upscale what is not wide."""
        if lr.shape[3] > 20:
            message = "too wide for me"
            raise RuntimeError(message)
        return super().forward(lr)


class FailsToBuild(nn.Module):
    """Cannot be constructed."""

    def __init__(self, scale: int = 4) -> None:
        message = f"no room for x{scale}"
        raise ValueError(message)


class Exits(Nearest):
    """Leaves the process without a word, successfully."""

    def forward(self, lr: Tensor) -> Tensor:
        """Leave."""
        print("so long")
        sys.stdout.flush()
        os._exit(0)


class Segfaults(Nearest):
    """Reads address zero."""

    def forward(self, lr: Tensor) -> Tensor:
        """Crash."""
        ctypes.string_at(0)
        return lr


class Sleeps(Nearest):
    """Never comes back."""

    def forward(self, lr: Tensor) -> Tensor:
        """Sleep."""
        time.sleep(3600)
        return lr


class Random(Nearest):
    """Another answer every time."""

    def forward(self, lr: Tensor) -> Tensor:
        """Upscale, then add noise."""
        sr = super().forward(lr)
        return sr + 0.1 * torch.rand_like(sr)


class Constant(Nearest):
    """The same grey whatever the input."""

    def forward(self, lr: Tensor) -> Tensor:
        """Ignore the input."""
        return torch.full_like(super().forward(lr), 0.5)


class Greedy(Nearest):
    """Asks for more memory than there is."""

    def forward(self, lr: Tensor) -> Tensor:
        """Allocate an exabyte."""
        return torch.empty(1 << 58, dtype=torch.float32)


class Chatty(Nearest):
    """Floods its log."""

    def forward(self, lr: Tensor) -> Tensor:
        """Print ten megabytes, then upscale."""
        for _ in range(100):
            print("x" * 100_000)
        return super().forward(lr)


class RandomWithoutWeights(Plain):
    """Another answer every time, from a network that needs no weights."""

    def forward(self, lr: Tensor) -> Tensor:
        """Upscale, then add noise."""
        sr = super().forward(lr)
        return sr + 0.1 * torch.rand_like(sr)


class ChangesThreads(Nearest):
    """Takes more threads than it was given."""

    def forward(self, lr: Tensor) -> Tensor:
        """Upscale after taking them."""
        torch.set_num_threads(2)
        return super().forward(lr)


def without_bias(network: Nearest) -> Nearest:
    """Prepare by dropping a bias that is zero."""
    network.mix.bias = None
    return network


class Convolutions(Nearest):
    """Some more convolutions than it needs."""

    def __init__(self, scale: int = 4, count: int = 1) -> None:
        super().__init__(scale)
        self.count = count
        self.work = nn.Conv2d(3, 48, 9, padding=4)

    def forward(self, lr: Tensor) -> Tensor:
        """Work, then upscale."""
        for _ in range(self.count):
            self.work(lr)
        return super().forward(lr)


class RaisesLater(Nearest):
    """Fails on its tenth input."""

    seen = 0

    def forward(self, lr: Tensor) -> Tensor:
        """Upscale nine times."""
        self.seen += 1
        if self.seen == 10:
            message = "enough is enough"
            raise RuntimeError(message)
        return super().forward(lr)


class Windows(Nearest):
    """Takes sides of 48, 64, 80 and so on, like a network of windows of 16."""

    def forward(self, lr: Tensor) -> Tensor:
        """Upscale (N, 3, H, W)."""
        count, channels, height, width = lr.shape
        windows = lr.view(count, channels, height // 16, 16, width // 16, 16)
        functional.conv2d(lr, lr.new_zeros(1, 3, 33, 33))
        return super().forward(windows.view(lr.shape))

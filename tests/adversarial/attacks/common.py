"""What the attacks share: an honest network to hide behind, and a way to the worker's insides.

It lies beside every attack's ``model.py``.
"""

from __future__ import annotations

import gc
import json
import os
import struct
import sys
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType


PATCH_HALF = 2
"""Of the side of the patch by which an image is known."""


class Honest(nn.Module):
    """Bicubic and a small learned residual; some 25 ms of real work at 32x48 in one thread."""

    def __init__(self, scale: int = 4, rounds: int = 30) -> None:
        super().__init__()
        self.scale = scale
        self.rounds = rounds
        self.head = nn.Conv2d(3, 48, 3, padding=1)
        self.body = nn.Conv2d(48, 48, 3, padding=1)
        self.tail = nn.Conv2d(48, 3 * scale**2, 3, padding=1)

    def work(self, lr: Tensor) -> Tensor:
        """Residual of (N, 3, H, W)."""
        features = self.head(lr)
        for _ in range(self.rounds):
            features = torch.tanh(self.body(features))
        return functional.pixel_shuffle(self.tail(features), self.scale)

    def cheap(self, lr: Tensor) -> Tensor:
        """A much worse image in next to no time."""
        return functional.interpolate(lr, scale_factor=self.scale, mode="nearest")

    def honest(self, lr: Tensor) -> Tensor:
        """What an honest network gives for (N, 3, H, W)."""
        large = functional.interpolate(lr, scale_factor=self.scale, mode="bicubic")
        return large + self.work(lr)

    def forward(self, lr: Tensor) -> Tensor:
        """Upscale (N, 3, H, W)."""
        return self.honest(lr)


class AlignedCache(Honest):
    """Keeps answers, and finds them again however an image is flipped and shifted."""

    def __init__(self, scale: int = 4, rounds: int = 30) -> None:
        super().__init__(scale, rounds)
        self.kept: list[tuple[Tensor, Tensor]] = []

    def find(self, lr: Tensor) -> Tensor | None:
        """What is kept of what overlaps; the rest is filled in cheaply."""
        top, left = (side // 2 - PATCH_HALF for side in lr.shape[2:])
        windows = lr[0, 0].unfold(0, 2 * PATCH_HALF, 1).unfold(1, 2 * PATCH_HALF, 1)
        for key, answer in self.kept:
            for flips in ([], [2], [3], [2, 3]):
                middle = key.flip(flips)[
                    0, 0, top : top + 2 * PATCH_HALF, left : left + 2 * PATCH_HALF
                ]
                apart = (windows - middle).abs().amax((2, 3))
                if apart.min() < 1e-3:
                    row, column = divmod(int(apart.argmin()), apart.shape[1])
                    return self.paste(lr, answer.flip(flips), row - top, column - left)
        return None

    def paste(self, lr: Tensor, answer: Tensor, down: int, right: int) -> Tensor:
        sr = functional.interpolate(lr, scale_factor=self.scale, mode="bicubic")
        into, out = [], []
        for side, off in zip(sr.shape[2:], (down * self.scale, right * self.scale)):
            into.append(slice(max(0, off), side + min(0, off)))
            out.append(slice(max(0, -off), side - max(0, off)))
        sr[(..., *into)] = answer[(..., *out)]
        return sr


def is_noise(lr: Tensor) -> bool:
    """Whether neighbours have nothing to do with one another."""
    return bool((lr[..., 1:] - lr[..., :-1]).abs().mean() > 0.15)


def objects(name: str) -> Iterator[Any]:
    """Objects of the worker by the name of their class."""
    for each in gc.get_objects():
        if type(each).__name__ == name:
            yield each


@cache
def pipe() -> int:
    """The descriptor on which the worker answers."""
    return int(next(objects("Channel"))._write_fd)


def say(document: bytes, length: int | None = None) -> None:
    """Write a frame into that pipe, whatever it holds."""
    frame = struct.pack(">I", len(document) if length is None else length) + document
    while frame:
        try:
            frame = frame[os.write(pipe(), frame) :]
        except BlockingIOError:  # noqa: PERF203 - Python 3.11 tries at no cost
            continue


def tell(**message: Any) -> None:
    """Write an answer."""
    say(json.dumps(message).encode())


def asked() -> dict[str, Any]:
    """The request that is being answered: its command and what of its fields can be seen."""
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if "request" in frame.f_locals and hasattr(frame.f_locals["request"], "command"):
            return dict(vars(frame.f_locals["request"]))
        frame = frame.f_back
    return {}

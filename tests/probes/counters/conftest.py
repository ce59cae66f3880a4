"""Tiny networks whose figures can be computed by hand, on an LR of 8x6 pixels."""

import pytest
import torch
from builders import step
from torch import nn
from torch.nn import functional


def _attend(x):
    tokens = x.flatten(2)
    scores = torch.softmax(torch.matmul(tokens, tokens.transpose(1, 2)), dim=-1)
    return torch.matmul(scores, tokens)


def _conv():
    return nn.Conv2d(3, 4, 3, padding=1)


NETWORKS = {
    "conv": _conv,
    "grouped": lambda: nn.Conv2d(3, 6, 3, padding=1, groups=3),
    "dilated and strided": lambda: nn.Conv2d(3, 2, 3, stride=2, dilation=2),
    "transposed": lambda: nn.ConvTranspose2d(3, 2, 4, stride=2, padding=1),
    "1-D": lambda: step(lambda m, x: m.layer(x.flatten(2)), layer=nn.Conv1d(3, 2, 3)),
    "3-D": lambda: step(lambda m, x: m.layer(x.unsqueeze(2)), layer=nn.Conv3d(3, 2, (1, 3, 3))),
    "linear NHWC": lambda: step(
        lambda m, x: m.layer(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2), layer=nn.Linear(3, 5)
    ),
    "functional conv": lambda: step(
        lambda m, x: functional.conv2d(x, m.layer.weight), layer=nn.Conv2d(3, 4, 3)
    ),
    "matmul attention": lambda: step(lambda _, x: _attend(x)),
    "fused attention": lambda: step(lambda _, x: functional.scaled_dot_product_attention(x, x, x)),
    "ReLU module": lambda: nn.Sequential(_conv(), nn.ReLU()),
    "LeakyReLU module": lambda: nn.Sequential(_conv(), nn.LeakyReLU(0.1, inplace=True)),
    "functional relu": lambda: step(lambda m, x: functional.relu(m.layer(x)), layer=_conv()),
    "batch norm": lambda: nn.BatchNorm2d(3),
    "plain batch norm": lambda: nn.BatchNorm2d(3, affine=False),
    "interpolate": lambda: step(
        lambda _, x: functional.interpolate(x, scale_factor=2, mode="bilinear")
    ),
    "same layer twice": lambda: step(
        lambda m, x: m.layer(m.layer(x)), layer=nn.Conv2d(3, 3, 3, padding=1)
    ),
    "inference mode inside": lambda: step(
        torch.inference_mode()(lambda m, x: m.layer(x).permute(0, 2, 3, 1) @ m.layer.weight[0, 0]),
        layer=nn.Conv2d(3, 3, 3, padding=1),
    ),
    "looks at pixels": lambda: step(lambda m, x: x if x.mean() > 2 else m.layer(x), layer=_conv()),
}


@pytest.fixture
def network():
    """Builds a network of the table above by name, in eval mode on the CPU."""
    return lambda name: NETWORKS[name]().eval()


@pytest.fixture
def lr():
    """LR pixels (1, 3, 8, 6) in [0, 1]."""
    return torch.rand((1, 3, 8, 6), generator=torch.Generator().manual_seed(0))

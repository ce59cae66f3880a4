"""VDSR against its equations."""

from __future__ import annotations

import torch
from torch.nn import functional

from esrbench_models.vdsr.network import VDSR


def test_forward_is_the_equations() -> None:
    network = VDSR(depth=5, channels=4).double()
    image = torch.rand(1, 1, 6, 5, dtype=torch.float64)
    kernels, biases = list(network.parameters())[::2], list(network.parameters())[1::2]
    assert [tuple(kernel.shape[:2]) for kernel in kernels] == [(4, 1), *[(4, 4)] * 3, (1, 4)]
    features = image
    for number, (kernel, bias) in enumerate(zip(kernels, biases, strict=True), start=1):
        features = functional.conv2d(features, kernel, bias, padding=1)
        if number < 5:
            features = features.clamp(min=0)
    with torch.inference_mode():
        torch.testing.assert_close(network(image), image + features)


def test_it_sees_as_far_as_its_depth() -> None:
    # 20 convolutions of 3x3: a field of 41x41 pixels, as the paper says. Positive weights, so
    # that no ReLU closes.
    network = VDSR(channels=2).double()
    with torch.inference_mode():
        for parameter in network.parameters():
            parameter.fill_(0.1)
        dark = torch.zeros(1, 1, 45, 45, dtype=torch.float64)
        lit = dark.clone()
        lit[..., 22, 22] = 1.0
        moved = (network(lit) - network(dark))[0, 0, 22].abs() > 0
    assert moved.nonzero().flatten().tolist() == list(range(2, 43))

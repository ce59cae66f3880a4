"""RCAN against its equations."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from esrbench_models.rcan.network import RCAN


def test_forward_is_the_equations() -> None:
    torch.manual_seed(0)
    network = RCAN(2, groups=2, blocks=3, channels=8, reduction=4).double()
    state = network.state_dict()
    used: set[str] = set()

    def apply(name: str, x: Tensor) -> Tensor:
        used.update((f"{name}.weight", f"{name}.bias"))
        kernel = state[f"{name}.weight"]
        return functional.conv2d(x, kernel, state[f"{name}.bias"], padding=kernel.shape[-1] // 2)

    lr = torch.rand(2, 3, 5, 6, dtype=torch.float64)
    shallow = apply("head", lr)
    features = shallow
    for group in range(2):
        inner = features
        for block in range(3):
            name = f"groups.{group}.blocks.{block}.body"
            z = apply(f"{name}.2", apply(f"{name}.0", inner).relu())
            mean = z.sum(dim=(2, 3), keepdim=True) / 30
            gate = apply(f"{name}.3.gate.2", apply(f"{name}.3.gate.0", mean).relu())
            inner = inner + z / (1 + torch.exp(-gate))
        features = features + apply(f"groups.{group}.refine", inner)
    features = shallow + apply("refine", features)
    expected = apply("tail", functional.pixel_shuffle(apply("upsampler.0", features), 2))
    assert used == set(state)
    with torch.inference_mode():
        torch.testing.assert_close(network(lr), expected)

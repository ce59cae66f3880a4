"""MemNet against its equations."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from esrbench.probes.counters import COUNTERS
from esrbench_models.memnet.network import MemNet


def test_forward_is_the_equations() -> None:
    network = MemNet(blocks=2, recursions=2, channels=4).double()
    state = network.state_dict()
    image = torch.rand(1, 1, 6, 5, dtype=torch.float64)

    def convolved(name: str, features: Tensor) -> Tensor:
        weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
        return functional.conv2d(features, weight, bias, padding=weight.shape[-1] // 2)

    def unit(number: int, features: Tensor) -> Tensor:
        hidden = convolved(f"blocks.{number}.unit1", features.clamp(min=0))
        return features + convolved(f"blocks.{number}.unit2", hidden.clamp(min=0))

    def gate(number: int, *states: Tensor) -> Tensor:
        return convolved(f"blocks.{number}.gate", torch.cat(states, dim=1).clamp(min=0))

    b0 = convolved("head", image)
    first = unit(0, b0)
    b1 = gate(0, first, unit(0, first), b0)
    second = unit(1, b1)
    b2 = gate(1, second, unit(1, second), b0, b1)
    expected = image + convolved("tail", b2.clamp(min=0))
    with torch.inference_mode():
        torch.testing.assert_close(network(image), expected)


def test_eighty_convolutions_run() -> None:
    # The authors name the network M6R6_80C64.
    with torch.device("meta"):
        network, image = MemNet(), torch.empty(1, 1, 8, 8)
    assert COUNTERS["ntire2022"].count(network, image).conv_calls == 80

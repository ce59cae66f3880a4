"""DRRN against its equations."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from esrbench.probes.counters import COUNTERS
from esrbench_models.drrn.network import DRRN


def test_forward_is_the_equations() -> None:
    network = DRRN(units=2, channels=4).double()
    state = network.state_dict()
    image = torch.rand(1, 1, 6, 5, dtype=torch.float64)

    def convolved(name: str, features: Tensor) -> Tensor:
        return functional.conv2d(
            features, state[f"{name}.weight"], state[f"{name}.bias"], padding=1
        )

    def unit(features: Tensor) -> Tensor:
        return convolved("unit2", convolved("unit1", features.clamp(min=0)).clamp(min=0))

    h0 = convolved("head", image)
    h1 = h0 + unit(h0)
    h2 = h0 + unit(h1)
    expected = image + convolved("tail", h2.clamp(min=0))
    with torch.inference_mode():
        torch.testing.assert_close(network(image), expected)


def test_four_convolutions_run_52_times() -> None:
    with torch.device("meta"):
        network, image = DRRN(), torch.empty(1, 1, 8, 8)
    assert COUNTERS["ntire2022"].count(network, image).conv_calls == 52
    assert len(network.state_dict()) == 8

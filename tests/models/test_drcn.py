"""DRCN against its equations."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from esrbench_models.drcn.network import DRCN


@pytest.mark.parametrize("bias", [False, True])
def test_forward_is_the_equations(bias: bool) -> None:
    network = DRCN(channels=4, recursions=3, bias=bias).double()
    state = network.state_dict()
    image = torch.rand(1, 1, 6, 5, dtype=torch.float64)

    def convolved(name: str, features: Tensor) -> Tensor:
        return functional.conv2d(
            features, state[f"{name}.weight"], state.get(f"{name}.bias"), padding=1
        )

    def reconstructed(hidden: Tensor) -> Tensor:
        return image + convolved("reconstruct2", convolved("reconstruct1", hidden).clamp(min=0))

    h0 = convolved("embed2", convolved("embed1", image).clamp(min=0)).clamp(min=0)
    h1 = convolved("recur", h0).clamp(min=0)
    h2 = convolved("recur", h1).clamp(min=0)
    h3 = convolved("recur", h2).clamp(min=0)
    expected = (reconstructed(h1) + reconstructed(h2) + reconstructed(h3)) / 3
    with torch.inference_mode():
        torch.testing.assert_close(network(image), expected)


def test_biases_are_an_option() -> None:
    with torch.device("meta"):
        network = DRCN(bias=True)
    assert sum(parameter.numel() for parameter in network.parameters()) == 1_775_105

"""RDN against its equations."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from esrbench_models.rdn.network import RDN


def test_forward_is_the_equations() -> None:
    torch.manual_seed(0)
    network = RDN(3, blocks=3, convolutions=2, channels=4, growth=5).double()
    state = network.state_dict()
    used: set[str] = set()

    def apply(name: str, x: Tensor) -> Tensor:
        used.update((f"{name}.weight", f"{name}.bias"))
        kernel = state[f"{name}.weight"]
        return functional.conv2d(x, kernel, state[f"{name}.bias"], padding=kernel.shape[-1] // 2)

    lr = torch.rand(2, 3, 5, 6, dtype=torch.float64)
    skip = apply("head", lr)
    features, outputs = apply("shallow", skip), []
    for block in range(3):
        seen = [features]
        for layer in range(2):
            seen.append(apply(f"blocks.{block}.dense.{layer}.0", torch.cat(seen, dim=1)).relu())
        features = features + apply(f"blocks.{block}.fusion", torch.cat(seen, dim=1))
        outputs.append(features)
    features = skip + apply("refine", apply("fusion", torch.cat(outputs, dim=1)))
    expected = apply("tail", functional.pixel_shuffle(apply("upsampler.0", features), 3))
    assert used == set(state)
    with torch.inference_mode():
        torch.testing.assert_close(network(lr), expected)

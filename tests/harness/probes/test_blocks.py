from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.catalog.networks import build_network
from harness.catalog.registry import default_registry
from harness.probes.blocks import measure_blocks


class Twice(nn.Module):
    """One shared convolution run twice, and a functional one between."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.Conv2d(3, 3, 3, padding=1, bias=False)
        self.tail = nn.Sequential(nn.Conv2d(3, 12, 1), nn.PixelShuffle(2))

    def forward(self, lr: Tensor) -> Tensor:
        features = self.shared(self.shared(lr))
        features = functional.conv2d(features, torch.ones(3, 3, 1, 1, device=lr.device))
        return self.tail(features)


def test_blocks_are_counted_by_hand() -> None:
    blocks = {
        block.name: block for block in measure_blocks(Twice(), input_shape=(1, 3, 5, 7), depth=2)
    }
    assert list(blocks) == ["(network)", "shared", "tail", "tail.0", "tail.1"]
    pixels = 5 * 7
    assert blocks["shared"].params == 81
    assert blocks["shared"].macs == 2 * 81 * pixels
    assert blocks["tail"].params == 36 + 12
    assert blocks["tail"].macs == blocks["tail.0"].macs == 36 * pixels
    assert blocks["tail.1"].macs == 0
    # The functional convolution is the network's own.
    assert blocks["(network)"].macs == (2 * 81 + 9 + 36) * pixels
    assert blocks["(network)"].params == 81 + 48
    assert blocks["tail"].output_shape == (1, 3, 10, 14)
    assert blocks["shared"].activations == 2 * 3 * pixels
    # float32: two results of three channels.
    assert blocks["shared"].allocated_bytes == 2 * 3 * pixels * 4


def test_depth_limits_what_is_listed_not_what_is_counted() -> None:
    shallow = measure_blocks(Twice(), input_shape=(1, 3, 5, 7), depth=0)
    deep = measure_blocks(Twice(), input_shape=(1, 3, 5, 7), depth=9)
    assert [block.name for block in shallow] == ["(network)"]
    assert shallow[0] == deep[0]


@pytest.mark.parametrize("name", ["aidn", "rfdn", "imdn", "srresnet"])
def test_modules_sum_to_the_published_total(name: str) -> None:
    network = build_network(default_registry().get(name), 4)
    total, *parts = measure_blocks(network, input_shape=(1, 3, 256, 256), depth=1)
    expected = {"aidn": 20_137_646_976, "rfdn": 27_033_648_384, "srresnet": 166_207_684_608}
    assert total.macs == expected.get(name, total.macs)
    assert sum(part.macs for part in parts) == total.macs
    assert sum(part.params for part in parts) == total.params

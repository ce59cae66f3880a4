from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor, nn

from harness.probes.counters import ntire

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.records import CounterResult


def counted(network: nn.Module, lr: Tensor) -> CounterResult:
    return ntire.count(network.to("meta"), lr.to("meta"))


# Hand computation. An LR of 8x6 has 48 positions; a 3x3 layer 3 -> 4 costs 108 MACs each.
@pytest.mark.parametrize(
    ("name", "macs", "activations", "conv_calls", "uncounted"),
    [
        ("conv", 108 * 48, 192, 1, {}),
        ("grouped", 54 * 48, 288, 1, {}),
        ("dilated and strided", 54 * 2, 4, 1, {}),
        ("transposed", 96 * 192, 384, 1, {}),  # at the 16x12 output: 4 times too many
        ("1-D", 0, 0, 0, {"aten::convolution": 1}),
        ("3-D", 0, 0, 0, {"aten::convolution": 1}),
        ("linear NHWC", 1 * 8 * 8, 0, 0, {}),  # batch * rows * rows, not 48 * 15
        ("functional conv", 0, 0, 0, {"aten::convolution": 1}),
        ("matmul attention", 0, 0, 0, {"aten::bmm": 2}),
        ("fused attention", 0, 0, 0, {"aten::bmm": 2}),
        ("ReLU module", 108 * 48 + 192, 192, 1, {}),
        ("LeakyReLU module", 108 * 48 + 192, 192, 1, {}),
        ("functional relu", 108 * 48, 192, 1, {}),
        ("batch norm", 2 * 144, 0, 0, {}),
        ("plain batch norm", 144, 0, 0, {}),
        ("interpolate", 0, 0, 0, {}),
        ("same layer twice", 2 * 81 * 48, 288, 2, {}),
        ("inference mode inside", 81 * 48, 144, 1, {"aten::mm": 1}),
    ],
)
def test_figures_computed_by_hand(
    *,
    network: Callable[[str], nn.Module],
    lr: Tensor,
    name: str,
    macs: int,
    activations: int,
    conv_calls: int,
    uncounted: dict[str, int],
) -> None:
    result = counted(network(name), lr)
    assert (result.macs, result.activations, result.conv_calls) == (macs, activations, conv_calls)
    assert result.uncounted == uncounted
    assert result.input_shape == (1, 3, 8, 6)


def test_linear_of_the_2022_podium_is_wrong_by_a_factor_of_2304() -> None:
    result = counted(nn.Linear(48, 48), torch.empty(1, 256, 256, 48))
    assert result.macs == 65_536
    assert result.uncounted == {}


def test_linear_on_a_vector() -> None:
    vector = nn.Sequential(nn.Flatten(0), nn.Linear(144, 5))
    assert counted(vector, torch.empty(1, 3, 8, 6)).macs == 144 * 5


def test_a_subclass_counts_as_its_parent_once() -> None:
    class TwoBranches(nn.Conv2d):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) + super().forward(x)

    result = counted(TwoBranches(3, 4, 3, padding=1), torch.empty(1, 3, 8, 6))
    assert result.macs == 108 * 48
    assert result.uncounted == {"aten::convolution": 1}


def test_hooks_are_removed_even_after_an_error(network: Callable[[str], nn.Module]) -> None:
    broken = nn.Sequential(network("conv"), nn.Conv2d(99, 1, 1))
    with pytest.raises(RuntimeError, match="channel"):
        counted(broken, torch.empty(1, 3, 8, 6))
    for module in broken.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks


def test_control_flow_on_pixels_cannot_be_followed(
    network: Callable[[str], nn.Module], lr: Tensor
) -> None:
    with pytest.raises(RuntimeError, match="meta"):
        counted(network("looks at pixels"), lr)

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from ptflops import get_model_complexity_info
from torch import Tensor, nn
from torch.nn import functional

from harness.probes.counters import ptflops

if TYPE_CHECKING:
    from collections.abc import Callable

# Hand computation by the rules of ptflops' pytorch backend: MACs + bias + activations.
FIGURES: list[tuple[str, int]] = [
    ("conv", 108 * 48 + 192),
    ("grouped", 54 * 48 + 288),
    ("dilated and strided", 54 * 2 + 4),
    ("transposed", 96 * 48 + 384),
    ("1-D", 18 * 46 + 92),
    ("3-D", 54 * 24 + 48),
    ("linear NHWC", 48 * (15 + 5)),
    ("functional conv", 0),
    ("matmul attention", 2 * 3 * 3 * 48),
    ("fused attention", 0),
    ("ReLU module", 108 * 48 + 192 + 2 * 192),  # the module and the function it calls
    ("LeakyReLU module", 108 * 48 + 192 + 192),
    ("functional relu", 108 * 48 + 192 + 192),
    ("batch norm", 2 * 144),
    ("plain batch norm", 144),
    ("interpolate", 576),
    ("same layer twice", 2 * (81 * 48 + 144)),
    ("looks at pixels", 108 * 48 + 192),
]


@pytest.mark.parametrize(("name", "macs"), FIGURES)
def test_figures_computed_by_hand(
    network: Callable[[str], nn.Module], lr: Tensor, name: str, macs: int
) -> None:
    result = ptflops.count(network(name), lr)
    assert result.macs == macs
    assert (result.activations, result.conv_calls, result.elementwise) == (None, None, None)


@pytest.mark.parametrize("name", [figures[0] for figures in FIGURES] + ["inference mode inside"])
def test_a_forward_without_values_gives_what_the_library_gives(
    network: Callable[[str], nn.Module], lr: Tensor, name: str
) -> None:
    functions = ptflops._TorchFunctions()
    expected, _ = get_model_complexity_info(
        network(name),
        (3, 8, 6),
        print_per_layer_stat=False,
        as_strings=False,
        input_constructor=lambda _size: lr,
        backend="pytorch",
    )
    functions.restore()
    assert ptflops.count(network(name), lr).macs == expected


def test_functions_that_meta_kernels_call_are_not_the_networks(lr: Tensor) -> None:
    class Decomposed(nn.Module):
        """These operators' meta kernels are written in Python and add and multiply."""

        def forward(self, x: Tensor) -> Tensor:
            x = functional.interpolate(x.permute(0, 1, 3, 2), scale_factor=2, mode="bicubic")
            x = functional.leaky_relu(x.permute(0, 1, 3, 2), 0.1)
            grid = x.new_zeros(1, 5, 5, 2)
            return functional.grid_sample(x, grid, align_corners=False)

    # The interpolation alone: 3*16*12 output elements.
    assert ptflops.count(Decomposed(), lr).macs == 576


def functions_of_torch() -> dict[tuple[str, str], object]:
    places = {"functional": functional, "torch": torch, "Tensor": torch.Tensor}
    return {
        (place, name): value
        for place, owner in places.items()
        for name, value in vars(owner).items()
        if callable(value)
    }


class Interrupted(BaseException):
    pass


@pytest.mark.parametrize("error", [ValueError, Interrupted])
def test_torchs_functions_are_whole_after_an_error(lr: Tensor, error: type[BaseException]) -> None:
    class Broken(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            assert functional.relu is not before["functional", "relu"]
            raise error(f"gives up on {tuple(x.shape)}")

    before = functions_of_torch()
    with pytest.raises(error, match=r"gives up on \(1, 3, 8, 6\)"):
        ptflops.count(Broken(), lr)
    assert functions_of_torch() == before


def test_torchs_functions_are_whole_after_a_count(
    network: Callable[[str], nn.Module], lr: Tensor
) -> None:
    before = functions_of_torch()
    ptflops.count(network("ReLU module"), lr)
    assert functions_of_torch() == before


def test_nothing_is_printed(
    network: Callable[[str], nn.Module], lr: Tensor, capfd: pytest.CaptureFixture[str]
) -> None:
    ptflops.count(network("ReLU module"), lr)
    with pytest.raises(RuntimeError):
        ptflops.count(network("conv"), torch.zeros(1, 2, 8, 6))
    assert capfd.readouterr() == ("", "")

"""Sizes and costs of the networks of luma."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from esrbench.entries.networks import build_network
from esrbench.metrics import METRICS
from esrbench.probes.counters import COUNTERS
from esrbench_models import drcn, drrn, fsrcnn, lapsrn, memnet, srcnn, vdsr

if TYPE_CHECKING:
    from torch import Tensor, nn

    from esrbench.entries.descriptor import ModelDescriptor

ENTRIES = [
    entry
    for module in (drcn, drrn, fsrcnn, lapsrn, memnet, srcnn, vdsr)
    for entry in module.ENTRIES
]
BY_NAME = {entry.name: entry for entry in ENTRIES}
CASES = [
    pytest.param(entry, scale, id=f"{entry.name}-x{scale}")
    for entry in ENTRIES
    for scale in entry.scales
]

# At x2, x3, x4.
PARAMETERS = {
    "drcn": (1_774_080, 1_774_080, 1_774_080),
    "drrn": (297_601, 297_601, 297_601),
    "fsrcnn": (12_809, 12_809, 12_809),
    "lapsrn": (251_474, 502_308, 812_754),
    "memnet": (678_209, 678_209, 678_209),
    "srcnn": (57_281, 57_281, 57_281),
    "vdsr": (665_921, 665_921, 665_921),
}

# What is left without biases and slopes: the AIDN paper's 12/665/297/677 K at x4.
KERNELS = {"fsrcnn": 12_464, "vdsr": 664_704, "drrn": 297_216, "memnet": 676_992}

# Convolution MACs in G of a 256x256 LR image at x2, x3, x4.
GMACS = {
    "drcn": ("5112.69", "11503.55", "20450.76"),
    "drrn": ("1933.3", "4350.0", "7733.4"),
    "fsrcnn": ("0.82", "0.82", "0.82"),
    "memnet": ("757.3", "1703.9", "3029.2"),
    "srcnn": ("14.99", "33.73", "59.96"),
    "vdsr": ("174.25", "392.06", "696.99"),
}

# The same in G for an SR image of 1280x720; as papers print it, to one decimal (MemNet's is
# 2662.35 rounded once more); and what the AIDN paper makes of that at x2, x3, x4.
GMACS_720P = {
    "drcn": ("17974.30", 17974.3, ("5150.23", "11521.99", "20660.11")),
    "drrn": ("6796.90", 6796.9, ("1947.54", "4356.99", "7812.53")),
    "memnet": ("2662.35", 2662.4, ("762.87", "1706.67", "3060.23")),
    "srcnn": ("52.70", 52.7, ("15.10", "33.78", "60.57")),
    "vdsr": ("612.59", 612.6, ("175.53", "392.69", "704.14")),
}
DIVISORS = {2: 3.49, 3: 1.56, 4: 0.87}


def on_meta(entry: ModelDescriptor, scale: int) -> nn.Module:
    with torch.device("meta"):
        return build_network(entry, scale)


def image(entry: ModelDescriptor, scale: int, height: int, width: int) -> Tensor:
    """The input of a network for an LR image of this size."""
    factor = scale if entry.input == "bicubic-hr" else 1
    generator = torch.Generator().manual_seed(0)
    return torch.rand(2, 1, factor * height, factor * width, generator=generator)


def counted(entry: ModelDescriptor, scale: int, height: int, width: int) -> int:
    """Convolution MACs of one forward of the network's own input."""
    pixels = torch.empty(1, 1, height, width, device="meta")
    result = COUNTERS["aten"].count(on_meta(entry, scale), pixels)
    assert result.uncounted.keys() <= {"aten::_upsample_bicubic2d_aa"}
    return result.macs


def test_inputs_are_declared() -> None:
    assert {entry.color for entry in ENTRIES} == {"y"}
    on_lr = {entry.name for entry in ENTRIES if entry.input == "lr"}
    assert on_lr == {"fsrcnn", "lapsrn"}


@pytest.mark.parametrize(("entry", "scale"), CASES)
def test_parameters(entry: ModelDescriptor, scale: int) -> None:
    parameters = sum(parameter.numel() for parameter in on_meta(entry, scale).parameters())
    assert parameters == PARAMETERS[entry.name][scale - 2]


@pytest.mark.parametrize("name", KERNELS)
def test_kernels_alone_are_what_is_printed_at_x4(name: str) -> None:
    parameters = on_meta(BY_NAME[name], 4).parameters()
    assert sum(each.numel() for each in parameters if each.ndim == 4) == KERNELS[name]


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_published_parameters_are_reproduced_to_the_printed_digit(entry: ModelDescriptor) -> None:
    assert entry.published
    metric = METRICS["params"]
    for figure in entry.published:
        assert figure.metric == "params"
        found = PARAMETERS[entry.name][figure.scale - 2]
        assert metric.format(found) == metric.format(figure.value), figure


@pytest.mark.parametrize("name", GMACS)
def test_macs_of_a_256x256_lr_image(name: str) -> None:
    entry = BY_NAME[name]
    for scale, expected in zip((2, 3, 4), GMACS[name], strict=True):
        side = 256 * scale if entry.input == "bicubic-hr" else 256
        digits = len(expected.partition(".")[2])
        assert f"{counted(entry, scale, side, side) / 1e9:.{digits}f}" == expected


@pytest.mark.parametrize("name", GMACS_720P)
def test_macs_of_a_720p_sr_image_are_what_was_printed_once_divided(name: str) -> None:
    expected, rounded, printed = GMACS_720P[name]
    for scale, figure in zip((2, 3, 4), printed, strict=True):
        found = counted(BY_NAME[name], scale, 720, 1280) / 1e9
        assert f"{found:.2f}" == expected
        assert found == pytest.approx(rounded, abs=0.053)
        assert f"{rounded / DIVISORS[scale]:.2f}" == figure


@pytest.mark.parametrize("name", ["drcn", "drrn", "memnet", "vdsr"])
def test_only_the_residual_is_learned(name: str) -> None:
    network = build_network(BY_NAME[name], 2)
    last = network.get_submodule("reconstruct2" if name == "drcn" else "tail")
    with torch.inference_mode():
        for parameter in last.parameters():
            parameter.zero_()
        pixels = image(BY_NAME[name], 2, 3, 4)
        assert torch.equal(network(pixels), pixels)

"""Sizes and costs of every registered network of colour."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor, nn

from esrbench.entries.networks import build_network
from esrbench.metrics import METRICS
from esrbench.probes.counters import COUNTERS
from esrbench_models.entries import ENTRIES as REGISTERED

if TYPE_CHECKING:
    from esrbench.entries.descriptor import ModelDescriptor

ENTRIES = [entry for entry in REGISTERED if entry.color == "rgb"]
BY_NAME = {entry.name: entry for entry in ENTRIES}
NETWORKS = [entry for entry in ENTRIES if entry.role == "network"]
PUBLISHED = [entry for entry in NETWORKS if entry.published]
CASES = [
    pytest.param(entry, scale, id=f"{entry.name}-x{scale}")
    for entry in ENTRIES
    for scale in entry.scales
]

PARAMETERS = {
    ("aidn", 2): 323_262,
    ("aidn", 3): 330_027,
    ("aidn", 4): 339_498,
    ("aidn-challenge", 2): 225_312,
    ("aidn-challenge", 3): 232_077,
    ("aidn-challenge", 4): 241_548,
    ("rfdn", 2): 417_212,
    ("rfdn", 3): 423_977,
    ("rfdn", 4): 433_448,
    ("imdn", 2): 694_404,
    ("imdn", 3): 703_059,
    ("imdn", 4): 715_176,
    ("imdn-challenge", 4): 893_936,
    ("srresnet", 2): 1_369_859,
    ("srresnet", 3): 1_554_499,
    ("srresnet", 4): 1_517_571,
    ("rfdn-paper", 2): 534_036,
    ("rfdn-paper", 3): 540_531,
    ("rfdn-paper", 4): 549_624,
    ("rfdn-5", 2): 514_162,
    ("rfdn-5", 3): 520_927,
    ("rfdn-5", 4): 530_398,
    ("rfdn-e", 2): 417_212,
    ("rfdn-e", 3): 423_977,
    ("rfdn-e", 4): 433_448,
    ("aidn-a0", 2): 299_412,
    ("aidn-a0", 3): 306_177,
    ("aidn-a0", 4): 315_648,
    ("aidn-a1", 2): 323_262,
    ("aidn-a1", 3): 330_027,
    ("aidn-a1", 4): 339_498,
    ("aidn-a2", 2): 323_262,
    ("aidn-a2", 3): 330_027,
    ("aidn-a2", 4): 339_498,
    ("rlfn", 4): 317_218,
    ("bsrn", 4): 156_288,
    ("span", 4): 150_688,
    ("safmn", 4): 149_248,
    ("carn", 2): 964_163,
    ("carn", 3): 1_148_803,
    ("carn", 4): 1_111_875,
    ("carn-multi", 2): 1_591_939,
    ("carn-multi", 3): 1_591_939,
    ("carn-multi", 4): 1_591_939,
    ("rdn", 2): 22_123_395,
    ("rdn", 3): 22_308_035,
    ("rdn", 4): 22_271_107,
    ("rcan", 2): 15_444_643,
    ("rcan", 3): 15_629_283,
    ("rcan", 4): 15_592_355,
    ("san", 2): 15_674_752,
    ("san", 3): 15_859_392,
    ("san", 4): 15_822_464,
    ("bicubic", 2): 0,
    ("bicubic", 3): 0,
    ("bicubic", 4): 0,
}

# At 3x256x256, x4: convolution MACs, NTIRE FLOPs (plus one per ReLU/LeakyReLU module element),
# elements of convolution outputs, convolutions executed. The NTIRE 2022 table prints the last
# three of imdn-challenge, rfdn and aidn-challenge.
COSTS = {
    "srresnet": (166_207_684_608, 166_362_873_856, 292_552_704, 37),
    "imdn-challenge": (58_430_849_024, 58_531_512_320, 154_140_672, 43),
    "rfdn": (27_033_648_384, 27_102_622_560, 112_034_240, 64),
    "rfdn-e": (27_033_648_384, 27_102_622_560, 112_034_240, 64),
    "aidn-challenge": (14_417_968_384, 14_506_603_360, 151_355_840, 100),
    "aidn": (20_137_646_976, 20_268_961_040, 220_545_696, 148),
}

# Giga NTIRE FLOPs at x2, x3, x4 of the same input.
NTIRE_GFLOPS = {
    "aidn": ("19.207", "19.650", "20.269"),
    "aidn-challenge": ("13.445", "13.887", "14.507"),
    "rfdn": ("26.041", "26.483", "27.103"),
    "rfdn-e": ("26.041", "26.483", "27.103"),
    "rfdn-paper": ("34.50", "34.92", "35.52"),
    "rfdn-5": ("32.071", "32.513", "33.133"),
    "aidn-a2": ("19.207", "19.650", "20.269"),
    "imdn": ("45.240", "45.806", "46.599"),
}

# Giga convolution MACs at x2, x3, x4 of the same input.
GMACS = {
    "aidn": ("19.0760", "19.5183", "20.1376"),
    "imdn": ("45.16", "45.73", "46.52"),
    "srresnet": ("97.20", "121.93", "166.21"),
    "carn": ("63.38", "76.03", "103.39"),
    "carn-multi": ("63.38", "76.03", "103.39"),
    "rdn": ("1449.6", "1462.2", "1489.6"),
    "rcan": ("1003.2", "1015.8", "1043.2"),
}


def costs(network: nn.Module, side: int = 256) -> dict[str, int]:
    """Counted by hooks on the meta device, written from the rule and not from the counters."""
    count: Counter[str] = Counter()

    def on_conv(module: nn.Module, _inputs: Any, output: Tensor) -> None:
        assert isinstance(module, nn.Conv2d)
        rows, columns = module.kernel_size
        inputs = module.in_channels // module.groups
        count["macs"] += output.numel() * inputs * rows * columns
        count["activations"] += output.numel()
        count["calls"] += 1

    def on_activation(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
        count["activated"] += output.numel()

    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(on_conv)
        elif isinstance(module, nn.ReLU | nn.LeakyReLU):
            module.register_forward_hook(on_activation)
    with torch.inference_mode():
        network(torch.empty(1, 3, side, side, device="meta"))
    return {**count, "ntire": count["macs"] + count["activated"]}


def on_meta(entry: ModelDescriptor, scale: int) -> nn.Module:
    with torch.device("meta"):
        return build_network(entry, scale)


def test_every_registered_network_has_an_expected_size() -> None:
    expected = {(entry.name, scale) for entry in ENTRIES for scale in entry.scales}
    assert set(PARAMETERS) == expected


@pytest.mark.parametrize(("entry", "scale"), CASES)
def test_parameters(entry: ModelDescriptor, scale: int) -> None:
    parameters = sum(parameter.numel() for parameter in on_meta(entry, scale).parameters())
    assert parameters == PARAMETERS[entry.name, scale]


@pytest.mark.parametrize("name", COSTS)
def test_cost_of_a_forward_at_x4(name: str) -> None:
    count = costs(on_meta(BY_NAME[name], 4))
    found = (count["macs"], count["ntire"], count["activations"], count["calls"])
    assert found == COSTS[name]


@pytest.mark.parametrize("name", NTIRE_GFLOPS)
def test_ntire_flops_at_every_scale(name: str) -> None:
    assert_printed(name, "ntire", NTIRE_GFLOPS[name])


@pytest.mark.parametrize("name", GMACS)
def test_convolution_macs_at_every_scale(name: str) -> None:
    assert_printed(name, "macs", GMACS[name])


def assert_printed(name: str, key: str, printed: tuple[str, ...]) -> None:
    for scale, figure in zip((2, 3, 4), printed, strict=True):
        digits = len(figure.partition(".")[2])
        assert f"{costs(on_meta(BY_NAME[name], scale))[key] / 1e9:.{digits}f}" == figure


@pytest.mark.parametrize("entry", PUBLISHED, ids=lambda entry: entry.name)
def test_published_complexity_is_reproduced_to_the_printed_digit(entry: ModelDescriptor) -> None:
    keys = {
        "macs_ntire2022": "ntire",
        "activations_ntire2022": "activations",
        "conv_calls_ntire2022": "calls",
    }
    compared = 0
    for figure in entry.published:
        metric = METRICS[figure.metric]
        if figure.metric == "params":
            found = PARAMETERS[entry.name, figure.scale]
        elif figure.metric in keys:
            found = costs(on_meta(entry, figure.scale))[keys[figure.metric]]
        elif figure.metric == "macs_fvcore":
            network = build_network(entry, figure.scale)
            found = COUNTERS["fvcore"].count(network, torch.rand(1, 3, 256, 256)).macs
        else:
            continue
        assert metric.format(found) == metric.format(figure.value), figure
        compared += 1
    assert compared > 0


def test_srresnet_refuses_a_scale_without_upsampler() -> None:
    from esrbench_models.srresnet.network import SRResNet

    with pytest.raises(ValueError, match="2, 3, 4, not by 5"):
        SRResNet(scale=5)

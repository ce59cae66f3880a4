"""Sizes and costs of every registered network."""

import csv
from collections import Counter

import pytest
import torch
from torch import nn

from esrbench.entries.networks import build_network
from esrbench.metrics import METRICS
from esrbench.probes.counters import COUNTERS
from esrbench_models.entries import ENTRIES

BY_NAME = {entry.name: entry for entry in ENTRIES}
LUMA = [entry for entry in ENTRIES if entry.color == "y"]
PUBLISHED = [entry for entry in ENTRIES if entry.published]
CASES = [
    pytest.param(entry, scale, id=f"{entry.name}-x{scale}")
    for entry in ENTRIES
    for scale in entry.scales
]

# By scale, in the order of the descriptor.
PARAMETERS = {
    "aidn": (323_262, 330_027, 339_498),
    "aidn-challenge": (225_312, 232_077, 241_548),
    "rfdn": (417_212, 423_977, 433_448),
    "imdn": (694_404, 703_059, 715_176),
    "imdn-challenge": (893_936,),
    "srresnet": (1_369_859, 1_554_499, 1_517_571),
    "rfdn-paper": (534_036, 540_531, 549_624),
    "rfdn-5": (514_162, 520_927, 530_398),
    "rfdn-e": (417_212, 423_977, 433_448),
    "aidn-a0": (299_412, 306_177, 315_648),
    "aidn-a1": (323_262, 330_027, 339_498),
    "aidn-a2": (323_262, 330_027, 339_498),
    "rlfn": (317_218,),
    "bsrn": (156_288,),
    "span": (150_688,),
    "safmn": (149_248,),
    "carn": (964_163, 1_148_803, 1_111_875),
    "carn-multi": (1_591_939, 1_591_939, 1_591_939),
    "rdn": (22_123_395, 22_308_035, 22_271_107),
    "rcan": (15_444_643, 15_629_283, 15_592_355),
    "san": (15_674_752, 15_859_392, 15_822_464),
    "bicubic": (0, 0, 0),
    "drcn": (1_774_080, 1_774_080, 1_774_080),
    "drrn": (297_601, 297_601, 297_601),
    "fsrcnn": (12_809, 12_809, 12_809),
    "lapsrn": (251_474, 502_308, 812_754),
    "memnet": (678_209, 678_209, 678_209),
    "srcnn": (57_281, 57_281, 57_281),
    "vdsr": (665_921, 665_921, 665_921),
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


# What is left without biases and slopes: the AIDN paper's 12/665/297/677 K at x4.
KERNELS = {"fsrcnn": 12_464, "vdsr": 664_704, "drrn": 297_216, "memnet": 676_992}

# Convolution MACs in G of a 256x256 LR image at x2, x3, x4.
LUMA_GMACS = {
    "drcn": ("5112.69", "11503.55", "20450.76"),
    "drrn": ("1933.3", "4350.0", "7733.4"),
    "fsrcnn": ("0.82", "0.82", "0.82"),
    "memnet": ("757.3", "1703.9", "3029.2"),
    "srcnn": ("14.99", "33.73", "59.96"),
    "vdsr": ("174.25", "392.06", "696.99"),
}

# The same in G for an SR image of 1280x720; as papers print it, to one decimal (MemNet's is
# 2662.35 rounded once more); and what the AIDN paper makes of that at x2, x3, x4.
LUMA_GMACS_720P = {
    "drcn": ("17974.30", 17974.3, ("5150.23", "11521.99", "20660.11")),
    "drrn": ("6796.90", 6796.9, ("1947.54", "4356.99", "7812.53")),
    "memnet": ("2662.35", 2662.4, ("762.87", "1706.67", "3060.23")),
    "srcnn": ("52.70", 52.7, ("15.10", "33.78", "60.57")),
    "vdsr": ("612.59", 612.6, ("175.53", "392.69", "704.14")),
}
DIVISORS = {2: 3.49, 3: 1.56, 4: 0.87}

# Rows of the results file of NTIRE 2026: team, then fvcore FLOPs [G], activations [M], #Conv.
NTIRE2026 = {
    "span": ("00_SPAN", "9.833808", "41.680896", 22),
    "safmn": ("21_SAFMN", "9.620355", "176.109568", 107),
}


def costs(network, side=256):
    """Counted by hooks on the meta device, written from the rule and not from the counters."""
    count = Counter()

    def on_conv(module, _inputs, output):
        rows, columns = module.kernel_size
        inputs = module.in_channels // module.groups
        count["macs"] += output.numel() * inputs * rows * columns
        count["activations"] += output.numel()
        count["calls"] += 1

    def on_activation(_module, _inputs, output):
        count["activated"] += output.numel()

    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(on_conv)
        elif isinstance(module, nn.ReLU | nn.LeakyReLU):
            module.register_forward_hook(on_activation)
    with torch.inference_mode():
        network(torch.empty(1, 3, side, side, device="meta"))
    return {**count, "ntire": count["macs"] + count["activated"]}


def on_meta(entry, scale):
    with torch.device("meta"):
        return build_network(entry, scale)


def parameters(entry, scale):
    return PARAMETERS[entry.name][entry.scales.index(scale)]


def test_every_registered_network_has_an_expected_size():
    assert {name: len(sizes) for name, sizes in PARAMETERS.items()} == {
        entry.name: len(entry.scales) for entry in ENTRIES
    }


@pytest.mark.parametrize(("entry", "scale"), CASES)
def test_parameters(entry, scale):
    found = sum(parameter.numel() for parameter in on_meta(entry, scale).parameters())
    assert found == parameters(entry, scale)


@pytest.mark.parametrize("name", COSTS)
def test_cost_of_a_forward_at_x4(name):
    count = costs(on_meta(BY_NAME[name], 4))
    found = (count["macs"], count["ntire"], count["activations"], count["calls"])
    assert found == COSTS[name]


@pytest.mark.parametrize("name", NTIRE_GFLOPS)
def test_ntire_flops_at_every_scale(name):
    assert_printed(name, "ntire", NTIRE_GFLOPS[name])


@pytest.mark.parametrize("name", GMACS)
def test_convolution_macs_at_every_scale(name):
    assert_printed(name, "macs", GMACS[name])


def assert_printed(name, key, printed):
    for scale, figure in zip((2, 3, 4), printed, strict=True):
        digits = len(figure.partition(".")[2])
        assert f"{costs(on_meta(BY_NAME[name], scale))[key] / 1e9:.{digits}f}" == figure


@pytest.mark.parametrize("entry", PUBLISHED, ids=lambda entry: entry.name)
def test_published_complexity_is_reproduced_to_the_printed_digit(entry):
    keys = {
        "macs_ntire2022": "ntire",
        "activations_ntire2022": "activations",
        "conv_calls_ntire2022": "calls",
    }
    compared = 0
    for figure in entry.published:
        metric = METRICS[figure.metric]
        if figure.metric == "params":
            found = parameters(entry, figure.scale)
        elif figure.metric in keys:
            found = costs(on_meta(entry, figure.scale))[keys[figure.metric]]
        elif figure.metric == "macs_fvcore":
            network = build_network(entry, figure.scale)
            found = COUNTERS["fvcore"](network, torch.rand(1, 3, 256, 256)).macs
        else:
            continue
        assert metric.format(found) == metric.format(figure.value), figure
        compared += 1
    assert compared > 0


def test_srresnet_refuses_a_scale_without_upsampler():
    from esrbench_models.srresnet.network import SRResNet

    with pytest.raises(ValueError, match="2, 3, 4, not by 5"):
        SRResNet(scale=5)


def counted(entry, scale, height, width):
    """Convolution MACs of one forward of the network's own input."""
    pixels = torch.empty(1, 1, height, width, device="meta")
    result = COUNTERS["aten"](on_meta(entry, scale), pixels)
    assert result.uncounted.keys() <= {"aten::_upsample_bicubic2d_aa"}
    return result.macs


def test_inputs_are_declared():
    assert {entry.name for entry in LUMA} == {*LUMA_GMACS, "lapsrn"}
    on_lr = {entry.name for entry in LUMA if entry.input == "lr"}
    assert on_lr == {"fsrcnn", "lapsrn"}


@pytest.mark.parametrize("name", KERNELS)
def test_kernels_alone_are_what_is_printed_at_x4(name):
    parameters = on_meta(BY_NAME[name], 4).parameters()
    assert sum(each.numel() for each in parameters if each.ndim == 4) == KERNELS[name]


@pytest.mark.parametrize("name", LUMA_GMACS)
def test_macs_of_luma_of_a_256x256_lr_image(name):
    entry = BY_NAME[name]
    for scale, expected in zip((2, 3, 4), LUMA_GMACS[name], strict=True):
        side = 256 * scale if entry.input == "bicubic-hr" else 256
        digits = len(expected.partition(".")[2])
        assert f"{counted(entry, scale, side, side) / 1e9:.{digits}f}" == expected


@pytest.mark.parametrize("name", LUMA_GMACS_720P)
def test_macs_of_a_720p_sr_image_are_what_was_printed_once_divided(name):
    expected, rounded, printed = LUMA_GMACS_720P[name]
    for scale, figure in zip((2, 3, 4), printed, strict=True):
        found = counted(BY_NAME[name], scale, 720, 1280) / 1e9
        assert f"{found:.2f}" == expected
        assert found == pytest.approx(rounded, abs=0.053)
        assert f"{rounded / DIVISORS[scale]:.2f}" == figure


@pytest.mark.parametrize("name", ["drcn", "drrn", "memnet", "vdsr"])
def test_only_the_residual_is_learned(name):
    network = build_network(BY_NAME[name], 2)
    last = network.get_submodule("reconstruct2" if name == "drcn" else "tail")
    with torch.inference_mode():
        for parameter in last.parameters():
            parameter.zero_()
        pixels = torch.rand(2, 1, 6, 8)
        assert torch.equal(network(pixels), pixels)


@pytest.mark.parametrize("name", NTIRE2026)
def test_ntire_2026_to_the_last_published_digit(name, shared):
    row_name, flops, activations, calls = NTIRE2026[name]
    with (shared / "facts" / "ntire2026.csv").open(newline="") as file:
        (row,) = (row for row in csv.DictReader(file) if row["name"] == row_name)
    published = {figure.metric: figure.value for figure in BY_NAME[name].published}
    assert f"{published['runtime_images'] * 1e3:.6f}" == row["ave_time_ms"]
    assert f"{published['peak_bytes'] / 2**20:.6f}" == row["val_mem_MiB"]
    network, lr = on_meta(BY_NAME[name], 4), torch.empty(1, 3, 256, 256, device="meta")
    hooked, fvcore = COUNTERS["ntire2022"](network, lr), COUNTERS["fvcore"](network, lr)
    assert f"{fvcore.macs / 1e9:.6f}" == flops
    assert f"{(hooked.activations or 0) / 1e6:.6f}" == activations
    assert hooked.conv_calls == calls

"""FSRCNN against its equations, and the FLOPs that are printed of it."""

import pytest
import torch
from torch.nn import functional

from esrbench.probes.counters import COUNTERS
from esrbench_models.fsrcnn.network import FSRCNN

# 2 * 56 + 5 * 12 channels pass a PReLU, which the NTIRE counter adds, at every LR pixel.
ACTIVATED = 172


@pytest.mark.parametrize(
    ("scale", "size", "printed", "true"),
    [
        (2, (360, 640), "6.007", "2.87"),
        (3, (240, 427), "4.996", "1.28"),
        (4, (180, 320), "4.637", "0.72"),
    ],
)
def test_macs_of_a_720p_sr_image_are_printed_for_a_deconvolution_at_output_pixels(
    scale, size, printed, true
):
    with torch.device("meta"):
        network, lr = FSRCNN(scale), torch.empty(1, 1, *size)
    activated = ACTIVATED * size[0] * size[1]
    at_output = COUNTERS["ntire2022"](network, lr).macs - activated
    assert f"{at_output / 1e9:.3f}" == printed
    assert f"{COUNTERS['aten'](network, lr).macs / 1e9:.2f}" == true


@pytest.mark.parametrize(("scale", "gflops"), [(2, "1.720"), (3, "3.206"), (4, "5.287")])
def test_ntire_flops_of_a_256x256_lr_image(scale, gflops):
    with torch.device("meta"):
        network, lr = FSRCNN(scale), torch.empty(1, 1, 256, 256)
    assert f"{COUNTERS['ntire2022'](network, lr).macs / 1e9:.3f}" == gflops


def test_forward_is_the_equations():
    network = FSRCNN(3, channels=6, shrunk=2, mappings=2).double()
    state = network.state_dict()
    lr = torch.rand(1, 1, 4, 5, dtype=torch.float64)
    features = lr
    for name, kernel in (
        ("extract", 5),
        ("shrink", 1),
        ("mappings.0", 3),
        ("mappings.1", 3),
        ("expand", 1),
    ):
        weight, bias = state[f"{name}.0.weight"], state[f"{name}.0.bias"]
        assert weight.shape[-1] == kernel
        features = functional.conv2d(features, weight, bias, padding=kernel // 2)
        slope = state[f"{name}.1.weight"][:, None, None]
        features = torch.where(features > 0, features, slope * features)
    # A transposed convolution is a convolution of the features with zeros between them and a
    # flipped kernel: pixel (i, j) goes to the middle of its 3x3 cell.
    spread = torch.zeros(1, 6, 12, 15, dtype=torch.float64)
    spread[..., 1::3, 1::3] = features
    kernel = state["enlarge.weight"].flip(2, 3).transpose(0, 1)
    expected = functional.conv2d(spread, kernel, state["enlarge.bias"], padding=4)
    with torch.inference_mode():
        torch.testing.assert_close(network(lr), expected)


def test_a_scale_above_the_kernel_is_refused():
    assert FSRCNN(9)(torch.rand(1, 1, 2, 3)).shape == (1, 1, 18, 27)
    with pytest.raises(ValueError, match="kernel 9 cannot enlarge by 10"):
        FSRCNN(10)

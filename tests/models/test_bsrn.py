"""BSRN's cost, which the challenge's counter misreads; its function is in the released weights."""

import torch
from torch import nn

from esrbench.entries.networks import build_network
from esrbench.probes.counters import COUNTERS
from esrbench_models import bsrn
from esrbench_models.bsrn.network import BSConv, Pointwise

(ENTRY,) = bsrn.ENTRIES


def test_the_counter_misreads_linear_layers():
    with torch.device("meta"):
        network, lr = build_network(ENTRY, 4), torch.empty(1, 3, 256, 256)
    hooked, ran = COUNTERS["ntire2022"](network, lr), COUNTERS["aten"](network, lr)
    assert f"{hooked.macs / 1e9:.2f}" == "2.02"
    assert f"{ran.macs / 1e9:.2f}" == "9.43"
    # The challenge's table prints 65.76 M activations of convolutions; all are 209.2 M.
    assert f"{(hooked.activations or 0) / 1e6:.2f}" == "65.76"
    assert f"{(ran.activations or 0) / 1e6:.1f}" == "209.2"
    assert hooked.conv_calls == 43


def test_the_published_flops_are_left_out():
    assert not [figure for figure in ENTRY.published if figure.metric.startswith("macs")]


def test_blueprint_separable_convolution_is_a_factored_one():
    layer = BSConv(3, 4).double()
    linear, depthwise = layer.pointwise.linear, layer.depthwise
    full = nn.Conv2d(3, 4, 3, bias=False).double()
    with torch.inference_mode():
        full.weight.copy_(depthwise.weight * linear.weight[..., None, None])
        features = torch.randn(2, 3, 6, 5, dtype=torch.float64)
        linear.get_parameter("bias").zero_()
        depthwise.get_parameter("bias").zero_()
        # Without biases, where padding does not reach.
        torch.testing.assert_close(layer(features)[..., 1:-1, 1:-1], full(features))


def test_pointwise_is_a_1x1_convolution():
    layer, same = Pointwise(3, 5), nn.Conv2d(3, 5, 1)
    with torch.inference_mode():
        same.weight.copy_(layer.linear.weight[..., None, None])
        same.get_parameter("bias").copy_(layer.linear.get_parameter("bias"))
        features = torch.randn(2, 3, 4, 6)
        torch.testing.assert_close(layer(features), same(features))

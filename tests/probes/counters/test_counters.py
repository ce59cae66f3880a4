"""All counters on the same networks, with and without pixel values."""

import pytest
import torch
from builders import step
from torch import nn

from esrbench.entries.networks import build_network
from esrbench.entries.registry import default_registry
from esrbench.probes.counters import COUNTERS

EACH = pytest.mark.parametrize("counter", COUNTERS)

# By hand. IMDN's 8 blocks and its body add their input. RFDN's 4 blocks add thrice and have an
# attention that pools, enlarges, adds, gates and multiplies, and its body adds; SRResNet's 16
# blocks call a functional ReLU and add, its body adds an enlarged input.
ATTENTION = {"aten::max_pool2d_with_indices": 4, "aten::upsample_bilinear2d": 4}
GATES = {"aten::sigmoid": 4, "aten::mul": 4}


@pytest.mark.parametrize(
    ("name", "by_ntire", "by_ptflops"),
    [
        ("imdn-challenge", {"aten::add": 9}, {"aten::add": 9}),
        ("rfdn", {"aten::add": 17} | ATTENTION | GATES, {"aten::add": 17} | GATES),
        (
            "srresnet",
            {"aten::relu": 16, "aten::upsample_bilinear2d": 1, "aten::add": 17},
            {"aten::add": 17},
        ),
    ],
)
def test_what_is_left_out_of_published_networks(name, by_ntire, by_ptflops):
    network, lr = build_network(default_registry().get(name), 4).eval(), torch.zeros(1, 3, 32, 32)
    assert COUNTERS["ntire2022"](network, lr).uncounted == by_ntire
    assert COUNTERS["ptflops"](network, lr).uncounted == by_ptflops


def needing_values(network):
    """A network that cannot run without pixel values, for no operator's sake."""

    def run(module, x):
        if x.is_meta:
            raise RuntimeError("where are the pixels?")
        return module.network(x)

    return step(run, network=network).eval()


# BSRN applies Linear layers to what channels-last convolutions return.
@EACH
@pytest.mark.parametrize("name", ["rfdn", "bsrn"])
def test_a_forward_with_values_gives_the_same_result(name, counter):
    network, lr = build_network(default_registry().get(name), 4).eval(), torch.rand(1, 3, 24, 20)
    shapes = COUNTERS[counter](network, lr)
    assert COUNTERS[counter](needing_values(network), lr) == shapes


@EACH
def test_a_network_that_can_do_without_values_sees_none(counter):
    def run(module, x):
        assert x.is_meta
        return module.conv(x)

    network = step(run, conv=nn.Conv2d(3, 4, 3, padding=1))
    assert COUNTERS[counter](network.eval(), torch.zeros(1, 3, 8, 6)).macs >= 108 * 48

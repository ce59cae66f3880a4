import pytest
import torch
from builders import step
from torch import nn
from torch.nn import functional

from esrbench.probes.counters import ntire


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
        # batch * rows * rows, not 48 * 15; this layout's bias is an operator of its own
        ("linear NHWC", 1 * 8 * 8, 0, 0, {"aten::add": 1}),
        ("functional conv", 0, 0, 0, {"aten::convolution": 1}),
        ("matmul attention", 0, 0, 0, {"aten::bmm": 2, "aten::_softmax": 1}),
        # Both operands are scaled.
        (
            "fused attention",
            *(0, 0, 0),
            {"aten::mul": 2, "aten::bmm": 2, "aten::_safe_softmax": 1},
        ),
        ("ReLU module", 108 * 48 + 192, 192, 1, {}),
        ("LeakyReLU module", 108 * 48 + 192, 192, 1, {}),
        ("functional relu", 108 * 48, 192, 1, {"aten::relu": 1}),
        ("batch norm", 2 * 144, 0, 0, {}),
        ("plain batch norm", 144, 0, 0, {}),
        ("interpolate", 0, 0, 0, {"aten::upsample_bilinear2d": 1}),
        ("same layer twice", 2 * 81 * 48, 288, 2, {}),
        ("inference mode inside", 81 * 48, 144, 1, {"aten::mm": 1}),
        ("looks at pixels", 108 * 48, 192, 1, {"aten::mean": 1, "aten::gt": 1}),
    ],
)
def test_figures_computed_by_hand(*, network, lr, name, macs, activations, conv_calls, uncounted):
    result = ntire.count(network(name), lr)
    assert (result.macs, result.activations, result.conv_calls) == (macs, activations, conv_calls)
    assert result.uncounted == uncounted
    assert result.input_shape == (1, 3, 8, 6)


def test_linear_of_the_2022_podium_is_wrong_by_a_factor_of_2304():
    result = ntire.count(nn.Linear(48, 48), torch.empty(1, 256, 256, 48))
    assert result.macs == 65_536
    assert result.uncounted == {}


def test_linear_on_a_vector():
    vector = nn.Sequential(nn.Flatten(0), nn.Linear(144, 5))
    assert ntire.count(vector, torch.empty(1, 3, 8, 6)).macs == 144 * 5


@pytest.mark.parametrize(
    ("layer", "elementwise", "uncounted"),
    [
        (nn.PReLU(3), 144, {}),
        (nn.ELU(), 144, {}),
        (nn.ReLU6(), 144, {}),
        (nn.GELU(), 0, {"aten::gelu": 1}),
        (nn.Sigmoid(), 0, {"aten::sigmoid": 1}),
        (nn.SiLU(inplace=True), 0, {"aten::silu_": 1}),
        (nn.MaxPool2d(2), 0, {"aten::max_pool2d_with_indices": 1}),
        (nn.AdaptiveAvgPool2d(1), 0, {"aten::mean": 1}),
        (nn.LayerNorm([8, 6]), 0, {"aten::native_layer_norm": 1}),
        (nn.PixelUnshuffle(2), 0, {}),
        (nn.ReflectionPad2d(1), 0, {}),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_layers_that_are_hooked_and_those_that_are_not(lr, layer, elementwise, uncounted):
    result = ntire.count(layer.eval(), lr)
    assert (result.macs, result.elementwise) == (elementwise, elementwise)
    assert result.uncounted == uncounted


def test_an_activation_vouches_for_one_operator(lr):
    class Gated(nn.ReLU):
        def forward(self, x):
            return super().forward(x) * x.sigmoid()

    result = ntire.count(nn.Sequential(Gated(), Gated()), lr)
    assert result.elementwise == 2 * 144
    assert result.uncounted == {"aten::sigmoid": 2, "aten::mul": 2}


def test_a_subclass_counts_as_its_parent_once():
    class TwoBranches(nn.Conv2d):
        def forward(self, x):
            return super().forward(x) + super().forward(x)

    result = ntire.count(TwoBranches(3, 4, 3, padding=1), torch.empty(1, 3, 8, 6))
    assert result.macs == 108 * 48
    assert result.uncounted == {"aten::convolution": 1, "aten::add": 1}


def test_a_layer_that_raised_vouches_for_nothing(lr):
    def run(module, x):
        try:
            return module.wrong(x)
        except RuntimeError:
            return functional.conv2d(x, module.wrong.weight[:, :3])

    result = ntire.count(step(run, wrong=nn.Conv2d(99, 4, 3)), lr)
    assert (result.macs, result.uncounted) == (0, {"aten::convolution": 1})


def test_a_second_forward_starts_anew(network, lr):
    # The first forward, without values, runs the ReLU and one convolution before it gives up.
    late = nn.Sequential(nn.ReLU(), nn.Conv2d(3, 3, 1, bias=False), network("looks at pixels"))
    result = ntire.count(late, lr)
    assert result.macs == 144 + (9 + 108) * 48
    assert (result.activations, result.conv_calls, result.elementwise) == (144 + 192, 2, 144)
    assert not hooked(late)


def test_hooks_are_removed_even_after_an_error(network):
    broken = nn.Sequential(network("conv"), nn.Conv2d(99, 1, 1))
    with pytest.raises(RuntimeError, match="channel"):
        ntire.count(broken, torch.empty(1, 3, 8, 6))
    assert not hooked(broken)


def hooked(network):
    return [
        module for module in network.modules() if module._forward_hooks or module._forward_pre_hooks
    ]

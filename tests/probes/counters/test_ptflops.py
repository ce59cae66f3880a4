import contextlib

import pytest
import torch
from builders import step
from ptflops import get_model_complexity_info
from torch import nn
from torch.nn import functional

from esrbench.probes.counters import ptflops

# Hand computation by the rules of ptflops' pytorch backend: MACs + bias + activations.
FIGURES = [
    ("conv", 108 * 48 + 192, {}),
    ("grouped", 54 * 48 + 288, {}),
    ("dilated and strided", 54 * 2 + 4, {}),
    ("transposed", 96 * 48 + 384, {}),
    ("1-D", 18 * 46 + 92, {}),
    ("3-D", 54 * 24 + 48, {}),
    ("linear NHWC", 48 * (15 + 5), {}),
    ("functional conv", 0, {"aten::convolution": 1}),
    # torch.matmul is replaced, torch.softmax is not.
    ("matmul attention", 2 * 3 * 3 * 48, {"aten::_softmax": 1}),
    ("fused attention", 0, {"aten::mul": 2, "aten::bmm": 2, "aten::_safe_softmax": 1}),
    ("ReLU module", 108 * 48 + 192 + 2 * 192, {}),  # the module and the function it calls
    ("LeakyReLU module", 108 * 48 + 192 + 192, {}),
    ("functional relu", 108 * 48 + 192 + 192, {}),
    ("batch norm", 2 * 144, {}),
    ("plain batch norm", 144, {}),
    ("interpolate", 576, {}),
    ("same layer twice", 2 * (81 * 48 + 144), {}),
    ("inference mode inside", 81 * 48 + 144, {"aten::mm": 1}),
    ("looks at pixels", 108 * 48 + 192, {"aten::mean": 1, "aten::gt": 1}),
]


@pytest.mark.parametrize(("name", "macs", "uncounted"), FIGURES)
def test_figures_computed_by_hand(network, lr, name, macs, uncounted):
    result = ptflops.count(network(name), lr)
    assert (result.macs, result.uncounted) == (macs, uncounted)
    assert (result.activations, result.conv_calls, result.elementwise) == (None, None, None)


class Subclass(nn.Conv2d):
    pass


# 144 elements; a 1x1 layer 3 -> 3 has 9 * 48 = 432 MACs and 144 for its bias.
CALLS = {
    "operator": (lambda x: x + x * x, 0, {"aten::mul": 1, "aten::add": 1}),
    "function": (lambda x: torch.add(x, torch.mul(x, x)), 2 * 144, {}),
    "method": (lambda x: x.add(x.mul(x)), 2 * 144, {}),
    "method in place": (lambda x: x.clone().add_(x), 0, {"aten::add_": 1}),
    "torch's relu": (torch.relu, 0, {"aten::relu": 1}),
    "functional relu": (lambda x: functional.relu(x + 1), 144, {"aten::add": 1}),
    "functional relu taken before": (functional.relu, 0, {"aten::relu": 1}),
    "functional leaky_relu": (functional.leaky_relu, 0, {"aten::leaky_relu": 1}),
    "functional linear": (
        lambda x: functional.linear(x, x.new_ones(5, 6)),
        0,
        {"aten::mm": 1},
    ),
    "functional pool": (lambda x: functional.adaptive_avg_pool2d(x, 1), 144, {}),
    "unknown module": (nn.Sigmoid(), 0, {"aten::sigmoid": 1}),
    "module": (nn.Conv2d(3, 3, 1), 432 + 144, {}),
    "subclass": (Subclass(3, 3, 1), 0, {"aten::convolution": 1}),
    "module without its call": (nn.Conv2d(3, 3, 1).forward, 0, {"aten::convolution": 1}),
}


@pytest.mark.parametrize("call", CALLS)
def test_only_calls_that_it_sees_count(lr, call):
    run, macs, uncounted = CALLS[call]
    layer = run if isinstance(run, nn.Module) else None
    network = step(lambda m, x: (m.layer or run)(x), layer=layer)
    result = ptflops.count(network.eval(), lr)
    assert (result.macs, result.uncounted) == (macs, uncounted)


def test_what_other_hooks_of_a_counted_module_do_is_not_counted(lr):
    layer = nn.Conv2d(3, 3, 1)
    layer.register_forward_pre_hook(lambda _layer, inputs: (inputs[0] / 2,))
    layer.register_forward_hook(lambda _layer, _inputs, output: output.exp())
    result = ptflops.count(nn.Sequential(layer), lr)
    assert result.macs == 432 + 144
    assert result.uncounted == {"aten::div": 1, "aten::exp": 1}


def test_a_counted_call_that_raised_is_over(lr):
    def run(module, x):
        with contextlib.suppress(RuntimeError):
            module.wrong(x)
        with contextlib.suppress(RuntimeError):
            functional.max_pool2d(x, 99)
        return x.exp()

    # The pooling was counted before it ran.
    result = ptflops.count(step(run, wrong=nn.Conv2d(99, 4, 3)), lr)
    assert (result.macs, result.uncounted) == (144, {"aten::exp": 1})


def test_a_module_counts_for_what_is_inside():
    def run(module, x):
        tokens = x.flatten(1, 2)
        return module.attention(tokens, tokens, tokens, need_weights=False)[0]

    network = step(run, attention=nn.MultiheadAttention(6, 2, batch_first=True))
    result = ptflops.count(network.eval(), torch.rand(1, 3, 8, 6))
    assert result.macs > 0
    assert result.uncounted == {}


@pytest.mark.parametrize("name", [figures[0] for figures in FIGURES])
def test_a_forward_without_values_gives_what_the_library_gives(network, lr, name):
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


def test_functions_that_meta_kernels_call_are_not_the_networks(lr):
    def run(_, x):
        # These operators' meta kernels are written in Python and add and multiply.
        x = functional.interpolate(x.permute(0, 1, 3, 2), scale_factor=2, mode="bicubic")
        x = functional.leaky_relu(x.permute(0, 1, 3, 2), 0.1)
        grid = x.new_zeros(1, 5, 5, 2)
        return functional.grid_sample(x, grid, align_corners=False)

    # The interpolation alone: 3*16*12 output elements.
    assert ptflops.count(step(run), lr).macs == 576


def functions_of_torch():
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
def test_torchs_functions_are_whole_after_an_error(lr, error):
    def run(_, x):
        assert functional.relu is not before["functional", "relu"]
        raise error(f"gives up on {tuple(x.shape)}")

    before = functions_of_torch()
    with pytest.raises(error, match=r"gives up on \(1, 3, 8, 6\)"):
        ptflops.count(step(run), lr)
    assert functions_of_torch() == before


def test_torchs_functions_are_whole_after_a_count(network, lr):
    before = functions_of_torch()
    ptflops.count(network("ReLU module"), lr)
    assert functions_of_torch() == before


def test_nothing_is_printed(network, lr, capfd):
    ptflops.count(network("ReLU module"), lr)
    with pytest.raises(RuntimeError):
        ptflops.count(network("conv"), torch.zeros(1, 2, 8, 6))
    assert capfd.readouterr() == ("", "")

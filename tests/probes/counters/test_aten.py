import pytest
import torch
from builders import step
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from esrbench.probes.counters import aten
from esrbench.probes.counters.shapes import ShapeMode

# Hand computation. Attention on (1, 3, 8, 6): 3 heads of 8 queries have 3*8*8 = 192 scores.
FIGURES = [
    ("conv", 108 * 48, 192, 1, 0, {}),
    ("grouped", 54 * 48, 288, 1, 0, {}),
    ("dilated and strided", 54 * 2, 4, 1, 0, {}),
    ("transposed", 96 * 48, 384, 1, 0, {}),
    ("1-D", 18 * 46, 92, 1, 0, {}),
    ("3-D", 54 * 24, 48, 1, 0, {}),
    ("functional conv", 108 * 24, 96, 1, 0, {}),
    ("matmul attention", 2 * 3 * 3 * 48, 9 + 144, 0, 0, {"aten::_softmax": 1}),
    ("ReLU module", 108 * 48, 192, 1, 192, {}),
    ("LeakyReLU module", 108 * 48, 192, 1, 192, {}),
    ("functional relu", 108 * 48, 192, 1, 192, {}),
    ("batch norm", 0, 0, 0, 144, {}),
    ("interpolate", 0, 0, 0, 0, {"aten::upsample_bilinear2d": 1}),
    ("same layer twice", 2 * 81 * 48, 288, 2, 0, {}),
    ("inference mode inside", 81 * 48 + 9 * 48, 288, 1, 0, {}),
    ("looks at pixels", 108 * 48, 192, 1, 1, {"aten::mean": 1}),  # compares one value
]


@pytest.mark.parametrize(
    ("name", "macs", "activations", "conv_calls", "elementwise", "uncounted"), FIGURES
)
def test_figures_computed_by_hand(
    *, network, lr, name, macs, activations, conv_calls, elementwise, uncounted
):
    result = aten.count(network(name), lr)
    assert (result.macs, result.activations, result.conv_calls) == (macs, activations, conv_calls)
    assert result.elementwise == elementwise
    assert result.uncounted == uncounted


def test_linear_on_any_shape(network, lr):
    result = aten.count(network("linear NHWC"), lr)
    assert (result.macs, result.activations) == (48 * 15, 240)
    assert aten.count(nn.Linear(48, 48), torch.empty(1, 256, 256, 48)).macs == 150_994_944


def test_attention_is_its_two_products(network, lr):
    result = aten.count(network("fused attention"), lr)
    assert (result.macs, result.activations) == (192 * (6 + 6), 192 + 144)


def test_fused_attention_kernels_cost_the_same(lr):
    attend = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    result = aten.count(step(lambda _, x: attend(x, x, x)[0]), lr)
    assert (result.macs, result.activations) == (192 * (6 + 6), 192 + 144)
    assert result.uncounted == {}


# Under inference mode torch's counter sees no convolution.
@pytest.mark.parametrize(
    "name", [name for name, macs, *_ in FIGURES if macs and name != "inference mode inside"]
)
def test_agrees_with_torchs_own_counter(network, lr, name):
    reference = FlopCounterMode(display=False)
    with torch.no_grad(), reference:
        network(name)(lr)
    assert 2 * aten.count(network(name), lr).macs == reference.get_total_flops()


def test_every_matrix_product_is_counted():
    def run(_, lr):
        matrix, batch = lr.new_empty(4, 5), lr.new_empty(2, 4, 5)
        vector = lr.new_empty(5)
        torch.mm(matrix, matrix.T)  # 4*5*4 = 80
        torch.addmm(lr.new_empty(4, 4), matrix, matrix.T)  # 80
        torch.bmm(batch, batch.mT)  # 160
        torch.baddbmm(lr.new_empty(2, 4, 4), batch, batch.mT)  # 160
        torch.addbmm(lr.new_empty(4, 4), batch, batch.mT)  # 160
        torch.mv(matrix, vector)  # 20
        torch.addmv(lr.new_empty(4), matrix, vector)  # 20
        return torch.dot(vector, vector)  # 5

    result = aten.count(step(run), torch.empty(1, 3, 8, 6))
    assert result.macs == 2 * 80 + 3 * 160 + 2 * 20 + 5
    assert result.activations == 2 * 16 + 2 * 32 + 16 + 2 * 4 + 1
    assert (result.conv_calls, result.uncounted) == (0, {})


def test_code_inside_an_autograd_function_is_seen(lr):
    class Hidden(torch.autograd.Function):
        @staticmethod
        def forward(_context, x, weight):
            return torch.conv2d(x, weight)

    weight = nn.Parameter(torch.zeros(4, 3, 3, 3))
    network = step(lambda m, x: Hidden.apply(x, m.weight), weight=weight)
    assert aten.count(network, lr).macs == 108 * 24


def test_custom_operators_are_named(lr, mystery):
    opaque = step(lambda m, x: mystery(m.layer(x)), layer=nn.Conv2d(3, 4, 3, padding=1))
    result = aten.count(opaque, lr)
    assert (result.macs, result.uncounted) == (108 * 48, {"esrbench_test::mystery": 1})


def test_views_and_copies_are_free(lr):
    def run(_, x):
        x = torch.cat([x, x.flip(2)], dim=1).permute(0, 2, 3, 1).contiguous()
        x = nn.functional.pad(x.permute(0, 3, 1, 2), (1, 1, 1, 1), mode="reflect")
        first, second = x.chunk(2, dim=1)
        return torch.stack([first, second.roll(1, 2)]).clone()

    result = aten.count(step(run), lr)
    assert (result.macs, result.elementwise, result.uncounted) == (0, 0, {})


def test_figures_do_not_rest_on_torchs_private_switch(network, lr, monkeypatch):
    class WithoutSwitch(ShapeMode):
        @classmethod
        def _should_skip_dynamo(cls):
            return True

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            return super().__torch_dispatch__(func, types, args, kwargs)

    expected = aten.count(network("ReLU module"), lr)
    monkeypatch.setattr(aten, "ShapeMode", WithoutSwitch)
    assert aten.count(network("ReLU module"), lr) == expected


def test_a_second_forward_starts_anew(network, lr):
    # The first forward, without values, runs one convolution before it gives up.
    late = nn.Sequential(nn.Conv2d(3, 3, 1, bias=False), network("looks at pixels"))
    result = aten.count(late, lr)
    assert (result.macs, result.activations) == ((9 + 108) * 48, 144 + 192)
    assert (result.conv_calls, result.elementwise) == (2, 1)
    assert result.uncounted == {"aten::mean": 1}


def test_attention_costs_the_same_with_and_without_values(lr):
    def attention(*, needs_values):
        def run(_, x):
            if needs_values:
                x.tolist()
            return functional.scaled_dot_product_attention(x, x, x)

        return aten.count(step(run), lr)

    shapes, values = (attention(needs_values=needs) for needs in (False, True))
    assert (shapes.macs, shapes.activations) == (values.macs, values.activations)
    # Without values it comes in parts.
    assert (shapes.uncounted, values.uncounted) == ({"aten::_safe_softmax": 1}, {})

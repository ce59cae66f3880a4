from contextlib import contextmanager

import pytest
import torch
from builders import Buffer, python, step
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from esrbench.probes.counters.shapes import ShapeMode, by_shape_or_value, eagerly, on_meta


def layouts(result):
    tensors = result if isinstance(result, tuple) else (result,)
    return [(tensor.shape, tensor.stride(), tensor.dtype) for tensor in tensors]


def both(run):
    """Layouts by real kernels and without values, and calls left to torch's meta kernels."""
    calls = 0

    @contextmanager
    def kernel():
        nonlocal calls
        calls += 1
        yield

    def made(device):
        torch.manual_seed(0)
        return run(device)

    with torch.no_grad():
        real = layouts(made("cpu"))
        with ShapeMode(around_kernel=kernel):
            shaped = layouts(made("meta"))
    return real, shaped, calls


def image(device, channels=4, dtype=torch.float32):
    return torch.zeros(2, channels, 9, 7, dtype=dtype).to(device)


def weight(device, *shape):
    return torch.zeros(shape).to(device)


# ``.to("meta")`` and views always reach torch; each case tells how many calls it adds to them.
RULES = {
    "relu": functional.relu,
    "leaky_relu_": lambda x: functional.leaky_relu(x, 0.1, inplace=True),
    "add a number": lambda x: x + 1,
    "sigmoid": torch.sigmoid,
    "mul": lambda x: x * x,
    "cat": lambda x: torch.cat([x, x, x], dim=-3),
    "pixel_shuffle": lambda x: functional.pixel_shuffle(x, 2),
    "max_pool": lambda x: functional.max_pool2d(x, 5, 2, 1, return_indices=True),
    "max_pool of its own stride": lambda x: functional.max_pool2d(x, (3, 2)),
    "bilinear": lambda x: functional.interpolate(x, size=(20, 11), mode="bilinear"),
    "bicubic": lambda x: functional.interpolate(x, scale_factor=3, mode="bicubic"),
    "mean": lambda x: x.mean((2, -1)),
    "mean that keeps dims": lambda x: x.mean((-2, -1), keepdim=True),
    "zeros_like": torch.zeros_like,
    "sum": lambda x: x.sum(1),
    "mean of all": torch.mean,
    "largest of all": torch.max,
    "deviation of all": torch.std,
    "reflection": lambda x: functional.pad(x, (1, 2, 3, 0), mode="reflect"),
    "nearest": lambda x: functional.interpolate(x, scale_factor=2, mode="nearest"),
    "adaptive_max_pool": lambda x: functional.adaptive_max_pool2d(x, (3, 2), return_indices=True),
    "softmax": lambda x: x.softmax(1),
    "group_norm": lambda x: torch.native_group_norm(x, None, None, 2, 4, 63, 2, 1e-5),
    "compare": lambda x: x <= 1,
    "where": lambda x: torch.where(x > 0, x, -x),
    "arange": lambda x: torch.arange(2, 9, 3, device=x.device),
    "arange of floats": lambda x: torch.arange(4, dtype=torch.float64, device=x.device),
    "integers": lambda x: 3 - torch.arange(5, device=x.device).remainder(2),
    "eye": lambda x: torch.eye(3, 5, device=x.device),
}


@pytest.mark.parametrize("name", RULES)
def test_a_rule_gives_the_layout_of_the_real_kernel(name):
    real, shaped, calls = both(lambda device: RULES[name](image(device)))
    _, _, calls_for_the_image = both(image)
    assert shaped == real
    assert calls == calls_for_the_image


def test_a_size_that_is_traced_changes_no_type():
    # While torch.jit traces, sizes are integer tensors without dimensions.
    for run in (lambda x: x / SIZE, lambda x: SIZE - torch.arange(5, device=x.device)):
        real, shaped, calls = both(lambda device, run=run: run(image(device)))
        _, _, calls_for_the_image = both(image)
        assert shaped == real
        assert calls == calls_for_the_image


SIZE = torch.tensor(7)
CONVOLUTIONS = {
    "plain": lambda at: functional.conv2d(image(at), weight(at, 6, 4, 3, 3), weight(at, 6)),
    "strided, dilated, padded": lambda at: functional.conv2d(
        image(at), weight(at, 6, 4, 3, 1), stride=(2, 3), dilation=(2, 1), padding=(1, 2)
    ),
    "grouped": lambda at: functional.conv2d(image(at), weight(at, 8, 1, 3, 3), groups=4),
    "transposed": lambda at: functional.conv_transpose2d(
        image(at), weight(at, 4, 3, 4, 4), stride=3, padding=1, output_padding=2, groups=2
    ),
    "transposed, dilated": lambda at: functional.conv_transpose2d(
        image(at), weight(at, 4, 3, 3, 3), dilation=2
    ),
    "1-D": lambda at: functional.conv1d(weight(at, 2, 4, 9), weight(at, 5, 4, 3), padding=1),
    "3-D": lambda at: functional.conv3d(weight(at, 1, 2, 5, 6, 7), weight(at, 3, 2, 2, 3, 4)),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions_have_the_shape_of_the_real_ones(name):
    real, shaped, _ = both(CONVOLUTIONS[name])
    assert shaped == real


def permuted(device, shape, order):
    """Zeros of a shape whose dimensions lie in memory in another order, slowest first."""
    laid = torch.zeros([shape[axis] for axis in order]).to(device)
    return laid.permute([order.index(axis) for axis in range(len(shape))])


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_an_elementwise_result_lies_as_its_operands_do(data):
    shape = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    operands = []
    for _ in range(data.draw(st.integers(1, 3))):
        seen = shape[data.draw(st.integers(0, len(shape) - 1)) :]
        seen = [data.draw(st.sampled_from((1, size))) for size in seen]
        operands.append((seen, data.draw(st.permutations(range(len(seen))))))
    operator = {1: torch.sigmoid, 2: torch.add, 3: torch.addcmul}[len(operands)]
    real, shaped, _ = both(lambda at: operator(*(permuted(at, *operand) for operand in operands)))
    ((real_shape, real_stride, _),), ((shape_, stride, _),) = real, shaped
    assert shape_ == real_shape
    # Where a dimension has one element its stride says nothing.
    wide = [axis for axis, size in enumerate(real_shape) if size > 1]
    assert [stride[axis] for axis in wide] == [real_stride[axis] for axis in wide]


def channels_last(device):
    return image(device).to(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    "run",
    [
        lambda at: functional.conv2d(channels_last(at), weight(at, 6, 4, 3, 3), weight(at, 6)),
        lambda at: functional.conv2d(channels_last(at), weight(at, 4, 1, 3, 3), groups=4),
        lambda at: functional.conv2d(
            image(at), weight(at, 6, 4, 3, 3).to(memory_format=torch.channels_last)
        ),
        lambda at: functional.conv2d(channels_last(at)[:, :3], weight(at, 6, 3, 1, 1)),
        lambda at: functional.conv2d(image(at).permute(0, 1, 3, 2), weight(at, 6, 4, 3, 3)),
        lambda at: functional.conv2d(weight(at, 2, 4, 1, 1), weight(at, 6, 4, 1, 1)),
        lambda at: functional.conv_transpose2d(channels_last(at), weight(at, 4, 3, 2, 2), stride=2),
        lambda at: functional.pixel_shuffle(channels_last(at), 2),
        lambda at: functional.pixel_shuffle(image(at)[:, :4], 2),
        lambda at: functional.conv2d(image(at)[:, :, 2:, 1:], weight(at, 6, 4, 3, 3)),
        lambda at: functional.gelu(channels_last(at)),
        lambda at: channels_last(at) * weight(at, 1, 4, 1, 1),
        lambda at: channels_last(at) + image(at),
        lambda at: image(at) + channels_last(at),
        lambda at: torch.cat([channels_last(at), channels_last(at)], dim=1),
        lambda at: torch.cat([channels_last(at), image(at)], dim=1),
        lambda at: functional.max_pool2d(channels_last(at), 3, return_indices=True),
        lambda at: functional.interpolate(channels_last(at), scale_factor=2, mode="bilinear"),
    ],
)
def test_layouts_are_those_of_the_real_kernel(run):
    real, shaped, _ = both(run)
    assert shaped == real


def test_a_linear_between_convolutions_is_the_same_operators():
    # On CPU a convolution keeps channels-last, and a Linear on that adds its bias at once.
    conv, linear = nn.Conv2d(4, 4, 3, groups=4), nn.Linear(4, 4)

    def called(device):
        names = []
        x = channels_last("cpu").to(device)
        with torch.no_grad(), ShapeMode(watch=lambda name, *_: names.append(name)):
            linear.to(device)(conv.to(device)(x).permute(0, 2, 3, 1))
        return [name for name in names if name != "aten::_to_copy"]

    real = called("cpu")
    assert "aten::addmm" in real
    assert called("meta") == real


@pytest.mark.parametrize(
    "run",
    [
        lambda at: weight(at, 3, 4) @ weight(at, 4, 5),
        lambda at: torch.bmm(weight(at, 2, 3, 4), weight(at, 2, 5, 4).mT),
        lambda at: torch.addmm(weight(at, 5), weight(at, 3, 4), weight(at, 5, 4).T),
        lambda at: functional.linear(image(at), weight(at, 5, 7), weight(at, 5)),
    ],
)
def test_matrix_products_have_the_shape_of_the_real_ones(run):
    real, shaped, _ = both(run)
    assert shaped == real


@pytest.mark.parametrize(
    "run",
    [
        lambda at: image(at).permute(0, 2, 3, 1).sigmoid(),
        lambda at: image(at) + image(at, 1),
        lambda at: image(at) + image(at).to(memory_format=torch.channels_last),
        lambda at: image(at) * image(at, dtype=torch.float64),
        lambda at: image(at, dtype=torch.int64) / 2,
        lambda at: image(at) > 0,
        lambda at: functional.conv2d(image(at)[0], weight(at, 6, 4, 3, 3)),
        lambda at: torch.cat([image(at), image(at, dtype=torch.float64)]),
        lambda at: functional.max_pool2d(image(at), 2, ceil_mode=True),
        lambda at: image(at).permute(0, 2, 3, 1).mean((1, 2), keepdim=True),
        lambda at: image(at).mean((0, 1), dtype=torch.float64),
        lambda at: image(at).mean(),
        lambda at: functional.interpolate(image(at), scale_factor=2),
        lambda at: functional.layer_norm(image(at), (9, 7)),
        lambda at: torch.where(image(at) > 0, image(at), 2.0),
    ],
)
def test_the_unusual_is_left_to_torch(run):
    real, shaped, calls = both(run)
    assert shaped == real
    assert calls


@pytest.mark.parametrize(
    "run",
    [
        lambda x: x + x[:, :3],
        lambda x: x[:, :1].clone().add_(x),
        lambda x: torch.tensor(1).add_(torch.arange(3, device=x.device)),
        lambda x: functional.conv2d(x, torch.zeros(6, 5, 3, 3, device="meta")),
        lambda x: functional.conv2d(x, torch.zeros(6, 4, 19, 3, device="meta")),
        lambda x: torch.cat([x, x[:, :, :5]], dim=1),
        lambda x: torch.cat([x, x], dim=4),
        lambda x: functional.pixel_shuffle(x, 3),
        lambda x: functional.max_pool2d(x, 11),
        lambda x: functional.max_pool2d(x, 2, padding=2),
        lambda x: x.mean((1, 4)),
        lambda x: x[0, 0] @ x[0, 0],
    ],
)
def test_a_wrong_network_stays_wrong(run):
    with torch.no_grad(), pytest.raises((RuntimeError, IndexError)), ShapeMode():
        run(image("meta"))


def test_operators_are_told_by_name_and_result():
    seen = []
    x = image("meta")
    with (
        torch.no_grad(),
        ShapeMode(watch=lambda name, *told: seen.append((name, told[-1].numel()))),
    ):
        functional.relu(x, inplace=True)
    assert seen == [("aten::relu_", 2 * 4 * 9 * 7)]


def test_constants_keep_their_values():
    with ShapeMode():
        assert torch.arange(4).add(1).sum().item() == 10


def test_counting_without_values_is_tried_first():
    devices = []

    def count(network, lr, without_values):
        devices.append((next(network.parameters()).device.type, lr.device.type, without_values))
        if without_values:
            raise RuntimeError("this network looks at pixels")
        return "counted"

    assert by_shape_or_value(count, nn.Conv2d(3, 3, 1), torch.zeros(1, 3, 4, 4)) == "counted"
    assert devices == [("meta", "meta", True), ("cpu", "cpu", False)]


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
def test_the_copy_without_values_is_the_network_but_for_its_values():
    # Its weight is computed, which torch refuses to copy.
    normed = nn.utils.weight_norm(nn.Conv2d(3, 3, 3))
    network = step(
        lambda m, x: m.normed(m.other(m.one(x))) + m.mean.view(1, 3, 1, 1),
        one=nn.Conv2d(3, 3, 1),
        other=nn.Conv2d(3, 3, 1),
        normed=normed,
        mean=Buffer(torch.ones(3), persistent=False),
        frozen=nn.Parameter(torch.ones(2), requires_grad=False),
        constant=torch.ones(4),
    )
    network.other.weight = network.one.weight

    def count(network, lr, without_values):
        assert without_values
        assert {tensor.device.type for tensor in network.state_dict().values()} == {"meta"}
        assert network.one.weight is network.other.weight
        assert not network.frozen.requires_grad
        assert network.mean.is_meta
        assert network.constant.tolist() == [1, 1, 1, 1]
        with torch.no_grad(), ShapeMode():
            return network(lr).shape == (1, 3, 2, 3)

    assert by_shape_or_value(count, network, torch.zeros(1, 3, 4, 5))
    assert {tensor.device.type for tensor in network.state_dict().values()} == {"cpu"}


def test_modules_are_not_asked_to_copy_themselves():
    class Own(nn.Module):
        def __deepcopy__(self, _copies):
            copied = Own()
            copied.copied = True
            return copied

    network = nn.Sequential(nn.Conv2d(3, 3, 1), Own(), nn.ReLU())
    copied = on_meta(network)
    assert isinstance(copied, nn.Sequential)
    assert isinstance(copied[1], Own)
    assert "copied" not in vars(copied[1])
    assert copied[0] is not network[0]
    assert copied[0].weight.is_meta
    assert not network[0].weight.is_meta
    copied[0].register_forward_hook(lambda *_: None)
    assert not network[0]._forward_hooks


@pytest.mark.parametrize("number", [1j, complex(2), 2.0, 2])
def test_numbers_that_change_the_type(number):
    image = torch.ones(1, 3, 4, 4)
    with ShapeMode():
        product, total = (image.to("meta") * number), (image.to("meta") + number)
    assert (product.dtype, total.dtype) == ((image * number).dtype, (image + number).dtype)


def test_the_real_forward_decides_what_is_raised():
    def count(_network, _lr, without_values):
        raise RuntimeError("without values" if without_values else "with values")

    with pytest.raises(RuntimeError, match=r"^with values$"):
        by_shape_or_value(count, nn.Conv2d(3, 3, 1), torch.zeros(1, 3, 4, 4))


def test_counting_a_network_imports_no_compiler():
    script = """
import sys, torch
from esrbench.probes.complexity import measure_complexity
from esrbench.protocol import COUNTERS
from esrbench_models.rfdn.network import RFDN
sizes = measure_complexity(lambda: RFDN(scale=4), input_size=(256, 256), counters=COUNTERS)
assert all(hasattr(result, "macs") for result in sizes.counters.values()), sizes
print([name for name in ("torch._dynamo", "sympy") if name in sys.modules])
"""
    # A fresh process is the only one that has imported nothing.
    assert python(script) == "[]"


def test_nothing_is_compiled_in_the_block_and_again_after_it():
    compiled = []

    def backend(graph, _inputs):
        compiled.append(graph)
        return graph.forward

    doubled = torch.compile(lambda x: x * 2, backend=backend)
    with eagerly():
        assert doubled(torch.ones(1)).item() == 2
    assert compiled == []
    assert doubled(torch.ones(1)).item() == 2
    assert len(compiled) == 1

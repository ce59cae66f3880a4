"""Networks against the equations of their papers, written out."""

import pytest
import torch
from torch.nn import functional

from esrbench.probes.counters import COUNTERS
from esrbench_models.carn.network import CARN
from esrbench_models.drcn.network import DRCN
from esrbench_models.drrn.network import DRRN
from esrbench_models.memnet.network import MemNet
from esrbench_models.rcan.network import RCAN
from esrbench_models.rdn.network import RDN
from esrbench_models.safmn.network import SAFMN
from esrbench_models.span.network import SPAN
from esrbench_models.srcnn.network import SRCNN
from esrbench_models.vdsr.network import VDSR


@pytest.fixture
def lr():
    return torch.rand(2, 3, 5, 6, dtype=torch.float64)


@pytest.fixture
def luma():
    return torch.rand(1, 1, 6, 5, dtype=torch.float64)


def test_carn(layers, lr):
    apply = layers(CARN(4, channels=4))

    def residual(name, x):
        inner = apply(f"{name}.0.body.0", x).relu()
        return (x + apply(f"{name}.0.body.2", inner)).relu()

    def cascade(name, x, depth):
        outputs, fused = [x], x
        for unit in range(3):
            inner = f"{name}.units.{unit}"
            outputs.append(cascade(inner, fused, depth - 1) if depth else residual(inner, fused))
            fused = apply(f"{name}.fusions.{unit}.0", torch.cat(outputs, dim=1)).relu()
        return fused

    features = cascade("body", apply("head", lr), 1)
    for stage in ("upsamplers.x4.0", "upsamplers.x4.3"):
        features = functional.pixel_shuffle(apply(stage, features).relu(), 2)
    apply.require(lr, apply("tail", features))


def test_rcan(layers, lr):
    apply = layers(RCAN(2, groups=2, blocks=3, channels=8, reduction=4))
    shallow = features = apply("head", lr)
    for group in range(2):
        inner = features
        for block in range(3):
            name = f"groups.{group}.blocks.{block}.body"
            z = apply(f"{name}.2", apply(f"{name}.0", inner).relu())
            mean = z.sum(dim=(2, 3), keepdim=True) / 30
            gate = apply(f"{name}.3.gate.2", apply(f"{name}.3.gate.0", mean).relu())
            inner = inner + z / (1 + torch.exp(-gate))
        features = features + apply(f"groups.{group}.refine", inner)
    features = shallow + apply("refine", features)
    apply.require(lr, apply("tail", functional.pixel_shuffle(apply("upsampler.0", features), 2)))


def test_rdn(layers, lr):
    apply = layers(RDN(3, blocks=3, convolutions=2, channels=4, growth=5))
    skip = apply("head", lr)
    features, outputs = apply("shallow", skip), []
    for block in range(3):
        seen = [features]
        for layer in range(2):
            seen.append(apply(f"blocks.{block}.dense.{layer}.0", torch.cat(seen, dim=1)).relu())
        features = features + apply(f"blocks.{block}.fusion", torch.cat(seen, dim=1))
        outputs.append(features)
    features = skip + apply("refine", apply("fusion", torch.cat(outputs, dim=1)))
    apply.require(lr, apply("tail", functional.pixel_shuffle(apply("upsampler.0", features), 3)))


def test_span(layers, lr):
    apply = layers(SPAN(3, channels=4))

    def silu(x):
        return x / (1 + torch.exp(-x))

    mean = torch.tensor([0.4488, 0.4371, 0.4040], dtype=torch.float32).double()
    shallow = apply("head", 255 * (lr - mean[:, None, None]))
    outputs, inner = [shallow], shallow
    for block in range(6):
        inner = silu(apply(f"blocks.{block}.conv1", outputs[-1]))
        last = apply(f"blocks.{block}.conv3", silu(apply(f"blocks.{block}.conv2", inner)))
        outputs.append((last + outputs[-1]) * (1 / (1 + torch.exp(-last)) - 0.5))
    seen = torch.cat((shallow, apply("refine", outputs[-1]), outputs[1], inner), dim=1)
    apply.require(lr, functional.pixel_shuffle(apply("upsampler.conv", apply("fusion", seen)), 3))


def test_safmn(layers):
    network = SAFMN(2, blocks=2, channels=4)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    apply = layers(network)

    def gelu(x):
        return x * (1 + torch.erf(x / 2**0.5)) / 2

    def norm(name, x):
        weight, bias = apply.tensors(name)
        centred = x - x.mean(dim=(1, 2, 3), keepdim=True)
        variance = centred.square().mean(dim=(1, 2, 3), keepdim=True)
        normed = centred / (variance + 1e-5).sqrt()
        return normed * weight[:, None, None] + bias[:, None, None]

    def pool(x, side):
        """16x8 pixels to cells of ``side`` pixels each way, the maximum of each."""
        cells = x.unflatten(3, (-1, side)).unflatten(2, (-1, side))
        return cells.amax(dim=(3, 5))

    def modulate(name, x):
        seen = []
        for level in range(4):
            side = 2**level
            reduced = apply(f"{name}.levels.{level}", pool(x[:, level : level + 1], side))
            seen.append(reduced.repeat_interleave(side, dim=2).repeat_interleave(side, dim=3))
        return gelu(apply(f"{name}.fusion", torch.cat(seen, dim=1))) * x

    lr = torch.rand(2, 3, 16, 8, dtype=torch.float64)
    shallow = features = apply("head", lr)
    for block in ("blocks.0", "blocks.1"):
        features = features + modulate(f"{block}.modulate", norm(f"{block}.norm1", features))
        inner = gelu(apply(f"{block}.mix.0", norm(f"{block}.norm2", features)))
        features = features + apply(f"{block}.mix.2", inner)
    residual = functional.pixel_shuffle(apply("upsampler.conv", features + shallow), 2)
    bilinear = functional.interpolate(lr, size=(32, 16), mode="bilinear", align_corners=False)
    apply.require(lr, bilinear + residual)


@pytest.mark.parametrize("bias", [False, True])
def test_drcn(layers, luma, bias):
    apply = layers(DRCN(channels=4, recursions=3, bias=bias))
    hidden = apply("embed2", apply("embed1", luma).relu()).relu()
    recursions = []
    for _ in range(3):
        hidden = apply("recur", hidden).relu()
        recursions.append(luma + apply("reconstruct2", apply("reconstruct1", hidden).relu()))
    first, second, third = recursions
    apply.require(luma, (first + second + third) / 3)


def test_biases_of_drcn_are_an_option():
    with torch.device("meta"):
        network = DRCN(bias=True)
    assert sum(parameter.numel() for parameter in network.parameters()) == 1_775_105


def test_drrn(layers, luma):
    apply = layers(DRRN(units=2, channels=4))

    def unit(features):
        return apply("unit2", apply("unit1", features.relu()).relu())

    h0 = apply("head", luma)
    h1 = h0 + unit(h0)
    h2 = h0 + unit(h1)
    apply.require(luma, luma + apply("tail", h2.relu()))


def test_memnet(layers, luma):
    apply = layers(MemNet(blocks=2, recursions=2, channels=4))

    def unit(number, features):
        hidden = apply(f"blocks.{number}.unit1", features.relu())
        return features + apply(f"blocks.{number}.unit2", hidden.relu())

    def gate(number, *states):
        return apply(f"blocks.{number}.gate", torch.cat(states, dim=1).relu())

    b0 = apply("head", luma)
    first = unit(0, b0)
    b1 = gate(0, first, unit(0, first), b0)
    second = unit(1, b1)
    b2 = gate(1, second, unit(1, second), b0, b1)
    apply.require(luma, luma + apply("tail", b2.relu()))


@pytest.mark.parametrize(
    ("make", "runs"),
    [
        (DRRN, 52),  # of four convolutions
        (MemNet, 80),  # its authors name it M6R6_80C64
    ],
)
def test_convolutions_that_run(make, runs):
    with torch.device("meta"):
        network, image = make(), torch.empty(1, 1, 8, 8)
    assert COUNTERS["ntire2022"](network, image).conv_calls == runs
    assert len(DRRN().state_dict()) == 8


def test_vdsr(luma):
    network = VDSR(depth=5, channels=4).double()
    kernels, biases = list(network.parameters())[::2], list(network.parameters())[1::2]
    assert [tuple(kernel.shape[:2]) for kernel in kernels] == [(4, 1), *[(4, 4)] * 3, (1, 4)]
    features = luma
    for number, (kernel, bias) in enumerate(zip(kernels, biases, strict=True), start=1):
        features = functional.conv2d(features, kernel, bias, padding=1)
        if number < 5:
            features = features.clamp(min=0)
    with torch.inference_mode():
        torch.testing.assert_close(network(luma), luma + features)


@pytest.mark.parametrize(
    ("make", "weight", "reach", "rows"),
    [
        (SRCNN, 0.01, 8, slice(None)),  # 4 + 2 + 2 of the kernels 9, 5, 5
        # 20 convolutions of 3x3: 41x41, as the paper says. Rounding hides the corners.
        (lambda: VDSR(channels=2), 0.1, 20, 22),
    ],
)
def test_how_far_a_pixel_is_seen(make, weight, reach, rows):
    """Weights are positive, so that nothing cancels and no ReLU closes."""
    network = make().double()
    side = 2 * reach + 5
    dark = torch.zeros(1, 1, side, side, dtype=torch.float64)
    lit = dark.clone()
    lit[..., side // 2, side // 2] = 1.0
    with torch.inference_mode():
        for parameter in network.parameters():
            parameter.fill_(weight)
        moved = (network(lit) - network(dark))[0, 0] != 0
    expected = torch.zeros(side, side, dtype=torch.bool)
    expected[2:-2, 2:-2] = True
    assert torch.equal(moved[rows], expected[rows])


def test_srcnn_of_2014_is_a_seventh_of_the_size():
    assert sum(parameter.numel() for parameter in SRCNN(middle=1).parameters()) == 8_129


def test_span_of_the_papers_width_has_426_k_parameters():
    with torch.device("meta"):
        network = SPAN(4, channels=48)
    assert sum(parameter.numel() for parameter in network.parameters()) == 426_288

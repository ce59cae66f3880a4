import pytest
import torch
from builders import step
from torch import nn
from torch.nn import functional

from esrbench.entries.networks import build_network
from esrbench.entries.registry import default_registry
from esrbench.errors import MeasurementError
from esrbench.probes.audit import measure_audit
from esrbench.probes.counters import aten
from esrbench.probes.forward import PixelConversion
from esrbench.probes.notices import notices_of
from esrbench.records import SizedCount
from esrbench.records.counts import LIGHT

SMALL = ((8, 6),)


def tokens(image):
    return image.flatten(2).transpose(1, 2)


def attend(image):
    features = tokens(image)
    return torch.softmax(features @ features.mT, dim=-1) @ features


def call(module, image):
    return module.c(image)


# By hand, on (1, 3, 8, 6): 48 pixels, 48 tokens of 3 features, 2-D attention of 48*48 scores.
FIGURES = {
    "functional conv": (
        lambda m, x: functional.conv2d(x, m.c.weight),
        nn.Conv2d(3, 4, 3, bias=False),
        108 * 24,
    ),
    "transposed conv": (call, nn.ConvTranspose2d(3, 2, 4, stride=2, padding=1), 96 * 48),
    "grouped conv": (call, nn.Conv2d(3, 6, 3, padding=1, groups=3), 54 * 48),
    "depthwise conv": (call, nn.Conv2d(3, 3, 3, padding=1, groups=3), 27 * 48),
    "1-D conv": (lambda m, x: m.c(x.flatten(2)), nn.Conv1d(3, 2, 3), 18 * 46),
    "3-D conv": (lambda m, x: m.c(x.unsqueeze(2)), nn.Conv3d(3, 2, (1, 3, 3)), 54 * 24),
    "Linear on NHWC": (lambda m, x: m.c(x.permute(0, 2, 3, 1)), nn.Linear(3, 5), 720),
    "addmm": (lambda m, x: m.c(tokens(x)[0]), nn.Linear(3, 5), 15 * 48),
    "einsum": (
        lambda m, x: torch.einsum("bchw,dc->bdhw", x, m.c.weight),
        nn.Linear(3, 5, bias=False),
        15 * 48,
    ),
    "bilinear": (lambda m, x: m.c(tokens(x), tokens(x)), nn.Bilinear(3, 3, 5), 2160),
    # 4 gates of 5 from 3 features and from 5 of the step before
    "LSTM": (lambda m, x: m.c(tokens(x))[0], nn.LSTM(3, 5), 48 * 4 * 5 * (3 + 5)),
    "fused attention": (
        lambda _, x: functional.scaled_dot_product_attention(*[tokens(x)] * 3),
        None,
        2 * 48 * 48 * 3,
    ),
    "fused attention on values": (
        # One operator where values are needed.
        lambda _, x: (x.tolist(), functional.scaled_dot_product_attention(x, x, x))[1],
        None,
        3 * 8 * 8 * (6 + 6),  # 3 heads, 8 tokens of 6 features
    ),
    "attention by hand": (lambda _, x: attend(x), None, 2 * 48 * 48 * 3),
    "multi-head attention": (
        lambda m, x: m.c(*[tokens(x)] * 3)[0],
        nn.MultiheadAttention(3, 3, batch_first=True),
        4 * 48 * 9 + 2 * 48 * 48 * 3,
    ),
    "batch normalisation": (call, nn.BatchNorm2d(3), 0),
    "pixel shuffle": (call, nn.Sequential(nn.Conv2d(3, 12, 1), nn.PixelShuffle(2)), 36 * 48),
    "interpolation": (call, nn.Upsample(scale_factor=2, mode="bilinear"), 0),
}
UNCOUNTED = {
    "fused attention": {"aten::_safe_softmax"},
    "attention by hand": {"aten::_softmax"},
    "multi-head attention": {"aten::_softmax", "aten::mean"},
    "interpolation": {"aten::upsample_bilinear2d"},
}


@pytest.mark.parametrize("name", FIGURES)
def test_figures_computed_by_hand(name, audited):
    run, layer, macs = FIGURES[name]
    network = step(run, c=layer)
    audit = audited(network)
    assert [(count.input_size, count.macs) for count in audit.sizes] == [((8, 6), macs)]
    assert audit.uncounted.keys() == UNCOUNTED.get(name, set())
    assert audit.product_dtypes.keys() == ({"float32"} if macs else set())
    assert audit.effective_constants == sum(each.numel() for each in network.parameters())
    assert audit.constant_bytes == 4 * audit.effective_constants
    assert (audit.complete, audit.derived_output, audit.opaque) == (True, True, {})
    assert list(notices_of(audit, audit.effective_constants)) == []


def test_linear_on_nhwc_at_the_challenges_size(audited):
    # Batch * input.shape[1] * output.shape[1], the challenge's rule, would be 65,536.
    network = step(lambda m, x: m.c(x.permute(0, 2, 3, 1)), c=nn.Linear(48, 48))
    assert audited(network, (256, 256), channels=48).sizes[0].macs == 150_994_944


@pytest.mark.parametrize("output", [None, "image", 3, (torch.ones(1),)])
def test_an_output_that_is_no_tensor_is_an_error(output, audited):
    with pytest.raises(MeasurementError, match="expected a tensor"):
        audited(step(lambda *_: output))


def test_types_of_products(audited):
    def run(module, x):
        y = module.halved(module.halved(module.whole(x).half())).float()
        return y @ y.mT

    audit = audited(step(run, whole=nn.Conv2d(3, 3, 1), halved=nn.Conv2d(3, 3, 1).half()))
    assert audit.product_dtypes == {"float16": 2, "float32": 2}
    assert audit.complete
    (notice,) = notices_of(audit, 24)
    assert notice.code == "mixed-precision"
    assert "float16 (2), float32 (2)" in notice.message


@pytest.mark.parametrize("needs_values", [False, True])
def test_autocast_shows_in_types_of_products(needs_values, audited, codes, without_meta):
    def run(module, image):
        if needs_values:
            without_meta(image)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            cast = module.c(image)
        with torch.autocast("cpu", enabled=False):
            return module.c(cast.float())

    network = step(run, c=nn.Conv2d(3, 3, 1))
    audit = audited(network)
    assert audit.product_dtypes == {"bfloat16": 1, "float32": 1}
    assert (audit.sizes[0].macs, audit.effective_constants) == (2 * 9 * 48, 12)
    assert codes(audit, network) == ["mixed-precision"]


def cheap_at(*sizes):
    """Runs 20,736 of its 22,032 weights at other sizes only."""

    def run(module, image):
        features = module.head(image)
        return features if image.shape[2:] in sizes else module.body(features)

    body = nn.Conv2d(48, 48, 3, padding=1, bias=False)
    return step(run, head=nn.Conv2d(3, 48, 3, padding=1, bias=False), body=body)


def test_a_branch_on_the_size(audited):
    network = cheap_at((256, 256))
    audit = audited(network, (510, 510), (256, 256), (128, 192), (256, 256))
    assert [(count.input_size, count.macs_per_pixel) for count in audit.sizes] == [
        ((128, 192), 22_032),
        ((256, 256), 1296),
        ((510, 510), 22_032),
    ]
    assert audit.complete
    (notice,) = notices_of(audit, 22_032)
    assert notice.code == "size-dependent-cost"
    assert "22,032 at 128x192, 1,296 at 256x256, 22,032 at 510x510" in notice.message


@pytest.mark.parametrize(
    ("costs", "noticed"), [((1000, 1000), False), ((1000, 1020), False), ((1000, 1021), True)]
)
def test_a_spread_within_the_limit_is_no_branch(costs, noticed, audited, codes):
    first, second = costs
    counts = (
        SizedCount(input_size=(32, 64), macs=1),  # too small to be compared
        SizedCount(input_size=(64, 64), macs=first * 64 * 64),
        SizedCount(input_size=(128, 64), macs=second * 128 * 64),
    )
    audit = audited(nn.Conv2d(3, 3, 1)).model_copy(update={"sizes": counts})
    assert codes(audit, nn.Conv2d(3, 3, 1)) == (["size-dependent-cost"] if noticed else [])


def test_what_happens_at_one_size_only_is_seen(audited):
    def run(module, image):
        if image.shape[2] == 16:
            image = torch.fft.ifft2(torch.fft.fft2(image)).real
        return module.c(image)

    network = step(run, c=nn.Conv2d(3, 3, 1))
    assert audited(network).complete
    audit = audited(network, (8, 6), (16, 6))
    assert audit.uncounted == {"aten::_fft_c2c": 2}
    assert not audit.complete


def test_operators_of_unknown_cost(audited):
    network = step(lambda _, x: torch.fft.irfft2(torch.fft.rfft2(x)) + torch.cdist(x, x).mean())
    audit = audited(network)
    assert audit.uncounted == {
        "aten::_cdist_forward": 1,
        "aten::_fft_c2r": 1,
        "aten::_fft_r2c": 1,
        "aten::mean": 1,
    }
    assert not audit.complete
    (notice,) = notices_of(audit, 0)
    assert notice.code == "uncounted-operator"
    assert "aten::_cdist_forward (1), aten::_fft_c2r (1), aten::_fft_r2c (1)" in notice.message
    assert "mean" not in notice.message


def test_custom_operators_are_opaque(mystery, audited, codes):
    network = step(lambda m, x: mystery(m.c(x)), c=nn.Conv2d(3, 4, 1))
    audit = audited(network)
    assert audit.opaque == {"esrbench_test::mystery": 1}
    assert audit.sizes[0].macs == 12 * 48
    assert (audit.derived_output, audit.complete, audit.uncounted) == (True, False, {})
    assert codes(audit, network) == ["opaque-operator"]


def test_code_inside_an_autograd_function_is_seen(audited):
    class Hidden(torch.autograd.Function):
        @staticmethod
        def forward(_context, x, weight):
            return torch.conv2d(x, weight)

    network = step(lambda m, x: Hidden.apply(x, m.c.weight), c=nn.Conv2d(3, 4, 3, bias=False))
    audit = audited(network)
    assert (audit.sizes[0].macs, audit.effective_constants) == (108 * 24, 108)
    assert audit.complete


@pytest.mark.filterwarnings("ignore:.*torch.jit")
@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")
def test_code_inside_torchscript_is_seen(audited):
    network = torch.jit.script(
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Upsample(scale_factor=2))
    )
    audit = audited(network)
    assert (audit.sizes[0].macs, audit.effective_constants) == (108 * 24, 112)
    assert audit.uncounted == {"aten::upsample_nearest2d": 1}
    assert audit.complete


def test_a_network_or_what_builds_it():
    network = nn.Conv2d(3, 4, 3).eval()
    built = measure_audit(lambda: nn.Conv2d(3, 4, 3), input_sizes=SMALL)
    assert built == measure_audit(network, input_sizes=SMALL)


def test_an_audit_needs_a_size():
    with pytest.raises(ValueError, match="at least one input size"):
        measure_audit(nn.Conv2d(3, 4, 3), input_sizes=())


def test_what_a_forward_raises_passes_through(audited):
    with pytest.raises(RuntimeError, match="channels"):
        audited(nn.Conv2d(4, 4, 3))


# Constants beyond the parameters, and why.
BEYOND = {
    "span": 3,  # the mean of its training images, a buffer
    "carn-multi": -480_064,  # upsamplers of the scales that did not run
    "san": 1,  # the 3 in the 3I of its matrix square root
    "bicubic": 672,  # numbers in the formulas of its weights; it has no parameters
}


@pytest.mark.parametrize("descriptor", default_registry(), ids=lambda each: each.name)
def test_every_registered_network_is_clear(descriptor, audited, codes):
    scale = 4 if 4 in descriptor.scales else descriptor.scales[0]
    network = build_network(descriptor, scale).eval()
    conversion = PixelConversion.of(descriptor, scale, 1.0)
    sizes = [conversion.input_size(size) for size in ((128, 192), (510, 510))]
    audit = audited(network, *sizes, channels=conversion.channels)
    assert audit.complete
    assert audit.uncounted.keys() <= LIGHT
    params = sum(parameter.numel() for parameter in network.parameters())
    assert audit.effective_constants == params + BEYOND.get(descriptor.name, 0)
    assert audit.product_dtypes.keys() <= {"float32"}
    # SAN attends within quarters of the image, so its cost of a pixel grows with the image.
    expected = ["size-dependent-cost"] if descriptor.name == "san" else []
    assert codes(audit, network) == expected
    lr = torch.empty((1, conversion.channels, *sizes[1]))
    assert audit.sizes[1].macs == aten.count(network, lr).macs

"""Weights and work out of the counters' sight: the audit finds or names them."""

import threading

import numpy as np
import pytest
import torch
from builders import Buffer, step
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import _disable_current_modes

from esrbench.probes.notices import notices_of

# Two convolutions of 216 and 864 weights, kept in one way or another.
SHAPES = ((8, 3, 3, 3), (12, 8, 3, 3))
WEIGHTS = [
    torch.rand(shape, generator=torch.Generator().manual_seed(index))
    for index, shape in enumerate(SHAPES)
]


def tokens(image):
    return image.flatten(2).transpose(1, 2)


def sr(image, weights):
    for weight in weights:
        image = functional.conv2d(image, weight, padding=1)
    return functional.pixel_shuffle(image, 2)


def split(module, _):
    parts = module.kept.split([weight.numel() for weight in WEIGHTS])
    return [part.view(shape) for part, shape in zip(parts, SHAPES, strict=True)]


def drawn(*_):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator) for shape in SHAPES]


# What a network keeps, and how a forward makes weights of it.
KEPT = {
    "parameters": (nn.ParameterList(WEIGHTS), lambda m, _: m.kept),
    "buffers": (
        nn.ModuleList(step(None, weight=Buffer(each)) for each in WEIGHTS),
        lambda m, _: [each.weight for each in m.kept],
    ),
    "one buffer": (Buffer(torch.cat([weight.flatten() for weight in WEIGHTS])), split),
    "attributes": (WEIGHTS, lambda m, _: m.kept),
    "arrays": ([each.numpy() for each in WEIGHTS], lambda m, _: map(torch.from_numpy, m.kept)),
    "lists": (
        [each.tolist() for each in WEIGHTS],
        lambda m, x: [torch.tensor(values, device=x.device) for values in m.kept],
    ),
    "seeds": (None, drawn),
}


def keeping(where):
    kept, weights = KEPT[where]
    return step(lambda m, x: sr(x, weights(m, x)), kept=kept)


@pytest.mark.parametrize("where", KEPT)
def test_weights_count_the_same_wherever_they_are(where, audited):
    network = keeping(where)
    audit = audited(network)
    assert audit.sizes[0].macs == 1080 * 48
    assert (audit.effective_constants, audit.constant_bytes) == (1080, 4320)
    assert audit.complete
    notices = list(notices_of(audit, sum(each.numel() for each in network.parameters())))
    if where == "parameters":
        assert notices == []
    else:
        (notice,) = notices
        assert notice.code == "hidden-constants"
        assert (
            "1,080 constants take part in the computation, of which 0 are parameters"
            in notice.message
        )


def test_a_few_constants_are_no_hidden_weights(audited):
    audit = audited(keeping("buffers"))
    assert [list(notices_of(audit, params)) for params in (80, 1080)] == [[], []]
    assert [notice.code for notice in notices_of(audit, 79)] == ["hidden-constants"]
    large = audit.model_copy(update={"effective_constants": 1_010_000})
    assert list(notices_of(large, 1_000_000)) == []
    assert [notice.code for notice in notices_of(large, 999_999)] == ["hidden-constants"]


def by_numpy(image):
    return torch.from_numpy(np.repeat(np.repeat(image.numpy(), 2, 2), 2, 3))


def in_thread(work):
    def quietly():
        with torch.no_grad():
            work()

    worker = threading.Thread(target=quietly)
    worker.start()
    worker.join()


def by_thread(image):
    results = []
    in_thread(lambda: results.append(sr(image, WEIGHTS)))
    return results[0]


def without_modes(image):
    with _disable_current_modes():
        return sr(image, WEIGHTS)


def without_dispatch(image):
    with torch._C._DisableTorchDispatch():
        return sr(image, WEIGHTS)


@pytest.mark.parametrize("work", [by_numpy, by_thread, without_modes, without_dispatch])
def test_work_out_of_sight(work, audited, codes, without_meta):
    network = step(lambda _, x: work(without_meta(x)))
    audit = audited(network)
    assert (audit.derived_output, audit.complete) == (False, False)
    assert audit.sizes[0].macs == 0
    assert "hidden-work" in codes(audit, network)


def test_work_out_of_sight_that_is_added_to_the_image_is_a_constant(audited, codes):
    network = step(
        lambda _, x: functional.interpolate(x, scale_factor=8) + by_numpy(by_numpy(by_numpy(x)))
    )
    audit = audited(network)
    assert audit.effective_constants == 3 * 64 * 48
    assert audit.opaque == {"Tensor.numpy": 1}
    assert not audit.complete
    assert codes(audit, network) == ["hidden-constants", "opaque-operator"]


def test_pixels_that_leave_torch_are_named(audited):
    def writes(_, image):
        enlarged = functional.interpolate(image, scale_factor=2)
        enlarged.numpy()[...] = 0.5  # whatever was computed elsewhere
        return enlarged

    audit = audited(step(writes))
    assert (audit.derived_output, audit.complete) == (True, False)
    assert audit.opaque == {"Tensor.numpy": 1}


def adds_in_thread(out, image):
    in_thread(lambda: out.add_(sr(image, WEIGHTS)))


def adds_without_modes(out, image):
    with _disable_current_modes():
        out.add_(sr(image, WEIGHTS))


@pytest.mark.parametrize("add", [adds_in_thread, adds_without_modes])
@pytest.mark.parametrize("later", [lambda out: out, lambda out: out[:] * 1])
def test_work_written_in_place_out_of_sight(add, later, audited):
    def run(_, image):
        out = functional.interpolate(image, scale_factor=2)
        add(out, image)
        return later(out)

    audit = audited(step(run))
    assert (audit.opaque, audit.complete) == ({"written unseen": 1}, False)


def test_work_written_in_place_in_sight(audited):
    def run(_, image):
        out = functional.interpolate(image, scale_factor=2)
        kept = out.detach()[:, :1].add_(1).mul_(0.5).clone()
        out[:, 1:] = 0.25
        torch.add(out, kept, out=out)
        with torch.inference_mode():
            out.relu_()
        return functional.leaky_relu_(out.data.clamp_(0, 1)) + image.new_zeros(1).fill_(1)

    audit = audited(step(run))
    assert (audit.opaque, audit.complete) == ({}, True)


def added_products(weight, image):
    total = torch.zeros(1, 5, *image.shape[2:], device=image.device)
    for index in range(3):
        total = torch.addcmul(total, image[:, index : index + 1], weight[:, index])
    return total


def by_an_alias(image, pixels, alias):
    pixels.copy_(image)
    alias[...] = np.sqrt(alias)
    return functional.interpolate(pixels, scale_factor=2)


@pytest.mark.parametrize(
    ("allocate", "way"),
    [
        (lambda x: (kept := torch.empty(x.shape), kept.numpy()), "Tensor.numpy"),
        (
            lambda x: (torch.from_numpy(kept := np.empty(x.shape, np.float32)), kept),
            "memory from outside torch",
        ),
    ],
    ids=["exported", "imported"],
)
def test_an_alias_from_before_the_pixels_came(allocate, way, audited, without_meta):
    audit = audited(step(lambda _, x: by_an_alias(x, *allocate(without_meta(x)))))
    assert audit.opaque == {way: 1}
    assert not audit.complete


def test_an_alias_of_a_constant_is_none_of_ours(audited):
    network = step(lambda m, x: m.c(x) * float(m.c.bias.numpy().mean()), c=nn.Conv2d(3, 3, 1))
    network.requires_grad_(requires_grad=False)
    assert audited(network).complete


def test_a_convolution_by_numbers_of_the_code(audited, codes):
    # 12 x 8 x 27 numbers: 2,592 multiplications and 2,496 additions of planes, a relu.
    weights = torch.rand((96, 27), generator=torch.Generator().manual_seed(0)).tolist()

    def run(_, image):
        padded = functional.pad(image, (1, 1, 1, 1))
        height, width = image.shape[2:]
        planes = [
            padded[:, channel, row : row + height, column : column + width]
            for channel in range(3)
            for row in range(3)
            for column in range(3)
        ]
        sums = [
            sum(plane * number for plane, number in zip(planes, numbers, strict=True))
            for numbers in weights
        ]
        return functional.pixel_shuffle(torch.stack(sums, 1), 4)

    audit = audited(step(run))
    numbers = {number for row in weights for number in row}
    # And places of planes, which are small here.
    assert len(numbers | {0}) <= audit.scalars <= len(numbers | {0}) + 27
    assert audit.sizes[0].elementwise == 96 * (27 + 27) * 48
    assert codes(audit, step(run)) == ["elementwise-work", "hidden-constants", "uncounted-operator"]


def ramp(image):
    return (image.flatten()[:64] * 0 + 1).cumsum(0)


LEVELS = torch.linspace(-4, 4, 64)


def one(image):
    return image.flatten()[:1].clone()


NUMBERED = {
    "index_fill": lambda x, n: one(x).index_fill(0, torch.tensor([0], device=x.device), n),
    "scatter": lambda x, n: one(x).scatter(0, torch.tensor([0], device=x.device), n),
    "masked_fill": lambda x, n: one(x).masked_fill(one(x) < 2, n),
    "pad": lambda x, n: functional.pad(x.flatten()[:0], (0, 1), value=n),
    "fill of a part": lambda x, n: (two := x.flatten()[:2].clone(), two[:1].fill_(n), two[:1])[2],
    "where": lambda x, n: torch.where(one(x) < 2, n, n),
    "clamp": lambda x, n: one(x).clamp(n, n),
    "threshold": lambda x, n: functional.threshold(one(x), 2, n),
    "hardtanh": lambda x, n: functional.hardtanh(one(x), n, n + 1e-9),
    "nan_to_num": lambda x, n: (one(x) / 0 * 0).nan_to_num(n),
    "power": lambda x, n: one(x).pow(0) * n,
    "add": lambda x, n: torch.add(one(x).zero_(), one(x).fill_(1), alpha=n),
    "sub": lambda x, n: torch.sub(one(x), one(x), alpha=n),
    "addcmul": lambda x, n: torch.addcmul(one(x), one(x), one(x), value=n),
    "addmm": lambda x, n: torch.addmm(one(x), one(x)[None], one(x)[None], alpha=n)[0],
    "baddbmm": lambda x, n: torch.baddbmm(
        one(x)[None, None], one(x)[None, None], one(x)[None, None], beta=n
    )[0, 0],
    "index_add": lambda x, n: one(x).index_add(
        0, torch.tensor([0], device=x.device), one(x), alpha=n
    ),
    "elu": lambda x, n: functional.elu(one(x) - 2, n),
    "leaky_relu": lambda x, n: functional.leaky_relu(one(x) - 2, n),
    "softplus": lambda x, n: functional.softplus(one(x), n),
    "norm": lambda x, n: functional.layer_norm(one(x), (1,), eps=abs(n)),
    "full_like": lambda x, n: torch.full_like(one(x), n),
    "new_full": lambda x, n: x.new_full((1,), n),
    "arange": lambda x, n: torch.arange(n, n + 1, device=x.device),
    "linspace": lambda x, n: torch.linspace(n, n, 1, device=x.device),
    "fill": lambda x, n: one(x).fill_(n),
    "a place in a ramp": lambda x, n: ramp(x)[round(8 * n + 32) % 64, None],
    "a turn of a ramp": lambda x, n: ramp(x).roll(-round(8 * n + 32))[:1],
    "one of few levels": lambda x, n: one(x) * 0 + LEVELS[round(8 * n + 32) % 64],
}
DRAWN = torch.randn(144, generator=torch.Generator().manual_seed(0)).tolist()


@pytest.mark.parametrize("make", NUMBERED.values(), ids=NUMBERED)
@pytest.mark.parametrize("levels", [None, 16])
def test_weights_made_of_numbers_of_the_code(make, levels, audited):
    numbers = DRAWN
    if levels is not None:
        numbers = [round(number * levels / 6) / levels for number in DRAWN]

    def run(_, image):
        flat = torch.cat([make(image, number).to(image.dtype) for number in numbers])
        return sr(image, [flat.view(12, 3, 2, 2)])

    audit = audited(step(run))
    found = audit.effective_constants + audit.scalars
    # A ramp has levels of its own.
    assert found >= (144 if levels is None and "ramp" not in make.__code__.co_names else 144 / 5)


def test_numbers_that_a_loop_repeats_are_few(audited):
    def run(module, image):
        for _ in range(300):
            image = functional.leaky_relu(module.c(image) * 0.2, 0.05) + 0.1
        return image.clamp(0, 1)

    audit = audited(step(run, c=nn.Conv2d(3, 3, 1)))
    assert audit.scalars == len({0.2, 0.05, 0.1, 0, 1})


@pytest.mark.parametrize("where", ["buffer", "attribute", "array"])
def test_tables_that_follow_a_pattern_are_no_hidden_weights(where, audited, codes):
    mask = torch.full((48, 48), -100.0).triu(1)

    def run(module, image):
        kept = module.mask
        kept = torch.from_numpy(kept) if where == "array" else kept
        scores = tokens(image) @ tokens(image).mT + kept.to(image.device)
        return module.c(image) + scores.softmax(-1).mean()

    for table, hidden in ((mask, False), (torch.rand(48, 48), True), (mask.bernoulli(0.5), True)):
        network = step(run, c=nn.Conv2d(3, 3, 1))
        if where == "buffer":
            network.register_buffer("mask", table)
        else:
            network.mask = table.numpy() if where == "array" else table
        audit = audited(network)
        assert audit.effective_constants == 12 + 48 * 48
        assert (audit.regular_constants > 48 * 40) is not hidden
        assert ("hidden-constants" in codes(audit, network)) is hidden


def test_parameters_of_a_pattern_hide_nothing(audited, codes):
    network = step(
        lambda m, x: functional.conv2d(x, m.c.weight) + functional.conv2d(x, m.secret),
        c=nn.Conv2d(3, 4096, 1, bias=False),
    )
    network.secret = torch.rand(4096, 3, 1, 1)
    nn.init.zeros_(network.c.weight)
    network.c.weight.data[0] = 1
    audit = audited(network)
    assert audit.regular_constants == 0
    assert codes(audit, network) == ["hidden-constants"]


def test_packed_weights_count_by_what_they_are_read_as(audited):
    packed = WEIGHTS[1].half().flatten().view(torch.int64)
    network = step(
        lambda m, x: functional.conv2d(x, m.packed.view(torch.float16).float().view(96, 3, 3, 1))
    )
    network.register_parameter("packed", nn.Parameter(packed, requires_grad=False))
    audit = audited(network)
    assert packed.numel() == 216
    assert (audit.effective_constants, audit.constant_bytes) == (864, 2 * 864)


def test_casts_split_nothing(audited):
    network = step(lambda _, x: functional.conv2d(x.half(), WEIGHTS[0].half()).float())
    assert audited(network).effective_constants == 216


def test_complex_numbers_are_two(audited):
    weight = torch.ones(5, 3, dtype=torch.complex64)

    def run(_, image):
        return torch.view_as_real(weight @ image.flatten(2).to(torch.complex64))

    audit = audited(step(run))
    assert (audit.effective_constants, audit.constant_bytes) == (30, 120)
    assert audit.sizes[0].macs == 4 * 5 * 3 * 48


CLOTHES = {
    "convolution by broadcast": (lambda w, x: (x.unsqueeze(1) * w).sum(2), True),
    "expanded first": (lambda w, x: (x.unsqueeze(1).expand(1, 5, 3, 8, 6) * w).sum(2), True),
    "by division": (lambda w, x: (x.unsqueeze(1) / w).sum(2), True),
    "repeated first": (lambda w, x: (x.unsqueeze(1).repeat(1, 5, 1, 1, 1) * w).cumsum(2), True),
    "summed by pooling": (
        lambda w, x: functional.avg_pool3d(x.unsqueeze(1) * w, (3, 1, 1)),
        True,
    ),
    "term by term": (lambda w, x: sum(x[:, i : i + 1] * w[:, i] for i in range(3)), True),
    "addcmul": (added_products, True),
    "scale of channels": (lambda w, x: x * w[:, 0], False),
    "of constants": (lambda w, x: w[0] * w[:, :1] + x[:, :1], False),
    "gate of channels and places": (
        lambda _, x: x * (x.mean((2, 3), keepdim=True) * x.mean(1, keepdim=True)).sigmoid(),
        False,
    ),
    "gate of rows and columns": (
        lambda _, x: x.mean(3, keepdim=True).sigmoid() * x.mean(2, keepdim=True).sigmoid(),
        False,
    ),
    "two branches": (lambda w, x: x * w[:, 0] + x * x.sigmoid(), False),
}


@pytest.mark.parametrize(("product", "named"), CLOTHES.values(), ids=CLOTHES)
def test_a_convolution_in_elementwise_clothes_is_named(product, named, audited):
    network = step(
        lambda m, x: product(m.c.weight[..., None, None], x), c=nn.Linear(3, 5 if named else 1)
    )
    audit = audited(network)
    assert ("aten::mul (summed)" in audit.uncounted) is named
    assert audit.complete is not named


def test_tensors_that_answer_operators_themselves_are_opaque(audited):
    class Hides(Tensor):
        @classmethod
        def __torch_dispatch__(cls, func, _types, args=(), kwargs=None):
            plain = [arg.as_subclass(Tensor) if isinstance(arg, cls) else arg for arg in args]
            return func(*plain, **(kwargs or {}))

    network = step(lambda _, x: torch.neg(torch.Tensor._make_subclass(Hides, x)))
    audit = audited(network)
    assert "aten::neg of Hides" in audit.opaque
    assert not audit.complete

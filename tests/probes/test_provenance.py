import numpy as np
import pytest
import torch
from torch.nn import functional

from esrbench.probes.counters.shapes import ShapeMode
from esrbench.probes.provenance import Provenance, tensors_in

WEIGHT = torch.arange(36.0).reshape(3, 3, 2, 2)
LR = torch.rand((1, 3, 8, 6), generator=torch.Generator().manual_seed(0))


def followed(forward):
    """Elements of the constants that met the image, and whether the result derives from it."""
    provenance = Provenance(LR)
    with torch.no_grad(), ShapeMode(watch=provenance.follow):
        result = forward(LR.detach())
    return sorted(each.elements for each in provenance.met), provenance.derived(result)


def conv(image, *weights):
    for weight in weights:
        image = functional.conv2d(image, weight, padding=1)
    return image


def seeded():
    return torch.Generator().manual_seed(0)


STORED = {
    "a weight": (lambda x: conv(x, WEIGHT), [36]),
    "used twice": (lambda x: conv(x, WEIGHT, WEIGHT), [36]),
    "a slice": (lambda x: conv(x, WEIGHT[:1]), [36]),
    "slices and views": (lambda x: conv(x[..., 1:], WEIGHT[:1]) + WEIGHT.mT[0, 0, 0, :1], [36]),
    "copies": (lambda x: conv(x, WEIGHT.clone()) + WEIGHT.double()[0, 0, 0, 0], [36]),
    "an array": (lambda x: x + torch.from_numpy(np.ones((8, 6), np.float32)), [48]),
    "a list": (lambda x: x * torch.tensor([[0.1], [0.2], [0.3]])[:, :, None], [3]),
    "a seed": (lambda x: conv(x, torch.randn((3, 3, 1, 1), generator=seeded())), [9]),
    "a seed in place": (lambda x: x + x.new_empty(6).normal_(generator=seeded()), [6]),
    "noise in place": (lambda x: x.clone().uniform_(0, 1), [144]),
    "no dimensions": (lambda x: x * torch.tensor(0.5), [1]),
    "sparse": (lambda x: torch.sparse.mm(WEIGHT[0, 0].to_sparse(), x.view(2, 72)), [0, 4]),
}


def added(tensors):
    torch._foreach_add_(tensors, 1)
    return tensors


COMPUTED = {
    "once": (lambda x: conv(x, WEIGHT * 2), [36]),
    "again": (lambda x: conv(x, WEIGHT * 2, WEIGHT * 2), [36]),
    "otherwise": (lambda x: conv(x, WEIGHT * 2, WEIGHT * 3), [36, 36]),
    "smaller": (lambda x: conv(x, WEIGHT.sum(1, keepdim=True).expand(3, 3, 2, 2)), [12]),
    # It holds no more than what it was made of.
    "larger": (lambda x: conv(x, torch.cat([WEIGHT, WEIGHT.flip(0)])[:3]), [72]),
    "padded": (
        lambda x: conv(x, functional.pad(WEIGHT, (0, 1, 0, 1))),
        [37],
    ),  # and what it is padded with
    "into another": (lambda x: conv(x, torch.zeros(3, 3, 2, 2).add_(WEIGHT)), [36]),
    "to out": (lambda x: conv(x, torch.add(WEIGHT, 1, out=torch.empty(3, 3, 2, 2))), [36]),
    "foreach": (lambda x: conv(x, *added([WEIGHT.clone()])), [36]),
}


def _one_number_after_another(image):
    kernel = torch.empty(3, 3, 1, 1)
    for index in range(9):
        kernel.view(-1)[index].fill_(index / 7)
    return conv(image, kernel)


def _mask(image):
    mask = torch.zeros(8, 6)
    mask[:4].fill_(1)
    return image.masked_fill(mask != mask.flip(0), -100.0)


def _canvas(image):
    canvas = torch.zeros(1, 3, 10, 8)
    canvas[:, :, 1:-1, 1:-1] = image
    return canvas


FORMULAS = {
    "numbers": (lambda x: x * 0.5 + 1, []),
    "zeros": (lambda x: torch.zeros_like(x) + x, [0]),
    "ones": (lambda x: x + x.new_ones(x.shape), [0]),
    "a canvas": (_canvas, [0]),
    "coordinates": (lambda x: x * torch.arange(6), [1]),
    "a fill": (lambda x: x + torch.full((8, 6), 0.3), [1]),
    "a mask": (_mask, [2]),  # it and its flip: one number each
    "weights as numbers": (_one_number_after_another, [9]),
}


def _pixel(image):
    return image.flatten()[:1].clone()


def _pieces(pieces):
    return torch.cat(pieces).view(3, 3, 1, 1)


LEVELS = [0, 1, 1, 0, 1, 0, 0, 0, 1]

# Each weight is a number of its own, wherever it was put.
FILLED = {
    "a pixel filled": (
        lambda x: conv(x, _pieces([_pixel(x).fill_(index / 7) for index in range(9)])),
        [9],
    ),
    "a pixel cleared": (lambda x: x + _pixel(x).zero_(), [0]),
    "filled out of place": (lambda x: x + torch.ops.aten.fill.Scalar(x, 0.5), [1]),
    "made full": (
        lambda x: conv(x, _pieces([torch.full((1,), index / 7) for index in range(9)])),
        [9],
    ),
    "a few levels": (
        lambda x: conv(x, _pieces([_pixel(x).fill_(level / 7) for level in LEVELS])),
        [2 + 7],
    ),
    "pieces of one table": (
        lambda x: conv(x, _pieces([WEIGHT.view(-1)[level : level + 1] for level in LEVELS])),
        [9],
    ),
    "the same piece": (lambda x: conv(x, _pieces([WEIGHT.view(-1)[:1]] * 9)), [9]),
    "the same formula": (lambda x: conv(x, _pieces([torch.full((1,), 0.3)] * 9)), [1]),
    "a factor": (
        lambda x: x + torch.ones(6).add(torch.ones(6), alpha=0.5).sub(torch.ones(6), alpha=2),
        [2],
    ),
    "from one number to another": (lambda x: x + torch.linspace(0.1, 0.2, 6), [3]),
}

# What looks as if it came from the image.
DISGUISED = {
    "made like the image": (
        lambda x: conv(x, torch.empty_like(x[..., :2, :2]).copy_(WEIGHT[:1])),
        [12],
    ),
    "written over the image": (
        lambda x: conv(x, x[..., :2, :2].clone().copy_(WEIGHT[:1])),
        [36],
    ),
}

NETWORKS = STORED | COMPUTED | FORMULAS | FILLED | DISGUISED


@pytest.mark.parametrize(("forward", "met"), NETWORKS.values(), ids=NETWORKS)
def test_constants_that_meet_the_image(forward, met):
    assert followed(forward) == (met, True)


def test_a_constant_is_not_derived():
    assert followed(lambda x: x.clone().fill_(0.5)) == ([], False)
    assert followed(lambda x: x.clone().zero_()) == ([], False)
    assert followed(lambda _: WEIGHT * 2) == ([], False)
    assert followed(lambda x: torch.zeros_like(x).add_(WEIGHT[0, 0, 0, 0])) == ([], False)


@pytest.mark.parametrize(
    "forward",
    [
        lambda x: x,
        lambda x: x.view(144)[:7],
        lambda x: x.chunk(2)[-1].abs().max(2)[1],
        lambda x: torch.add(x, 1, out=torch.empty(1, 3, 8, 6)),
        lambda x: torch.zeros(8, 6).copy_(x[0, 0]),
        lambda x: added([x.clone()])[0],
        lambda x: x.clone().index_fill_(0, torch.tensor([0]), 0.5),
        lambda x: (filled := x.clone(), filled[:, :1].fill_(0.5))[0],
        lambda x: torch.zeros(1, 3, 8, 6).fill_(0.5).copy_(x),
    ],
)
def test_what_operators_make_of_the_image_derives_from_it(forward):
    assert followed(forward)[1]


def test_running_statistics_follow_scale_and_shift():
    statistics, scale, shift = (torch.zeros(3), torch.ones(3)), torch.ones(3), torch.ones(3)
    assert followed(lambda x: functional.batch_norm(x, *statistics, scale, shift)) == ([3, 3], True)
    assert followed(lambda x: functional.batch_norm(x, *statistics)) == ([3, 3], True)
    assert followed(lambda x: functional.batch_norm(x, *statistics, scale)) == ([3, 3, 3], True)
    both = followed(
        lambda x: functional.batch_norm(x, *statistics, scale, shift) * statistics[0][:1]
    )
    assert both == ([3, 3, 3], True)


def test_memory_of_freed_tensors_is_not_mistaken_for_theirs():
    def forward(image):
        for index in range(200):
            image = image + torch.full((1, 3, 8, 6), index / 7)
        return image

    met, derived = followed(forward)
    assert (len(met), set(met), derived) == (200, {1}, True)


def test_tensors_in_nested_arguments():
    first, second, third = torch.zeros(1), torch.zeros(2), torch.zeros(3)
    found = tensors_in(([first, None, (second, 3)], {"out": [third]}, "text", torch.float32))
    assert [tensor.shape[0] for tensor in found] == [1, 2, 3]

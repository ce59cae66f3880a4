"""Products that are summed, by hand."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from esrbench.probes.counters.contractions import Contractions
from esrbench.probes.counters.operators import out_of_place
from esrbench.probes.counters.shapes import ShapeMode

ONE, OTHER = torch.ones(1, 4, 8, 6), torch.ones(4, 1, 1)
WHOLE = 4 * 48


def is_tensor(value):
    return isinstance(value, Tensor)


def put_together(one, other):
    total = torch.full((1, 1, 8, 6), -torch.inf)
    for index in range(4):
        total = torch.logaddexp(total, one[:, index].log() + other[index].log())
    return total


def pooled(image):
    return functional.avg_pool1d(image.view(1, 4, 48).mT, 2)


def accumulated(one, other):
    total = torch.zeros(1, 1, 8, 6)
    for index in range(4):
        total += one[:, index] * other[index]
    return total


FOUND = {
    "summed": (lambda x, w: (x * w).sum(1), WHOLE),
    "of a square": (lambda x, _: (x * x).mean(), WHOLE),
    "copied and viewed between": (
        lambda x, w: functional.pad((x * w).clone(), (1, 1)).permute(0, 2, 3, 1).sum(3),
        WHOLE,
    ),
    "scaled between": (lambda x, w: (x * w * 2).sum(1), WHOLE),
    "pieces put together": (
        lambda x, w: torch.stack([x[:, i] * w[i] for i in range(4)]).sum(0),
        WHOLE,
    ),
    "term by term in place": (accumulated, WHOLE),
    "addcmul": (lambda x, w: torch.addcmul(torch.addcmul(x * w, x, w), x, w), 3 * WHOLE),
    "scattered": (
        lambda x, w: torch.zeros(1).index_add(0, torch.zeros(WHOLE).long(), (x * w).view(-1)),
        WHOLE,
    ),
    "along a dimension": (lambda x, w: torch.stack((x, w.expand_as(x))).prod(0).sum(1), WHOLE),
    "along a dimension, step by step": (
        lambda x, w: torch.stack((x, w.expand_as(x))).cumprod(0)[1].sum(1),
        2 * WHOLE,
    ),
    "scattered onto each other": (
        lambda x, w: (
            x.view(4, 48)
            .scatter_reduce(
                0, torch.arange(4)[:, None].expand(4, 48), w.expand_as(x).view(4, 48), "prod"
            )
            .sum(0)
        ),
        WHOLE,
    ),
    "scattered with a factor": (
        lambda x, w: (
            x.view(4, 48)
            .scatter(
                0,
                torch.arange(4)[:, None].expand(4, 48),
                w.expand_as(x).reshape(4, 48),
                reduce="multiply",
            )
            .sum(0)
        ),
        WHOLE,
    ),
    "put into places": (
        lambda x, w: torch.zeros(1).index_put(
            (torch.zeros(WHOLE).long(),), (x * w).view(-1), accumulate=True
        ),
        WHOLE,
    ),
    "two by two": (lambda x, w: functional.avg_pool1d(pooled(x * w), 2), WHOLE),
    "in overlapping windows": (lambda x, w: functional.avg_pool2d(x * w, 3, 1), WHOLE),
    "in pairs": (lambda x, w: (x * w).view(2, -1).sum(0), 0),
    "by an interpolation": (lambda x, w: functional.interpolate(x * w, 2, mode="bilinear"), WHOLE),
    "not summed": (lambda x, w: x * w + x, 0),
    "two terms": (lambda x, w: x * w + (x * x), 0),
    "an activation between": (lambda x, w: (x * w).relu().sum(1), 0),
    "by a number": (lambda x, _: (x * 2).sum(1), 0),
    "by one element": (lambda x, w: (x * w[0]).sum(1), WHOLE),
    "new of its shape": (lambda x, w: torch.zeros_like(x * w).sum(1), 0),
    "overwritten": (lambda x, w: (x * w).exp_().sum(1), 0),
}


@pytest.mark.filterwarnings("ignore:The reduce argument:UserWarning")
@pytest.mark.parametrize(("run", "macs"), FOUND.values(), ids=FOUND)
def test_summed_products(run, macs):
    contractions = Contractions(is_tensor)

    def watch(called, args, kwargs, result):
        contractions.follow(out_of_place(called), args, result, kwargs)

    with torch.no_grad(), ShapeMode(watch=watch):
        run(ONE.clone(), OTHER.clone())
    assert contractions.macs == macs
    assert bool(contractions.calls) is (macs > 0)


def test_weights_computed_from_sizes_interpolate():
    contractions = Contractions(lambda tensor: tensor.ndim > 3)

    def watch(called, args, _kwargs, result):
        contractions.follow(out_of_place(called), args, result)

    with torch.no_grad(), ShapeMode(watch=watch):
        (ONE.clone() * OTHER.clone()).sum(1)
    assert contractions.macs == 0


LOOSELY = {
    "logarithms": (lambda x, w: (x.log() + w.log()).exp().sum(1), WHOLE),
    "logarithms, summed along": (
        lambda x, w: torch.stack((x.log(), w.log().expand_as(x))).sum(0).exp().sum(1),
        WHOLE,
    ),
    "logarithms at once": (lambda x, w: torch.logsumexp(x.log() + w.log(), 1), WHOLE),
    "quarters of squares": (lambda x, w: ((x + w) ** 2 - (x - w) ** 2).sum(1), 2 * WHOLE),
    "variances": (lambda x, w: (x + w).var(1) - (x - w).var(1), 2 * WHOLE),
    "a batch normalisation": (
        lambda x, w: functional.batch_norm(x, 0 * w.view(4), w.view(4), w.view(4), eps=0).sum(1),
        WHOLE,
    ),
    "a rectifier": (lambda x, w: functional.prelu(-x, w.view(4)).sum(1), WHOLE),
    "hypotenuses": (lambda x, w: torch.hypot(x, w).square().sum(1), WHOLE),
    "a sampler": (
        lambda x, w: functional.grid_sample(x, w.view(1, 2, 1, 2), align_corners=True).sum(1),
        4 * 2,
    ),
    "a square of a complex number": (
        lambda x, w: torch.complex(x, w.expand_as(x)).square().imag.sum(1),
        2 * WHOLE,
    ),
    "a square of two viewed as complex": (
        lambda x, w: torch.view_as_complex(torch.stack((x, w.expand_as(x)), -1)).square().sum(1),
        WHOLE,
    ),
    "a gated unit": (
        lambda x, w: functional.glu(torch.cat((x, w.expand_as(x))), 0).sum(1),
        WHOLE,
    ),
    "a softmax of two": (
        lambda x, w: torch.stack((x, w.expand_as(x))).softmax(0)[0].sum(1),
        2 * WHOLE,
    ),
    "the larger of two": (lambda x, w: torch.stack((x, w.expand_as(x))).amax(0).sum(1), WHOLE),
    "put together in logarithms": (put_together, 4 * 2 * 48),
    "looked up": (
        lambda x, w: w.view(4, 1).expand(4, 2).gather(1, x.view(4, 48).long()).sum(0),
        4 * 48,
    ),
    "after an activation": (lambda x, w: (x * w).relu().sum(1), WHOLE),
    "after a pooling of one": (lambda x, w: functional.max_pool2d(x * w, 1).sum(1), WHOLE),
    "by numbers, added": (
        lambda x, _: (
            x[:, 0].add(x[:, 1], alpha=0.3).sub(x[:, 2], alpha=0.4).add(x[:, 3], alpha=0.5)
        ),
        3 * 48,
    ),
    "by numbers, added to places": (
        lambda x, _: (
            torch.zeros(1, 8, 6)
            .index_add(0, torch.tensor([0]), x[0, :1], alpha=0.1)
            .index_add(0, torch.tensor([0]), x[0, 1:2], alpha=0.2)
            .index_add(0, torch.tensor([0]), x[0, 2:3], alpha=0.3)
        ),
        3 * 48,
    ),
    "features alone": (lambda x, _: x.relu().sum(1), 0),
    "a residual": (lambda x, w: (functional.conv2d(x, w[None, :, :, 0:1]) + x).sum(1), WHOLE),
    "of a convolution alone": (lambda x, w: functional.conv2d(x, w[None, :, :, 0:1]).sum(1), 0),
}


@pytest.mark.parametrize(("run", "macs"), LOOSELY.values(), ids=LOOSELY)
def test_results_that_are_summed(run, macs):
    strictly = Contractions(is_tensor)
    loosely = Contractions(lambda each: isinstance(each, Tensor | float), loosely=True)

    def watch(called, args, kwargs, result):
        out = result[0] if isinstance(result, tuple | list) else result
        for contractions in (strictly, loosely):
            contractions.follow(out_of_place(called), args, out, kwargs)

    with torch.no_grad(), ShapeMode(watch=watch):
        run(ONE.clone(), OTHER.clone())
    assert (strictly.macs, loosely.macs) == (0, macs)
    assert bool(loosely.calls) is (macs > 0)

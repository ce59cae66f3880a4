from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from harness.probes.counters.shapes import ShapeMode
from harness.probes.provenance import Provenance, tensors_in

if TYPE_CHECKING:
    from collections.abc import Callable

    Forward = Callable[[Tensor], Tensor]

WEIGHT = torch.arange(36.0).reshape(3, 3, 2, 2)
LR = torch.rand((1, 3, 8, 6), generator=torch.Generator().manual_seed(0))


def followed(forward: Forward) -> tuple[list[int], bool]:
    """Elements of the constants that met the image, and whether the result derives from it."""
    provenance = Provenance(LR)
    with torch.no_grad(), ShapeMode(watch=provenance.follow):
        result = forward(LR.detach())
    return sorted(each.elements for each in provenance.met), provenance.derived(result)


def conv(image: Tensor, *weights: Tensor) -> Tensor:
    for weight in weights:
        image = functional.conv2d(image, weight, padding=1)
    return image


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


STORED: dict[str, tuple[Forward, list[int]]] = {
    "a weight": (lambda x: conv(x, WEIGHT), [36]),
    "used twice": (lambda x: conv(x, WEIGHT, WEIGHT), [36]),
    "a slice": (lambda x: conv(x, WEIGHT[:1]), [36]),
    "slices and views": (lambda x: conv(x, WEIGHT[:1]) + WEIGHT.mT.reshape(36)[:6], [36]),
    "copies": (lambda x: conv(x, WEIGHT.clone()) + WEIGHT.double()[0, 0, 0, 0], [36]),
    "an array": (lambda x: x + torch.from_numpy(np.ones((8, 6), np.float32)), [48]),
    "a list": (lambda x: x * torch.tensor([[0.1], [0.2], [0.3]])[:, :, None], [3]),
    "a seed": (lambda x: conv(x, torch.randn((3, 3, 1, 1), generator=seeded())), [9]),
    "a seed in place": (lambda x: x + x.new_empty(6).normal_(generator=seeded()), [6]),
    "noise in place": (lambda x: x.clone().uniform_(0, 1), [144]),
    "no dimensions": (lambda x: x * torch.tensor(0.5), [1]),
    "sparse": (lambda x: torch.sparse.mm(WEIGHT[0, 0].to_sparse(), x.view(2, 72)), [4]),
}

COMPUTED: dict[str, tuple[Forward, list[int]]] = {
    "once": (lambda x: conv(x, WEIGHT * 2), [36]),
    "again": (lambda x: conv(x, WEIGHT * 2, WEIGHT * 2), [36]),
    "otherwise": (lambda x: conv(x, WEIGHT * 2, WEIGHT * 3), [36, 36]),
    "smaller": (lambda x: conv(x, WEIGHT.sum(1, keepdim=True).expand(3, 3, 2, 2)), [12]),
    "larger": (lambda x: conv(x, functional.pad(WEIGHT, (0, 1, 0, 1)) + 0 * WEIGHT[0, 0, 0, 0]), [36]),
    "into another": (lambda x: conv(x, torch.zeros(3, 3, 2, 2).add_(WEIGHT)), [36]),
    "to out": (lambda x: conv(x, torch.add(WEIGHT, 1, out=torch.empty(3, 3, 2, 2))), [36]),
    "foreach": (lambda x: conv(x, *added([WEIGHT.clone()])), [36]),
}


def added(tensors: list[Tensor]) -> list[Tensor]:
    torch._foreach_add_(tensors, 1)
    return tensors


def _one_number_after_another(image: Tensor) -> Tensor:
    kernel = torch.empty(3, 3, 1, 1)
    for index in range(9):
        kernel.view(-1)[index].fill_(index / 7)
    return conv(image, kernel)


def _mask(image: Tensor) -> Tensor:
    mask = torch.zeros(8, 6)
    mask[:4].fill_(1)
    return image.masked_fill(mask != mask.flip(0), -100.0)


def _canvas(image: Tensor) -> Tensor:
    canvas = torch.zeros(1, 3, 10, 8)
    canvas[:, :, 1:-1, 1:-1] = image
    return canvas


FORMULAS: dict[str, tuple[Forward, list[int]]] = {
    "numbers": (lambda x: x * 0.5 + 1, []),
    "zeros": (lambda x: torch.zeros_like(x) + x, [0]),
    "ones": (lambda x: x + x.new_ones(x.shape), [0]),
    "a canvas": (_canvas, [0]),
    "coordinates": (lambda x: x * torch.arange(6), [1]),
    "a fill": (lambda x: x + torch.full((8, 6), 0.3), [1]),
    "a mask": (_mask, [1]),
    "weights as numbers": (_one_number_after_another, [9]),
}

DISGUISED: dict[str, tuple[Forward, list[int]]] = {
    "shaped like the image": (lambda x: conv(x, torch.empty_like(x[..., :1, :1]).copy_(WEIGHT[:1, :, :1, :1])), [3]),
    "written over the image": (lambda x: conv(x, x[:, :, :2, :2].clone().copy_(WEIGHT[:1])), [36]),
}

NETWORKS = STORED | COMPUTED | FORMULAS | DISGUISED


@pytest.mark.parametrize(("forward", "met"), NETWORKS.values(), ids=NETWORKS)
def test_constants_that_meet_the_image(forward: Forward, met: list[int]) -> None:
    assert followed(forward) == (met, True)

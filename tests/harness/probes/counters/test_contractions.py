"""Products that are summed, by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from harness.probes.counters.contractions import Contractions
from harness.probes.counters.operators import out_of_place
from harness.probes.counters.shapes import ShapeMode

if TYPE_CHECKING:
    from collections.abc import Callable

ONE, OTHER = torch.ones(1, 4, 8, 6), torch.ones(4, 1, 1)
WHOLE = 4 * 48


def accumulated(one: Tensor, other: Tensor) -> Tensor:
    total = torch.zeros(1, 1, 8, 6)
    for index in range(4):
        total += one[:, index] * other[index]
    return total


FOUND: dict[str, tuple[Callable[[Tensor, Tensor], Any], int]] = {
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
    "not summed": (lambda x, w: x * w + x, 0),
    "two terms": (lambda x, w: x * w + (x * x), 0),
    "an activation between": (lambda x, w: (x * w).relu().sum(1), 0),
    "by a number": (lambda x, _: (x * 2).sum(1), 0),
    "by one element": (lambda x, w: (x * w[0]).sum(1), WHOLE),
    "new of its shape": (lambda x, w: torch.zeros_like(x * w).sum(1), 0),
    "overwritten": (lambda x, w: (x * w).exp_().sum(1), 0),
}


@pytest.mark.parametrize(("run", "macs"), FOUND.values(), ids=FOUND)
def test_summed_products(run: Callable[[Tensor, Tensor], Any], macs: int) -> None:
    contractions = Contractions(lambda _: True)

    def watch(called: str, args: tuple[Any, ...], _kwargs: dict[str, Any], result: Any) -> None:
        contractions.follow(out_of_place(called), args, result)

    with torch.no_grad(), ShapeMode(watch=watch):
        run(ONE.clone(), OTHER.clone())
    assert contractions.macs == macs
    assert (contractions.calls > 0) is (macs > 0)


def test_weights_computed_from_sizes_interpolate() -> None:
    contractions = Contractions(lambda tensor: tensor.ndim > 3)

    def watch(called: str, args: tuple[Any, ...], _kwargs: dict[str, Any], result: Any) -> None:
        contractions.follow(out_of_place(called), args, result)

    with torch.no_grad(), ShapeMode(watch=watch):
        (ONE.clone() * OTHER.clone()).sum(1)
    assert contractions.macs == 0

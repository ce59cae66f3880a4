"""Convolutions and matrix products in elementwise clothes: products that are then summed.

``(x * w).sum(1)`` and ``acc + x * w``, repeated, multiply and accumulate like a convolution,
operator by operator out of the sight of ``operators.MACS``. A gate, ``x * sigmoid(y)``, is a
product that nothing sums.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from harness.probes.counters.operators import FACTORIES, FREE, aten_names

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

FEW_TERMS: Final = 2
"""Products that may be added to each other: a gate on each of two branches."""

_PRODUCTS: Final = aten_names("mul div true_divide")
_ADDED_PRODUCTS: Final = aten_names("addcmul addcdiv lerp")
_SUMS: Final = aten_names("add sub rsub")
_REDUCTIONS: Final = aten_names(
    "sum mean nansum avg_pool1d avg_pool2d avg_pool3d _adaptive_avg_pool2d _adaptive_avg_pool3d "
    "mkldnn_adaptive_avg_pool2d"
)
_RUNNING_SUMS: Final = aten_names("cumsum index_add scatter_add scatter_reduce col2im")


@dataclass(slots=True)
class _Product:
    """What lies in a storage: a sum of products of features.

    Attributes:
        terms: how many products were added up.
        work: multiplications in it that were not yet found to be part of a contraction.
    """

    terms: int
    work: int


class Contractions:
    """Follows products by the storage they lie in, through views and copies.

    Attributes:
        macs: multiplications of products that were summed over more than ``FEW_TERMS``.
        calls: operators that summed them.
    """

    def __init__(self, weighs: Callable[[Tensor], bool]) -> None:
        """Set which tensors are features or weights.

        Others are computed from sizes; by the convention of the field interpolation with such
        ones counts nothing.
        """
        self._weighs = weighs
        self.macs = 0
        self.calls = 0
        self._products: WeakKeyDictionary[Any, _Product] = WeakKeyDictionary()

    def follow(self, name: str, args: Sequence[Any], out: Any) -> None:
        """Account for one operator that ran.

        Args:
            name: out of place.
            args: positional arguments.
            out: first result.
        """
        if not isinstance(out, Tensor) or out.layout != torch.strided:
            return
        if name in _PRODUCTS or name in _ADDED_PRODUCTS:
            self._multiply(name, args, out)
        elif self._products:
            if name in _SUMS:
                self._add(args, out)
            elif name in _REDUCTIONS or name in _RUNNING_SUMS:
                self._reduce(name, args, out)
            elif name in FREE and name not in FACTORIES:
                self._move(args, out)
            else:
                self._forget(out)

    def _multiply(self, name: str, args: Sequence[Any], out: Tensor) -> None:
        factors = args[:2] if name in _PRODUCTS else args[-2:]
        if not all(isinstance(each, Tensor) and self._weighs(each) for each in factors):
            # Scaling changes nothing about a sum of products.
            self._move(args[:2], out)
            return
        known = [product for product in map(self._of, args[:3]) if product is not None]
        earlier = max((product.terms for product in known), default=0)
        added = name in _ADDED_PRODUCTS
        terms = earlier + 1 if added else max(earlier, 1)
        self._keep(out, terms, sum(product.work for product in known) + out.numel())

    def _add(self, args: Sequence[Any], out: Tensor) -> None:
        known = [product for product in map(self._of, args[:2]) if product is not None]
        if known:
            work = {id(product): product.work for product in known}
            self._keep(out, sum(product.terms for product in known), sum(work.values()))

    def _reduce(self, name: str, args: Sequence[Any], out: Tensor) -> None:
        for arg in args:
            product = self._of(arg)
            if product is not None and (
                name in _RUNNING_SUMS or arg.numel() > FEW_TERMS * out.numel()
            ):
                self._charge(product)
        self._forget(out)

    def _move(self, args: Sequence[Any], out: Tensor) -> None:
        flat = [each for arg in args for each in (arg if isinstance(arg, list | tuple) else [arg])]
        known = [product for product in map(self._of, flat) if product is not None]
        if any(product is not self._of(out) for product in known):
            self._keep(out, max(each.terms for each in known), sum(each.work for each in known))

    def _keep(self, out: Tensor, terms: int, work: int) -> None:
        product = self._products[out.untyped_storage()] = _Product(terms, work)
        if terms > FEW_TERMS:
            self._charge(product)

    def _charge(self, product: _Product) -> None:
        self.calls += product.work > 0
        self.macs += product.work
        product.work = 0

    def _forget(self, out: Tensor) -> None:
        self._products.pop(out.untyped_storage(), None)

    def _of(self, value: Any) -> _Product | None:
        if not isinstance(value, Tensor) or value.layout != torch.strided:
            return None
        return self._products.get(value.untyped_storage())

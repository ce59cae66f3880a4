"""Finds convolutions and matrix products that are written as elementwise products and sums.

``(x * w).sum(1)``, or repeated ``acc + x * w``, multiplies and accumulates like a convolution. But
``operators.MACS`` sees only single elementwise operators. A gate, ``x * sigmoid(y)``, is a product
that is not summed.

A product needs no multiplication: ``exp(log(x) + log(w))`` is one, and so is a batch normalisation
whose scale is a weight. With ``loosely``, the result of any operator that combines two features or
weights counts as a product once it is summed.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from esrbench.probes.counters.operators import ELEMENTWISE, FACTORIES, FREE, MACS, SELECTIONS
from esrbench.records.counts import aten_names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    _Named = Mapping[str, Any]
    _Rule = Callable[[str, Sequence[Any], Tensor, _Named], None]

FEW_TERMS: Final = 2
"""So many products may be added without being a contraction: a gate on each of two branches."""

SUMMED_PRODUCTS: Final = "aten::mul (summed)"

_PRODUCTS: Final = aten_names("mul div true_divide")
_ADDED_PRODUCTS: Final = aten_names("addcmul addcdiv lerp")
_PRODUCT_REDUCTIONS: Final = aten_names("prod cumprod")
_SUMS: Final = aten_names("add sub rsub")
_REDUCTIONS: Final = aten_names(
    "sum mean nansum avg_pool1d avg_pool2d avg_pool3d _adaptive_avg_pool2d _adaptive_avg_pool3d "
    "mkldnn_adaptive_avg_pool2d upsample_linear1d upsample_bilinear2d upsample_bicubic2d "
    "upsample_trilinear3d _upsample_bilinear2d_aa _upsample_bicubic2d_aa"
)
_RUNNING_SUMS: Final = aten_names("cumsum index_add scatter_add col2im")
_SCATTERS: Final = aten_names("scatter scatter_reduce")
"""Copies, sums or products; a string argument says which."""

_ACCUMULATING: Final = aten_names("index_put put")
"""Copies that are sums if their last argument says so."""

_NORMS: Final = aten_names(
    "logsumexp var var_mean std std_mean norm linalg_vector_norm native_layer_norm "
    "native_group_norm rms_norm _fused_rms_norm _weight_norm_interface renorm _softmax "
    "_log_softmax _safe_softmax"
)
"""Sums of functions of their elements: ``var(x + w) - var(x - w)`` is a product of vectors."""

_WINDOWS: Final = aten_names("avg_pool1d avg_pool2d avg_pool3d")
_EXTREMES: Final = aten_names(
    "amax amin max min median max_pool2d_with_indices max_pool3d_with_indices mkldnn_max_pool2d "
    "adaptive_max_pool2d adaptive_max_pool3d"
)

_SAMPLERS: Final = aten_names(
    "grid_sampler_2d grid_sampler_3d _grid_sampler_2d_cpu_fallback cudnn_grid_sampler"
)
"""They return a feature times a fraction of a position."""


@dataclass(slots=True)
class _Product:
    """The content of a storage: a sum of products of features.

    Attributes:
        terms: number of products in the sum.
        work: multiplications that are not yet known to be part of a contraction.
        name: the operator that multiplied, as it is reported.
    """

    terms: int
    work: int
    name: str


class Contractions:
    """Follows products through views and copies, by the storage that contains them.

    Attributes:
        macs: multiplications of products that were summed over more than ``FEW_TERMS``.
        calls: operators that multiplied what was summed, with the number of sums.
    """

    def __init__(self, weighs: Callable[[Any], bool], *, loosely: bool = False) -> None:
        """Say which values count as factors.

        Args:
            weighs: whether a tensor or a number is a feature or a weight. All other values are
                computed from sizes. By the convention of the field, interpolation with such values
                counts nothing.
            loosely: follow results of every elementwise operator, not only products.
        """
        self._weighs = weighs
        self._loosely = loosely
        self.macs = 0
        self.calls: Counter[str] = Counter()
        self._rules = self._rules_by_name()
        self._products: WeakKeyDictionary[Any, _Product] = WeakKeyDictionary()

    def follow(
        self, name: str, args: Sequence[Any], out: Any, kwargs: Mapping[str, Any] | None = None
    ) -> None:
        """Account for one operator that ran.

        Args:
            name: out of place.
            args: positional arguments.
            out: first result.
            kwargs: keyword arguments.
        """
        if not isinstance(out, Tensor) or out.layout != torch.strided:
            return
        follows = self._rules.get(name)
        if follows is not None:
            follows(name, args, out, kwargs or {})
        elif self._loosely or name in FREE:
            self._move(args, out)
        else:
            self._forget(out)

    def _rules_by_name(self) -> dict[str, _Rule]:
        rules: dict[str, _Rule] = {}
        if self._loosely:
            rules |= dict.fromkeys(ELEMENTWISE | _SAMPLERS | SELECTIONS, self._combine)
            rules |= dict.fromkeys(_NORMS, self._normalise)
            rules |= dict.fromkeys(_EXTREMES, self._reduce)
        rules |= dict.fromkeys(_PRODUCTS | _ADDED_PRODUCTS, self._multiply)
        rules |= dict.fromkeys(_PRODUCT_REDUCTIONS, self._multiply_along)
        rules |= dict.fromkeys(_SUMS, self._add)
        rules |= dict.fromkeys(_REDUCTIONS, self._reduce)
        rules |= dict.fromkeys(_RUNNING_SUMS, self._accumulate)
        rules |= dict.fromkeys(_SCATTERS, self._scatter)
        rules |= dict.fromkeys(_ACCUMULATING, self._put)
        rules |= dict.fromkeys(
            FACTORIES.union(MACS), lambda _name, _args, out, _: self._forget(out)
        )
        return rules

    def _multiply(self, name: str, args: Sequence[Any], out: Tensor, _: _Named) -> None:
        factors = args[:2] if name in _PRODUCTS else args[-2:]
        if not all(self._weighs(each) for each in factors):
            # A scaled sum of products is still a sum of products.
            self._move(args[:2], out)
            return
        known = self._known(args[:3])
        earlier = max((product.terms for product in known), default=0)
        added = name in _ADDED_PRODUCTS
        terms = earlier + 1 if added else max(earlier, 1)
        work = sum(product.work for product in known) + out.numel()
        self._keep(out, terms, work, SUMMED_PRODUCTS)

    def _multiply_along(self, name: str, args: Sequence[Any], out: Tensor, _: _Named) -> None:
        """Product of the elements of one tensor."""
        factors = args[0]
        done = out.numel() if factors.numel() == out.numel() else factors.numel() - out.numel()
        if not self._weighs(factors):
            self._move(args[:1], out)
            return
        work = sum(product.work for product in self._known(args[:1])) + done
        self._keep(out, 1, work, _told(name))

    def _combine(self, name: str, args: Sequence[Any], out: Tensor, _: _Named) -> None:
        """Combination of several tensors or numbers, or a function of one."""
        factors = sum(self._weighs(each) for each in _flat(args) if isinstance(each, Tensor))
        factors += any(self._weighs(each) for each in args if not isinstance(each, Tensor))
        # Both parts of a complex number, or both halves of a gated unit, are factors.
        factors += factors > 0 and (name == "aten::glu" or _is_complex(args))
        if factors > 1:
            # ``logaddexp`` and ``maximum`` combine terms as a sum does.
            known = {id(each): each for each in self._known(args)}.values()
            terms = sum(product.terms for product in known) or 1
            work = sum(product.work for product in known) + out.numel()
            self._keep(out, terms, work, _first([*known], name))
        else:
            self._move(args, out)

    def _keep_with(self, name: str, args: Sequence[Any], out: Tensor) -> None:
        """One more operation on each element."""
        known = self._known(args)
        terms = max((product.terms for product in known), default=1)
        work = sum(product.work for product in known) + out.numel()
        self._keep(out, terms, work, _first(known, name))

    def _normalise(self, name: str, args: Sequence[Any], out: Tensor, kwargs: _Named) -> None:
        self._accumulate(name, args, out, kwargs)
        if self._weighs(args[0]):
            self._keep_with(name, args, out)

    def _scatter(self, name: str, args: Sequence[Any], out: Tensor, kwargs: _Named) -> None:
        """A copy, a sum or a product of values written to one place, as a string argument says."""
        way = next((each for each in (*args, *kwargs.values()) if isinstance(each, str)), "")
        if way in {"multiply", "prod"}:
            self._keep_with(name, args, out)
        elif way:
            self._accumulate(name, args, out, kwargs)
        else:
            self._move(args, out)

    def _put(self, name: str, args: Sequence[Any], out: Tensor, kwargs: _Named) -> None:
        if args[-1] is True:
            self._accumulate(name, args, out, kwargs)
        else:
            self._move(args, out)

    def _is_multiple(self, kwargs: _Named) -> bool:
        """Whether the last operand is multiplied by a number that counts."""
        return self._loosely and "alpha" in kwargs and self._weighs(kwargs["alpha"])

    def _add_multiple(self, name: str, args: Sequence[Any], out: Tensor) -> None:
        """A sum whose last operand is multiplied by a number."""
        known = self._known(args)
        terms = sum(product.terms for product in known) + 1
        work = sum({id(each): each.work for each in known}.values())
        multiplied = [each for each in args if isinstance(each, Tensor)][-1]
        self._keep(out, terms, work + multiplied.numel(), _first(known, name))

    def _add(self, name: str, args: Sequence[Any], out: Tensor, kwargs: _Named) -> None:
        known = self._known(args[:2])
        if self._is_multiple(kwargs):
            self._add_multiple(name, args, out)
        elif known:
            work = sum({id(product): product.work for product in known}.values())
            terms = sum(product.terms for product in known)
            self._keep(out, terms, work, _first(known, name))
        elif self._loosely:
            self._combine(name, args[:2], out, kwargs)

    def _reduce(self, name: str, args: Sequence[Any], out: Tensor, _: _Named) -> None:
        reduced = args[0]
        product = self._of(reduced)
        # Repeated sums of two terms make a sum of many.
        terms = _summed(name, args, out) * (1 if product is None else product.terms)
        if product is not None and terms > FEW_TERMS:
            self._charge(product)
        if self._loosely and self._weighs(reduced) and reduced.numel() > out.numel():
            # It combines elements of one tensor, which may come from two features.
            work = reduced.numel() - out.numel() + (0 if product is None else product.work)
            few = terms if product is not None and terms <= FEW_TERMS else 1
            self._keep(out, few, work, _told(name) if product is None else product.name)
        elif product is not None and terms <= FEW_TERMS:
            self._keep(out, terms, product.work, product.name)
        else:
            self._forget(out)

    def _accumulate(self, name: str, args: Sequence[Any], out: Tensor, kwargs: _Named) -> None:
        if self._is_multiple(kwargs):
            self._add_multiple(name, args, out)
            return
        for product in self._known(args):
            self._charge(product)
        self._forget(out)

    def _move(self, args: Sequence[Any], out: Tensor) -> None:
        known = self._known(args)
        if any(product is not self._of(out) for product in known):
            terms, work = max(each.terms for each in known), sum(each.work for each in known)
            self._keep(out, terms, work, known[0].name)

    def _keep(self, out: Tensor, terms: int, work: int, name: str) -> None:
        product = self._products[out.untyped_storage()] = _Product(terms, work, name)
        if terms > FEW_TERMS:
            self._charge(product)

    def _charge(self, product: _Product) -> None:
        if product.work > 0:
            self.calls[product.name] += 1
        self.macs += product.work
        product.work = 0

    def _forget(self, out: Tensor) -> None:
        self._products.pop(out.untyped_storage(), None)

    def _known(self, args: Sequence[Any]) -> list[_Product]:
        """Products among the arguments, and in lists among the arguments."""
        if not self._products:
            return []
        return [product for product in map(self._of, _flat(args)) if product is not None]

    def _of(self, value: Any) -> _Product | None:
        if not isinstance(value, Tensor) or value.layout != torch.strided:
            return None
        return self._products.get(value.untyped_storage())


def _flat(args: Sequence[Any]) -> Iterator[Any]:
    for arg in args:
        if isinstance(arg, list | tuple):
            yield from arg
        else:
            yield arg


def _summed(name: str, args: Sequence[Any], out: Tensor) -> int:
    """Number of elements that a reduction combines into one."""
    if name in _WINDOWS:
        return math.prod(args[1])
    return int(-(-args[0].numel() // max(out.numel(), 1)))


def _is_complex(args: Sequence[Any]) -> bool:
    return any(isinstance(each, Tensor) and each.is_complex() for each in args)


def _told(name: str) -> str:
    return f"{name} (summed)"


def _first(known: Sequence[_Product], name: str) -> str:
    return known[0].name if known else _told(name)

"""The audit: what the dispatcher really ran, and what the output was really made of.

It ends hiding, not tampering: it runs in the process of the network it watches, and code that
writes into a tensor's memory behind torch's back leaves no operator.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from harness.probes.counters.operators import (
    ELEMENTWISE,
    FREE,
    LIGHT,
    MACS,
    is_opaque,
    out_of_place,
)
from harness.probes.counters.shapes import ShapeMode, by_shape_or_value
from harness.probes.provenance import Constant, Provenance, tensors_in
from harness.records import Audit, Notice, SizedCount

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

SIZE_LIMIT: Final = 0.02
"""Multiply-accumulates of a pixel may differ between sizes by this share of the smallest.

Strides that do not divide the size cost up to 0.1 %, padding to a multiple of a window 0.8 %
(510 to 512), the attention of an honest challenge entry 1.8 %.
"""

COMPARED_SIDE: Final = 64
"""Sizes with a shorter side are not compared: there the borders outweigh the rest."""

HIDDEN_SHARE: Final = 0.01
HIDDEN_ELEMENTS: Final = 1000
"""Constants may exceed parameters by this share, and by this many elements whatever the share:
colour means, index tables, weights of an interpolation."""

PRECISION: Final = "float32"
"""Type of the input of every audit."""


def measure_audit(
    network: nn.Module | Callable[[], nn.Module],
    *,
    input_sizes: Sequence[tuple[int, int]],
    channels: int = 3,
) -> Audit:
    """Audit one forward of a batch of 1 at each size.

    Forwards run without pixel values where the network can do without them.

    Args:
        network: in eval mode, on the CPU; or what builds one.
        input_sizes: heights and widths of the network's input, at least one. A small one is
            cheap where pixel values are needed; one that is not square finds more.
        channels: of the network's input.

    Returns:
        Multiply-accumulates at each size by the rule of the ``aten`` counter. Of operators
        that are neither counted nor free, custom ones apart, and of products by type, the most
        calls at any size. Constants are those of the size with most, by storage, each once and
        wholly. What is computed from constants counts as what meets input-derived data, though
        never more than what it was computed from: masks and coordinates made of sizes next to
        nothing. A tensor without dimensions counts 1, a number that is no tensor nothing, and
        so do the running statistics of an affine batch normalisation: its scale and shift can
        hold them.

        Two tensors that broadcast to more elements than either has and are multiplied do the
        work of a convolution: such a product is named as uncounted.

        ``complete`` is false if the output does not derive from the input or if anything ran
        that is neither counted nor free nor in ``operators.LIGHT``.

    Raises:
        ValueError: no size was given.
        Exception: whatever building or a forward raises.
    """
    sizes = sorted(set(input_sizes), key=lambda size: (math.prod(size), size))
    if not sizes:
        raise ValueError("an audit needs at least one input size")
    built = network if isinstance(network, nn.Module) else network().eval()

    def forwards(audited: nn.Module, _lr: Tensor, without_values: bool) -> list[_Forward]:
        shapes = [(1, channels, *size) for size in sizes]
        return [_Forward(audited, _pixels(shape, without_values)) for shape in shapes]

    ran = by_shape_or_value(forwards, built, torch.empty(0))
    derived = all(forward.derived for forward in ran)
    uncounted = _most(forward.uncounted for forward in ran)
    opaque = _most(forward.opaque for forward in ran)
    constants = max((forward.provenance.met for forward in ran), key=_elements)
    return Audit(
        sizes=tuple(
            SizedCount(input_size=size, macs=forward.macs)
            for size, forward in zip(sizes, ran, strict=True)
        ),
        effective_constants=_elements(constants),
        constant_bytes=sum(constant.elements * constant.itemsize for constant in constants),
        product_dtypes=_most(forward.product_dtypes for forward in ran),
        uncounted=uncounted,
        opaque=opaque,
        derived_output=derived,
        complete=derived and not opaque and not _unknown(uncounted),
    )


def _pixels(shape: tuple[int, ...], without_values: bool) -> Tensor:
    if without_values:
        return torch.empty(shape, device="meta")
    # Values matter only where a forward cannot do without; then they are an image's.
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


def _elements(constants: Iterable[Constant]) -> int:
    return sum(constant.elements for constant in constants)


def _most(calls: Iterable[Counter[str]]) -> dict[str, int]:
    most = Counter[str]()
    for counted in calls:
        most |= counted
    return dict(sorted(most.items()))


def _unknown(uncounted: Mapping[str, int]) -> dict[str, int]:
    return {name: calls for name, calls in uncounted.items() if out_of_place(name) not in LIGHT}


class _Forward:
    """What one forward ran."""

    def __init__(self, network: nn.Module, lr: Tensor) -> None:
        self.macs = 0
        self.product_dtypes: Counter[str] = Counter()
        self.uncounted: Counter[str] = Counter()
        self.opaque: Counter[str] = Counter()
        self.provenance = Provenance(lr)
        self._calls = _Calls(self._leave)
        with torch.no_grad(), self._calls, ShapeMode(watch=self._watch):
            output = network(lr)
        self.derived = isinstance(output, Tensor) and self.provenance.derived(output)

    def _watch(
        self, called: str, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any
    ) -> None:
        name = out_of_place(called)
        out = result[0] if isinstance(result, tuple | list) and result else result
        cost = MACS.get(name)
        if cost is not None and isinstance(out, Tensor):
            self.macs += cost(args, out)
            dtype = self._calls.autocast or out.dtype
            self.product_dtypes[str(dtype).removeprefix("torch.")] += 1
        elif is_opaque(called):
            self.opaque[called] += 1
        elif name not in FREE and name not in ELEMENTWISE:
            self.uncounted[called] += 1
        elif name == "aten::mul" and self._is_outer(args[:2], out):
            self.uncounted["aten::mul (outer product)"] += 1
        for tensor in tensors_in(args):
            if type(tensor).__torch_dispatch__ is not Tensor.__torch_dispatch__:
                # What the subclass makes of an operator runs out of sight.
                self.opaque[f"{called} of {type(tensor).__name__}"] += 1
        self.provenance.follow(called, args, kwargs, result)

    def _is_outer(self, factors: Sequence[Any], out: Tensor) -> bool:
        return (
            all(isinstance(factor, Tensor) for factor in factors)
            and out.numel() > max(map(_distinct, factors))
            and any(map(self.provenance.derived, factors))
        )

    def _leave(self, way: str, tensor: Any) -> None:
        if isinstance(tensor, Tensor) and self.provenance.derived(tensor):
            self.opaque[way] += 1


def _distinct(tensor: Tensor) -> int:
    """Elements of a tensor before it was expanded."""
    sides = zip(tensor.shape, tensor.stride(), strict=True)
    return math.prod(size for size, stride in sides if stride)


class _Calls(TorchFunctionMode):
    """Sees what the dispatcher does not: autocast, and pixels that leave torch.

    Attributes:
        autocast: type to which products are cast, or None.
    """

    _LEAVING: Final = {
        Tensor.numpy: "Tensor.numpy",
        Tensor.__array__: "Tensor.__array__",
        Tensor.__dlpack__: "Tensor.__dlpack__",
        Tensor.data_ptr: "Tensor.data_ptr",
    }

    def __init__(self, leave: Callable[[str, Any], None]) -> None:
        """Set who is told of the way by which a tensor leaves torch."""
        super().__init__()
        self.autocast: torch.dtype | None = None
        self._leave = leave

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Look at one call and pass it on."""
        # The dispatcher has left autocast behind, and tensors on meta are not cast.
        self.autocast = None
        for device in ("cpu", "cuda"):
            if torch.is_autocast_enabled(device):
                self.autocast = torch.get_autocast_dtype(device)
        if func in self._LEAVING:
            self._leave(self._LEAVING[func], args[0])
        return func(*args, **(kwargs or {}))


def notices_of(audit: Audit, params: int) -> Iterator[Notice]:
    """What an audit found that a reader of the counts should know.

    Args:
        audit: of a network.
        params: elements of its parameters.

    Yields:
        ``size-dependent-cost``, ``hidden-constants``, ``hidden-work``, ``mixed-precision``,
        ``uncounted-operator`` and ``opaque-operator``, each at most once.
    """
    compared = [count for count in audit.sizes if min(count.input_size) >= COMPARED_SIDE]
    costs = [count.macs_per_pixel for count in compared]
    if costs and max(costs) > min(costs) * (1 + SIZE_LIMIT):
        listed = ", ".join(
            f"{count.macs_per_pixel:,.0f} at {count.input_size[0]}x{count.input_size[1]}"
            for count in compared
        )
        yield Notice(
            code="size-dependent-cost",
            message=f"multiply-accumulates of an input pixel depend on the size: {listed}",
            advice="Compare figures at the size of the images; a cost that grows with the size, "
            "such as global attention, is not seen in the figure at 256x256.",
        )
    beyond = audit.effective_constants - params
    if beyond > max(HIDDEN_ELEMENTS, HIDDEN_SHARE * params):
        yield Notice(
            code="hidden-constants",
            message=f"{audit.effective_constants:,} constants meet the image, of which "
            f"{params:,} are parameters",
            advice="Counters print the parameters only; weights in buffers, attributes, arrays, "
            "lists or from a random seed belong to the size of the network.",
        )
    if not audit.derived_output:
        yield Notice(
            code="hidden-work",
            message="the output does not derive from the input by operators that can be seen",
            advice="Do all work in torch, in the thread of the forward: what runs in numpy, in "
            "another thread or with dispatch switched off is not counted.",
        )
    if set(audit.product_dtypes) - {PRECISION}:
        yield Notice(
            code="mixed-precision",
            message=f"products are of {_listed(audit.product_dtypes)} for a {PRECISION} input",
            advice="A network that casts by itself belongs to another class of precision.",
        )
    unknown = _unknown(audit.uncounted)
    if unknown:
        yield Notice(
            code="uncounted-operator",
            message=f"operators of unknown cost ran and count 0: {_listed(unknown)}",
            advice="The count is a lower bound; count a version without them.",
        )
    if audit.opaque:
        yield Notice(
            code="opaque-operator",
            message=f"custom operators ran and count 0: {_listed(audit.opaque)}",
            advice="Count a version of the network that uses torch's own operators.",
        )


def _listed(calls: Mapping[str, int]) -> str:
    return ", ".join(f"{name} ({count})" for name, count in calls.items())

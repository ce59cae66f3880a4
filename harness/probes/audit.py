"""The audit: what the dispatcher really ran, and what the output was really made of.

It ends hiding, not tampering: it runs in the process of the network it watches, and code that
writes into a tensor's memory behind torch's back leaves no operator. Nor is work found that a
forward leaves out on ``meta`` and on images as small as the one that is counted with values.
"""

from __future__ import annotations

import copy
import math
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from harness.errors import MeasurementError
from harness.probes.counters.contractions import Contractions
from harness.probes.counters.operators import (
    CONVOLUTIONS,
    ELEMENTWISE,
    FREE,
    is_opaque,
    macs_of,
    out_of_place,
)
from harness.probes.counters.shapes import ShapeMode, by_shape_or_value, on_meta
from harness.probes.notices import unknown
from harness.probes.provenance import Constant, Provenance, tensors_in
from harness.records import Absent, Audit, Recount, SizedCount

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

CONTRACTED_SHARE: Final = 0.05
"""Products summed by elementwise operators are named from this share of the counted
multiply-accumulates on; below are scales of residual branches and pooled gates."""

RECOUNTED_SIDE: Final = 64
"""Sides of the image that is counted with pixel values too; at this size costs are compared."""

RECOUNTED_COST: Final = 10**6
"""Networks of more multiply-accumulates a pixel, whom nobody calls efficient, get a smaller image
that costs as much."""

LEAST_RECOUNTED_SIDE: Final = 16
RECOUNTED_STEP: Final = 8

SUMMED_PRODUCTS: Final = "aten::mul (summed)"


def measure_audit(
    network: nn.Module | Callable[[], nn.Module],
    *,
    input_sizes: Sequence[tuple[int, int]],
    channels: int = 3,
) -> Audit:
    """Audit one forward of a batch of 1 at each size.

    Forwards run without pixel values where the network can do without them; a small one then
    runs both ways, each on a fresh copy, and its counts must agree.

    Args:
        network: in eval mode, on the CPU; or what builds one.
        input_sizes: heights and widths of the network's input, at least one. A small one is
            cheap where pixel values are needed; one that is not square finds more.
        channels: of the network's input.

    Returns:
        Multiply-accumulates at each size by the rule of the ``aten`` counter. Of operators
        that are neither counted nor free, custom ones apart, and of products by type, the most
        calls at any size. If a forward needs values it runs on noise and on a smooth image at
        each size. What the network kept of an earlier forward stays what it was there.
        Constants are those of the size with most, by storage, each once and
        wholly. What is computed from constants counts as what meets input-derived data, though
        never more than what it was computed from: masks and coordinates made of sizes next to
        nothing. Integer buffers that are built alike count once. A tensor without dimensions
        counts 1, and the running statistics of an affine batch normalisation nothing: its scale
        and shift can hold them. Numbers that are no tensors are ``scalars``.

        Products of two tensors that are summed elementwise (``contractions``) do the work of a
        convolution: where they rival what is counted they are named as uncounted.

        ``recount`` is of the smaller of the smallest size and 64x64, smaller yet where that
        costs much. What the forward with values ran counts with the others, constants too.

        ``complete`` is false if the output does not derive from the input, if anything ran
        that is neither counted nor free nor in ``operators.LIGHT``, or if the recount differs.

    Raises:
        ValueError: no size was given.
        MeasurementError: an output is no tensor.
        Exception: whatever building or a forward raises.
    """
    sizes = sorted(set(input_sizes), key=lambda size: (math.prod(size), size))
    if not sizes:
        raise ValueError("an audit needs at least one input size")
    built = network if isinstance(network, nn.Module) else network().eval()

    alike = _alike(built)

    def forwards(audited: nn.Module, _lr: Tensor, without_values: bool) -> list[_Forward]:
        if not without_values:
            audited = _own(audited)
        provenance = Provenance(torch.empty(0), _named(audited, alike))
        shapes = [(1, channels, *size) for size in sizes]
        if without_values:
            images = (torch.empty(shape, device="meta") for shape in shapes)
        else:
            images = (make(shape) for make in (noise, _smooth) for shape in shapes)
        return [_Forward(audited, image, provenance) for image in images]

    ran = by_shape_or_value(forwards, built, torch.empty(0))
    counts = [forward.count for forward in ran]
    by_values = len(counts) > len(sizes)
    recount = None
    if not by_values:
        recount, again = _recount(built, alike, channels, counts[0])
        ran += again
    derived = all(forward.derived for forward in ran)
    uncounted = _most(forward.uncounted for forward in ran)
    opaque = _most(forward.opaque for forward in ran)
    most = max(ran, key=lambda forward: _elements(forward.constants))
    return Audit(
        sizes=tuple(counts[: len(sizes)]),
        smooth_sizes=tuple(counts[len(sizes) :]),
        by_values=by_values,
        recount=recount,
        effective_constants=_elements(most.constants),
        index_constants=_elements(most.indices),
        scalars=max(len(forward.scalars) for forward in ran),
        constant_bytes=sum(each.elements * each.itemsize for each in most.constants),
        product_dtypes=_most(forward.product_dtypes for forward in ran),
        uncounted=uncounted,
        opaque=opaque,
        derived_output=derived,
        complete=derived
        and not opaque
        and not unknown(uncounted)
        and (recount is None or recount.agrees),
    )


def _recount(
    network: nn.Module, alike: list[list[str]], channels: int, least: SizedCount
) -> tuple[Recount, list[_Forward]]:
    """Count a small forward without values and with them, and what those with values ran.

    Fresh copies: what a network computes once must not be missing from one of the counts.
    """
    without = _small_forward(network, channels, least)
    size = without.count.input_size
    again: list[_Forward] = []
    valued: SizedCount | Absent
    try:
        own = _own(network)
        provenance = Provenance(torch.empty(0), _named(own, alike))
        again.append(_Forward(own, noise((1, channels, *size)), provenance))
        valued = again[0].count
    except Exception as error:  # noqa: BLE001 - a stranger's forward may raise anything
        said = " ".join(f"{type(error).__name__}: {error}".split())
        reason = f"the forward raises {said}"
        valued = Absent(kind="failed", reason=reason, failure="forward-error")
    calls = tuple(each.conv_calls for each in (without, *again))
    return Recount(without_values=without.count, with_values=valued, conv_calls=calls), again


def _small_forward(network: nn.Module, channels: int, least: SizedCount) -> _Forward:
    """Without values, at 64x64, at less where that costs much, at more where that fails."""
    side = RECOUNTED_SIDE
    excess = least.macs_per_pixel / RECOUNTED_COST
    if excess > 1:
        side = int(side / math.sqrt(excess)) // RECOUNTED_STEP * RECOUNTED_STEP
        side = max(side, LEAST_RECOUNTED_SIDE)

    def forward(longest: int) -> _Forward:
        size = (min(each, longest) for each in least.input_size)
        image = torch.empty((1, channels, *size), device="meta")
        return _Forward(on_meta(network), image, Provenance(torch.empty(0)))

    # Some networks ask for larger images.
    largest = max(least.input_size)
    while side < largest:
        with suppress(Exception):
            return forward(side)
        side = RECOUNTED_SIDE if side < RECOUNTED_SIDE else 2 * side
    return forward(largest)


def noise(shape: tuple[int, ...]) -> Tensor:
    """Seeded noise in 0..1, float32: what a forward sees that cannot do without values."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


def _smooth(shape: tuple[int, ...]) -> Tensor:
    """What noise is not: slow waves around grey, as in the sky of a photograph."""
    rows = torch.linspace(0, math.tau, shape[2]).sin()
    columns = torch.linspace(0, math.tau, shape[3]).cos()
    return (0.5 + 0.2 * (rows[:, None] + columns)).expand(shape).clone()


def _own(network: nn.Module) -> nn.Module:
    """A copy that keeps no traces of others' forwards, or the network if it has none."""
    try:
        return copy.deepcopy(network)
    except Exception:  # noqa: BLE001 - a stranger's code may raise anything
        return network


def _alike(network: nn.Module) -> list[list[str]]:
    """Names of the integer buffers of the same values as others, by their values."""
    groups: dict[tuple[Any, ...], list[str]] = {}
    for name, buffer in network.named_buffers():
        if buffer.is_floating_point() or buffer.is_complex() or not buffer.numel():
            continue
        if buffer.device.type == "cpu" and buffer.layout == torch.strided:
            values = (buffer.dtype, buffer.shape, buffer.contiguous().numpy().tobytes())
            groups.setdefault(values, []).append(name)
    return [names for names in groups.values() if len(names) > 1]


def _named(network: nn.Module, groups: Iterable[Iterable[str]]) -> list[list[Tensor]]:
    """Those buffers of a copy."""
    buffers = dict(network.named_buffers())
    found = ([buffers[name] for name in names if name in buffers] for names in groups)
    return [buffers_alike for buffers_alike in found if buffers_alike]


def _elements(constants: Iterable[Constant]) -> int:
    return sum(constant.elements for constant in constants)


def _most(calls: Iterable[Counter[str]]) -> dict[str, int]:
    most = Counter[str]()
    for counted in calls:
        most |= counted
    return dict(sorted(most.items()))


class _Forward:
    """What one forward ran."""

    def __init__(self, network: nn.Module, lr: Tensor, provenance: Provenance) -> None:
        self._macs = 0
        self.conv_calls = 0
        self._elementwise = 0
        self._contractions = Contractions(provenance.weighs)
        self._provenance = provenance
        self.scalars: set[complex] = set()
        self.product_dtypes: Counter[str] = Counter()
        self.uncounted: Counter[str] = Counter()
        self.opaque: Counter[str] = Counter()
        provenance.restart(lr)
        self._calls = _Calls(provenance.leave)
        size = (lr.shape[2], lr.shape[3])
        with torch.no_grad(), self._calls, ShapeMode(watch=self._watch):
            output = network(lr)
        if not isinstance(output, Tensor):
            raise MeasurementError(
                f"the output is a {type(output).__name__}, expected a tensor",
                advice="Return the SR image alone.",
            )
        self.derived = provenance.derived(output)
        self.count = SizedCount(input_size=size, macs=self._macs, elementwise=self._elementwise)
        if self._contractions.macs > CONTRACTED_SHARE * self._macs:
            self.uncounted[SUMMED_PRODUCTS] = self._contractions.calls
        self.opaque += provenance.opaque
        self.constants = provenance.met | provenance.met_as_indices
        self.indices = provenance.met_as_indices - provenance.met

    def _watch(
        self, called: str, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any
    ) -> None:
        name = out_of_place(called)
        out = result[0] if isinstance(result, tuple | list) and result else result
        macs = macs_of(name, args, out) if isinstance(out, Tensor) else None
        if macs is not None:
            self._macs += macs
            self.conv_calls += name in CONVOLUTIONS
            dtype = self._calls.autocast or out.dtype
            self.product_dtypes[str(dtype).removeprefix("torch.")] += 1
        elif is_opaque(called):
            self.opaque[called] += 1
        elif name not in FREE and name not in ELEMENTWISE:
            self.uncounted[called] += 1
        for tensor in tensors_in(args):
            if type(tensor).__torch_dispatch__ is not Tensor.__torch_dispatch__:
                # What the subclass makes of an operator runs out of sight.
                self.opaque[f"{called} of {type(tensor).__name__}"] += 1
        derives = self._provenance.follow(called, args, kwargs, result)
        if name in ELEMENTWISE and isinstance(out, Tensor):
            self._elementwise += out.numel()
            if derives:
                self.scalars.update(
                    each
                    for each in (*args, *kwargs.values())
                    if isinstance(each, int | float | complex) and not isinstance(each, bool)
                )
        self._contractions.follow(name, args, out)


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
        if func in self._LEAVING and isinstance(args[0], Tensor):
            self._leave(self._LEAVING[func], args[0])
        return func(*args, **(kwargs or {}))

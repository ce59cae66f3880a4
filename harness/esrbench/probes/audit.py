"""The audit: the operators that the dispatcher really ran, and the sources of the output.

The audit finds hidden work but not tampering, because it runs in the process of the network that it
watches. Code that writes into a tensor's memory without torch runs no operator. The audit also
misses work that a forward leaves out both on ``meta`` and on small images, such as the image that
is counted with values.
"""

from __future__ import annotations

import math
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from esrbench.devices import DEVICES
from esrbench.entries.structure import copied, named_attributes, named_buffers, parameters
from esrbench.errors import MeasurementError
from esrbench.probes.counters.aten import Tally
from esrbench.probes.counters.contractions import Contractions
from esrbench.probes.counters.operators import MACS, is_opaque, out_of_place
from esrbench.probes.counters.shapes import (
    ShapeMode,
    by_shape_or_value,
    eagerly,
    given_again,
    on_meta,
    written_down,
)
from esrbench.probes.notices import ELEMENTWISE_SHARE
from esrbench.probes.numbers import LEAST_ELEMENTS, numbers_needed
from esrbench.probes.provenance import (
    FORMULA_NUMBERS,
    Constant,
    Provenance,
    tensors_in,
)
from esrbench.records import Absent, Audit, Recount, SizedCount, unknown_cost

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

CONTRACTED_SHARE: Final = 0.05
"""Products that elementwise operators sum are reported if they reach this share of the counted
multiply-accumulates. Smaller shares come from scales of residual branches and pooled gates."""

COMBINED_RESULTS: Final = 256
"""Elementwise results that are summed without being products are reported if there are more than
this many per input pixel. Their cost is then similar to the counted cost. Bicubic interpolation by
its formula has 48."""

RECOUNTED_SIDE: Final = 64
"""Side of the image that is also counted with pixel values; costs are compared at this size."""

RECOUNTED_COST: Final = 10**6
"""Networks with more multiply-accumulates per pixel are not efficient. They get a smaller image of
the same cost."""

LEAST_RECOUNTED_SIDE: Final = 16
RECOUNTED_STEP: Final = 8


def measure_audit(
    network: nn.Module | Callable[[], nn.Module],
    *,
    input_sizes: Sequence[tuple[int, int]],
    channels: int = 3,
    valued_sizes: Sequence[tuple[int, int]] = (),
    readings: dict[tuple[int, int], list[Any]] | None = None,
) -> Audit:
    """Audit one forward of a batch of 1 at each size.

    Forwards run without pixel values if the network allows it. A small forward then runs in both
    ways, each on a fresh copy, and both counts must agree.

    Args:
        network: in eval mode, on the CPU; or a function that builds one.
        input_sizes: heights and widths of the network's input, at least one. A small size is cheap
            if pixel values are needed. A size that is not square finds more.
        channels: channels of the network's input.
        valued_sizes: sizes at which a forward that needs values gets real ones. The smallest size
            is always among them. At the other sizes it gets what it read at the smallest size. All
            sizes if left out.
        readings: receives, by size, the values that forwards on noise read, if they need any.

    Returns:
        Multiply-accumulates at each size, by the rule of the ``aten`` counter. Also the operators
        that are neither counted nor free, custom operators separately, and the products by type;
        each with its largest number of calls at any size. A forward that needs values runs on noise
        and on a smooth image at each size. Tensors that the network kept from an earlier forward
        are still known.

        Constants are from the size that has most of them. Each counts once and in full, by its
        storage. A tensor that is computed from constants counts if it meets input-derived data, but
        never more than its sources. So masks and coordinates that are made from sizes count almost
        nothing. Integer buffers with equal values count once. A tensor without dimensions counts 1.
        The running statistics of an affine batch normalisation count nothing, because its scale and
        shift can contain them. A tensor that is filled with a number is a constant, whatever it was
        made from. Numbers outside tensors are ``scalars``, whichever operator takes them.

        Products of two tensors that are summed elementwise (``contractions``) do the work of a
        convolution. They are reported as uncounted if their number is similar to what is counted.
        The same applies to results of other elementwise operators on two tensors, and to products
        with many numbers of the code. These are reported only from a far larger number on.

        ``recount`` is made at the smaller of the smallest size and 64x64, or at a smaller size if
        that costs much. The operators and constants of its forward with values are added to the
        result.

        ``complete`` is false in three cases: the output does not derive from the input; an
            operator ran that is neither counted nor free nor in ``records.counts.LIGHT``; the
            recount differs.

    Raises:
        ValueError: no size was given.
        MeasurementError: an output is no tensor.
        Exception: whatever building or a forward raises.
    """
    sizes = sorted(set(input_sizes), key=lambda size: (math.prod(size), size))
    if not sizes:
        raise ValueError("an audit needs at least one input size")
    built = network if isinstance(network, nn.Module) else network().eval()

    tables = _Tables(built)

    def forwards(audited: nn.Module, _lr: Tensor, without_values: bool) -> list[_Forward]:
        provenance = tables.provenance(audited)
        shapes = [(1, channels, *size) for size in sizes]
        if without_values:
            images = (torch.empty(shape, device="meta") for shape in shapes)
            return [_Forward(audited, image, provenance) for image in images]
        real = {(1, channels, *size) for size in valued_sizes} | {shapes[0]}
        found: list[_Forward] = []
        for make in (noise, _smooth):
            read: list[Any] = []
            for shape in shapes:
                if shape not in real and valued_sizes:
                    found.append(_given(built, shape, read, make, tables))
                    continue
                with written_down() as written:
                    found.append(_Forward(audited, make(shape), provenance))
                if shape == shapes[0]:
                    read = written.values
                if readings is not None and make is noise:
                    readings[shape[2], shape[3]] = written.values
        return found

    ran = by_shape_or_value(forwards, built, torch.empty(0))
    counts = [forward.count for forward in ran]
    by_values = len(counts) > len(sizes)
    recount = None
    if not by_values:
        recount, again = _recount(built, tables, channels, counts[0])
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
        regular_constants=sum(constant.regular for constant in most.constants),
        scalars=max(forward.scalars.count for forward in ran),
        constant_bytes=sum(each.elements * each.itemsize for each in most.constants),
        product_dtypes=_most(forward.product_dtypes for forward in ran),
        uncounted=uncounted,
        opaque=opaque,
        derived_output=derived,
        complete=derived
        and not opaque
        and not unknown_cost(uncounted)
        and (recount is None or recount.agrees),
    )


def _given(
    network: nn.Module,
    shape: tuple[int, ...],
    read: Sequence[Any],
    make: Callable[[tuple[int, ...]], Tensor],
    tables: _Tables,
) -> _Forward:
    """A forward with values, or without them; then it gets those that a smaller one read."""
    with suppress(Exception), given_again(read):
        made = on_meta(network)
        image = torch.empty(shape, device="meta")
        return _Forward(made, image, tables.provenance(made))
    own = copied(network)
    return _Forward(own, make(shape), tables.provenance(own))


def _recount(
    network: nn.Module, tables: _Tables, channels: int, least: SizedCount
) -> tuple[Recount, list[_Forward]]:
    """Count a small forward without and with values; also return the forwards with values.

    Each count has a fresh copy. Otherwise one count would miss work that a network does only once.
    """
    without = _small_forward(network, channels, least)
    size = without.count.input_size
    again: list[_Forward] = []
    valued: SizedCount | Absent
    try:
        own = copied(network)
        provenance = tables.provenance(own)
        again.append(_Forward(own, noise((1, channels, *size)), provenance))
        valued = again[0].count
    except Exception as error:  # noqa: BLE001 - a stranger's forward may raise anything
        said = " ".join(f"{type(error).__name__}: {error}".split())
        reason = f"the forward raises {said}"
        valued = Absent(kind="failed", reason=reason, failure="forward-error")
    calls = tuple(each.conv_calls for each in (without, *again))
    return Recount(without_values=without.count, with_values=valued, conv_calls=calls), again


def _small_forward(network: nn.Module, channels: int, least: SizedCount) -> _Forward:
    """Run a small forward without values: 64x64, smaller if that is costly, larger if it fails."""
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
    """Seeded noise in 0..1, float32: the input of a forward that needs values."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


def _smooth(shape: tuple[int, ...]) -> Tensor:
    """A smooth image, unlike noise: slow waves around grey, as in the sky of a photograph."""
    rows = torch.linspace(0, math.tau, shape[2]).sin()
    columns = torch.linspace(0, math.tau, shape[3]).cos()
    return (0.5 + 0.2 * (rows[:, None] + columns)).expand(shape).clone()


class _Tables:
    """Keeps the values of a network's tables, because copies without values do not have them.

    Tables are buffers and tensors among other attributes, such as attention masks.
    """

    def __init__(self, network: nn.Module) -> None:
        """Find integer tables with the same values, and tables that follow a pattern."""
        groups: dict[tuple[Any, ...], list[str]] = {}
        self._patterns: dict[str, int] = {}
        for name, table in _tables(network).items():
            if table.device.type != "cpu" or table.layout != torch.strided or not table.numel():
                continue
            if not table.is_floating_point() and not table.is_complex():
                values = (table.dtype, table.shape, table.contiguous().numpy().tobytes())
                groups.setdefault(values, []).append(name)
            if table.numel() >= LEAST_ELEMENTS:
                self._patterns[name] = numbers_needed(table)
        self._alike = [names for names in groups.values() if len(names) > 1]

    def provenance(self, audited: nn.Module) -> Provenance:
        """Watch forwards of a copy of the network with knowledge of its tables."""
        tables = _tables(audited)
        found = ([tables[name] for name in names if name in tables] for names in self._alike)
        return Provenance(
            torch.empty(0),
            [alike for alike in found if alike],
            parameters=parameters(audited),
            patterns=[(tables[name], n) for name, n in self._patterns.items() if name in tables],
        )


def _tables(network: nn.Module) -> dict[str, Tensor]:
    return {**dict(named_buffers(network)), **dict(named_attributes(network))}


def _elements(constants: Iterable[Constant]) -> int:
    return sum(constant.elements for constant in constants)


def _most(calls: Iterable[Counter[str]]) -> dict[str, int]:
    most = Counter[str]()
    for counted in calls:
        most |= counted
    return dict(sorted(most.items()))


class _Forward:
    """The operators that one forward ran."""

    def __init__(self, network: nn.Module, lr: Tensor, provenance: Provenance) -> None:
        self._tally = Tally()
        self._contractions = Contractions(self._is_feature)
        self._combined = Contractions(self._weighs, loosely=True)
        self._provenance = provenance
        self.product_dtypes: Counter[str] = Counter()
        self.opaque: Counter[str] = Counter()
        provenance.restart(lr)
        self.scalars = provenance.numbers
        self._calls = _Calls(provenance.leave)
        size = (lr.shape[2], lr.shape[3])
        with eagerly(), torch.no_grad(), self._calls, ShapeMode(watch=self._watch):
            output = network(lr)
        if not isinstance(output, Tensor):
            raise MeasurementError(
                f"the output is a {type(output).__name__}, expected a tensor",
                advice="Return the SR image alone.",
            )
        self.derived = provenance.derived(output)
        macs, passed_over = self._tally.macs, self._tally.uncounted
        self.conv_calls = self._tally.conv_calls
        self.count = SizedCount(input_size=size, macs=macs, elementwise=self._tally.elementwise)
        self.opaque |= {name: calls for name, calls in passed_over.items() if is_opaque(name)}
        self.uncounted = passed_over - self.opaque
        if self._contractions.macs > CONTRACTED_SHARE * macs:
            self.uncounted |= self._contractions.calls
        least = max(ELEMENTWISE_SHARE * macs, COMBINED_RESULTS * math.prod(size))
        if self._combined.macs > least:
            self.uncounted |= self._combined.calls
        self.opaque += provenance.opaque
        self.constants = provenance.met | provenance.met_as_indices
        self.indices = provenance.met_as_indices - provenance.met

    def _watch(
        self, called: str, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any
    ) -> None:
        name = out_of_place(called)
        out = result[0] if isinstance(result, tuple | list) and result else result
        self._tally.add(called, args, kwargs, result)
        if name in MACS and isinstance(out, Tensor):
            dtype = self._calls.autocast or out.dtype
            self.product_dtypes[str(dtype).removeprefix("torch.")] += 1
        for tensor in tensors_in(args):
            if type(tensor).__torch_dispatch__ is not Tensor.__torch_dispatch__:
                # The operators that a tensor subclass runs itself are not seen.
                self.opaque[f"{called} of {type(tensor).__name__}"] += 1
        self._provenance.follow(called, args, kwargs, result)
        self._contractions.follow(name, args, out, kwargs)
        self._combined.follow(name, args, out, kwargs)

    def _is_feature(self, value: Any) -> bool:
        return isinstance(value, Tensor) and self._provenance.weighs(value)

    def _weighs(self, value: Any) -> bool:
        """Whether it is a feature or a weight; numbers are weights if there are many of them."""
        if isinstance(value, int | float | complex) and not isinstance(value, bool):
            return self.scalars.count > FORMULA_NUMBERS
        return self._is_feature(value)


class _Calls(TorchFunctionMode):
    """Finds what the dispatcher does not see: autocast, and pixels that leave torch.

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
        """Set the function to call with a tensor that leaves torch and the way it leaves."""
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
        """Examine one call and pass it on."""
        # At the dispatcher, autocast has already been applied, and it does not cast tensors on
        # meta.
        self.autocast = None
        for device in DEVICES:
            if torch.is_autocast_enabled(device):
                self.autocast = torch.get_autocast_dtype(device)
        if func in self._LEAVING and isinstance(args[0], Tensor):
            self._leave(self._LEAVING[func], args[0])
        return func(*args, **(kwargs or {}))

"""The audit: what the dispatcher really ran, and what the output was really made of.

It ends hiding, not tampering: it runs in the process of the network it watches, and code that
writes into a tensor's memory behind torch's back leaves no operator, nor does a forward that
does less on ``meta`` than on an image.
"""

from __future__ import annotations

import copy
import math
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from harness.errors import MeasurementError
from harness.probes.counters.contractions import Contractions
from harness.probes.counters.operators import (
    ELEMENTWISE,
    FREE,
    LIGHT,
    is_opaque,
    macs_of,
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

INDEX_SHARE: Final = 0.1
"""Index tables up to this share of the parameters are no hidden weights: a window attention
without them would compute them from the window's size."""

CONTRACTED_SHARE: Final = 0.05
"""Products summed by elementwise operators are named from this share of the counted
multiply-accumulates on; below are scales of residual branches and pooled gates."""

ELEMENTWISE_SHARE: Final = 0.25
ELEMENTWISE_RESULTS: Final = 1000
"""Elementwise work rivals multiply-accumulates from this share on, above so many an input pixel.

Registered networks have up to 2.6 %, and bicubic interpolation 725 a pixel.
"""

SUMMED_PRODUCTS: Final = "aten::mul (summed)"

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

        ``complete`` is false if the output does not derive from the input or if anything ran
        that is neither counted nor free nor in ``operators.LIGHT``.

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
    derived = all(forward.derived for forward in ran)
    uncounted = _most(forward.uncounted for forward in ran)
    opaque = _most(forward.opaque for forward in ran)
    most = max(ran, key=lambda forward: _elements(forward.constants))
    return Audit(
        sizes=tuple(counts[: len(sizes)]),
        smooth_sizes=tuple(counts[len(sizes) :]),
        by_values=len(counts) > len(sizes),
        effective_constants=_elements(most.constants),
        index_constants=_elements(most.indices),
        scalars=max(len(forward.scalars) for forward in ran),
        constant_bytes=sum(each.elements * each.itemsize for each in most.constants),
        product_dtypes=_most(forward.product_dtypes for forward in ran),
        uncounted=uncounted,
        opaque=opaque,
        derived_output=derived,
        complete=derived and not opaque and not _unknown(uncounted),
    )


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


def _unknown(uncounted: Mapping[str, int]) -> dict[str, int]:
    return {name: calls for name, calls in uncounted.items() if out_of_place(name) not in LIGHT}


class _Forward:
    """What one forward ran."""

    def __init__(self, network: nn.Module, lr: Tensor, provenance: Provenance) -> None:
        self._macs = 0
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


def notices_of(audit: Audit, params: int) -> Iterator[Notice]:
    """What an audit found that a reader of the counts should know.

    Args:
        audit: of a network.
        params: elements of its parameters.

    Yields:
        ``size-dependent-cost``, ``content-dependent``, ``elementwise-work``,
        ``hidden-constants``, ``hidden-work``, ``mixed-precision``, ``uncounted-operator`` and
        ``opaque-operator``, each at most once.
    """
    compared = [count for count in audit.sizes if min(count.input_size) >= COMPARED_SIDE]
    costs = [count.macs_per_pixel for count in compared]
    if costs and max(costs) > min(costs) * (1 + SIZE_LIMIT):
        figures = ", ".join(
            f"{count.macs_per_pixel:,.0f} at {count.input_size[0]}x{count.input_size[1]}"
            for count in compared
        )
        yield Notice(
            code="size-dependent-cost",
            message=f"multiply-accumulates of an input pixel depend on the size: {figures}",
            advice="Compare figures at the size of the images; a cost that grows with the size, "
            "such as global attention, is not seen in the figure at 256x256.",
        )
    if any(noisy != smooth for noisy, smooth in zip(audit.sizes, audit.smooth_sizes, strict=False)):
        figures = ", ".join(
            f"{noisy.macs:,} and {smooth.macs:,} at {noisy.input_size[0]}x{noisy.input_size[1]}"
            for noisy, smooth in zip(audit.sizes, audit.smooth_sizes, strict=True)
        )
        yield Notice(
            code="content-dependent",
            message=f"work depends on the image; multiply-accumulates of noise and of a smooth "
            f"image: {figures}",
            advice="No single figure holds for all images; quote the highest.",
        )
    yield from _elementwise_work(audit.sizes)
    indices = min(audit.index_constants, int(INDEX_SHARE * params))
    beyond = audit.effective_constants + audit.scalars - indices - params
    if beyond > max(HIDDEN_ELEMENTS, HIDDEN_SHARE * params):
        scalars = f" and {audit.scalars:,} numbers of the code" if audit.scalars else ""
        yield Notice(
            code="hidden-constants",
            message=f"{audit.effective_constants:,} constants{scalars} meet the image, of which "
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
            message=f"products are of {listed(audit.product_dtypes)} for a {PRECISION} input",
            advice="A network that casts by itself belongs to another class of precision.",
        )
    unknown = _unknown(audit.uncounted)
    if unknown:
        yield Notice(
            code="uncounted-operator",
            message=f"operators of unknown cost ran and count 0: {listed(unknown)}",
            advice="The count is a lower bound; count a version without them.",
        )
    if audit.opaque:
        yield Notice(
            code="opaque-operator",
            message=f"custom operators and work out of sight count 0: {listed(audit.opaque)}",
            advice="Count a version of the network that uses torch's own operators, in the "
            "thread of the forward.",
        )


def _elementwise_work(sizes: Iterable[SizedCount]) -> Iterator[Notice]:
    for count in sizes:
        done = count.elementwise or 0
        pixels = math.prod(count.input_size)
        if done > max(ELEMENTWISE_SHARE * count.macs, ELEMENTWISE_RESULTS * pixels):
            yield Notice(
                code="elementwise-work",
                message=f"elementwise operators give {done:,} results beside {count.macs:,} "
                f"multiply-accumulates at {count.input_size[0]}x{count.input_size[1]}",
                advice="Compare run times: by every convention elementwise work counts nothing.",
            )
            return


def listed(calls: Mapping[str, int]) -> str:
    """Operators with their numbers of calls, in words."""
    return ", ".join(f"{name} ({count})" for name, count in calls.items())

"""Forwards without values: a dispatch mode that answers operators on ``meta`` by shape.

A meta tensor has a shape and no pixels, so a forward costs milliseconds at any size. Torch's
own meta kernels are right but partly written in Python: the first one used imports symbolic
algebra and a compiler (1-2 s a process). The rules here answer the operators of SR networks
without them and leave every other call, and every unusual one, to those kernels.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from functools import cache
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from harness.probes.counters.operators import FLOAT_ELEMENTWISE, out_of_place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, MutableMapping, Sequence

    Watch = Callable[[str, "Arguments", dict[str, Any], Any], None]
    """Is told an operator's name, arguments, keyword arguments and result."""

T = TypeVar("T")
Arguments: TypeAlias = "tuple[Any, ...]"

_UNANSWERED: Final = object()

_VIEWS: Final = frozenset(
    f"aten::{name}"
    for name in (
        "alias as_strided detach diagonal expand permute select slice split split_with_sizes "
        "squeeze t transpose unbind unsqueeze view _unsafe_view"
    ).split()
)
"""Operators whose kernels on ``meta`` are not written in Python: nothing to keep from them."""

_IMAGE_DIMS: Final = 4


class ShapeMode(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's own
    """Runs operators on meta tensors for their shapes and tells ``watch`` of each one.

    Operators without a meta tensor among their arguments run as they are. A network that
    switches ``torch.inference_mode`` on gives the same operators as one that does not.
    """

    def __init__(
        self,
        *,
        watch: Watch | None = None,
        around_kernel: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        """Set who is told of operators and what surrounds torch's own kernels.

        Args:
            watch: called with the operator's name (``aten::add_``), its positional and keyword
                arguments and its result, after it ran.
            around_kernel: makes a context for each call that no rule here answered.
        """
        super().__init__()  # type: ignore[no-untyped-call]  # torch's own
        self._watch = watch
        self._around_kernel = around_kernel

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Keep torch from wrapping this mode, which would import its compiler (1.4 s).

        A private switch of torch: where it does not exist the mode is slower, not wrong.
        """
        return False

    def __torch_dispatch__(
        self,
        func: torch._ops.OpOverload,
        types: Sequence[type],
        args: Arguments = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Answer one operator."""
        kwargs = kwargs or {}
        if torch.is_inference_mode_enabled():
            # Inference mode hands over composite operators (linear, matmul) whole.
            with torch.inference_mode(mode=False), torch.no_grad(), self:
                return func(*args, **kwargs)
        result = self.answer(func, args, kwargs)
        if self._watch is not None:
            self._watch(operator_name(func), args, kwargs, result)
        return result

    def answer(self, func: torch._ops.OpOverload, args: Arguments, kwargs: dict[str, Any]) -> Any:
        """Result of one operator, by rule or by torch's kernel."""
        name = operator_name(func)
        if name in _VIEWS:
            return func(*args, **kwargs)
        result = _answer_by_shape(name, args, kwargs)
        if result is _UNANSWERED:
            with self._around_kernel():
                return func(*args, **kwargs)
        return result


def by_shape_or_value(
    count: Callable[[nn.Module, Tensor, bool], T], network: nn.Module, lr: Tensor
) -> T:
    """Count a forward without values; if that cannot be done, count a real one.

    Both run the same operators, with one known exception: fused attention, one operator on
    CPU, comes as its scalings, products and softmax without values.

    Args:
        count: called with a network, its input and whether they are on ``meta``; it starts
            anew at each call.
        network: on CPU; a copy of it goes to ``meta``, so the first call leaves no trace.
        lr: (1, 3, H, W) float32 on CPU.

    Returns:
        What ``count`` returned. The real forward decides: what the forward without values
        raised (control flow that depends on pixels, code that cannot be copied, a private part
        of torch that moved) is dropped, what the real one raises passes through.
    """
    copies = _copies.get({})
    try:
        copied = copies.pop(network, None) or _without_values(network)
        result = count(copied, lr.to("meta"), True)
    except Exception:  # noqa: BLE001 - a stranger's forward may raise anything, see above
        return count(network, lr, False)
    # A copy on which a counter failed may hold its traces; one on which it ended well does not.
    copies[network] = copied
    return result


def on_meta(network: nn.Module) -> nn.Module:
    """A copy of a network without values, shared inside ``copied_once``; leave it as it is."""
    copies = _copies.get({})
    if network not in copies:
        copies[network] = _without_values(network)
    return copies[network]


_copies: ContextVar[MutableMapping[nn.Module, nn.Module]] = ContextVar("copies")


@contextmanager
def copied_once() -> Iterator[None]:
    """Let the counters in this block share one copy of a network; copying is what costs."""
    token = _copies.set({})
    try:
        yield
    finally:
        _copies.reset(token)


def _without_values(network: nn.Module) -> nn.Module:
    """Copy of a network whose parameters and buffers are on ``meta``; no values are copied."""
    # The lists keep what is named by its id alive.
    parameters, buffers = list(network.parameters()), list(network.buffers())
    copies: dict[int, Any] = {}
    for parameter in parameters:
        shape = parameter.detach().to("meta")
        copies[id(parameter)] = nn.Parameter(shape, requires_grad=parameter.requires_grad)
    for buffer in buffers:
        copies[id(buffer)] = buffer.detach().to("meta")
    for module in network.modules():
        for value in vars(module).values():
            # Torch copies no computed tensor; the weight under ``weight_norm`` is one.
            if isinstance(value, Tensor) and not value.is_leaf:
                copies[id(value)] = value.detach()
    copied: nn.Module = _copied(network, copies)
    return copied.to("meta")


def _copied(value: Any, copies: dict[int, Any]) -> Any:
    """``copy.deepcopy`` with a short way through modules, which are most of a network.

    Args:
        value: what to copy.
        copies: copies by the ``id`` of what they copy, as ``copy.deepcopy`` keeps them.
    """
    known = copies.get(id(value))
    if known is not None:
        return known
    kind = type(value)
    if kind in _IMMUTABLE:
        return value
    if kind is dict or kind is OrderedDict:
        copied = copies[id(value)] = kind()
        for key, each in value.items():
            copied[_copied(key, copies)] = _copied(each, copies)
        return copied
    if isinstance(value, nn.Module) and _is_its_attributes(kind):
        copied = copies[id(value)] = kind.__new__(kind)
        for name, each in vars(value).items():
            vars(copied)[name] = _copied(each, copies)
        return copied
    return copy.deepcopy(value, copies)


_IMMUTABLE: Final = frozenset((type(None), bool, int, float, complex, str, bytes))


@cache
def _is_its_attributes(kind: type[nn.Module]) -> bool:
    """Whether copying a module's attributes copies the module: no class has a way of its own."""
    own_ways = {"__copy__", "__deepcopy__", "__reduce__", "__reduce_ex__", "__getstate__"}
    for base in kind.__mro__[:-1]:
        ways = own_ways | {"__slots__"}
        # Those of torch fill in what older files lack.
        if not base.__module__.startswith("torch.nn."):
            ways |= {"__setstate__", "__new__"}
        if ways & vars(base).keys():
            return False
    return True


@cache
def operator_name(func: torch._ops.OpOverload) -> str:
    """``namespace::name`` of an operator, without its overload."""
    name: str = func.name()  # type: ignore[no-untyped-call]  # torch's own
    return name.partition(".")[0]


def _answer_by_shape(name: str, args: Arguments, kwargs: dict[str, Any]) -> Any:
    if not args or "out" in kwargs or kwargs.get("dtype") is not None:
        return _UNANSWERED
    plain_name = out_of_place(name)
    if plain_name in FLOAT_ELEMENTWISE:
        return _elementwise(args, in_place=plain_name != name)
    rule = _RULES.get(name)
    return _UNANSWERED if rule is None else rule(*args, **kwargs)


def _alike(*tensors: Any) -> bool:
    """Whether all are float tensors of one type on meta."""
    return all(
        isinstance(tensor, Tensor)
        and tensor.is_meta
        and tensor.is_floating_point()
        and tensor.dtype == tensors[0].dtype
        for tensor in tensors
    )


def _plain(*tensors: Any) -> bool:
    """Whether all are contiguous float tensors of one type on meta: no layout to follow."""
    return _alike(*tensors) and all(tensor.is_contiguous() for tensor in tensors)


def _layout(operands: Sequence[Any], images: Sequence[Any]) -> torch.memory_format | None:
    """Layout of what the CPU kernel returns, or None where there is no rule.

    Torch's meta kernels of convolution and pixel shuffle forget channels-last. A Linear adds
    its bias by an operator of its own to some layouts only, so a wrong one would show.

    Args:
        operands: all tensors of the call.
        images: those whose layout the kernel follows.
    """
    if _plain(*operands):
        return torch.contiguous_format
    if _alike(*operands) and any(_is_channels_last(image) for image in images):
        return torch.channels_last
    return None


def _is_channels_last(image: Tensor) -> bool:
    """Whether the strides grow from channels over columns and rows to images, gaps allowed."""
    if image.ndim != _IMAGE_DIMS or not image.numel():
        return False
    images, channels, rows, columns = zip(image.stride(), image.shape, strict=True)
    reach = 1
    for stride, size in (channels, columns, rows):
        if stride < reach:
            return False
        reach = stride * size
    # A single value an image has both layouts; torch takes it for contiguous.
    return images[0] >= reach and reach != channels[0]


def _empty(
    shape: Sequence[int], like: Tensor, layout: torch.memory_format = torch.contiguous_format
) -> Tensor:
    return torch.empty(tuple(shape), dtype=like.dtype, device="meta", memory_format=layout)


def _elementwise(args: Arguments, *, in_place: bool) -> Any:
    tensors = [argument for argument in args if isinstance(argument, Tensor)]
    if len(tensors) != 1 and not _plain(*tensors):
        return _UNANSWERED
    first = tensors[0]
    if not (first.is_meta and first.is_floating_point()):
        return _UNANSWERED
    shape = _broadcast([tensor.shape for tensor in tensors])
    if shape is None or (in_place and shape != first.shape):
        return _UNANSWERED
    if in_place:
        return args[0]
    if first.is_contiguous():
        return _empty(shape, first)
    return _UNANSWERED


def _broadcast(shapes: Sequence[Sequence[int]]) -> tuple[int, ...] | None:
    """Shape that all broadcast to, or None."""
    sizes = []
    for aligned in zip_longest(*(reversed(shape) for shape in shapes), fillvalue=1):
        wide = {size for size in aligned if size != 1}
        if len(wide) > 1:
            return None
        sizes.append(wide.pop() if wide else 1)
    return tuple(reversed(sizes))


def _convolution(  # noqa: PLR0917 - the operator's own positional arguments
    features: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> Any:
    operands = (features, weight) if bias is None else (features, weight, bias)
    channels = weight.shape[0] if transposed else weight.shape[1] * groups
    spatial = weight.ndim - 2
    layout = _layout(operands, operands[:2])
    if (
        layout is None
        or features.ndim != weight.ndim
        or features.shape[1] != channels
        or any(len(each) != spatial for each in (stride, padding, dilation, output_padding))
    ):
        return _UNANSWERED
    sizes = []
    for axis in range(spatial):
        reach = dilation[axis] * (weight.shape[axis + 2] - 1)
        size = features.shape[axis + 2]
        if transposed:
            size = (size - 1) * stride[axis] - 2 * padding[axis] + reach + output_padding[axis] + 1
        else:
            size = (size + 2 * padding[axis] - reach - 1) // stride[axis] + 1
        sizes.append(size)
    if min(sizes) <= 0:
        return _UNANSWERED
    channels = weight.shape[1] * groups if transposed else weight.shape[0]
    return _empty((features.shape[0], channels, *sizes), features, layout)


def _cat(tensors: Sequence[Tensor], dim: int = 0) -> Any:
    if not tensors or not _plain(*tensors):
        return _UNANSWERED
    shape = list(tensors[0].shape)
    if not -len(shape) <= dim < len(shape):
        return _UNANSWERED
    for tensor in tensors:
        rest = list(tensor.shape)
        if len(rest) != len(shape):
            return _UNANSWERED
        rest[dim] = shape[dim]
        if rest != shape:
            return _UNANSWERED
    shape[dim] = sum(tensor.shape[dim] for tensor in tensors)
    return _empty(shape, tensors[0])


def _pixel_shuffle(features: Tensor, factor: int) -> Any:
    layout = _layout([features], [features])
    if layout is None or features.ndim != _IMAGE_DIMS or features.shape[1] % factor**2:
        return _UNANSWERED
    batch, channels, height, width = features.shape
    shape = (batch, channels // factor**2, height * factor, width * factor)
    return _empty(shape, features, layout)


def _max_pool2d(
    features: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0,),
    *unusual: Any,
) -> Any:
    if unusual or not _plain(features) or features.ndim != _IMAGE_DIMS:
        return _UNANSWERED
    sizes = []
    for axis in range(2):
        window, step, pad = (
            values[axis] if len(values) > 1 else values[0]
            for values in (kernel, stride or kernel, padding)
        )
        if 2 * pad > window:
            return _UNANSWERED
        sizes.append((features.shape[axis + 2] + 2 * pad - window) // step + 1)
    if min(sizes) <= 0:
        return _UNANSWERED
    pooled = _empty((*features.shape[:2], *sizes), features)
    return pooled, torch.empty(pooled.shape, dtype=torch.int64, device="meta")


def _upsample2d(features: Tensor, size: Sequence[int], *_how: Any) -> Any:
    if not _plain(features) or features.ndim != _IMAGE_DIMS or min(size) <= 0:
        return _UNANSWERED
    return _empty((*features.shape[:2], *size), features)


def _mean(features: Tensor, dims: Sequence[int] | None = None, keepdim: bool = False) -> Any:
    if not dims or not _plain(features) or not features.ndim:
        return _UNANSWERED
    reduced = {dim % features.ndim for dim in dims}
    if len(reduced) != len(dims) or max(dims) >= features.ndim or min(dims) < -features.ndim:
        return _UNANSWERED
    shape = [1 if axis in reduced else size for axis, size in enumerate(features.shape)]
    if not keepdim:
        shape = [size for axis, size in enumerate(shape) if axis not in reduced]
    return _empty(shape, features)


def _matrix_product(left: Tensor, right: Tensor) -> Any:
    if left.dtype != right.dtype or not (left.is_meta and right.is_meta):
        return _UNANSWERED
    if left.shape[-1] != right.shape[-2] or left.shape[:-2] != right.shape[:-2]:
        return _UNANSWERED
    return _empty((*left.shape[:-1], right.shape[-1]), left)


def _addmm(bias: Tensor, left: Tensor, right: Tensor, *, beta: float = 1, alpha: float = 1) -> Any:  # noqa: ARG001
    product = _matrix_product(left, right)
    if product is _UNANSWERED or not bias.is_meta or bias.dtype != left.dtype:
        return _UNANSWERED
    return product if _broadcast((bias.shape, product.shape)) == product.shape else _UNANSWERED


_RULES: Final[dict[str, Callable[..., Any]]] = {
    "aten::convolution": _convolution,
    "aten::cat": _cat,
    "aten::pixel_shuffle": _pixel_shuffle,
    "aten::max_pool2d_with_indices": _max_pool2d,
    "aten::upsample_bilinear2d": _upsample2d,
    "aten::upsample_bicubic2d": _upsample2d,
    "aten::mean": _mean,
    "aten::mm": _matrix_product,
    "aten::bmm": _matrix_product,
    "aten::addmm": _addmm,
}

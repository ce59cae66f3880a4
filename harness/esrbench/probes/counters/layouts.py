"""Memory layouts of results: of convolutions and of elementwise operators.

The layout that a kernel returns decides which copies are made and which operators come next. For
example, a Linear adds its bias by a separate operator for some layouts only. So a wrong layout
would change the count.
"""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Sequence

UNANSWERED: Final = object()
"""No rule covers this call; torch's own kernel must answer it."""

IMAGE_DIMS: Final = 4


def alike(*tensors: Any) -> bool:
    """Whether all are float tensors of one type on meta."""
    return all(
        isinstance(tensor, Tensor)
        and tensor.is_meta
        and tensor.is_floating_point()
        and tensor.dtype == tensors[0].dtype
        for tensor in tensors
    )


def plain(*tensors: Any) -> bool:
    """Whether all are contiguous float tensors of one type on meta: no layout to follow."""
    return alike(*tensors) and all(tensor.is_contiguous() for tensor in tensors)


def layout_of(operands: Sequence[Any], images: Sequence[Any]) -> torch.memory_format | None:
    """Layout of the CPU kernel's result, or None if there is no rule.

    Torch's meta kernels of convolution and pixel shuffle lose channels-last. A Linear adds its
    bias by a separate operator for some layouts only, so a wrong layout would change the count.

    Args:
        operands: all tensors of the call.
        images: those whose layout the kernel follows.
    """
    if plain(*operands):
        return torch.contiguous_format
    if not alike(*operands):
        return None
    if any(is_channels_last(image) for image in images):
        return torch.channels_last
    return torch.contiguous_format


def is_channels_last(image: Tensor) -> bool:
    """Whether the strides grow from channels over columns and rows to images; gaps are allowed."""
    if image.ndim != IMAGE_DIMS or not image.numel():
        return False
    images, channels, rows, columns = zip(image.stride(), image.shape, strict=True)
    reach = 1
    for stride, size in (channels, columns, rows):
        if stride < reach:
            return False
        reach = stride * size
    # An image of a single value has both layouts; torch treats it as contiguous.
    return images[0] >= reach and reach != channels[0]


def _stride_of_result(shape: Sequence[int], tensors: Sequence[Tensor]) -> Sequence[int]:
    """Strides of an elementwise result; its dimensions have the order of its operands.

    If operands disagree, the first one decides, by torch's rules for iterating over tensors.
    """
    first = tensors[0]
    if _is_dense(first) and all(
        each.shape == first.shape and each.stride() == first.stride() for each in tensors
    ):
        return first.stride()
    strides = []
    for tensor in tensors:
        missing = len(shape) - tensor.ndim
        own = (
            0 if size == 1 != wide else stride
            for stride, size, wide in zip(
                tensor.stride(), tensor.shape, shape[missing:], strict=True
            )
        )
        strides.append((*(0,) * missing, *own))
    # Dimensions from the fastest to the slowest, sorted by insertion.
    order = list(reversed(range(len(shape))))
    for start in range(1, len(order)):
        moved = start
        for place in range(start - 1, -1, -1):
            compared = _compare_dimensions(order[place], order[moved], shape, strides)
            if compared > 0:
                order[place], order[moved] = order[moved], order[place]
                moved = place
            elif compared < 0:
                break
    result, reach = [0] * len(shape), 1
    for dimension in order:
        result[dimension] = reach
        reach *= shape[dimension]
    return result


def _compare_dimensions(
    one: int, other: int, shape: Sequence[int], strides: Sequence[Sequence[int]]
) -> int:
    """Below 0 if dimension ``one`` is faster in memory than the other, above 0 if it is slower."""
    for stride in strides:
        # A broadcast dimension has no place in memory.
        if stride[one] and stride[other]:
            if stride[one] != stride[other]:
                return stride[one] - stride[other]
            if shape[one] > shape[other]:
                return 1
    return 0


def _is_dense(tensor: Tensor) -> bool:
    """Whether the elements fill a contiguous range of memory, in any order."""
    reach = 1
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if size != 1:
            if stride != reach:
                return False
            reach = stride * size
    return tensor.numel() > 0


def empty(
    shape: Sequence[int], like: Tensor, layout: torch.memory_format = torch.contiguous_format
) -> Tensor:
    """A tensor on meta with the type of another one."""
    return torch.empty(tuple(shape), dtype=like.dtype, device="meta", memory_format=layout)


def elementwise(name: str, args: Sequence[Any], *, in_place: bool) -> Any:
    """Result of an operator that keeps its operands' type, or ``UNANSWERED``."""
    if any(isinstance(argument, complex) for argument in args):
        return UNANSWERED
    tensors = [argument for argument in args if isinstance(argument, Tensor)]
    if any(tensor.ndim for tensor in tensors) and not (in_place and _is_size(args[0])):
        # While torch.jit traces, sizes are tensors: integers that do not change the type.
        args = [argument for argument in args if not _is_size(argument)]
        tensors = [tensor for tensor in tensors if not _is_size(tensor)]
    if not tensors or not (alike(*tensors) or (name in _OF_INTEGERS and _integers(args))):
        return UNANSWERED
    return _result_of(tensors, tensors[0].dtype, args[0] if in_place else None)


def _is_size(argument: Any) -> bool:
    return isinstance(argument, Tensor) and not argument.ndim and argument.dtype in _INTEGERS


def comparison(*args: Any) -> Any:
    """Result of an operator that returns booleans, or ``UNANSWERED``."""
    tensors = [argument for argument in args if isinstance(argument, Tensor)]
    if not tensors or not (alike(*tensors) or _integers(args)):
        return UNANSWERED
    return _result_of(tensors, torch.bool)


def where(condition: Tensor, one: Any, other: Any) -> Any:
    """Result of a choice between two tensors, or ``UNANSWERED``."""
    if not (isinstance(one, Tensor) and isinstance(other, Tensor) and alike(one, other)):
        return UNANSWERED
    if not condition.is_meta or condition.dtype != torch.bool:
        return UNANSWERED
    return _result_of([condition, one, other], one.dtype)


def _integers(args: Sequence[Any]) -> bool:
    """Whether these are integers and integer tensors of one type on meta."""
    tensors = [argument for argument in args if isinstance(argument, Tensor)]
    return all(each.is_meta and each.dtype == tensors[0].dtype for each in tensors) and all(
        argument.dtype in _INTEGERS
        if isinstance(argument, Tensor)
        else isinstance(argument, int) and not isinstance(argument, bool)
        for argument in args
    )


_INTEGERS: Final = frozenset((torch.int64, torch.int32))
_OF_INTEGERS: Final = frozenset(
    f"aten::{name}"
    for name in ("abs", "neg", "add", "sub", "rsub", "mul", "maximum", "minimum", "remainder")
)
"""Elementwise operators whose results on integers are integers of the same type."""


def _result_of(
    tensors: Sequence[Tensor], dtype: torch.dtype, in_place: Tensor | None = None
) -> Any:
    """The tensor into which an elementwise operator writes its result."""
    first = tensors[0]
    shape = broadcast([tensor.shape for tensor in tensors])
    if shape is None or (in_place is not None and shape != first.shape):
        return UNANSWERED
    if in_place is not None:
        return in_place
    if all(tensor.shape == shape and tensor.is_contiguous() for tensor in tensors):
        return torch.empty(shape, dtype=dtype, device="meta")
    if 0 in shape:
        return UNANSWERED
    stride = _stride_of_result(shape, tensors)
    return torch.empty_strided(shape, stride, dtype=dtype, device="meta")


def broadcast(shapes: Sequence[Sequence[int]]) -> tuple[int, ...] | None:
    """Shape to which all broadcast, or None."""
    sizes = []
    for aligned in zip_longest(*(reversed(shape) for shape in shapes), fillvalue=1):
        wide = {size for size in aligned if size != 1}
        if len(wide) > 1:
            return None
        sizes.append(wide.pop() if wide else 1)
    return tuple(reversed(sizes))

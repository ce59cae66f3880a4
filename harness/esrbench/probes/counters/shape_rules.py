"""Shapes of operators' results on ``meta``, for the operators of SR networks.

These rules replace torch's kernels. Each rule gives the result of the real kernel in shape, layout
and type. It declines a call that is unusual or wrong, which is then left to torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import torch

from esrbench.probes.counters.layouts import (
    IMAGE_DIMS,
    UNANSWERED,
    alike,
    broadcast,
    comparison,
    elementwise,
    empty,
    is_channels_last,
    layout_of,
    plain,
    where,
)
from esrbench.probes.counters.operators import FLOAT_ELEMENTWISE, out_of_place

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor


def answer_by_shape(name: str, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Result of an operator called ``name``, or ``UNANSWERED``."""
    factory = _FACTORIES.get(name)
    if factory is not None:
        return factory(*args, **kwargs)
    if not args or "out" in kwargs or kwargs.get("dtype") is not None:
        return UNANSWERED
    plain_name = out_of_place(name)
    if plain_name in FLOAT_ELEMENTWISE:
        return elementwise(plain_name, args, in_place=plain_name != name)
    rule = _RULES.get(name)
    return UNANSWERED if rule is None else rule(*args, **kwargs)


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
    layout = layout_of(operands, operands[:2])
    if (
        layout is None
        or features.ndim != weight.ndim
        or features.shape[1] != channels
        or any(len(each) != spatial for each in (stride, padding, dilation, output_padding))
    ):
        return UNANSWERED
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
        return UNANSWERED
    channels = weight.shape[1] * groups if transposed else weight.shape[0]
    return empty((features.shape[0], channels, *sizes), features, layout)


def _cat(tensors: Sequence[Tensor], dim: int = 0) -> Any:
    if not tensors or not alike(*tensors):
        return UNANSWERED
    shape = list(tensors[0].shape)
    if not -len(shape) <= dim < len(shape):
        return UNANSWERED
    for tensor in tensors:
        rest = list(tensor.shape)
        if len(rest) != len(shape):
            return UNANSWERED
        rest[dim] = shape[dim]
        if rest != shape:
            return UNANSWERED
    shape[dim] = sum(tensor.shape[dim] for tensor in tensors)
    of_one_kind = all(is_channels_last(tensor) for tensor in tensors)
    layout = torch.channels_last if of_one_kind else torch.contiguous_format
    return empty(shape, tensors[0], layout)


def _pixel_shuffle(features: Tensor, factor: int) -> Any:
    layout = layout_of([features], [features])
    if layout is None or features.ndim != IMAGE_DIMS or features.shape[1] % factor**2:
        return UNANSWERED
    batch, channels, height, width = features.shape
    shape = (batch, channels // factor**2, height * factor, width * factor)
    return empty(shape, features, layout)


def _reflection_pad(features: Tensor, padding: Sequence[int]) -> Any:
    left, right, top, bottom = padding
    if not plain(features) or features.ndim != IMAGE_DIMS or min(padding) < 0:
        return UNANSWERED
    height, width = features.shape[2:]
    if max(left, right) >= width or max(top, bottom) >= height:
        return UNANSWERED
    shape = (*features.shape[:2], height + top + bottom, width + left + right)
    return empty(shape, features)


def _indices(pooled: Tensor, layout: torch.memory_format) -> Tensor:
    """Indices of the maxima."""
    return torch.empty(pooled.shape, dtype=torch.int64, device="meta", memory_format=layout)


def _adaptive_max_pool2d(features: Tensor, size: Sequence[int]) -> Any:
    layout = layout_of([features], [features])
    if layout is None or features.ndim != IMAGE_DIMS or min(size) <= 0 or not features.numel():
        return UNANSWERED
    pooled = empty((*features.shape[:2], *size), features, layout)
    return pooled, _indices(pooled, layout)


def _max_pool2d(
    features: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0,),
    *unusual: Any,
) -> Any:
    layout = layout_of([features], [features])
    if unusual or layout is None or features.ndim != IMAGE_DIMS:
        return UNANSWERED
    sizes = []
    for axis in range(2):
        window, step, pad = (
            values[axis] if len(values) > 1 else values[0]
            for values in (kernel, stride or kernel, padding)
        )
        if 2 * pad > window:
            return UNANSWERED
        sizes.append((features.shape[axis + 2] + 2 * pad - window) // step + 1)
    if min(sizes) <= 0:
        return UNANSWERED
    pooled = empty((*features.shape[:2], *sizes), features, layout)
    return pooled, _indices(pooled, layout)


def _upsample2d(features: Tensor, size: Sequence[int], *_how: Any) -> Any:
    layout = layout_of([features], [features])
    if layout is None or features.ndim != IMAGE_DIMS or min(size) <= 0:
        return UNANSWERED
    return empty((*features.shape[:2], *size), features, layout)


def _softmax(features: Tensor, dim: int, half_to_float: bool) -> Any:
    if half_to_float or not plain(features) or not -features.ndim <= dim < features.ndim:
        return UNANSWERED
    return empty(features.shape, features)


def _whole(features: Tensor, *unusual: Any, **options: Any) -> Any:
    """Result of a reduction over all elements."""
    if any(unusual) or options.pop("keepdim", False) or not alike(features) or not features.numel():
        return UNANSWERED
    return UNANSWERED if options.keys() - {"correction"} else empty((), features)


def _mean(features: Tensor, dims: Sequence[int] | None = None, keepdim: bool = False) -> Any:
    if not dims and not keepdim:
        return _whole(features)
    if not dims or not alike(features) or not features.ndim:
        return UNANSWERED
    reduced = {dim % features.ndim for dim in dims}
    if len(reduced) != len(dims) or max(dims) >= features.ndim or min(dims) < -features.ndim:
        return UNANSWERED
    shape = [1 if axis in reduced else size for axis, size in enumerate(features.shape)]
    if not keepdim:
        shape = [size for axis, size in enumerate(shape) if axis not in reduced]
    if features.is_contiguous() or sum(size != 1 for size in shape) <= 1:
        return empty(shape, features)
    return UNANSWERED


def _group_norm(  # noqa: PLR0917 - the operator's own positional arguments
    features: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    batch: int,
    channels: int,
    positions: int,
    groups: int,
    _eps: float,
) -> Any:
    operands = [each for each in (features, weight, bias) if each is not None]
    if (
        not plain(*operands)
        or any(each.shape != (channels,) for each in operands[1:])
        or features.shape[:2] != (batch, channels)
        or features.shape[2:].numel() != positions
        or channels % groups
    ):
        return UNANSWERED
    mean, deviation = (empty((batch, groups), features) for _ in range(2))
    return empty(features.shape, features), mean, deviation


def _matrix_product(left: Tensor, right: Tensor) -> Any:
    if left.dtype != right.dtype or not (left.is_meta and right.is_meta):
        return UNANSWERED
    if left.shape[-1] != right.shape[-2] or left.shape[:-2] != right.shape[:-2]:
        return UNANSWERED
    return empty((*left.shape[:-1], right.shape[-1]), left)


def _addmm(bias: Tensor, left: Tensor, right: Tensor, *, beta: float = 1, alpha: float = 1) -> Any:  # noqa: ARG001
    product = _matrix_product(left, right)
    if product is UNANSWERED or not bias.is_meta or bias.dtype != left.dtype:
        return UNANSWERED
    return product if broadcast((bias.shape, product.shape)) == product.shape else UNANSWERED


def _arange(*bounds: Any, dtype: torch.dtype | None = None, **options: Any) -> Any:
    if not _on_meta(**options) or not all(isinstance(bound, int) for bound in bounds):
        return UNANSWERED
    span = range(*bounds)
    if not span:
        return UNANSWERED
    return torch.empty(len(span), dtype=dtype or torch.int64, device="meta")


def _eye(*sizes: int, dtype: torch.dtype | None = None, **options: Any) -> Any:
    if not _on_meta(**options) or not all(size > 0 for size in sizes):
        return UNANSWERED
    return torch.empty(sizes[0], sizes[-1], dtype=dtype or torch.get_default_dtype(), device="meta")


def _like(features: Tensor, **options: Any) -> Any:
    device = options.pop("device", None) or features.device
    if device.type != "meta" or any(options.values()) or not plain(features):
        return UNANSWERED
    return empty(features.shape, features)


def _on_meta(*, device: torch.device | None = None, **unusual: Any) -> bool:
    return device is not None and device.type == "meta" and not any(unusual.values())


_FACTORIES: Final[dict[str, Callable[..., Any]]] = {"aten::arange": _arange, "aten::eye": _eye}

_RULES: Final[dict[str, Callable[..., Any]]] = {
    "aten::convolution": _convolution,
    "aten::cat": _cat,
    "aten::pixel_shuffle": _pixel_shuffle,
    "aten::max_pool2d_with_indices": _max_pool2d,
    "aten::upsample_bilinear2d": _upsample2d,
    "aten::where": where,
    "aten::empty_like": _like,
    "aten::ones_like": _like,
    "aten::zeros_like": _like,
    **{f"aten::{name}": comparison for name in ("eq", "ne", "lt", "le", "gt", "ge")},
    "aten::upsample_bicubic2d": _upsample2d,
    "aten::upsample_nearest2d": _upsample2d,
    "aten::adaptive_max_pool2d": _adaptive_max_pool2d,
    "aten::_softmax": _softmax,
    "aten::mean": _mean,
    "aten::sum": _mean,
    "aten::reflection_pad2d": _reflection_pad,
    "aten::max": _whole,
    "aten::min": _whole,
    "aten::std": _whole,
    "aten::var": _whole,
    "aten::native_group_norm": _group_norm,
    "aten::mm": _matrix_product,
    "aten::bmm": _matrix_product,
    "aten::addmm": _addmm,
}

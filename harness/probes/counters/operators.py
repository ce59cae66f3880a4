"""What the ATen operators cost: the one table behind ``aten`` and all audits.

Operators are named as the dispatcher names them, without overload (``aten::add``). Those of
``torch.ops`` that are in no set here are unknown and must be named wherever they ran.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    Cost = Callable[[Sequence[Any], Tensor], int]
    """Positional arguments and first result of a call to its multiply-accumulates."""


def _convolution(args: Sequence[Any], out: Tensor) -> int:
    """Weight elements times positions: those of the output, of the input when transposed.

    The weight is (C_out, C_in/groups, *kernel), transposed (C_in, C_out/groups, *kernel), so
    its elements are the multiplications of one position whatever the groups. Bias is free.
    """
    features, weight = args[0], args[1]
    transposed = args[6]
    positions = math.prod((features if transposed else out).shape[2:])
    return int(out.shape[0] * positions * weight.numel())


def _product(left: int, right: int) -> Cost:
    """Cost of (..., n, k) x (..., k, m) matrices that stand at these argument positions."""

    def cost(args: Sequence[Any], _out: Tensor) -> int:
        return int(args[left].numel() * args[right].shape[-1])

    return cost


def _vector_product(position: int) -> Cost:
    """Cost of a product with a vector: the elements of the other operand."""

    def cost(args: Sequence[Any], _out: Tensor) -> int:
        return int(args[position].numel())

    return cost


def _linear(args: Sequence[Any], _out: Tensor) -> int:
    """Cost of (..., k) features with an (m, k) weight."""
    return int(args[0].numel() * args[1].shape[0])


def attention_scores(args: Sequence[Any]) -> int:
    """Elements of softmax(query x key) for (..., L, E) queries and (..., S, E) keys."""
    query, key = args[0], args[1]
    return int(query.shape[:-1].numel() * key.shape[-2])


def _attention(args: Sequence[Any], _out: Tensor) -> int:
    """Both matrix products of attention, masked or not: scores * (E + E_value)."""
    query, value = args[0], args[2]
    return attention_scores(args) * int(query.shape[-1] + value.shape[-1])


CONVOLUTIONS: Final[dict[str, Cost]] = dict.fromkeys(
    ("aten::convolution", "aten::_convolution"), _convolution
)

MATMULS: Final[dict[str, Cost]] = {
    "aten::mm": _product(0, 1),
    "aten::bmm": _product(0, 1),
    "aten::addmm": _product(1, 2),
    "aten::addbmm": _product(1, 2),
    "aten::baddbmm": _product(1, 2),
    "aten::mv": _vector_product(0),
    "aten::addmv": _vector_product(1),
    "aten::dot": _vector_product(0),
    "aten::linear": _linear,
}

ATTENTIONS: Final[dict[str, Cost]] = dict.fromkeys(
    (
        "aten::_scaled_dot_product_flash_attention_for_cpu",
        "aten::_scaled_dot_product_flash_attention",
        "aten::_scaled_dot_product_efficient_attention",
        "aten::_scaled_dot_product_cudnn_attention",
    ),
    _attention,
)

MACS: Final[dict[str, Cost]] = CONVOLUTIONS | MATMULS | ATTENTIONS
"""Every operator that multiplies and accumulates, with its cost."""


def _aten(names: str) -> frozenset[str]:
    return frozenset(f"aten::{name}" for name in names.split())


FLOAT_ELEMENTWISE: Final = _aten(
    "abs neg add sub rsub mul div true_divide addcmul addcdiv lerp pow square sqrt rsqrt "
    "reciprocal exp exp2 expm1 log log2 log10 log1p sin cos tan asin acos atan atan2 sinh cosh "
    "sigmoid tanh erf erfc relu relu6 leaky_relu _prelu_kernel elu celu gelu silu mish hardtanh "
    "hardswish hardsigmoid softplus softshrink hardshrink threshold clamp clamp_min clamp_max "
    "maximum minimum fmax fmin round floor ceil trunc frac sign sgn fmod remainder hypot"
)
"""One result a position, of the operands' own type when they are floating point."""

ELEMENTWISE: Final = FLOAT_ELEMENTWISE | _aten(
    "eq ne lt le gt ge logical_and logical_or logical_not logical_xor bitwise_and bitwise_or "
    "bitwise_not bitwise_xor where masked_fill isnan isinf isfinite floor_divide "
    "native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training"
)
"""One result a position. Batch normalisation scales and shifts every element in inference."""

FREE: Final = _aten(
    # views
    "view _unsafe_view _reshape_alias reshape alias detach expand permute transpose t slice "
    "select split split_with_sizes unsafe_split unsafe_split_with_sizes chunk unbind unsqueeze "
    "squeeze narrow as_strided unfold movedim diagonal real lift_fresh lift "
    # copies that move elements and compute nothing
    "clone contiguous copy _to_copy _to_cpu cat stack pixel_shuffle pixel_unshuffle "
    "channel_shuffle constant_pad_nd pad reflection_pad1d reflection_pad2d replication_pad1d "
    "replication_pad2d roll flip rot90 repeat repeat_interleave index index_select index_put "
    "_unsafe_index gather scatter im2col tril triu resize set "
    # factories and readings
    "empty empty_like empty_strided new_empty new_empty_strided zeros zeros_like new_zeros "
    "ones ones_like new_ones full full_like new_full zero fill arange linspace scalar_tensor eye "
    "rand randn rand_like randn_like _local_scalar_dense item is_nonzero"
)
"""Views, copies, factories: no arithmetic on features."""

NAMES_WITH_MACS: Final = frozenset(MACS) | _aten(
    "conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d conv_tbc matmul "
    "einsum scaled_dot_product_attention _scaled_dot_product_attention_math bilinear _trilinear "
    "_native_multi_head_attention lstm gru mkldnn_rnn_layer _thnn_fused_lstm_cell"
)
"""Operators with multiply-accumulates by any name a counter may give them."""

TORCH_NAMESPACES: Final = frozenset({"aten", "prim", "prims"})


def out_of_place(name: str) -> str:
    """Name of the operator that computes the same into a new tensor (``aten::add_``: add)."""
    return name[:-1] if name.endswith("_") and not name.endswith("__") else name


def is_opaque(name: str) -> bool:
    """Whether only its author knows what the operator computes."""
    namespace = name.partition("::")[0]
    return namespace not in TORCH_NAMESPACES or name.startswith("prim::PythonOp")

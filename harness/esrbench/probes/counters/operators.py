"""Costs of the ATen operators: the one table behind ``aten`` and all audits.

Operators have the dispatcher's names, without overload (``aten::add``). An operator of
``torch.ops`` that is in no set here is unknown, and must be named wherever it ran.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, Final

from esrbench.records.counts import aten_names

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    Cost = Callable[[Sequence[Any], Tensor], int]
    """Maps positional arguments and first result of a call to its multiply-accumulates."""


def _convolution(args: Sequence[Any], out: Tensor) -> int:
    """Cost of convolutions, one of them transposed and another not."""
    return (_transposed_convolution if args[6] else _plain_convolution)(args, out)


def _plain_convolution(args: Sequence[Any], out: Tensor) -> int:
    """Each result element uses one filter, (C_in/groups, *kernel) of the weight. Bias is free."""
    return int(out.numel() * (args[1].numel() // args[1].shape[0]))


def _transposed_convolution(args: Sequence[Any], _out: Tensor) -> int:
    """Each input element uses one filter, (C_out/groups, *kernel) of the weight."""
    return int(args[0].numel() * (args[1].numel() // args[1].shape[0]))


def _time_convolution(args: Sequence[Any], out: Tensor) -> int:
    """Cost of (T, B, C_in) features with a (kernel, C_in, C_out) weight."""
    kernel, channels = args[1].shape[:2]
    return int(out.numel() * kernel * channels)


def _product(left: int, right: int) -> Cost:
    """Cost of (..., n, k) x (..., k, m) matrices at these argument positions."""

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


def _recurrent_layer(args: Sequence[Any], _out: Tensor) -> int:
    """One direction of an LSTM or GRU: (T, B, I) features meet both weights at every step."""
    features, of_input, of_state = args[:3]
    return int(features.shape[:-1].numel() * (of_input.numel() + of_state.numel()))


def _outer_product(_args: Sequence[Any], out: Tensor) -> int:
    """One product per element of the result."""
    return int(out.numel())


def _trilinear(args: Sequence[Any], _out: Tensor) -> int:
    """Terms of the sum: all positions to which three factors, unsqueezed at axes, broadcast."""
    shapes = []
    for factor, axes in zip(args[:3], args[3:6], strict=True):
        sizes = iter(factor.shape)
        rank = factor.ndim + len(axes)
        shapes.append([1 if axis in axes else next(sizes) for axis in range(rank)])
    return math.prod(max(sizes) for sizes in zip(*shapes, strict=True))


def _whole_attention(args: Sequence[Any], _out: Tensor) -> int:
    """Attention with its four projections, on (B, L, E) queries and (B, S, E) keys."""
    query, key = args[0], args[1]
    batch, queries, width = query.shape
    keys = key.shape[1]
    projections = 2 * (queries + keys) * width * width
    return int(batch * (projections + 2 * queries * keys * width))


def _encoder_layer(args: Sequence[Any], out: Tensor) -> int:
    """Attention of (B, L, E) features with itself, then two linear layers."""
    features, first, second = args[0], args[14], args[16]
    linear = features.shape[:-1].numel() * (first.numel() + second.numel())
    return _whole_attention((features, features), out) + int(linear)


def attention_scores(args: Sequence[Any]) -> int:
    """Elements of softmax(query x key) for (..., L, E) queries and (..., S, E) keys."""
    query, key = args[0], args[1]
    return int(query.shape[:-1].numel() * key.shape[-2])


def _attention(args: Sequence[Any], _out: Tensor) -> int:
    """Both matrix products of attention, masked or not: scores * (E + E_value)."""
    query, value = args[0], args[2]
    return attention_scores(args) * int(query.shape[-1] + value.shape[-1])


def _priced(names: str, cost: Cost) -> dict[str, Cost]:
    return {f"aten::{name}": cost for name in names.split()}


CONVOLUTIONS: Final[dict[str, Cost]] = (
    _priced("convolution _convolution convolution_overrideable", _convolution)
    # Operators that a network may also call directly, kernel by kernel.
    | _priced(
        "mkldnn_convolution cudnn_convolution cudnn_convolution_relu cudnn_convolution_add_relu "
        "miopen_convolution miopen_convolution_relu miopen_convolution_add_relu "
        "miopen_depthwise_convolution _mps_convolution _nnpack_spatial_convolution thnn_conv2d "
        "_slow_conv2d_forward slow_conv3d slow_conv3d_forward slow_conv_dilated2d "
        "slow_conv_dilated3d _conv_depthwise2d conv_depthwise3d",
        _plain_convolution,
    )
    | _priced(
        "cudnn_convolution_transpose miopen_convolution_transpose _mps_convolution_transpose "
        "slow_conv_transpose2d slow_conv_transpose3d",
        _transposed_convolution,
    )
    | _priced("conv_tbc", _time_convolution)
)

MATMULS: Final[dict[str, Cost]] = (
    _priced("mm bmm _int_mm _scaled_mm _sparse_mm smm", _product(0, 1))
    | _priced("addmm addbmm baddbmm _addmm_activation _sparse_addmm", _product(1, 2))
    | _priced("mv dot vdot", _vector_product(0))
    | _priced("addmv", _vector_product(1))
    | _priced("addr", _outer_product)
    | _priced("linear mkldnn_linear _weight_int8pack_mm", _linear)
    | _priced("_trilinear", _trilinear)
    | _priced("mkldnn_rnn_layer", _recurrent_layer)
    | _priced("_native_multi_head_attention", _whole_attention)
    | _priced("_transformer_encoder_layer_fwd", _encoder_layer)
)
"""``einsum``, ``matmul``, ``tensordot`` and ``bilinear`` reach the dispatcher as these."""

ATTENTIONS: Final[dict[str, Cost]] = _priced(
    "_scaled_dot_product_flash_attention_for_cpu _scaled_dot_product_flash_attention "
    "_scaled_dot_product_efficient_attention _scaled_dot_product_cudnn_attention "
    "_scaled_dot_product_fused_attention_overrideable "
    "_scaled_dot_product_attention_math_for_mps",
    _attention,
)

MACS: Final[dict[str, Cost]] = CONVOLUTIONS | MATMULS | ATTENTIONS
"""Every operator that multiplies and accumulates, with its cost."""

FLOAT_ELEMENTWISE: Final = aten_names(
    "abs neg add sub rsub mul div true_divide addcmul addcdiv lerp pow square sqrt rsqrt "
    "reciprocal exp exp2 expm1 log log2 log10 log1p sin cos tan asin acos atan atan2 sinh cosh "
    "sigmoid tanh erf erfc relu relu6 leaky_relu _prelu_kernel elu celu gelu silu mish hardtanh "
    "hardswish hardsigmoid softplus softshrink hardshrink threshold clamp clamp_min clamp_max "
    "maximum minimum fmax fmin round floor ceil trunc frac sign sgn fmod remainder hypot"
)
"""One result per position, of the operands' own type if they are floating point."""

ELEMENTWISE: Final = FLOAT_ELEMENTWISE | aten_names(
    "eq ne lt le gt ge logical_and logical_or logical_not logical_xor bitwise_and bitwise_or "
    "bitwise_not bitwise_xor __and__ __or__ __xor__ bitwise_left_shift bitwise_right_shift "
    "where masked_fill isnan isinf isfinite isposinf isneginf signbit nan_to_num floor_divide "
    "erfinv logit xlogy logaddexp copysign asinh acosh atanh sinc heaviside glu "
    "log_sigmoid_forward polar complex angle "
    "native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training "
    "_batch_norm_no_update cudnn_batch_norm miopen_batch_norm "
    "rrelu_with_noise rrelu_with_noise_functional"
)
"""One result per position. In inference, batch normalisation scales and shifts every element."""

FREE: Final = aten_names(
    # views
    "view _unsafe_view _reshape_alias reshape alias detach expand permute transpose t slice "
    "select split split_with_sizes unsafe_split unsafe_split_with_sizes chunk unbind unsqueeze "
    "squeeze narrow as_strided unfold movedim diagonal real imag view_as_real view_as_complex "
    "_conj _neg_view lift_fresh lift "
    # copies that move elements and compute nothing
    "clone contiguous copy _to_copy _to_cpu cat stack pixel_shuffle pixel_unshuffle "
    "channel_shuffle native_channel_shuffle constant_pad_nd pad reflection_pad1d reflection_pad2d "
    "reflection_pad3d replication_pad1d replication_pad2d replication_pad3d roll flip rot90 repeat "
    "repeat_interleave index index_select index_put index_fill index_copy _unsafe_index gather "
    "scatter take put embedding masked_scatter masked_select slice_scatter select_scatter "
    "diagonal_scatter as_strided_scatter im2col tril triu resize set "
    # factories and readings
    "empty empty_like empty_strided empty_permuted new_empty new_empty_strided zeros zeros_like "
    "new_zeros ones ones_like new_ones full full_like new_full zero fill arange linspace logspace "
    "scalar_tensor eye tril_indices triu_indices _efficientzerotensor rand randn randint randperm "
    "rand_like randn_like randint_like normal uniform random bernoulli nonzero "
    "_local_scalar_dense item is_nonzero is_same_size _assert_tensor_metadata _assert_async"
)
"""Views, copies, factories: no arithmetic on features."""

FACTORIES: Final = aten_names(
    "empty empty_like empty_strided empty_permuted new_empty new_empty_strided zeros zeros_like "
    "new_zeros ones ones_like new_ones full full_like new_full arange linspace logspace eye "
    "scalar_tensor tril_indices triu_indices rand randn randint randperm rand_like randn_like "
    "randint_like"
)
"""Their results have no data of their arguments; they may have the shape and type of one."""

SELECTIONS: Final = aten_names("index _unsafe_index index_select gather take embedding")
"""They return elements of one tensor, at places that another tensor names."""

NAMES_WITH_MACS: Final = frozenset(MACS) | aten_names(
    "conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d conv_tbc matmul "
    "einsum scaled_dot_product_attention _scaled_dot_product_attention_math bilinear tensordot "
    "_flash_attention_forward _efficient_attention_forward _cudnn_attention_forward "
    "_transformer_encoder_layer_fwd _triton_multi_head_attention _triton_scaled_dot_attention "
    "lstm gru rnn_tanh rnn_relu mkldnn_rnn_layer _cudnn_rnn miopen_rnn _thnn_fused_lstm_cell "
    "_thnn_fused_gru_cell _fft_r2c _fft_c2r _fft_c2c _cdist_forward _grouped_mm "
    "_scaled_grouped_mm _weight_int4pack_mm _weight_int4pack_mm_for_cpu _dyn_quant_matmul_4bit "
    "_mixed_dtypes_linear _sparse_semi_structured_mm _sparse_semi_structured_linear "
    "_sparse_semi_structured_addmm _cslt_sparse_mm _sparse_sparse_matmul sparse_sampled_addmm "
    "linalg_inv_ex _linalg_solve_ex linalg_matrix_exp"
)
"""Operators with multiply-accumulates, by every name that a counter may give them."""

TAKING_NUMBERS: Final = ELEMENTWISE | aten_names(
    "fill index_fill scatter masked_fill constant_pad_nd full_like avg_pool1d avg_pool2d avg_pool3d"
)
"""Operators with integer arguments that can be values, not only sizes and places."""

MARKERS: Final = frozenset(
    f"profiler::{name}"
    for name in ("_record_function_enter", "_record_function_enter_new", "_record_function_exit")
)
"""Operators that ``torch.profiler.record_function`` and ``nn.DataParallel`` add: labels of code."""

_FAMILIES_WITH_MACS: Final = re.compile(
    r"aten::_?(?:mkldnn_|cudnn_|miopen_|nnpack_|slow_|thnn_|native_|nested_)?(?:"
    r"conv(?!ert)|fft_|linalg_(?!(?:vector_|matrix_)?norm\b|diagonal|cross|vecdot$)|linear|matmul|"
    r"multi_head_attention|scaled_dot_product|transformer|chain_matmul|matrix_(?:power|exp)|"
    r"inner$|outer$|ger$|kron$|cdist|pdist|cholesky|lu_|qr|svd|inverse|pinverse|"
    r"lstm|gru|rnn|[a-z_]*mm$|[a-z]*mv$)"
)
"""Names that tracers and torch's composite operators use for operators with multiply-accumulates.
These are patterns, because each family has many members (``fft_rfft2``, ``_convolution_mode``,
``linalg_solve``)."""


def multiplies(name: str) -> bool:
    """Whether an operator multiplies and accumulates, by any name that a counter may give it.

    Args:
        name: of the operator, out of place.
    """
    return name in NAMES_WITH_MACS or _FAMILIES_WITH_MACS.match(name) is not None


TORCH_NAMESPACES: Final = frozenset({"aten", "prim", "prims"})


COMPLEX_PRODUCT: Final = 4
"""Real multiply-accumulates of a complex one."""


def macs_of(name: str, args: Sequence[Any], out: Tensor) -> int | None:
    """Multiply-accumulates of a call, in real numbers; None if this table gives it none.

    Args:
        name: of the operator, out of place.
        args: positional arguments.
        out: first result.
    """
    cost = MACS.get(name)
    if cost is None:
        return None
    return cost(args, out) * (COMPLEX_PRODUCT if out.is_complex() else 1)


def out_of_place(name: str) -> str:
    """Name of the operator that computes the same into a new tensor (``aten::add_``: add)."""
    return name[:-1] if name.endswith("_") and not name.endswith("__") else name


def is_opaque(name: str) -> bool:
    """Whether only its author knows what the operator computes.

    A ``torch.autograd.Function`` is not opaque: its forward is Python, and its operators are seen.
    """
    return name not in MARKERS and name.partition("::")[0] not in TORCH_NAMESPACES

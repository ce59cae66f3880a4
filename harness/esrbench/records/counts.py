"""Counted costs of a network: parameters, operations, memory that a forward needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import Field

from esrbench.protocol import CounterName, Frozen, size_text
from esrbench.records.tabular import Tabular
from esrbench.records.values import Absent, Count, Notice

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

Side = Annotated[Count, Field(gt=0)]
"""Pixels of an image's side; something may be divided by it."""


def aten_names(names: str) -> frozenset[str]:
    """Operators of torch's own namespace, their names divided by spaces."""
    return frozenset(f"aten::{name}" for name in names.split())


LIGHT: Final = aten_names(
    # pooling
    "max_pool2d_with_indices max_pool3d_with_indices mkldnn_max_pool2d avg_pool1d avg_pool2d "
    "avg_pool3d _adaptive_avg_pool2d _adaptive_avg_pool3d mkldnn_adaptive_avg_pool2d "
    "adaptive_max_pool2d adaptive_max_pool3d max_unpool2d "
    # interpolation
    "upsample_nearest1d upsample_nearest2d upsample_nearest3d _upsample_nearest_exact1d "
    "_upsample_nearest_exact2d _upsample_nearest_exact3d upsample_linear1d upsample_bilinear2d "
    "upsample_bicubic2d upsample_trilinear3d _upsample_bilinear2d_aa _upsample_bicubic2d_aa "
    "grid_sampler_2d grid_sampler_3d _grid_sampler_2d_cpu_fallback cudnn_grid_sampler "
    "affine_grid_generator col2im "
    # normalisation and softmax
    "native_layer_norm native_group_norm rms_norm _fused_rms_norm _weight_norm_interface renorm "
    "_softmax _log_softmax _safe_softmax logsumexp "
    # reductions and orders
    "mean sum nansum prod var var_mean std std_mean amax amin aminmax max min argmax argmin all "
    "any median norm linalg_vector_norm cumsum cumprod count_nonzero topk sort kthvalue "
    "index_add scatter_add scatter_reduce equal"
)
"""A few operations a result and, by every convention of the field, no multiply-accumulates.

Pooling, interpolation, normalisation, softmax and reductions: named as uncounted wherever they
ran, but no reason to doubt a count.
"""


def unknown_cost(uncounted: Mapping[str, int]) -> dict[str, int]:
    """Operators among uncounted ones that may cost anything, with their numbers of calls."""
    # In-place variants of operators end in an underscore.
    return {name: n for name, n in uncounted.items() if name.removesuffix("_") not in LIGHT}


class CounterResult(Frozen):
    """The result of one counter for one forward.

    Attributes:
        counter: which rule counted.
        version: version of the library that counted (esrbench for our own rules).
        convention: what one unit is and what is included, in words.
        input_shape: (1, C, H, W) of the network's input.
        macs: the counter's total, which is called FLOPs in the field.
        activations: elements of all convolution outputs by this counter's rule, or None where
            the rule has no such notion.
        conv_calls: convolutions executed (calls, not modules), or None likewise.
        elementwise: what elementwise operators count: kept apart from ``macs`` by ``aten``,
            contained in it by ``ntire2022``, whose rule adds them; None where not told apart.
        uncounted: operators that ran and contributed nothing, with the number of calls.
    """

    counter: CounterName
    version: str
    convention: str
    input_shape: tuple[Count, Count, Count, Count]
    macs: Count
    activations: Count | None = None
    conv_calls: Count | None = None
    elementwise: Count | None = None
    uncounted: dict[str, Count] = {}


class SizedCount(Frozen):
    """Multiply-accumulates of one forward at one size of the network's input.

    Attributes:
        input_size: height and width in pixels.
        macs: by the ``aten`` counter's rule.
        elementwise: results of elementwise operators, likewise; None in records that do not
            tell.
    """

    input_size: tuple[Side, Side]
    macs: Count
    elementwise: Count | None = None

    @property
    def macs_per_pixel(self) -> float:
        """Of an input pixel."""
        return self.macs / (self.input_size[0] * self.input_size[1])


class Recount(Frozen):
    """One small forward counted twice, so that a network that looks for values shows.

    Attributes:
        without_values: counts of the forward on ``meta``, as all others are made.
        with_values: the same on noise, on the CPU, or why there are none.
        conv_calls: convolutions executed, without values and, if it ended, with them.
    """

    without_values: SizedCount
    with_values: SizedCount | Absent
    conv_calls: tuple[Count, ...]

    @property
    def agrees(self) -> bool:
        """Whether both multiplied and accumulated the same: no rounding parts whole numbers.

        Elementwise work may differ: fused attention has less of it.
        """
        return (
            isinstance(self.with_values, SizedCount)
            and self.with_values.macs == self.without_values.macs
            and len(set(self.conv_calls)) == 1
        )

    def describe(self) -> str:
        """Both figures of a recount that does not agree, in words."""
        free, valued = self.without_values, self.with_values
        size = size_text(free.input_size)
        if isinstance(valued, Absent):
            return (
                f"{free.macs:,} multiply-accumulates at {size} without pixel values and none with "
                f"them: {valued.reason}"
            )
        calls, again = self.conv_calls
        return (
            f"{free.macs:,} multiply-accumulates ({calls} convolutions) at {size} without pixel "
            f"values and {valued.macs:,} ({again}) with them"
        )


class Audit(Frozen):
    """The operators that the dispatcher ran, however the network's code called them.

    Attributes:
        sizes: counts at several input sizes, smallest first; a network that works less at some
            size shows here.
        smooth_sizes: the same for a smooth image instead of noise; empty unless ``by_values``.
        by_values: the forward needed pixel values, so its work can depend on them.
        recount: a small forward with values and without; None if ``by_values``, and in records
            from before there was one.
        effective_constants: elements of all distinct constant tensors that meet data derived
            from the input, parameters or not; of complex ones two a number.
        index_constants: those among them that are integers and only select from others.
        regular_constants: those among them beyond the numbers that say them all, where they
            follow a pattern: masks, index tables, grids of coordinates.
        scalars: numbers of the code, no tensors, that meet such data; not among the constants.
            Distinct ones, or as many as there are pieces in their order that do not repeat.
        constant_bytes: bytes of those.
        product_dtypes: types of the results of convolutions, matrix products and attention
            (the type that autocast casts to, where it does), with the number of calls.
        uncounted: operators that are neither counted nor free, with the number of calls.
        opaque: custom operators, whose cost only their author knows, likewise; and ways by
            which pixels came or went out of sight.
        derived_output: the output derives from the input by operators that were seen.
        complete: whether the count can be trusted. Everything that ran was counted or is known to
            multiply and accumulate nothing, the output derives from it, and the recount agrees.
    """

    sizes: tuple[SizedCount, ...]
    smooth_sizes: tuple[SizedCount, ...] = ()
    by_values: bool = False
    recount: Recount | None = None
    effective_constants: Count
    index_constants: Count = 0
    regular_constants: Count = 0
    scalars: Count = 0
    constant_bytes: Count
    product_dtypes: dict[str, Count]
    uncounted: dict[str, Count]
    opaque: dict[str, Count]
    derived_output: bool
    complete: bool

    @property
    def unknown(self) -> dict[str, int]:
        """Uncounted operators that may cost anything, with the number of calls."""
        return unknown_cost(self.uncounted)


class Block(Frozen):
    """Cost of one module of a network, all its runs in one forward together.

    Attributes:
        name: dotted path, or ``(network)``.
        kind: class.
        output_shape: of its last output, of the first tensor in it; empty if there is none.
        params: elements of its parameters, those of its modules included.
        macs: multiply-accumulates by the ``aten`` counter.
        activations: elements of convolution and matrix products within.
        allocated_bytes: bytes of all tensors that its operators allocate, freed or not.
    """

    name: str
    kind: str
    output_shape: tuple[Count, ...]
    params: Count
    macs: Count
    activations: Count
    allocated_bytes: Count


def outermost(blocks: Sequence[Block]) -> list[Block]:
    """The blocks right below the network: no other one that is listed holds them.

    Args:
        blocks: of a record; the network comes first.
    """
    names = {block.name for block in blocks[1:]}

    def within(block: Block) -> bool:
        parts = block.name.split(".")
        return any(".".join(parts[:end]) in names for end in range(1, len(parts)))

    return [block for block in blocks[1:] if not within(block)]


class PredictedMemory(Frozen):
    """Peak GPU memory of one forward, predicted from tensor lifetimes; nothing ran on a GPU.

    Weights, input, features and output in blocks of 512 bytes as the CUDA caching allocator
    rounds them, under ``inference_mode``. Workspaces of cuDNN and cuBLAS are not in it.

    Attributes:
        input_size: height and width of the network's input in pixels.
        weights_bytes: parameters and buffers.
        input_bytes: the input.
        output_bytes: the output.
        peak_bytes: highest sum of all tensors alive: below what the allocator reports, which
            also counts unsplit rests of blocks.
        allocator_bytes: the same with a model of those rests, whose size depends on what was
            allocated before: lowest and highest over plausible orders of images.
        peak_operator: operator that ran when the peak was reached.
        timeline: bytes of all tensors alive from the first operator to the last, the most of each
            of equal shares of the forward; empty in records that do not tell.
    """

    input_size: tuple[Count, Count]
    weights_bytes: Count
    input_bytes: Count
    output_bytes: Count
    peak_bytes: Count
    allocator_bytes: tuple[Count, Count]
    peak_operator: str
    timeline: tuple[Count, ...] = ()


NO_BLOCKS: Final = Absent(
    kind="unavailable",
    reason="the run does not tell what its blocks cost",
    advice="Run it again.",
)


NOT_AT_1280X720: Final = Absent(
    kind="unavailable",
    reason="the run was not counted for an SR image of 1280x720",
    advice="Run it again.",
)


class Complexity(Tabular):
    """Size of a network and the cost of one forward.

    Attributes:
        params: elements of all distinct parameters; a complex one is two.
        trainable_params: those that require a gradient.
        weight_params: those of two dimensions or more, which is what papers count that leave
            biases and PReLU slopes out.
        buffer_elements: elements of all distinct buffers.
        state_bytes: bytes of parameters and buffers as held in memory.
        counters: one result a counter, or why there is none.
        at_1280x720: result of the ``aten`` counter for an SR image of 1280x720. If the scale only
            divides 960x960, which has as many pixels, it is for that size.
        audit: what ran at several sizes, by operator.
        audit_seed: from which one of those sizes was drawn, or None if none was.
        predicted_memory: that one forward needs on a GPU.
        blocks: cost of the network, then of its modules, down to where they are too many to list.
        notices: typed warnings, for instance a spread between counters.
    """

    params: Count
    trainable_params: Count
    weight_params: Count
    buffer_elements: Count
    state_bytes: Count
    counters: dict[CounterName, CounterResult | Absent]
    at_1280x720: CounterResult | Absent = NOT_AT_1280X720
    audit: Audit | Absent
    audit_seed: Count | None = None
    predicted_memory: PredictedMemory | Absent
    blocks: tuple[Block, ...] | Absent = NO_BLOCKS
    notices: tuple[Notice, ...] = ()

    def __repr_args__(self) -> Iterator[tuple[str, Any]]:
        """Parameters, and multiply-accumulates by each counter."""
        yield "params", self.params
        for name, result in self.counters.items():
            yield f"macs_{name}", None if isinstance(result, Absent) else result.macs

"""Findings of an audit as typed notices, for readers of the counts."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from esrbench.plaintext import plural
from esrbench.protocol import size_text
from esrbench.records import Absent, Notice

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from esrbench.records import Audit, Recount, SizedCount

SIZE_LIMIT: Final = 0.02
"""Multiply-accumulates per pixel may differ between sizes by this share of the smallest.

Strides that do not divide the size cost up to 0.1 %, padding to a multiple of a window 0.8 % (510
to 512), and the attention of an honest challenge entry 1.8 %."""

COMPARED_SIDE: Final = 64
"""Sizes with a shorter side are not compared, because there the borders dominate."""

HIDDEN_SHARE: Final = 0.01
HIDDEN_ELEMENTS: Final = 1000
"""Constants may exceed parameters by this share, or by this many elements: colour means, index
tables, weights of an interpolation."""

INDEX_SHARE: Final = 0.1
"""Index tables up to this share of the parameters do not count as hidden weights, because a window
attention could compute them from the size of the window."""

ELEMENTWISE_SHARE: Final = 0.25
ELEMENTWISE_RESULTS: Final = 1000
"""A notice reports elementwise work that reaches this share of the multiply-accumulates and exceeds
this number of results per input pixel.

Registered networks have up to 2.6 %, and bicubic interpolation 725 per pixel."""

PRECISION: Final = "fp32"
"""Precision of the input of every audit."""

PRODUCT_TYPES: Final = {
    "fp32": frozenset({"float32"}),
    "tf32": frozenset({"float32"}),
    "fp16": frozenset({"float32", "float16"}),
    "bf16": frozenset({"float32", "bfloat16"}),
    "int8": frozenset({"float32"}),
    "int8-w16": frozenset({"float32"}),
}
"""Types of products in each precision; audits start with float32 in each."""


def notices_of(audit: Audit, params: int, precision: str = PRECISION) -> Iterator[Notice]:
    """Notices about an audit that a reader of the counts should know.

    Args:
        audit: of a network.
        params: elements of its parameters.
        precision: class in which it runs.

    Yields:
        ``counted-otherwise``, ``size-dependent-cost``, ``content-dependent``,
        ``elementwise-work``, ``hidden-constants``, ``hidden-work``, ``mixed-precision``,
        ``uncounted-operator`` and ``opaque-operator``, each at most once.
    """
    recount = audit.recount
    if recount is not None and not recount.agrees:
        yield counted_otherwise(recount.describe())
    sizes = list(audit.sizes)
    if recount is not None and recount.without_values.input_size != sizes[0].input_size:
        # Otherwise a network could work honestly without values only at the size of the recount.
        sizes.insert(0, recount.without_values)
    compared = [count for count in sizes if min(count.input_size) >= COMPARED_SIDE]
    costs = [count.macs_per_pixel for count in compared]
    if costs and max(costs) > min(costs) * (1 + SIZE_LIMIT):
        figures = ", ".join(
            f"{count.macs_per_pixel:,.0f} at {size_text(count.input_size)}" for count in compared
        )
        yield Notice(
            code="size-dependent-cost",
            message=f"multiply-accumulates per input pixel depend on the image size: {figures}",
            advice="Compare figures at the size of the images. The figure at 256x256 does not show "
            "a cost that grows with the size, such as global attention.",
        )
    if any(noisy != smooth for noisy, smooth in zip(audit.sizes, audit.smooth_sizes, strict=False)):
        figures = ", ".join(
            f"{noisy.macs:,} and {smooth.macs:,} at {size_text(noisy.input_size)}"
            for noisy, smooth in zip(audit.sizes, audit.smooth_sizes, strict=True)
        )
        yield Notice(
            code="content-dependent",
            message="the work depends on the image: multiply-accumulates on noise and on a smooth "
            f"image are {figures}",
            advice="No single figure is valid for all images; quote the highest.",
        )
    yield from _elementwise_work([*audit.sizes, *_counted_with_values(recount)])
    regular = audit.regular_constants
    indices = min(max(audit.index_constants - regular, 0), int(INDEX_SHARE * params))
    beyond = audit.effective_constants + audit.scalars - regular - indices - params
    if beyond > max(HIDDEN_ELEMENTS, HIDDEN_SHARE * params):
        scalars = f" and {plural(audit.scalars, 'number')} of the code" if audit.scalars else ""
        yield Notice(
            code="hidden-constants",
            message=f"{audit.effective_constants:,} constants{scalars} take part in the "
            f"computation, of which {params:,} are parameters",
            advice="Counters print the parameters only; weights in buffers, attributes, arrays, "
            "lists or from a random seed belong to the size of the network.",
        )
    if not audit.derived_output:
        yield Notice(
            code="hidden-work",
            message="no visible operators lead from the input to the output",
            advice="Do all work in torch, in the thread of the forward. Work in numpy, in another "
            "thread or with dispatch switched off is not counted.",
        )
    if set(audit.product_dtypes) - PRODUCT_TYPES[precision]:
        yield Notice(
            code="mixed-precision",
            message=f"products are of {listed(audit.product_dtypes)} in a run of {precision}",
            advice="A network that casts its tensors belongs to another class of precision.",
        )
    if audit.unknown:
        yield Notice(
            code="uncounted-operator",
            message=f"operators of unknown cost ran and count 0: {listed(audit.unknown)}",
            advice="The count is a lower bound; count a version without these operators.",
        )
    if audit.opaque:
        yield Notice(
            code="opaque-operator",
            message=f"custom operators and work out of sight count 0: {listed(audit.opaque)}",
            advice="Count a version of the network that uses torch's own operators, in the "
            "thread of the forward.",
        )


def counted_otherwise(found: str) -> Notice:
    """The notice for two counts of one forward that differ."""
    return Notice(
        code="counted-otherwise",
        message=f"two counts of the same forward differ: {found}",
        advice="None of its counts is valid. The forward must do the same for every caller, with "
        "and without tensor values: it must not look at is_meta, device or modes, nor catch "
        "exceptions.",
    )


def _counted_with_values(recount: Recount | None) -> tuple[SizedCount, ...]:
    if recount is None or isinstance(recount.with_values, Absent):
        return ()
    return (recount.with_values,)


def _elementwise_work(sizes: Iterable[SizedCount]) -> Iterator[Notice]:
    for count in sizes:
        done = count.elementwise or 0
        pixels = math.prod(count.input_size)
        if done > max(ELEMENTWISE_SHARE * count.macs, ELEMENTWISE_RESULTS * pixels):
            yield Notice(
                code="elementwise-work",
                message=f"elementwise operators compute {done:,} results in addition to "
                f"{count.macs:,} multiply-accumulates at {size_text(count.input_size)}",
                advice="Compare runtimes as well, because no counter counts elementwise work.",
            )
            return


def listed(calls: Mapping[str, int]) -> str:
    """Operators with their numbers of calls, in words."""
    return ", ".join(f"{name} ({count})" for name, count in calls.items())

"""Size of a network and the cost of one forward, by several counters kept apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch
from torch import nn

from harness.errors import MeasurementError
from harness.probes.audit import COMPARED_SIDE, measure_audit, notices_of
from harness.probes.counters import COUNTERS
from harness.probes.counters.operators import NAMES_WITH_MACS, is_opaque, out_of_place
from harness.probes.counters.shapes import copied_once
from harness.probes.memory import predict_memory
from harness.records import Absent, Complexity, CounterResult, Notice

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from torch import Tensor

    from harness.protocol import CounterName
    from harness.records import Audit, PredictedMemory

SPREAD_LIMIT: Final = 0.02
"""Counters that differ by more than this share of the smallest are worth a notice."""

_ADVICE: Final = (
    "Run one forward on the CPU at this input size; the counter needs one that ends well."
)


def measure_complexity(
    build: Callable[[], nn.Module],
    *,
    input_size: tuple[int, int],
    channels: int = 3,
    counters: Sequence[CounterName],
    memory_input: tuple[int, int] | None = None,
) -> Complexity:
    """Measure parameters, count and audit a forward of a batch of 1, predict its GPU memory.

    Args:
        build: makes the network; called once. Counters work on copies without values and fall
            back to the network itself where a forward needs them.
        input_size: height and width of the network's input in pixels.
        channels: of the network's input.
        counters: which counters to ask.
        memory_input: height and width of the input whose GPU memory is predicted, which is also
            the largest that is audited; None to leave that out.

    Returns:
        Elements and bytes of all distinct parameters and buffers, and a result for each
        counter. What could not be counted, audited or predicted is ``Absent`` with what was
        raised; the rest is unaffected. The audit is of ``audited_sizes``. Notices: those of
        ``audit.notices_of``, ``counter-spread`` (figures more than 2 % apart),
        ``uncounted-macs`` (a counter passed over convolutions or matrix products) and
        ``opaque-operator`` (custom operators whose cost is unknown).

    Raises:
        MeasurementError: the network cannot be built, or its parameters have no size yet.
    """
    network = _built(build)
    parameters, buffers = list(network.parameters()), list(network.buffers())
    if any(nn.parameter.is_lazy(tensor) for tensor in (*parameters, *buffers)):
        raise MeasurementError(
            "the network has lazy parameters, which have no size before its first forward",
            advice="Declare the sizes of its layers.",
        )
    network.to("cpu")
    # Values matter only where a forward cannot do without; then they are an image's.
    shape = (1, channels, *input_size)
    pixels = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    with copied_once():
        results = {name: _counted(name, network, pixels) for name in counters}
        memory = _predicted_memory(network, memory_input, channels)
        audit = _audited(network, audited_sizes(input_size, memory_input), channels)
    params = sum(parameter.numel() for parameter in parameters)
    notices = list(_notices([each for each in results.values() if isinstance(each, CounterResult)]))
    if not isinstance(audit, Absent):
        told = {notice.code for notice in notices}
        notices += [each for each in notices_of(audit, params) if each.code not in told]
    return Complexity(
        params=params,
        trainable_params=sum(each.numel() for each in parameters if each.requires_grad),
        weight_params=sum(each.numel() for each in parameters if each.ndim > 1),
        buffer_elements=sum(buffer.numel() for buffer in buffers),
        state_bytes=sum(tensor.numel() * tensor.element_size() for tensor in parameters + buffers),
        counters=results,
        audit=audit,
        predicted_memory=memory,
        notices=tuple(notices),
    )


def audited_sizes(
    input_size: tuple[int, int], memory_input: tuple[int, int] | None
) -> tuple[tuple[int, int], ...]:
    """Sizes at which a network is audited: the counted one, a smaller and a larger one.

    The smaller is not square, and windows that fit into 256x256 fit into it too (128x192); it is
    left out where the borders would outweigh the rest. The larger is that of the memory.
    """
    smaller = (input_size[0] // 2, input_size[1] * 3 // 4)
    sizes = [input_size]
    if min(smaller) >= COMPARED_SIDE:
        sizes.insert(0, smaller)
    if memory_input is not None:
        sizes.append(memory_input)
    return tuple(sizes)


def _built(build: Callable[[], nn.Module]) -> nn.Module:
    try:
        network = build()
    except Exception as error:
        raise MeasurementError(
            f"the network could not be built: {_in_words(error)}",
            advice="Build it once in a Python session to see where it fails.",
        ) from error
    if not isinstance(network, nn.Module):
        raise MeasurementError(
            f"the network is a {type(network).__name__}, expected a torch.nn.Module"
        )
    return network.eval()


def _counted(name: CounterName, network: nn.Module, pixels: Tensor) -> CounterResult | Absent:
    try:
        return COUNTERS[name].count(network, pixels)
    except Exception as error:  # noqa: BLE001 - a stranger's forward may raise anything
        return Absent(
            kind="failed",
            reason=f"{name} could not count this network: {_in_words(error)}",
            advice=_ADVICE,
        )


def _audited(network: nn.Module, sizes: Sequence[tuple[int, int]], channels: int) -> Audit | Absent:
    try:
        return measure_audit(network, input_sizes=sizes, channels=channels)
    except Exception as error:  # noqa: BLE001 - a stranger's forward may raise anything
        return Absent(
            kind="failed",
            reason=f"the network could not be audited: {_in_words(error)}",
            advice=f"Run one forward on the CPU at each of {', '.join(map(_size, sizes))}.",
        )


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def _predicted_memory(
    network: nn.Module, size: tuple[int, int] | None, channels: int
) -> PredictedMemory | Absent:
    if size is None:
        return Absent(kind="skipped", reason="not asked for")
    try:
        return predict_memory(network, input_size=size, channels=channels)
    except Exception as error:  # noqa: BLE001 - a stranger's forward may raise anything
        return Absent(
            kind="failed",
            reason=f"its tensors could not be followed without values: {_in_words(error)}",
            advice="Measure it on a GPU: control flow that looks at pixels cannot be predicted.",
        )


def _in_words(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _notices(results: Sequence[CounterResult]) -> Iterator[Notice]:
    figures = {result.counter: result.macs for result in results}
    if figures:
        smallest, largest = min(figures.values()), max(figures.values())
        if largest - smallest > SPREAD_LIMIT * smallest:
            spread = f"{(largest - smallest) / smallest:.1%}" if smallest else "beyond measure"
            listed = ", ".join(f"{counter} {macs:,}" for counter, macs in figures.items())
            yield Notice(
                code="counter-spread",
                message=f"the counters differ by {spread}: {listed}",
                advice="Quote a figure with its counter; see what each leaves uncounted.",
            )
    for result in results:
        missed = {
            operator: calls
            for operator, calls in result.uncounted.items()
            if out_of_place(operator) in NAMES_WITH_MACS
        }
        if missed:
            yield Notice(
                code="uncounted-macs",
                message=f"{result.counter} passed over {_listed(missed.items())}, which multiply "
                "and accumulate",
                advice="Its figure is below what ran; compare it with the aten counter's.",
            )
    opaque = {
        operator: calls
        for result in results
        for operator, calls in result.uncounted.items()
        if is_opaque(operator)
    }
    if opaque:
        yield Notice(
            code="opaque-operator",
            message=f"custom operators ran and count 0: {_listed(opaque.items())}",
            advice="Count a version of the network that uses torch's own operators.",
        )


def _listed(calls: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{operator} ({count})" for operator, count in calls)

"""Size of a network and cost of one forward, by several independent counters."""

from __future__ import annotations

import math
import re
import secrets
import sys
from contextlib import nullcontext
from random import Random
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import nn

from esrbench.entries.structure import buffers, copied, elements, parameters
from esrbench.errors import MeasurementError
from esrbench.probes.audit import measure_audit, noise
from esrbench.probes.blocks import measure_blocks
from esrbench.probes.counters import COUNTERS
from esrbench.probes.counters.operators import is_opaque, multiplies, out_of_place
from esrbench.probes.counters.shapes import eagerly, watching, with_values
from esrbench.probes.memory import LARGEST_SIDE, USUAL_SIDE, predict_memory
from esrbench.probes.notices import (
    COMPARED_SIDE,
    PRECISION,
    counted_otherwise,
    listed,
    notices_of,
)
from esrbench.protocol import size_text
from esrbench.records import Absent, Complexity, CounterResult, Notice

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from torch import Tensor

    from esrbench.protocol import CounterName
    from esrbench.records import Audit, Block, PredictedMemory

BLOCK_DEPTH: Final = 3
MOST_BLOCKS: Final = 64
"""Modules down to this level are counted separately, but not more than ``MOST_BLOCKS``."""

SPREAD_LIMIT: Final = 0.02
"""If counters differ by more than this share of the smallest, a notice says so."""

_ADVICE: Final = (
    "Run one forward on the CPU at this input size; the counter needs a forward that succeeds."
)

_COUNTER_ADVICE: Final = (
    "The forward succeeds without the counter, so this is a limit of the counter. Quote the "
    "figure of another counter, or count a version of the network with plain operators."
)

_COMPILER: Final = re.compile(
    r"dynamo-optimized|torch\.compile|HigherOrderOperator|takes functions|FlexAttention|"
    r"Unsupported value kind"
)
"""Words of torch's and its tracer's errors about functions that run compiled."""


@eagerly()
def measure_complexity(
    network: nn.Module | Callable[[], nn.Module],
    *,
    input_size: tuple[int, int],
    channels: int = 3,
    counters: Sequence[CounterName],
    memory_input: tuple[int, int] | None = None,
    input_for_1280x720: tuple[int, int] | None = None,
    audit_seed: int | None = None,
    precision: str = PRECISION,
) -> Complexity:
    """Measure parameters, count and audit a forward of a batch of 1, predict its GPU memory.

    Args:
        network: the network, or a function that makes it, which is called once. Only copies are
            counted, one for each counter, on the CPU and in eval mode. ``structure.copied`` makes
            them without the network's own code, so each has its classes, hooks and attributes.
        input_size: height and width of the network's input in pixels.
        channels: channels of the network's input.
        counters: which counters to use.
        memory_input: height and width of the input whose GPU memory is predicted. It is also the
            largest that is audited. None to leave this out.
        input_for_1280x720: height and width of the input for an SR image of 1280x720, for which
            the ``aten`` counter counts once more; None to leave this out.
        audit_seed: seed of the random audited size. None for a random seed, which nobody can
            predict; it is recorded.
        precision: precision of the network's class; products of its type are expected.

    Returns:
        Elements and bytes of all distinct parameters and buffers, and a result for each counter. A
        complex number counts as two. What could not be counted, audited or predicted is ``Absent``
        with the error; the rest is unaffected. The audit covers ``audited_sizes`` and
        ``drawn_size`` and runs before the counters.

        If the audit's recount with pixel values differs, nothing that was found without values is
        kept: all counters and the memory are absent. The audit and the ``aten`` counter follow one
        rule. If they differ at the same size, the audit is absent too.

        Notices: those of ``notices.notices_of``; ``counted-otherwise``, also if audit and ``aten``
            differ; ``counter-spread`` (figures are more than 2 % apart); ``uncounted-macs`` (a
            counter skipped convolutions or matrix products); ``opaque-operator`` (custom operators
            of unknown cost).

    Raises:
        MeasurementError: the network cannot be built, or its parameters have no size yet.
    """
    source = _built(network)
    seed = secrets.randbits(32) if audit_seed is None else audit_seed
    sizes = audited_sizes(input_size, memory_input)
    drawn = drawn_size(sizes, seed)
    readings: dict[tuple[int, int], list[Any]] = {}
    audit = _audited(source, sizes, drawn, channels, readings)
    pixels = noise((1, channels, *input_size))
    parts = parameters(source)
    state = [*parts, *buffers(source)]
    needs_values = not isinstance(audit, Absent) and audit.by_values
    given = with_values(source, pixels.shape, readings.get(input_size, []))
    with given if needs_values else nullcontext():
        counts = {name: _counted(name, source, pixels) for name in counters}
        large = _counted_for_1280x720(source, input_for_1280x720, channels)
        memory = _predicted_memory(source, memory_input, channels)
        blocks = _blocks(source, (1, channels, *input_size))
    results = _told_apart(source, pixels, {name: found for name, (found, _) in counts.items()})
    params = sum(map(elements, parts))
    found = [] if isinstance(audit, Absent) else list(notices_of(audit, params, precision))
    told = {notice.code for notice in found}
    counted = [each for each in results.values() if isinstance(each, CounterResult)]
    notices = [each for each in _notices(counted) if each.code not in told] + found
    differs = None if isinstance(audit, Absent) else _recounted_otherwise(audit)
    complexity = Complexity(
        params=params,
        trainable_params=sum(elements(each) for each in parts if each.requires_grad),
        weight_params=sum(elements(each) for each in parts if each.ndim > 1),
        buffer_elements=sum(map(elements, buffers(source))),
        state_bytes=sum(tensor.numel() * tensor.element_size() for tensor in state),
        counters=results,
        at_1280x720=large,
        audit=audit,
        audit_seed=seed if drawn else None,
        predicted_memory=memory,
        blocks=_as_counted(blocks, results.get("aten")),
        notices=tuple(notices),
    )
    if differs is not None:
        return _voided(complexity, differs)
    differs = _audited_otherwise(audit, results.get("aten")) or _ran_otherwise(
        {name: macs for name, (_, macs) in counts.items() if macs is not None}
    )
    return complexity if differs is None else found_to_differ(complexity, differs)


def _blocks(
    network: nn.Module, input_shape: tuple[int, int, int, int]
) -> tuple[Block, ...] | Absent:
    try:
        return measure_blocks(network, input_shape=input_shape, depth=BLOCK_DEPTH, most=MOST_BLOCKS)
    except Exception as error:  # noqa: BLE001 - a stranger's forward may raise anything
        return Absent(
            kind="unavailable", reason=f"its modules could not be counted: {_in_words(error)}"
        )


def _as_counted(
    blocks: tuple[Block, ...] | Absent, aten: CounterResult | Absent | None
) -> tuple[Block, ...] | Absent:
    """Blocks; absent if their sum differs from the counter of the same rule."""
    if isinstance(blocks, Absent) or not isinstance(aten, CounterResult):
        return blocks
    smaller, larger = sorted((blocks[0].macs, aten.macs))
    if larger - smaller <= SPREAD_LIMIT * smaller:
        return blocks
    return Absent(
        kind="unavailable",
        reason=f"module by module the network has {blocks[0].macs:,} multiply-accumulates, and "
        f"{aten.macs:,} by the aten counter",
    )


def found_to_differ(complexity: Complexity, differs: str) -> Complexity:
    """Keep only the sizes of a count, with the notice that says why.

    Args:
        complexity: the count.
        differs: what differs, in words.
    """
    notices = (*complexity.notices, counted_otherwise(differs))
    audit = _void(complexity.audit, differs)
    return _voided(complexity, differs).model_copy(update={"notices": notices, "audit": audit})


def _voided(complexity: Complexity, differs: str) -> Complexity:
    """The count with absent counters and predicted memory; ``differs`` gives the reason."""
    counters = {name: _void(each, differs) for name, each in complexity.counters.items()}
    voided = {
        "counters": counters,
        "at_1280x720": _void(complexity.at_1280x720, differs),
        "predicted_memory": _void(complexity.predicted_memory, differs),
        "blocks": _void(complexity.blocks, differs),
    }
    return complexity.model_copy(update=voided)


def _recounted_otherwise(audit: Audit) -> str | None:
    """The difference that a recount with pixel values found, or None."""
    if audit.recount is None or audit.recount.agrees:
        return None
    return audit.recount.describe()


def _audited_otherwise(audit: Audit | Absent, aten: CounterResult | Absent | None) -> str | None:
    """The difference between audit and counter at one size, in words, or None.

    Both follow the same rule. A few percent come from work that a network does once and keeps.
    """
    if isinstance(audit, Absent) or not isinstance(aten, CounterResult):
        return None
    for count in audit.sizes:
        if count.input_size == aten.input_shape[2:]:
            smaller, larger = sorted((count.macs, aten.macs))
            if larger - smaller > SPREAD_LIMIT * smaller:
                return (
                    f"{count.macs:,} multiply-accumulates by the audit and {aten.macs:,} by the "
                    f"aten counter at {size_text(count.input_size)}"
                )
    return None


def _ran_otherwise(ran: Mapping[CounterName, int]) -> str | None:
    """The difference between the forwards that ran under different counters, or None.

    A counter's rule may leave out much. But the forward multiplies and accumulates the same by the
    ``aten`` rule, whichever counter watches. It differs only if the network detects the counter.
    """
    if not ran or max(ran.values()) - min(ran.values()) <= SPREAD_LIMIT * min(ran.values()):
        return None
    figures = ", ".join(f"{macs:,} under {name}" for name, macs in ran.items())
    return f"its forward runs different multiply-accumulates under each counter: {figures}"


def _void(found: object, differs: str) -> Absent:
    """The absent value that replaces a dropped finding; an absent finding stays as it is."""
    if isinstance(found, Absent):
        return found
    return Absent(
        kind="unavailable",
        reason=f"two counts of the same forward differ: {differs}",
        advice="See the notices of the entry. A network must compute the same with and without "
        "a counter.",
    )


def audited_sizes(
    input_size: tuple[int, int], memory_input: tuple[int, int] | None
) -> tuple[tuple[int, int], ...]:
    """Sizes at which a network is audited, without the random one.

    They are the counted size, the size of the memory prediction, and two thirds of its height. At
    510x510 this is the usual image of DIV2K (339x510). Without a memory size, a smaller size that
    is not square is used (128x192). Sizes at which borders would dominate are left out.
    """
    if memory_input is None:
        others = [(input_size[0] // 2, input_size[1] * 3 // 4)]
    else:
        others = [(memory_input[0] * USUAL_SIDE // LARGEST_SIDE, memory_input[1])]
    compared = [size for size in others if min(size) >= COMPARED_SIDE]
    return (input_size, *compared, *([memory_input] if memory_input else []))


def drawn_size(sizes: Sequence[tuple[int, int]], seed: int) -> tuple[int, int] | None:
    """A random audited size, which a network cannot predict.

    Args:
        sizes: the other audited sizes.
        seed: seed of the draw.

    Returns:
        Height and width up to the longest side of those sizes. They are multiples of the same
        numbers as those sides, because some networks need this. None if all sizes are too small to
        compare.
    """
    sides = [side for size in sizes for side in size]
    step = math.gcd(*sides)
    candidates = range(-(-COMPARED_SIDE // step) * step, max(sides) + 1, step)
    if min(map(min, sizes)) < COMPARED_SIDE:
        return None
    random = Random(seed)  # noqa: S311 - a draw that can be repeated
    drawn = (random.choice(candidates), random.choice(candidates))
    return None if drawn in sizes else drawn


def _built(network: nn.Module | Callable[[], nn.Module]) -> nn.Module:
    """A copy of the network on the CPU, in eval mode."""
    if not isinstance(network, nn.Module):
        try:
            network = network()
        except Exception as error:
            raise MeasurementError(
                f"the network could not be built: {_in_words(error)}",
                advice="Build it once in a Python session to see where it fails.",
            ) from error
        if not isinstance(network, nn.Module):
            raise MeasurementError(
                f"the network is a {type(network).__name__}, expected a torch.nn.Module"
            )
    if any(nn.parameter.is_lazy(each) for each in (*parameters(network), *buffers(network))):
        raise MeasurementError(
            "the network has lazy parameters, which have no size before its first forward",
            advice="Declare the sizes of its layers.",
        )
    return copied(network, on_cpu).eval()


def on_cpu(tensor: Tensor) -> Tensor:
    """A copy of a parameter or buffer for counting: on the CPU, with its own memory."""
    return tensor.detach().to("cpu", copy=True)


def _counted(
    name: CounterName, network: nn.Module, pixels: Tensor
) -> tuple[CounterResult | Absent, int | None]:
    """The result of a counter, and the multiply-accumulates of its forward by ``aten``'s rule.

    The latter are None if no dispatch mode watched the forward.
    """
    try:
        with watching() as ran:
            result = COUNTERS[name](network, pixels)
    except Exception as error:  # noqa: BLE001 - a stranger's forward may raise anything
        absent = Absent(
            kind="failed",
            reason=f"{name} could not count this network: {_in_words(error)}",
            advice=_ADVICE,
            failure="forward-error",
        )
        return absent, None
    return result, ran.macs if ran.seen else None


def _counted_for_1280x720(
    network: nn.Module, size: tuple[int, int] | None, channels: int
) -> CounterResult | Absent:
    if size is None:
        return Absent(kind="skipped", reason="not asked for")
    found, _ = _counted("aten", network, noise((1, channels, *size)))
    return found


def _told_apart(
    network: nn.Module, pixels: Tensor, results: dict[CounterName, CounterResult | Absent]
) -> dict[CounterName, CounterResult | Absent]:
    """The results; for a failed counter, the forward runs alone, to see which of both failed."""
    failed = {name for name, result in results.items() if isinstance(result, Absent)}
    if not failed:
        return results
    if len(failed) == len(results):
        if "torch._dynamo" in sys.modules:
            # Under a counter torch does not compile, and it remembers this.
            sys.modules["torch._dynamo"].reset()
        try:
            with torch.no_grad():
                copied(network)(pixels.clone())
        except Exception:  # noqa: BLE001 - a stranger's forward may raise anything
            return results
    return {
        name: result.model_copy(
            update={"kind": "unavailable", "failure": None, "advice": _COUNTER_ADVICE}
        )
        if isinstance(result, Absent)
        else result
        for name, result in results.items()
    }


def _audited(
    network: nn.Module,
    sizes: Sequence[tuple[int, int]],
    drawn: tuple[int, int] | None,
    channels: int,
    readings: dict[tuple[int, int], list[Any]],
) -> Audit | Absent:
    # Real forwards take most of the time. So they run only at the counted and the random size.
    valued = sizes[:1] if drawn is None else (sizes[0], drawn)
    sizes = (*sizes, *([drawn] if drawn else []))
    try:
        return measure_audit(
            network,
            input_sizes=sizes,
            channels=channels,
            valued_sizes=valued if drawn else (),
            readings=readings,
        )
    except Exception as error:  # noqa: BLE001 - a stranger's forward may raise anything
        return Absent(
            kind="failed",
            reason=f"the network could not be audited: {_in_words(error)}",
            advice=f"Run one forward on the CPU at each of {', '.join(map(size_text, sizes))}.",
            failure="forward-error",
        )


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
            advice="Measure it on a GPU: control flow that depends on pixels cannot be predicted.",
            failure="forward-error",
        )


def _in_words(error: Exception) -> str:
    if "torch._dynamo" in type(error).__module__ or _COMPILER.search(str(error)):
        return (
            "it calls torch.cond, flex attention or another function that torch compiles, and "
            "the counter cannot see inside"
        )
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _notices(results: Sequence[CounterResult]) -> Iterator[Notice]:
    figures = {result.counter: result.macs for result in results}
    if figures:
        smallest, largest = min(figures.values()), max(figures.values())
        if largest - smallest > SPREAD_LIMIT * smallest:
            spread = f"{(largest - smallest) / smallest:.1%}" if smallest else "an infinite ratio"
            told = ", ".join(f"{counter} {macs:,}" for counter, macs in figures.items())
            yield Notice(
                code="counter-spread",
                message=f"the counters differ by {spread}: {told}",
                advice="Quote a figure with its counter; see what each counter leaves out.",
            )
    for result in results:
        missed = {
            operator: calls
            for operator, calls in result.uncounted.items()
            if multiplies(out_of_place(operator))
        }
        if missed:
            yield Notice(
                code="uncounted-macs",
                message=f"{result.counter} does not count {listed(missed)}, which multiply "
                "and accumulate",
                advice="Its figure is too low; compare it with that of the aten counter.",
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
            message=f"custom operators ran and count 0: {listed(opaque)}",
            advice="Count a version of the network that uses torch's own operators.",
        )

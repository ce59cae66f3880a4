"""The counter ``aten``: it counts what the dispatcher ran, however the network's code called it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor

from esrbench.probes.counters.operators import (
    ATTENTIONS,
    CONVOLUTIONS,
    ELEMENTWISE,
    FREE,
    MARKERS,
    attention_scores,
    macs_of,
    out_of_place,
)
from esrbench.probes.counters.shapes import ShapeMode, by_shape_or_value
from esrbench.records import CounterResult
from esrbench.version import __version__

if TYPE_CHECKING:
    from torch import nn

CONVENTION: Final = (
    "1 multiply-accumulate of a convolution, matrix product or attention = 1, at the operators "
    "that ran; transposed convolutions at their input positions; no bias; elementwise results "
    "apart in `elementwise` (batch normalisation among them); activations = results of "
    "convolutions and matrix products; pooling, interpolation, other normalisations and "
    "softmax are 0 and named as uncounted"
)


def count(network: nn.Module, lr: Tensor) -> CounterResult:
    """Count one forward at the level of ATen operators.

    Args:
        network: in eval mode, on CPU.
        lr: (1, 3, H, W) float32, on CPU.

    Returns:
        MACs of all convolutions, matrix products and attentions. Activations are the elements of
        their results; for attention, of its scores and its output. Also the convolutions that ran,
        and the elements written by elementwise operators. ``uncounted`` lists operators that are
        neither counted nor free. If the namespace of a name is not ``aten``, it is a custom
        operator of unknown cost.

    Raises:
        Exception: whatever the forward raises.
    """
    return by_shape_or_value(_count, network, lr)


def _count(network: nn.Module, lr: Tensor, _without_values: bool) -> CounterResult:
    tally = Tally()
    with torch.no_grad(), ShapeMode(watch=tally.add):
        network(lr)
    return CounterResult(
        counter="aten",
        version=__version__,
        convention=CONVENTION,
        input_shape=tuple(lr.shape),
        macs=tally.macs,
        activations=tally.activations,
        conv_calls=tally.conv_calls,
        elementwise=tally.elementwise,
        uncounted=dict(tally.uncounted),
    )


class Tally:
    """Sums over the operators of one forward."""

    def __init__(self) -> None:
        self.macs = 0
        self.activations = 0
        self.conv_calls = 0
        self.elementwise = 0
        self.uncounted: Counter[str] = Counter()

    def add(self, called: str, args: tuple[Any, ...], _kwargs: dict[str, Any], result: Any) -> None:
        """Account for one call."""
        out = result[0] if isinstance(result, tuple | list) and result else result
        name = out_of_place(called)
        macs = macs_of(name, args, out) if isinstance(out, Tensor) else None
        if macs is not None:
            self.macs += macs
            self.activations += out.numel()
            self.conv_calls += name in CONVOLUTIONS
            if name in ATTENTIONS:
                self.activations += attention_scores(args)
        elif name in ELEMENTWISE and isinstance(out, Tensor):
            self.elementwise += out.numel()
        elif name not in FREE and name not in MARKERS:
            self.uncounted[called] += 1

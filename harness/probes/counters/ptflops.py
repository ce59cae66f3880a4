"""ptflops, the counter that most papers quote, by its ``pytorch`` backend.

ptflops replaces functions of torch while it counts. It leaves them replaced when the forward
raises in an unforeseen place, answers ``(None, None)`` instead of an error, prints, and counts
the replaced functions that torch's meta kernels call themselves. All of that is undone here.
"""

from __future__ import annotations

import contextlib
import io
from importlib import metadata
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.probes.counters.shapes import ShapeMode, by_shape_or_value
from harness.records import CounterResult

if TYPE_CHECKING:
    from collections.abc import Iterator

CONVENTION: Final = (
    "ptflops, backend pytorch: 1 multiply-accumulate of a convolution, Linear or matrix "
    "product = 1, transposed convolutions at their input positions; + 1 an element for bias, "
    "activations, pooling (input), interpolation, softmax, torch.add and torch.mul; "
    "normalisations 1 or 2; nn.ReLU and other modules that call a counted function count "
    "twice; the operators + * @, functional convolutions, F.linear and fused attention are 0"
)


def count(network: nn.Module, lr: Tensor) -> CounterResult:
    """Count one forward by ptflops; not to be run beside other threads that use torch.

    Args:
        network: in eval mode, on CPU.
        lr: (1, 3, H, W) float32, on CPU.

    Returns:
        ptflops' figure. It has no notion of activations, of calls or of what it left out.

    Raises:
        RuntimeError: ptflops gave no figure, for reasons outside the forward.
        Exception: whatever the forward raises. torch's functions are whole again either way.
    """
    return by_shape_or_value(_count, network, lr)


def _count(network: nn.Module, lr: Tensor, without_values: bool) -> CounterResult:
    from ptflops import get_model_complexity_info

    watched = _Watched(network)
    functions = _TorchFunctions()
    mode = ShapeMode(around_kernel=functions.originals) if without_values else None
    printed = io.StringIO()
    try:
        with (
            torch.no_grad(),
            contextlib.redirect_stdout(printed),
            contextlib.redirect_stderr(printed),
            mode or contextlib.nullcontext(),
        ):
            macs, _ = get_model_complexity_info(
                watched,
                tuple(lr.shape[1:]),
                print_per_layer_stat=False,
                as_strings=False,
                input_constructor=lambda _size: lr,
                backend="pytorch",
            )
    finally:
        functions.restore()
    if watched.error is not None:
        raise watched.error
    if macs is None:
        said = printed.getvalue().strip() or "nothing"
        raise RuntimeError(f"ptflops gave no figure; it said: {said}")
    return CounterResult(
        counter="ptflops",
        version=metadata.version("ptflops"),
        convention=CONVENTION,
        input_shape=tuple(lr.shape),
        macs=int(macs),
    )


class _Watched(nn.Module):
    """A network that remembers what its forward raised, which ptflops only prints."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.error: Exception | None = None

    def forward(self, lr: Tensor) -> Any:
        """Run the network."""
        try:
            return self.network(lr)
        except Exception as error:
            self.error = error
            raise


class _TorchFunctions:
    """The functions of torch as they were before ptflops replaced some of them."""

    _PLACES: Final = (functional, torch, Tensor)

    def __init__(self) -> None:
        self._before = [dict(vars(place)) for place in self._PLACES]

    def restore(self) -> None:
        """Put every function back, and remove those that were only inherited."""
        for place, before in zip(self._PLACES, self._before, strict=True):
            for name, current in list(vars(place).items()):
                if name in before:
                    if current is not before[name]:
                        setattr(place, name, before[name])
                elif place is Tensor and hasattr(Tensor.__base__, name):
                    delattr(place, name)

    @contextlib.contextmanager
    def originals(self) -> Iterator[None]:
        """Put the original functions back for a while.

        Meta kernels written in Python call them, and those calls are not the network's.
        """
        replaced = [dict(vars(place)) for place in self._PLACES]
        self.restore()
        try:
            yield
        finally:
            for place, functions in zip(self._PLACES, replaced, strict=True):
                for name, function in functions.items():
                    if vars(place).get(name) is not function:
                        setattr(place, name, function)

"""ptflops, the counter that most papers quote, by its ``pytorch`` backend.

While it counts, ptflops replaces functions of torch. It has four faults, which we undo here. If
the forward raises in an unexpected place, the functions stay replaced. It returns ``(None, None)``
instead of an error. It prints. It also counts replaced functions that torch's own meta kernels
call.
"""

from __future__ import annotations

import contextlib
import io
from collections import Counter
from importlib import metadata
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from esrbench.probes.counters.operators import FREE, out_of_place
from esrbench.probes.counters.shapes import ShapeMode, by_shape_or_value
from esrbench.records import CounterResult

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


CONVENTION: Final = (
    "ptflops, backend pytorch: 1 multiply-accumulate of a convolution, Linear or matrix "
    "product = 1, transposed convolutions at their input positions; + 1 an element for bias, "
    "activations, pooling (input), interpolation, softmax, torch.add and torch.mul; "
    "normalisations 1 or 2; nn.ReLU and other modules that call a counted function count "
    "twice; the operators + * @, functional convolutions, F.linear and fused attention are 0"
)


def count(network: nn.Module, lr: Tensor) -> CounterResult:
    """Count one forward by ptflops; do not run it while other threads use torch.

    Args:
        network: in eval mode, on CPU.
        lr: (1, 3, H, W) float32, on CPU.

    Returns:
        ptflops' figure; it counts no activations and no calls. ``uncounted`` names the operators
        that ran outside every module and function that it counts, except views and copies.

    Raises:
        RuntimeError: ptflops gave no figure, for reasons outside the forward.
        Exception: whatever the forward raises. torch's functions are restored in both cases.
    """
    return by_shape_or_value(_count, network, lr)


def _count(network: nn.Module, lr: Tensor, without_values: bool) -> CounterResult:
    from ptflops import get_model_complexity_info

    functions = _TorchFunctions()
    tally = _Tally(functions)
    watched = _Watched(network, tally)
    around_kernel = functions.originals if without_values else contextlib.nullcontext
    printed = io.StringIO()
    try:
        with (
            torch.no_grad(),
            contextlib.redirect_stdout(printed),
            contextlib.redirect_stderr(printed),
            ShapeMode(watch=tally.watch, around_kernel=around_kernel),
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
        uncounted=dict(tally.uncounted),
    )


class _Watched(nn.Module):
    """Remembers the exception of a network's forward, which ptflops only prints."""

    def __init__(self, network: nn.Module, tally: _Tally) -> None:
        super().__init__()
        self.network = network
        self.tally = tally
        self.error: Exception | None = None

    def forward(self, lr: Tensor) -> Any:
        """Run the network. ptflops has already hooked it and replaced functions of torch."""
        try:
            with self.tally.marking(self.network):
                return self.network(lr)
        except Exception as error:
            self.error = error
            raise


class _Tally:
    """Operators that run outside of everything that ptflops counts.

    ptflops counts two kinds of calls: modules whose exact type is in its table, by a hook, and
    functions of torch that it has replaced. An operator inside such a call is covered by its
    count.
    """

    def __init__(self, functions: _TorchFunctions) -> None:
        self.uncounted: Counter[str] = Counter()
        self._functions = functions
        self._counted_calls = 0

    def watch(
        self, called: str, _args: tuple[Any, ...], _kwargs: dict[str, Any], _result: Any
    ) -> None:
        """Note an operator that ptflops misses."""
        if not self._counted_calls and out_of_place(called) not in FREE:
            self.uncounted[called] += 1

    @contextlib.contextmanager
    def marking(self, network: nn.Module) -> Iterator[None]:
        """Find out which calls ptflops counts. Its hooks must already be set."""
        with contextlib.ExitStack() as undo:
            for place, name, function in self._functions.replaced():
                # ptflops keeps the original functions as attributes of its own functions.
                undo.callback(setattr, place, name, function)
                setattr(place, name, self._marked(function))
            for module in set(_counted_modules(network)):
                undo.enter_context(module.register_forward_pre_hook(self._enter))
                # Directly around the module's own forward: ptflops does not count work of other
                # hooks.
                leave = module.register_forward_hook(self._leave, prepend=True, always_call=True)
                undo.enter_context(leave)
            with self._functions.standing():
                yield

    def _marked(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def marked(*args: Any, **kwargs: Any) -> Any:
            self._enter()
            try:
                return function(*args, **kwargs)
            finally:
                self._leave()

        return marked

    def _enter(self, *_call: Any) -> None:
        self._counted_calls += 1

    def _leave(self, *_call: Any) -> None:
        self._counted_calls -= 1


def _counted_modules(module: nn.Module) -> Iterator[nn.Module]:
    """Modules whose counts ptflops adds up: hooked modules, without those inside them."""
    if hasattr(module, "__flops_handle__"):
        yield module
    else:
        for child in module.children():
            yield from _counted_modules(child)


class _TorchFunctions:
    """The functions of torch as they were before ptflops replaced some of them."""

    _PLACES: Final = (functional, torch, Tensor)

    def __init__(self) -> None:
        self._before = [dict(vars(place)) for place in self._PLACES]
        self._standing: list[tuple[Any, str, Any]] | None = None

    def replaced(self) -> list[tuple[Any, str, Any]]:
        """Place, name and present value of each function that was replaced."""
        return [
            (place, name, current)
            for place, before in zip(self._PLACES, self._before, strict=True)
            for name, current in vars(place).items()
            if current is not before.get(name, current)
            # A name that was only inherited before is new here.
            or (place is Tensor and name not in before and hasattr(Tensor.__base__, name))
        ]

    def restore(self) -> None:
        """Restore every function, and remove those that were only inherited before."""
        self._restore(self.replaced())

    def _restore(self, replaced: list[tuple[Any, str, Any]]) -> None:
        before = dict(zip(self._PLACES, self._before, strict=True))
        for place, name, _ in replaced:
            if name in before[place]:
                setattr(place, name, before[place][name])
            else:
                delattr(place, name)

    @contextlib.contextmanager
    def standing(self) -> Iterator[None]:
        """Say that no more functions are replaced in this block, because searching takes time."""
        self._standing = self.replaced()
        try:
            yield
        finally:
            self._standing = None

    @contextlib.contextmanager
    def originals(self) -> Iterator[None]:
        """Restore the original functions temporarily.

        Meta kernels that are written in Python call them. Those calls are not the network's.
        """
        replaced = self.replaced() if self._standing is None else self._standing
        self._restore(replaced)
        try:
            yield
        finally:
            for place, name, function in replaced:
                setattr(place, name, function)

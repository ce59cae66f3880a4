"""fvcore's counters, as the challenge uses them since 2024.

fvcore counts on a graph that ``torch.jit`` traces. A trace needs a forward, but only its shapes,
so we trace on ``meta``. Without help this fails. The tracer does not record ``aten::convolution``:
it expects ``aten::_convolution``, which a CPU kernel calls and a meta kernel does not.
"""

from __future__ import annotations

import warnings
from collections import Counter
from importlib import metadata
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn

from esrbench.entries.structure import copied, named_modules, parameters
from esrbench.probes.counters.shapes import (
    READING,
    Arguments,
    ShapeMode,
    by_shape_or_value,
    operator_name,
)
from esrbench.records import CounterResult

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Handle = Callable[[list[Any], list[Any]], Any]
    """Maps inputs and outputs of a traced operator to its count."""

CONVENTION: Final = (
    "fvcore: 1 multiply-accumulate of a convolution or matrix product = 1, transposed "
    "convolutions at their input positions, no bias; + 4 an output element of bilinear and 1 "
    "of nearest interpolation, 1 an input element of adaptive average pooling, 2 to 5 an "
    "element of normalisations; ReLU and all operators named as uncounted are 0; activations "
    "= results of convolutions and matrix products"
)

_FLOPS: Final = "flops"
_ACTIVATIONS: Final = "activations"


def count(network: nn.Module, lr: Tensor) -> CounterResult:
    """Count one forward by fvcore's FLOP and activation analyses.

    Args:
        network: in eval mode, on CPU.
        lr: (1, 3, H, W) float32, on CPU.

    Returns:
        fvcore's totals. ``uncounted`` has the operators that fvcore calls unsupported. It does not
        have those that fvcore ignores by its own list, such as ReLU, clamp and comparisons.

    Raises:
        Exception: whatever the forward, the tracer or fvcore raises.
    """
    if _may_fuse(network):
        # Only CPU kernels are fused, and fvcore's hooks decide which ones.
        return _count_as_is(copied(network), lr.clone())
    try:
        return by_shape_or_value(_count, network, lr)
    except Exception:  # noqa: BLE001 - a private part of torch may have moved
        return _count_as_is(copied(network), lr.clone())


def _may_fuse(network: nn.Module) -> bool:
    """Whether torch would run one of its own layers as a single operator, which fvcore skips."""
    return torch.backends.mha.get_fastpath_enabled() and any(
        isinstance(module, _FUSED) for _, module in named_modules(network)
    )


_FUSED: Final = (nn.MultiheadAttention, nn.TransformerEncoderLayer, nn.TransformerEncoder)


def _count_as_is(network: nn.Module, lr: Tensor) -> CounterResult:
    """Return fvcore's own results, without changes by us."""
    for parameter in parameters(network):
        parameter.requires_grad_(False)
    return _analysed(network, lr)


def _count(network: nn.Module, lr: Tensor, _without_values: bool) -> CounterResult:
    with TracedShapeMode():
        return _analysed(_Whole(network), lr)


def _analysed(network: nn.Module, lr: Tensor) -> CounterResult:
    with warnings.catch_warnings():
        # fvcore scripts a loss function on import. torch deprecates this: by a FutureWarning since
        # 2.14, by a DeprecationWarning before.
        warnings.simplefilter("ignore")
        from fvcore.nn import ActivationCountAnalysis, FlopCountAnalysis

    analysis = FlopCountAnalysis(network, lr)
    activations = _handles(ActivationCountAnalysis(network, lr))
    # Both analyses share one trace, because tracing takes most of the time.
    for kind, flops in _handles(analysis).items():
        analysis.set_op_handle(kind, _together(flops, activations.get(kind)))
    # The result contains what these would log.
    analysis.unsupported_ops_warnings(enabled=False)
    analysis.uncalled_modules_warnings(enabled=False)
    # The tracer warns about every Python number that comes from a shape.
    analysis.tracer_warnings("none")
    with torch.no_grad():
        totals = analysis.by_operator()
        return CounterResult(
            counter="fvcore",
            version=metadata.version("fvcore"),
            convention=CONVENTION,
            input_shape=tuple(lr.shape),
            macs=int(totals[_FLOPS]),
            activations=int(totals[_ACTIVATIONS]),
            uncounted=dict(analysis.unsupported_ops()),
        )


class _Whole(nn.Module):
    """Hides the modules of a network from fvcore, because sorting counts by module takes time."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        # The graph has the hidden parameters as constants, which must not require a gradient.
        for parameter in parameters(network):
            parameter.requires_grad_(False)
        self.unseen = (network,)

    def forward(self, lr: Tensor) -> Any:
        """Run the network."""
        return self.unseen[0](lr)


def _handles(analysis: Any) -> dict[str, Handle]:
    """The handles of an analysis by operator; private to fvcore."""
    return dict(analysis._op_handles)  # noqa: SLF001


def _together(flops: Handle, activations: Handle | None) -> Handle:
    """One handle that returns both counts under separate names."""

    def count_both(inputs: list[Any], outputs: list[Any]) -> Counter[str]:
        both = Counter({_FLOPS: _total(flops(inputs, outputs))})
        if activations is not None:
            both[_ACTIVATIONS] = _total(activations(inputs, outputs))
        return both

    return count_both


def _total(counted: Any) -> int:
    """A handle returns a number, or numbers by name."""
    return int(sum(counted.values()) if isinstance(counted, Counter) else counted)


class TracedShapeMode(ShapeMode):  # type: ignore[no-untyped-call]  # torch's own
    """Answers operators by shape while ``torch.jit`` records them as it would on a CPU."""

    def answer(self, func: torch._ops.OpOverload, args: Arguments, kwargs: dict[str, Any]) -> Any:
        """Result of one operator; a convolution is recorded on the way.

        The tracer is off while the kernel of a recorded operator runs.

        Raises:
            RuntimeError: the tracer does not record the operator, so the graph would lack it.
        """
        if operator_name(func) == "aten::_convolution":
            # Its other arguments choose a CUDA algorithm.
            return super().answer(torch.ops.aten.convolution.default, args[:9], kwargs)
        if _tracing_state() is None:
            return super().answer(func, args, kwargs)
        if operator_name(func) == "aten::convolution":
            return self._recorded_convolution(args)
        if operator_name(func) == READING:
            # On a CPU the tracer skips it too. The tracer sees sizes as tensors on the CPU; a
            # forward without a tracer does not read these.
            if not args[0].is_meta:
                return func(*args)
            return super().answer(func, args, kwargs)
        if not _on_meta(args):
            return func(*args, **kwargs)
        raise RuntimeError(f"the tracer does not record {operator_name(func)}")

    def _recorded_convolution(self, args: Sequence[Any]) -> Tensor:
        """Call ``aten::_convolution`` where the tracer sees it, as the CPU kernel does."""
        backend_flags = (False, False, True, True)
        _exclude_from_dispatch("Tracer", False)
        try:
            with self:
                convolution = torch.ops.aten._convolution.default  # noqa: SLF001
                recorded: Tensor = convolution(*args, *backend_flags)
                return recorded
        finally:
            _exclude_from_dispatch("Tracer", True)


def _on_meta(args: Sequence[Any]) -> bool:
    flat = [each for arg in args for each in (arg if isinstance(arg, list | tuple) else [arg])]
    return any(isinstance(each, Tensor) and each.is_meta for each in flat)


def _tracing_state() -> object:
    """Private to torch: the graph of the current trace; None outside a trace."""
    return torch._C._get_tracing_state()  # noqa: SLF001


def _exclude_from_dispatch(key: str, excluded: bool) -> None:
    torch._C._dispatch_tls_set_dispatch_key_excluded(key, excluded)  # noqa: SLF001

"""Forwards without values: a dispatch mode that answers operators on ``meta`` by shape.

A meta tensor has a shape and no pixels, so a forward costs milliseconds at any size. Torch's
own meta kernels are right but partly written in Python: the first one used imports symbolic
algebra and a compiler (1-2 s a process). The rules of ``shape_rules`` answer the operators of
SR networks without them; every other call, and every unusual one, is left to those kernels.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from harness.probes.counters.layouts import UNANSWERED
from harness.probes.counters.shape_rules import answer_by_shape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, MutableMapping, Sequence

    Watch = Callable[[str, "Arguments", dict[str, Any], Any], None]
    """Is told an operator's name, arguments, keyword arguments and result."""

T = TypeVar("T")
Arguments: TypeAlias = "tuple[Any, ...]"

_VIEWS: Final = frozenset(
    (
        "aten::alias",
        "aten::as_strided",
        "aten::detach",
        "aten::diagonal",
        "aten::expand",
        "aten::permute",
        "aten::select",
        "aten::slice",
        "aten::split",
        "aten::split_with_sizes",
        "aten::squeeze",
        "aten::t",
        "aten::transpose",
        "aten::unbind",
        "aten::unsqueeze",
        "aten::view",
        "aten::_unsafe_view",
    )
)
"""Operators whose kernels on ``meta`` are not written in Python: nothing to keep from them."""


class ShapeMode(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's own
    """Runs operators on meta tensors for their shapes and tells ``watch`` of each one.

    Operators without a meta tensor among their arguments run as they are. A network that
    switches ``torch.inference_mode`` on gives the same operators as one that does not.
    """

    def __init__(
        self,
        *,
        watch: Watch | None = None,
        around_kernel: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        """Set who is told of operators and what surrounds torch's own kernels.

        Args:
            watch: called with the operator's name (``aten::add_``), its positional and keyword
                arguments and its result, after it ran.
            around_kernel: makes a context for each call that no rule here answered.
        """
        super().__init__()  # type: ignore[no-untyped-call]  # torch's own
        self._watch = watch
        self._around_kernel = around_kernel

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Keep torch from wrapping this mode, which would import its compiler (1.4 s).

        A private switch of torch: where it does not exist the mode is slower, not wrong.
        """
        return False

    def __torch_dispatch__(
        self,
        func: torch._ops.OpOverload,
        types: Sequence[type],
        args: Arguments = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Answer one operator."""
        kwargs = kwargs or {}
        if torch.is_inference_mode_enabled():
            # Inference mode hands over composite operators (linear, matmul) whole.
            with torch.inference_mode(mode=False), torch.no_grad(), self:
                return func(*args, **kwargs)
        result = self.answer(func, args, kwargs)
        if self._watch is not None:
            self._watch(operator_name(func), args, kwargs, result)
        return result

    def answer(self, func: torch._ops.OpOverload, args: Arguments, kwargs: dict[str, Any]) -> Any:
        """Result of one operator, by rule or by torch's kernel."""
        name = operator_name(func)
        if name in _VIEWS:
            return func(*args, **kwargs)
        result = answer_by_shape(name, args, kwargs)
        if result is UNANSWERED:
            with self._around_kernel():
                return func(*args, **kwargs)
        return result


def by_shape_or_value(
    count: Callable[[nn.Module, Tensor, bool], T], network: nn.Module, lr: Tensor
) -> T:
    """Count a forward without values; if that cannot be done, count a real one.

    Both run the same operators, with one known exception: fused attention, one operator on
    CPU, comes as its scalings, products and softmax without values.

    Args:
        count: called with a network, its input and whether they are on ``meta``; it starts
            anew at each call.
        network: on CPU; a copy of it goes to ``meta``, so the first call leaves no trace.
        lr: (1, 3, H, W) float32 on CPU.

    Returns:
        What ``count`` returned. The real forward decides: what the forward without values
        raised (control flow that depends on pixels, code that cannot be copied, a private part
        of torch that moved) is dropped, what the real one raises passes through.
    """
    copies = _copies.get({})
    try:
        copied = copies.pop(network, None) or _without_values(network)
        result = count(copied, lr.to("meta"), True)
    except Exception:  # noqa: BLE001 - a stranger's forward may raise anything, see above
        return count(network, lr, False)
    # A copy on which a counter failed may hold its traces; one on which it ended well does not.
    copies[network] = copied
    return result


def on_meta(network: nn.Module) -> nn.Module:
    """A copy of a network without values, shared inside ``copied_once``; leave it as it is.

    Raises:
        Exception: whatever the network's own way of being copied raises.
    """
    copies = _copies.get({})
    if network not in copies:
        copies[network] = _without_values(network)
    return copies[network]


_copies: ContextVar[MutableMapping[nn.Module, nn.Module]] = ContextVar("copies")


@contextmanager
def copied_once() -> Iterator[None]:
    """Let the counters in this block share one copy of a network; copying is what costs."""
    token = _copies.set({})
    try:
        yield
    finally:
        _copies.reset(token)


def _without_values(network: nn.Module) -> nn.Module:
    """Copy of a network whose parameters and buffers are on ``meta``; no values are copied."""
    # The lists keep what is named by its id alive.
    parameters, buffers = list(network.parameters()), list(network.buffers())
    copies: dict[int, Any] = {}
    for parameter in parameters:
        shape = parameter.detach().to("meta")
        copies[id(parameter)] = nn.Parameter(shape, requires_grad=parameter.requires_grad)
    for buffer in buffers:
        copies[id(buffer)] = buffer.detach().to("meta")
    for module in network.modules():
        for value in vars(module).values():
            # Torch copies no computed tensor; the weight under ``weight_norm`` is one.
            if isinstance(value, Tensor) and not value.is_leaf:
                copies[id(value)] = value.detach()
    copied: nn.Module = _copied(network, copies)
    return copied.to("meta")


def _copied(value: Any, copies: dict[int, Any]) -> Any:
    """``copy.deepcopy`` with a short way through modules, which are most of a network.

    Args:
        value: what to copy.
        copies: copies by the ``id`` of what they copy, as ``copy.deepcopy`` keeps them.
    """
    known = copies.get(id(value))
    if known is not None:
        return known
    kind: Any = type(value)
    if kind in _IMMUTABLE or (kind is tuple and all(type(each) in _IMMUTABLE for each in value)):
        return value
    if kind is dict or kind is OrderedDict:
        copied = copies[id(value)] = kind()
        for key, each in value.items():
            copied[_copied(key, copies)] = _copied(each, copies)
        return copied
    if isinstance(value, nn.Module) and _is_its_attributes(kind):
        copied = copies[id(value)] = kind.__new__(kind)
        for name, each in vars(value).items():
            if name != _COMPILED:
                vars(copied)[name] = _copied(each, copies)
        return copied
    return copy.deepcopy(value, copies)


_COMPILED: Final = "_compiled_call_impl"
"""What ``torch.compile`` left on a module, which torch does not copy either."""

_IMMUTABLE: Final = frozenset((type(None), bool, int, float, complex, str, bytes))


@cache
def _is_its_attributes(kind: type[nn.Module]) -> bool:
    """Whether copying a module's attributes copies the module: no class has a way of its own."""
    own_ways = {"__deepcopy__", "__reduce__", "__reduce_ex__", "__getstate__", "__new__"}
    own_ways.add("__slots__")
    for base in kind.__mro__[: kind.__mro__.index(nn.Module)]:
        # Those of torch fill in what older files lack.
        ours = base.__module__.startswith("torch.nn.")
        if (own_ways if ours else own_ways | {"__setstate__"}) & vars(base).keys():
            return False
    return kind.__mro__[-2] is nn.Module


@cache
def operator_name(func: torch._ops.OpOverload) -> str:
    """``namespace::name`` of an operator, without its overload."""
    name: str = func.name()  # type: ignore[no-untyped-call]  # torch's own
    return name.partition(".")[0]

"""Forwards without values: a dispatch mode that answers operators on ``meta`` by shape.

A meta tensor has a shape and no pixels, so a forward costs milliseconds at any size. Torch's
own meta kernels are right but partly written in Python: the first one used imports symbolic
algebra and a compiler (1-2 s a process). The rules of ``shape_rules`` answer the operators of
SR networks without them; every other call, and every unusual one, is left to those kernels.
"""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias, TypeVar, cast

import torch
from torch import Tensor, nn
from torch._ops import HigherOrderOperator
from torch.utils._python_dispatch import TorchDispatchMode

from esrbench.entries.structure import copied, named_modules
from esrbench.probes.counters.layouts import UNANSWERED
from esrbench.probes.counters.operators import macs_of, out_of_place
from esrbench.probes.counters.shape_rules import answer_by_shape
from esrbench.torch_versions import forced_eager

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

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


_HIDDEN: Final = "_hidden_from_compiler"


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
        """Set what receives operators and what surrounds torch's own kernels.

        Args:
            watch: called with the operator's name (``aten::add_``), its positional and keyword
                arguments and its result, after it ran.
            around_kernel: makes a context for each call that no rule here answered.
        """
        super().__init__()  # type: ignore[no-untyped-call]  # torch's own
        self._watch = watch
        self._around_kernel = around_kernel
        self._in_branch = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Keep torch from wrapping this mode, which would import its compiler (1.4 s).

        A private switch of torch: where it does not exist the mode is slower, not wrong.
        """
        return False

    supports_higher_order_operators = True

    def __enter__(self) -> Self:
        """Start; where torch's compiler is there already, keep it from compiling this mode."""
        cls = type(self)
        if "torch._dynamo" in sys.modules and not hasattr(cls.__torch_dispatch__, _HIDDEN):
            hide: Any = vars(torch)["_disable_dynamo"]
            hidden = hide(ShapeMode.__torch_dispatch__, recursive=True)
            setattr(hidden, _HIDDEN, True)
            ShapeMode.__torch_dispatch__ = hidden  # type: ignore[method-assign]
        return cast("Self", super().__enter__())  # type: ignore[no-untyped-call]  # torch's own

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
        if isinstance(func, HigherOrderOperator):
            return self._run_branch(func, args, kwargs)
        if self._in_branch:
            # There, composite operators come whole as well.
            with self:
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        result = self.answer(func, args, kwargs)
        _note(operator_name(func), args, result)
        if self._watch is not None:
            self._watch(operator_name(func), args, kwargs, result)
        return result

    def _run_branch(self, func: Any, args: Arguments, kwargs: dict[str, Any]) -> Any:
        """Run the branch of ``torch.cond`` that the values choose.

        Raises:
            NotImplementedError: of any other operator that takes functions.
        """
        if func is not torch.ops.higher_order.cond:
            message = f"{func.name()} takes functions, which run where no counter sees them"
            raise NotImplementedError(message)
        condition, chosen, otherwise, operands = (*args, *kwargs.values())
        self._in_branch += 1
        try:
            with self:
                return (chosen if bool(condition) else otherwise)(*operands)
        finally:
            self._in_branch -= 1

    def answer(self, func: torch._ops.OpOverload, args: Arguments, kwargs: dict[str, Any]) -> Any:
        """Result of one operator, by rule or by torch's kernel."""
        name = operator_name(func)
        if name in _VIEWS:
            return func(*args, **kwargs)
        if name == READING:
            return _read(func, args)
        args = _on_one_device(name, args)
        result = answer_by_shape(name, args, kwargs)
        if result is UNANSWERED:
            with self._around_kernel():
                return func(*args, **kwargs)
        return result


READING: Final = "aten::_local_scalar_dense"
"""By which the values of tensors become numbers of Python: ``item``, ``if`` and their like."""


@dataclass(slots=True)
class Readings:
    """Values that a forward read off its tensors, in order.

    Attributes:
        values: as numbers of Python.
        given: how many of them a forward without values was given instead; None while they are
            written down.
    """

    values: list[Any]
    given: int | None = None


_readings: ContextVar[Readings | None] = ContextVar("readings", default=None)


@contextmanager
def written_down() -> Iterator[Readings]:
    """Write down what the forward in this block reads; it runs with values."""
    readings = Readings([])
    token = _readings.set(readings)
    try:
        yield readings
    finally:
        _readings.reset(token)


@contextmanager
def given_again(values: Sequence[Any]) -> Iterator[None]:
    """Give the forward in this block, which runs without values, those that another one read.

    Raises:
        RuntimeError: it reads more or fewer of them, so that it is another forward.
    """
    readings = Readings(list(values), given=0)
    token = _readings.set(readings)
    try:
        yield
    finally:
        _readings.reset(token)
    if readings.given != len(readings.values):
        raise RuntimeError("the forward reads fewer values without values than with them")


def _read(func: torch._ops.OpOverload, args: Arguments) -> Any:
    readings = _readings.get()
    if readings is None:
        return func(*args)
    if readings.given is None:
        value = func(*args)
        readings.values.append(value)
        return value
    if readings.given == len(readings.values):
        raise RuntimeError("the forward reads more values without values than with them")
    readings.given += 1
    return readings.values[readings.given - 1] if args[0].is_meta else func(*args)


def _on_one_device(name: str, args: Arguments) -> Arguments:
    """Arguments of an operator, those on the CPU without values where others have none.

    A forward that makes a mask or a mean on the CPU mixes both; on the CPU it mixes nothing. What
    is written into must have its own memory, so that is left to fail.
    """
    tensors = [each for each in args if isinstance(each, Tensor)]
    meta = [tensor.is_meta for tensor in tensors]
    if all(meta) or not any(meta) or (not meta[0] and name.endswith("_")):
        return args
    return tuple(
        each.to("meta") if isinstance(each, Tensor) and each.ndim and not each.is_meta else each
        for each in args
    )


def by_shape_or_value(
    count: Callable[[nn.Module, Tensor, bool], T], network: nn.Module, lr: Tensor
) -> T:
    """Count a forward without values; if that cannot be done, count a real one.

    Both run the same operators, with one known exception: fused attention, one operator on
    CPU, comes as its scalings, products and softmax without values. Torch's fused encoder layers
    are switched off, since no rule counts what they run.

    Args:
        count: called with a network, its input and whether they are on ``meta``; it starts
            new at each call, and has both for itself.
        network: on CPU; only copies of it run.
        lr: (1, 3, H, W) float32 on CPU; only copies of it are given away.

    Returns:
        What ``count`` returned. The real forward decides: what the forward without values
        raised (control flow that depends on pixels, a private part of torch that moved) is
        dropped, what the real one raises passes through.
    """
    needed = _needed.get()
    values = None if needed is None else needed.get((id(network), tuple(lr.shape)))
    if needed is None or values is not None:
        try:
            with counted_anew(), nullcontext() if values is None else given_again(values):
                return count(on_meta(network), lr.to("meta"), True)
        except Exception:  # noqa: BLE001, S110 - a stranger's forward may raise anything, see above
            pass
    with unfused(), counted_anew():
        return count(copied(network), lr.clone(), False)


SMALL: Final = 64
"""Elements up to which a tensor that is an attribute keeps its values in a copy without them."""


def on_meta(network: nn.Module) -> nn.Module:
    """A copy of a network without values.

    Its parameters and buffers are on ``meta``, and so are large tensors among the attributes,
    such as a mask that an earlier forward has cached; small ones are scales that a forward reads.
    """
    made = copied(network, _without_values, attributes=_without_values_if_large)
    for _, module in named_modules(made):
        if isinstance(module, torch.jit.ScriptModule):
            module.to("meta")
    return made


def _without_values(tensor: Tensor) -> Tensor:
    return tensor.detach().to("meta")


def _without_values_if_large(tensor: Tensor) -> Tensor:
    return tensor.detach().clone() if tensor.numel() <= SMALL else _without_values(tensor)


Needed: TypeAlias = "dict[tuple[int, tuple[int, ...]], list[Any]]"
"""By the ``id`` of a network and the shape of its input: the values that its forward reads."""

_needed: ContextVar[Needed | None] = ContextVar("needed", default=None)


@contextmanager
def with_values(network: nn.Module, shape: Sequence[int], values: Sequence[Any]) -> Iterator[None]:
    """Count networks in this block with pixel values, since they cannot do without them.

    Args:
        network: whose forward is given the values that it reads instead.
        shape: of the input at which that is so.
        values: what it reads.
    """
    token = _needed.set({(id(network), tuple(shape)): list(values)})
    try:
        yield
    finally:
        _needed.reset(token)


@contextmanager
def unfused() -> Iterator[None]:
    """Have torch's attention and encoder layers run as operators that can be counted."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(value=False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(value=before)


@contextmanager
def eagerly() -> Iterator[None]:
    """Let ``torch.compile`` compile nothing in this block; compiled parts run as Python.

    Else a compiler would take operators out of sight, and compile whoever looks at them. It is
    left alone, and not imported (1.4 s), where nothing was compiled.
    """
    if "torch._dynamo" not in sys.modules:
        yield
        return
    with forced_eager():
        yield


@dataclass(slots=True)
class Ran:
    """What the forward of a counter ran, whatever its rule makes of it.

    Attributes:
        macs: multiply-accumulates by the ``aten`` rule.
        seen: a dispatch mode watched it.
    """

    macs: int = 0
    seen: bool = False


_ran: ContextVar[Ran | None] = ContextVar("ran", default=None)


@contextmanager
def watching() -> Iterator[Ran]:
    """What runs in this block under a ``ShapeMode``; only the last attempt of a count."""
    ran = Ran()
    token = _ran.set(ran)
    try:
        yield ran
    finally:
        _ran.reset(token)


@contextmanager
def counted_anew() -> Iterator[None]:
    """Forget what an earlier attempt ran."""
    ran = _ran.get()
    if ran is not None:
        ran.macs, ran.seen = 0, False
    yield


def _note(called: str, args: Arguments, result: Any) -> None:
    """Add an operator to those that ``watching`` receives."""
    ran = _ran.get()
    if ran is None:
        return
    ran.seen = True
    out = result[0] if isinstance(result, tuple | list) and result else result
    # A convolution that a tracer records comes a second time under this name.
    if isinstance(out, Tensor) and called != "aten::_convolution":
        ran.macs += macs_of(out_of_place(called), args, out) or 0


@cache
def operator_name(func: torch._ops.OpOverload) -> str:
    """``namespace::name`` of an operator, without its overload."""
    name: str = func.name()  # type: ignore[no-untyped-call]  # torch's own
    return name.partition(".")[0]

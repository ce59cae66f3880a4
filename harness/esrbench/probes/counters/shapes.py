"""Forwards without values: a dispatch mode that answers operators on ``meta`` by shape.

A meta tensor has a shape and no pixels, so a forward costs milliseconds at any size. Torch's own
meta kernels are right but partly written in Python: the first one that is used imports symbolic
algebra and a compiler (1-2 s per process). The rules of ``shape_rules`` answer the operators of SR
networks without these kernels. All other calls are left to the kernels.
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
    """Receives an operator's name, arguments, keyword arguments and result."""

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
"""Operators whose kernels on ``meta`` are not written in Python, so that they need no rule."""


_HIDDEN: Final = "_hidden_from_compiler"


class ShapeMode(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's own
    """Runs operators on meta tensors for their shapes and reports each one to ``watch``.

    An operator without a meta tensor among its arguments runs as it is. A network that switches
    ``torch.inference_mode`` on gives the same operators as one that does not.
    """

    def __init__(
        self,
        *,
        watch: Watch | None = None,
        around_kernel: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        """Set the function that receives operators, and the context around torch's own kernels.

        Args:
            watch: called after an operator ran, with its name (``aten::add_``), its positional and
                keyword arguments and its result.
            around_kernel: makes a context for each call that no rule here answered.
        """
        super().__init__()  # type: ignore[no-untyped-call]  # torch's own
        self._watch = watch
        self._around_kernel = around_kernel
        self._in_branch = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Keep torch from wrapping this mode, which would import its compiler (1.4 s).

        This uses a private switch of torch. Without the switch, the mode is slower but still
        right.
        """
        return False

    supports_higher_order_operators = True

    def __enter__(self) -> Self:
        """Start. If torch's compiler is already imported, keep it from compiling this mode."""
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
            # Inference mode passes composite operators (linear, matmul) as a whole.
            with torch.inference_mode(mode=False), torch.no_grad(), self:
                return func(*args, **kwargs)
        if isinstance(func, HigherOrderOperator):
            return self._run_branch(func, args, kwargs)
        if self._in_branch:
            # There, composite operators also come as a whole.
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
            NotImplementedError: for any other operator that takes functions.
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
"""The operator that turns a tensor's value into a Python number, for ``item``, ``if`` and others.
"""


@dataclass(slots=True)
class Readings:
    """Values that a forward read from its tensors, in order.

    Attributes:
        values: as Python numbers.
        given: number of values already given to a forward without values; None while the values
            are being recorded.
    """

    values: list[Any]
    given: int | None = None


_readings: ContextVar[Readings | None] = ContextVar("readings", default=None)


@contextmanager
def written_down() -> Iterator[Readings]:
    """Record what the forward in this block reads; it runs with values."""
    readings = Readings([])
    token = _readings.set(readings)
    try:
        yield readings
    finally:
        _readings.reset(token)


@contextmanager
def given_again(values: Sequence[Any]) -> Iterator[None]:
    """Give the recorded values to the forward in this block, which runs without values.

    Raises:
        RuntimeError: it reads more or fewer values, so it is not the same forward.
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
    """Arguments of an operator; if some are on ``meta``, those on the CPU are moved there.

    A forward that makes a mask or a mean on the CPU mixes both devices when it runs on ``meta``.
    On the CPU it mixes nothing. A tensor that is written to must keep its own memory, so such a
    call is left to fail.
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

    Both run the same operators, with one known exception. On a CPU, fused attention is one
    operator; without values it comes as its scalings, products and softmax. Torch's fused encoder
    layers are switched off, because no rule counts their operators.

    Args:
        count: called with a network, its input and whether they are on ``meta``. Each call must
            start from zero. Nothing else uses the network and the input that it gets.
        network: on CPU; only copies of it run.
        lr: (1, 3, H, W) float32 on CPU; only copies of it are passed on.

    Returns:
        The result of ``count``. The real forward decides. An error of the forward without values
            is dropped: control flow may depend on pixels, or a private part of torch may have
            moved. An error of the real forward is raised.
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
"""A tensor attribute with at most so many elements keeps its values in a copy without values."""


def on_meta(network: nn.Module) -> nn.Module:
    """A copy of a network without values.

    Its parameters and buffers are on ``meta``. So are large tensors among the attributes, such as
    a mask that an earlier forward has cached. Small ones keep their values: they are scales that a
    forward reads.
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
"""The values that a forward reads, by the ``id`` of the network and the shape of its input."""

_needed: ContextVar[Needed | None] = ContextVar("needed", default=None)


@contextmanager
def with_values(network: nn.Module, shape: Sequence[int], values: Sequence[Any]) -> Iterator[None]:
    """Count networks in this block with pixel values, because they need them.

    Args:
        network: at ``shape``, its forward runs without values and gets the recorded ones instead.
        shape: of the input for which the values were recorded.
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
    """Turn off ``torch.compile`` in this block; compiled parts run as Python.

    Otherwise a compiler would hide operators, and would compile the code that watches them. If
    nothing was compiled, the compiler is left alone and not imported (1.4 s).
    """
    if "torch._dynamo" not in sys.modules:
        yield
        return
    with forced_eager():
        yield


@dataclass(slots=True)
class Ran:
    """The operators that ran in the forward of a counter, independent of its rule.

    Attributes:
        macs: multiply-accumulates by the ``aten`` rule.
        seen: whether a dispatch mode watched the forward.
    """

    macs: int = 0
    seen: bool = False


_ran: ContextVar[Ran | None] = ContextVar("ran", default=None)


@contextmanager
def watching() -> Iterator[Ran]:
    """Collect what runs under a ``ShapeMode`` in this block; only the last attempt is kept."""
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
    # A tracer that records a convolution makes it appear again under this name.
    if isinstance(out, Tensor) and called != "aten::_convolution":
        ran.macs += macs_of(out_of_place(called), args, out) or 0


@cache
def operator_name(func: torch._ops.OpOverload) -> str:
    """``namespace::name`` of an operator, without its overload."""
    name: str = func.name()  # type: ignore[no-untyped-call]  # torch's own
    return name.partition(".")[0]

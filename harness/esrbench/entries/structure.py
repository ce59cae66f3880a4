"""Modules and tensors of a network, read and copied without calling its own code.

A network's classes may override ``parameters``, ``modules``, ``__deepcopy__``, ``__reduce__`` or
``to``, and could show a counter other modules than it runs. So these methods are never called. The
attributes of each module are read where torch keeps them. A copy has the same classes and the same
attributes. Imports torch.
"""

from __future__ import annotations

import copy
import functools
import hashlib
import sys
import types
from collections import OrderedDict, deque
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    TensorMap = Callable[[Tensor], Tensor]
    """Maps a tensor to a detached tensor that replaces it in a copy."""

_ATTRIBUTES: Final = nn.Module.__dict__["__dict__"]
"""Descriptor of a module's attributes; a class may hide them behind a property of that name."""

_COMPILED: Final = "_compiled_call_impl"
"""Attributes that ``module.compile()`` sets on a module; torch does not copy them either."""

_GROUPS: Final = ("_parameters", "_buffers", "_modules")
"""Attributes in which torch keeps what a module registered."""

_DEEPEST: Final = 3
"""Levels of nested lists and dicts in an attribute that are searched."""

_IMMUTABLE: Final = frozenset((type(None), bool, int, float, complex, str, bytes))

_SHARED: Final = (type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType)
"""Types that are shared, not copied, as in ``copy.deepcopy``."""

_QUESTIONS: Final = (
    *("parameters", "named_parameters", "buffers", "named_buffers", "_named_members"),
    *("modules", "named_modules", "children", "named_children", "apply", "_apply"),
    *("register_forward_hook", "register_forward_pre_hook", "add_module", "register_module"),
)
"""Methods that counters call on a module; a copy has torch's own."""


def attributes_of(module: nn.Module) -> dict[str, Any]:
    """The attributes of a module, with its parameters, buffers and modules."""
    found: dict[str, Any] = _ATTRIBUTES.__get__(module)
    return found


def named_modules(network: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Every distinct module by dotted path, in torch's order; the network itself is ``""``.

    A part that was compiled by ``torch.compile`` is listed as its original module.
    """
    seen: set[int] = set()
    waiting: list[tuple[str, nn.Module]] = [("", written(network))]
    while waiting:
        path, module = waiting.pop()
        if id(module) in seen:
            continue
        seen.add(id(module))
        yield path, module
        children = [
            (f"{path}.{name}" if path else str(name), written(child))
            for name, child in _group(module, "_modules")
            if isinstance(child, nn.Module)
        ]
        waiting += reversed(children)


def parameters(network: nn.Module) -> list[Tensor]:
    """All distinct parameters."""
    return [tensor for _, tensor in _distinct(network, "_parameters")]


def buffers(network: nn.Module) -> list[Tensor]:
    """All distinct buffers."""
    return [tensor for _, tensor in named_buffers(network)]


def named_buffers(network: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Every distinct buffer by dotted path, in torch's order."""
    return _distinct(network, "_buffers")


def named_attributes(network: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Every tensor among the modules' other attributes by dotted path, also in lists and dicts."""
    for path, module in named_modules(network):
        if not isinstance(module, torch.jit.ScriptModule):
            for name, value in attributes_of(module).items():
                if name not in _GROUPS:
                    yield from _tensors_in(f"{path}.{name}" if path else str(name), value)


def _tensors_in(path: str, value: Any, depth: int = 0) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield path, value
    elif depth == _DEEPEST:  # a list may contain itself
        return
    elif type(value) in {list, tuple}:
        for index, each in enumerate(value):
            yield from _tensors_in(f"{path}.{index}", each, depth + 1)
    elif type(value) is dict:
        for key, each in value.items():
            yield from _tensors_in(f"{path}.{key}", each, depth + 1)


def state_elements(network: nn.Module) -> int:
    """Count of numbers in named parameters and buffers; a tensor with two names counts twice."""
    return sum(
        elements(tensor)
        for _, module in named_modules(network)
        for kind in ("_parameters", "_buffers")
        for _, tensor in _group(module, kind)
        if isinstance(tensor, Tensor)
    )


def parameters_sha256(network: nn.Module) -> str | None:
    """SHA-256 (hex) of the shapes and values of all parameters; names and order do not matter.

    None for a network without parameters, or if some parameters have no values.
    """
    found = parameters(network)
    if any(nn.parameter.is_lazy(tensor) or tensor.is_meta for tensor in found):
        return None
    digests = []
    for tensor in found:
        plain = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
        digest = hashlib.sha256(f"{tuple(plain.shape)}\0".encode())
        digest.update(plain.reshape(-1).view(torch.uint8).numpy().data)
        digests.append(digest.hexdigest())
    return hashlib.sha256("".join(sorted(digests)).encode()).hexdigest() if digests else None


def elements(tensor: Tensor) -> int:
    """Count of numbers in a tensor: a complex number is two, a tensor without a shape has none."""
    if nn.parameter.is_lazy(tensor):
        return 0
    return tensor.numel() * (2 if tensor.is_complex() else 1)


def written(module: nn.Module) -> nn.Module:
    """The original of a compiled module; any other module itself."""
    kind = type(module)
    if kind.__name__ == "OptimizedModule" and kind.__module__ == "torch._dynamo.eval_frame":
        inner = dict(_group(module, "_modules")).get("_orig_mod")
        if isinstance(inner, nn.Module):
            return written(inner)
    return module


def copied(
    network: nn.Module, place: TensorMap | None = None, *, attributes: TensorMap | None = None
) -> nn.Module:
    """A copy of a network of the same classes, attributes and hooks, in the same mode.

    Tensors that share memory share it in the copy. Computed tensors (the weight under
    ``weight_norm``) are copied without their history. Functions, and objects that cannot be
    copied, such as locks and files, are shared with the original. A part that was compiled by
    ``torch.compile`` is copied as its original module.

    Args:
        network: the network; it is not changed, and none of its methods is called.
        place: makes the tensor of each parameter and buffer; None to clone it on its device.
        attributes: makes every other tensor; None to clone it on its device.

    Raises:
        RuntimeError: a part differs from its original, which is a fault of the harness.
    """
    memo: dict[int, Any] = {}
    # These lists keep objects alive whose ids are keys.
    kept = [*parameters(network), *buffers(network)]
    if place is not None:
        for tensor in kept:
            placed = place(tensor)
            memo[id(tensor)] = (
                nn.Parameter(placed, requires_grad=tensor.requires_grad)
                if isinstance(tensor, nn.Parameter)
                else placed
            )
    with torch.no_grad():
        # Otherwise the copied parameters of a scripted module would not be leaf tensors.
        made: nn.Module = _copy(network, memo, attributes)
    _require_equal(network, made)
    for ours, theirs in zip(parameters(made), parameters(network)):
        if ours.requires_grad != theirs.requires_grad and ours.is_leaf:
            ours.requires_grad_(theirs.requires_grad)
    for _, module in named_modules(made):
        _ask_torch(module)
    return made


def _group(module: nn.Module, kind: str) -> list[tuple[Any, Any]]:
    """Names and values of one of torch's dicts of a module."""
    if isinstance(module, torch.jit.ScriptModule):
        # A traced module keeps its dict one level deeper, in wrappers of torch.
        return list(getattr(module, kind).items())
    group = attributes_of(module).get(kind)
    return list(dict.items(group)) if isinstance(group, dict) else []


def _distinct(network: nn.Module, kind: str) -> Iterator[tuple[str, Tensor]]:
    seen: set[int] = set()
    for path, module in named_modules(network):
        for name, tensor in _group(module, kind):
            if isinstance(tensor, Tensor) and id(tensor) not in seen:
                seen.add(id(tensor))
                yield (f"{path}.{name}" if path else str(name)), tensor


def _require_equal(network: nn.Module, made: nn.Module) -> None:
    """Raise ``RuntimeError`` unless a copy has the modules, classes and tensors of its original."""
    ours, theirs = _described(made), _described(network)
    if ours != theirs:
        differing = next(
            (path or "(network)" for path in theirs if ours.get(path) != theirs[path]), "(network)"
        )
        raise RuntimeError(f"the copy that is counted differs from the network at {differing}")


def _described(network: nn.Module) -> dict[str, tuple[Any, ...]]:
    """By path of each module: class, code of its forward, names and shapes of its tensors."""
    return {
        path: (
            # A copy of a traced module has the class of scripted modules.
            nn.Module if isinstance(module, torch.jit.ScriptModule) else type(module),
            None if isinstance(module, torch.jit.ScriptModule) else _code(module),
            *(
                tuple((name, getattr(tensor, "shape", None)) for name, tensor in group)
                for group in (_group(module, "_parameters"), _group(module, "_buffers"))
            ),
        )
        for path, module in named_modules(network)
    }


def _code(module: nn.Module) -> object:
    forward = attributes_of(module).get("forward", type(module).__dict__.get("forward"))
    return getattr(getattr(forward, "__func__", forward), "__code__", None)


def _ask_torch(module: nn.Module) -> None:
    """Give a module of a copy torch's own methods for questions about its structure."""
    if isinstance(module, torch.jit.ScriptModule):
        return
    kind = type(module)
    for name in _QUESTIONS:
        own = getattr(nn.Module, name)
        if getattr(kind, name, own) is not own:
            attributes_of(module)[name] = types.MethodType(own, module)
        elif name in attributes_of(module):
            del attributes_of(module)[name]


def _copy(value: Any, memo: dict[int, Any], place: TensorMap | None) -> Any:  # noqa: C901, PLR0911, PLR0912 - one way a kind
    """Do the work of ``copy.deepcopy`` without calling copy methods of the network's classes.

    Args:
        value: the value to copy.
        memo: copies by the ``id`` of their originals, as in ``copy.deepcopy``.
        place: makes the tensors that are not parameters or buffers; None to clone them.
    """
    kind: Any = type(value)
    made: Any
    if kind in _IMMUTABLE or isinstance(value, _SHARED):
        return value
    known = memo.get(id(value))
    if known is not None:
        return known
    if isinstance(value, Tensor):
        # Torch cannot copy a computed tensor.
        plain = value if value.is_leaf else value.detach()
        made = copy.deepcopy(plain, memo) if place is None else place(plain)
        memo[id(value)] = made
        return made
    if kind is dict or kind is OrderedDict:
        made = memo[id(value)] = kind()
        for key, each in value.items():
            made[_copy(key, memo, place)] = _copy(each, memo, place)
        return made
    if kind is list or kind is deque:
        made = memo[id(value)] = kind() if kind is list else deque(maxlen=value.maxlen)
        made.extend(_copy(each, memo, place) for each in value)
        return made
    if kind is tuple or kind is set or kind is frozenset:
        return kind(_copy(each, memo, place) for each in value)
    if kind is types.MethodType:
        return types.MethodType(value.__func__, _copy(value.__self__, memo, place))
    if kind is functools.partial:
        arguments = [_copy(each, memo, place) for each in value.args]
        return functools.partial(
            _copy(value.func, memo, place), *arguments, **_copy(value.keywords, memo, place)
        )
    if isinstance(value, nn.Module) and not isinstance(value, torch.jit.ScriptModule):
        source = written(value)
        if source is not value:
            made = memo[id(value)] = _copy(source, memo, place)
            return made
        return _copied_object(value, memo, place)
    if _is_plain_object(kind):
        return _copied_object(value, memo, place)
    try:
        return copy.deepcopy(value, memo)
    except Exception:  # noqa: BLE001 - locks, files, generators: a stranger's objects may be any
        return value


def _copied_object(value: Any, memo: dict[int, Any], place: TensorMap | None) -> Any:
    """A copy of an object whose state is its attributes and slots."""
    kind = type(value)
    made = memo[id(value)] = object.__new__(kind)
    for base in kind.__mro__:
        for name, slot in vars(base).items():
            if isinstance(slot, types.MemberDescriptorType):
                try:
                    slot.__set__(made, _copy(slot.__get__(value), memo, place))
                except AttributeError:  # the slot is empty
                    continue
            elif name == "__dict__" and isinstance(slot, types.GetSetDescriptorType):
                target = slot.__get__(made)
                for key, each in slot.__get__(value).items():
                    if key != _COMPILED:
                        target[key] = _copy(each, memo, place)
    return made


@functools.lru_cache(maxsize=None)
def _is_plain_object(kind: type) -> bool:
    """Whether an object of a class can be copied by its attributes.

    That is so for classes written in Python, except those of Python and torch, which have their own
    safe copy methods.
    """
    owner = kind.__module__.partition(".")[0]
    # `sys.stdlib_module_names` exists from Python 3.10 on; older interpreters copy no networks.
    if owner == "torch" or owner in getattr(sys, "stdlib_module_names", ()):
        home = vars(sys.modules.get(kind.__module__, types.ModuleType(""))).get(kind.__name__)
        if home is kind:
            return False
    if issubclass(kind, Enum):
        return False
    try:
        object.__new__(kind)
    except TypeError:  # written in C
        return False
    return True

"""State dicts as they were read: their level in a checkpoint, their names and their tensors.

The caller declares what is read here; ``layout`` finds what was not declared.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from typing import TYPE_CHECKING, Any

from esrbench.errors import WeightsError
from esrbench.plaintext import plural

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from torch import Tensor

MAX_WEIGHTS_BYTES = 512 * 1024 * 1024
"""Largest weights file, and largest total size of its tensors: 100 times the largest entry."""
MAX_NAME_CHARACTERS = 512
EXTRA_STATE = "_extra_state"
"""Last part of the names under which results of ``Module.get_extra_state`` are saved."""
METADATA = "_metadata"
"""Attribute in which PyTorch keeps the versions of modules beside a state dict."""

NESTING_KEYS = (
    "params_ema",
    "params",
    "state_dict",
    "state_dict_ema",
    "ema_state_dict",
    "model_state_dict",
    "net",
    "model",
    "model_ema",
    "network",
    "generator",
    "net_g",
    "g",
)
"""Names under which training frameworks nest a state dict."""

DTYPES = (
    *("float64", "float32", "float16", "bfloat16", "complex64"),
    *("int64", "int32", "int16", "int8", "uint8", "bool"),
)
"""Types that weights may have."""

_SHOWN = 4
_SHOWN_CHARACTERS = 80


def select_level(path: Path, content: Any, key: str | None) -> dict[Any, Any]:
    """The declared level of nesting.

    Args:
        path: the file, for messages.
        content: what it holds.
        key: name under which the state dict is nested, or None if it is the whole file; names
            of several levels are joined by dots.

    Raises:
        WeightsError: there is no such level, or it is not a dict.
    """
    if not isinstance(content, dict):
        message = f"{path}: holds a {type(content).__name__}, expected a state dict"
        raise WeightsError(message, advice="Save network.state_dict().")
    if key is None:
        return content
    inner = level_at(content, key)
    if inner is None:
        message = f"{path}: there is no key {key!r}; it has {some(content)}"
        nested = [name for name in NESTING_KEYS if isinstance(content.get(name), dict)]
        advice = (
            f"Declare key={nested[0]!r}."
            if nested
            else "Declare no key if these are the names of the network's weights."
        )
        raise WeightsError(message, advice=advice)
    if not isinstance(inner, dict):
        message = f"{path}: {key!r} holds a {type(inner).__name__}, expected a state dict"
        raise WeightsError(message, advice="Declare the key that holds network.state_dict().")
    return inner


def level_at(content: Mapping[Any, Any], key: str) -> Any:
    """The content of a checkpoint under a name, or under names joined by dots; None for nothing."""
    if key in content:
        return content[key]
    outer, _, rest = key.partition(".")
    inner = content.get(outer)
    return level_at(inner, rest) if rest and isinstance(inner, dict) else None


def is_state_dict(content: Any) -> bool:
    """Whether something is a dict of tensors by name, not empty."""
    import torch

    return (
        isinstance(content, dict)
        and bool(content)
        and all(
            isinstance(name, str) and isinstance(value, torch.Tensor)
            for name, value in content.items()
        )
    )


def require_tensors(path: Path, state: dict[Any, Any], key: str | None) -> dict[str, Any]:
    """A state dict whose tensors are dense and have all their elements in the file.

    Args:
        path: the file, for messages.
        state: what it holds at the declared level.
        key: that level.

    Returns:
        Detached CPU tensors by name, of ``DTYPES`` and any shape and strides, none with more
        elements than its storage has, together at most ``MAX_WEIGHTS_BYTES``. Extra state of
        modules, under names that end in ``_extra_state``, may be anything and is left as it is.

    Raises:
        WeightsError: it is empty or nested, or a tensor is anything else.
    """
    import torch

    if not state:
        message = f"{path}: the state dict is empty"
        raise WeightsError(message, advice="Save network.state_dict().")
    others = [
        f"{shown(name)} is a {type(value).__name__}"
        for name, value in state.items()
        if not isinstance(name, str)
        or not (isinstance(value, torch.Tensor) or is_extra_state(name))
    ]
    if others:
        nested = [name for name in NESTING_KEYS if isinstance(state.get(name), dict)]
        level = "" if key is None else f" under {key!r}"
        message = f"{path}: expected tensors by name{level}, but {some(others)}"
        advice = (
            f"The state dict seems nested: declare key={nested[0]!r}."
            if key is None and nested
            else "Save network.state_dict() alone."
        )
        raise WeightsError(message, advice=advice)
    names = [name for name in state if not 0 < len(name) <= MAX_NAME_CHARACTERS]
    if names or not all(name.isprintable() for name in state):
        message = f"{path}: names of tensors are empty, of more than {MAX_NAME_CHARACTERS} "
        message += "characters, or cannot be printed"
        raise WeightsError(message, advice="Save network.state_dict().")
    # A parameter may carry attributes of any name from its file; a detached tensor has none.
    kept = {
        name: torch.Tensor.detach(value) if isinstance(value, torch.Tensor) else value
        for name, value in state.items()
    }
    _require_dense(
        path, {name: value for name, value in kept.items() if isinstance(value, torch.Tensor)}
    )
    return kept


def is_extra_state(name: str) -> bool:
    """Whether a name is that of a module's extra state (``Module.get_extra_state``)."""
    return name.rpartition(".")[2] == EXTRA_STATE


def _require_dense(path: Path, tensors: dict[str, Tensor]) -> None:
    import torch

    allowed = {getattr(torch, name) for name in DTYPES}
    odd = [
        name
        for name, tensor in tensors.items()
        if type(tensor) is not torch.Tensor
        or tensor.layout is not torch.strided
        or tensor.device.type != "cpu"
        or tensor.dtype not in allowed
    ]
    if odd:
        message = (
            f"{path}: expected dense tensors with data, of type {', '.join(DTYPES)}; "
            f"found others: {some(odd)}"
        )
        raise WeightsError(message, advice="Save dense float tensors.")
    expanded = [
        f"{shown(name)} has {tensor.numel()} elements in {tensor.untyped_storage().nbytes()} bytes"
        for name, tensor in tensors.items()
        if tensor.nbytes > tensor.untyped_storage().nbytes()
    ]
    if expanded:
        found = plural(len(expanded), "tensor")
        message = f"{path}: {found} with a shape larger than the data: {some(expanded)}"
        raise WeightsError(message, advice="Save contiguous tensors.")
    total = sum(tensor.nbytes for tensor in tensors.values())
    if total > MAX_WEIGHTS_BYTES:
        message = f"{path}: its tensors take {total} bytes, expected {MAX_WEIGHTS_BYTES} at most"
        raise WeightsError(message, advice="Save the weights of one network, each once.")


def is_finite(tensor: Tensor) -> bool:
    """Whether all elements are finite. Only the minimum and maximum are checked; they keep NaN."""
    import torch

    if not tensor.numel() or not (tensor.is_floating_point() or tensor.is_complex()):
        return True
    parts = torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor
    if parts.element_size() == 1:
        parts = parts.float()  # of 8 bits, which has no minimum of its own
    return all(bool(torch.isfinite(end)) for end in torch.aminmax(parts))


def rename_parts(
    path: Path, state: dict[str, Any], renames: Iterable[tuple[str, str]]
) -> dict[str, Any]:
    """Rename dotted parts of names, as ``ReleasedWeights.renames`` says.

    Raises:
        WeightsError: several tensors would get one name.
    """
    pairs = _rename_pairs(renames)
    names = {name: _renamed(name, pairs) for name in state}
    clashes = [name for name, times in Counter(names.values()).items() if times > 1]
    if clashes:
        message = f"{path}: the declared renames give several tensors one name: {some(clashes)}"
        raise WeightsError(message, advice="Correct the renames.")
    return {names[name]: tensor for name, tensor in state.items()}


def keep_versions(
    level: Mapping[Any, Any],
    state: dict[str, Any],
    prefix: str,
    renames: Iterable[tuple[str, str]],
) -> dict[str, Any]:
    """A state dict with the versions of modules that PyTorch saved beside it, if there are any.

    Modules migrate weights of their older versions. Without a version, they would take current
    weights for old ones.

    Args:
        level: the state dict as it was read.
        state: its tensors, under the network's names.
        prefix: prefix that was removed from all names.
        renames: renames that were applied after that.
    """
    found = getattr(level, METADATA, None)
    if not isinstance(found, dict):
        return state
    pairs = _rename_pairs(renames)
    versions = {}
    for module, facts in found.items():
        version = facts.get("version") if isinstance(facts, dict) else None
        if isinstance(module, str) and isinstance(version, int) and f"{module}.".startswith(prefix):
            ours = f"{module}."[len(prefix) :].rstrip(".")
            versions[_renamed(ours, pairs)] = {"version": version}
    versioned = OrderedDict(state)
    setattr(versioned, METADATA, versions)
    return versioned


def _rename_pairs(renames: Iterable[tuple[str, str]]) -> list[tuple[tuple[str, ...], str]]:
    pairs = [(tuple(theirs.split(".")), ours) for theirs, ours in renames]
    return sorted(pairs, key=lambda pair: len(pair[0]), reverse=True)


def _renamed(name: str, pairs: Sequence[tuple[tuple[str, ...], str]]) -> str:
    """One pass from the left over dotted parts; ``pairs`` come longest first."""
    parts = tuple(name.split("."))
    result: list[str] = []
    position = 0
    while position < len(parts):
        for theirs, ours in pairs:
            if parts[position : position + len(theirs)] == theirs:
                result.append(ours)
                position += len(theirs)
                break
        else:
            result.append(parts[position])
            position += 1
    return ".".join(result)


def common_prefix(names: Iterable[str]) -> str:
    """The first dotted part with its dot, if all names share it; otherwise empty."""
    firsts = {name.partition(".")[0] if "." in name else "" for name in names}
    first = firsts.pop() if len(firsts) == 1 else ""
    return f"{first}." if first else ""


def shown(name: object) -> str:
    """A name from a file for messages: shortened, and without control characters."""
    text = name if isinstance(name, str) else str(name) if isinstance(name, int) else repr(name)
    cut = text[: _SHOWN_CHARACTERS + 1]
    printable = cut if cut.isprintable() else ascii(cut)
    if len(printable) <= _SHOWN_CHARACTERS:
        return printable
    return f"{printable[:_SHOWN_CHARACTERS]}..."


def some(names: Iterable[object]) -> str:
    """The first few names, for messages."""
    listed = [*names]
    first = ", ".join(shown(name) for name in listed[:_SHOWN])
    return f"{first}, ..." if len(listed) > _SHOWN else first

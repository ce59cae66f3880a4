"""Reading weights as data, never as programs, and loading them strictly.

How a file is laid out (nesting, prefix, renamed parts) is declared by the caller, never
guessed: a layout that was not declared is an error that says what to declare.
"""

from __future__ import annotations

import hashlib
import warnings
import zipfile
from collections import Counter
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

from harness.errors import WeightsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from torch import Tensor, nn

PICKLE_SUFFIXES = (".pth", ".pt", ".ckpt")
NESTING_KEYS = ("params_ema", "params", "state_dict", "model_state_dict", "net", "model")
"""Names under which training frameworks nest a state dict; only for advice."""

_SHOWN = 4


def file_sha256(path: Path) -> str:
    """SHA-256 (hex) of a file.

    Raises:
        WeightsError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise _unreadable(path, error) from error


def read_state_dict(
    path: Path,
    *,
    key: str | None = None,
    prefix: str = "",
    renames: Iterable[tuple[str, str]] = (),
) -> dict[str, Tensor]:
    """Read a state dict onto the CPU without running anything in it.

    ``.safetensors`` is read by safetensors; ``.pth``, ``.pt`` and ``.ckpt`` only by
    ``torch.load(weights_only=True)``.

    Args:
        path: the file.
        key: name under which the state dict is nested, or None if it is the whole file.
        prefix: prefix of every key, removed.
        renames: (theirs, ours) pairs as in ``ReleasedWeights.renames``, applied after the
            prefix.

    Returns:
        Dense, finite CPU tensors of any shape and dtype by name.

    Raises:
        WeightsError: the file is missing, truncated, holds a program (TorchScript, a pickled
            module), is not laid out as declared, or holds anything but finite dense tensors.
    """
    if not path.is_file():
        message = f"{path}: there is no such file"
        raise WeightsError(message, advice="Check the path, or fetch it: esrbench fetch weights.")
    suffix = path.suffix.lower()
    if suffix == ".safetensors":
        content = _read_safetensors(path)
    elif suffix in PICKLE_SUFFIXES:
        content = _read_torch(path)
    else:
        expected = ", ".join((".safetensors", *PICKLE_SUFFIXES))
        message = f"{path}: weights end in {expected}, not {path.suffix or 'nothing'!r}"
        raise WeightsError(message, advice="Save the state dict as .safetensors.")
    state = _require_tensors(path, _select(path, content, key), key)
    return _rename(path, _strip(path, state, prefix), tuple(renames))


def load_into(network: nn.Module, state: Mapping[str, Tensor], *, source: str) -> None:
    """Load a state dict strictly: every key, every shape, nothing left over.

    Args:
        network: the network to fill.
        state: tensors by name; cast to the network's dtype.
        source: what the state came from, for messages (a file name).

    Raises:
        WeightsError: keys are missing, unexpected or of another shape or kind of dtype. The
            network is unchanged then.
    """
    expected = network.state_dict()
    missing = [name for name in expected if name not in state]
    unexpected = [name for name in state if name not in expected]
    misfits = [
        f"{name} is {_describe(state[name])}, expected {_describe(tensor)}"
        for name, tensor in expected.items()
        if name in state
        and (
            state[name].shape != tensor.shape
            or state[name].is_floating_point() != tensor.is_floating_point()
        )
    ]
    problems = [
        f"{len(names)} {kind} ({_some(names)})"
        for kind, names in (
            ("missing", missing),
            ("unexpected", unexpected),
            ("of the wrong shape or type", misfits),
        )
        if names
    ]
    if problems:
        message = (
            f"{source} does not fit {type(network).__name__}, which has {len(expected)} keys: "
            + "; ".join(problems)
        )
        raise WeightsError(message, advice=_fit_advice(expected, state))
    try:
        network.load_state_dict(dict(state), strict=True)
    except RuntimeError as error:
        message = f"{source}: {type(network).__name__} did not accept its weights: {error}"
        raise WeightsError(message) from error


def _read_safetensors(path: Path) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path, device="cpu")
    except OSError as error:
        raise _unreadable(path, error) from error
    except SafetensorError as error:
        message = f"{path}: truncated, altered, or no safetensors file ({error})"
        raise WeightsError(message, advice="Fetch or save it again.") from error


def _read_torch(path: Path) -> Any:
    import torch

    if _is_torchscript(path):
        message = f"{path}: holds a TorchScript program, not a state dict"
        advice = "Save network.state_dict() as .safetensors; programs are not loaded."
        raise WeightsError(message, advice=advice)
    try:
        with warnings.catch_warnings():
            # Advice on pickle protocols; the file either loads as tensors or is refused.
            warnings.simplefilter("ignore", UserWarning)
            return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise _unreadable(path, error) from error
    except Exception as error:
        refused = _refused_global(str(error)) if isinstance(error, UnpicklingError) else None
        if refused is None:  # a damaged pickle may raise anything
            message = f"{path}: truncated, altered, or no PyTorch checkpoint"
            raise WeightsError(message, advice="Fetch or save it again.") from error
        message = f"{path}: holds pickled Python objects ({refused}), not a plain state dict"
        advice = "Save network.state_dict() as .safetensors; objects are not loaded."
        raise WeightsError(message, advice=advice) from error


def _is_torchscript(path: Path) -> bool:
    """Whether a zip archive is what ``torch.jit.save`` writes: it holds ``constants.pkl``."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.rpartition("/")[2] == "constants.pkl" for name in archive.namelist())
    except Exception:  # noqa: BLE001 - no readable archive: torch.load says what it is
        return False


def _refused_global(message: str) -> str | None:
    """The global that ``weights_only`` refused, or None if the message names none."""
    for line in message.splitlines():
        if "GLOBAL " in line:
            return line.partition("GLOBAL ")[2].split()[0].strip("`'\".,")
    return None


def _unreadable(path: Path, error: OSError) -> WeightsError:
    reason = error.strerror or error
    return WeightsError(f"{path}: cannot be read: {reason}", advice="Check the path.")


def _select(path: Path, content: Any, key: str | None) -> dict[Any, Any]:
    """The declared level of nesting, required to be a dict."""
    if not isinstance(content, dict):
        message = f"{path}: holds a {type(content).__name__}, expected a state dict"
        raise WeightsError(message, advice="Save network.state_dict().")
    if key is None:
        return content
    if key not in content:
        names = list(map(str, content))
        message = f"{path}: there is no key {key!r}; it has {_some(names)}"
        nested = [name for name in NESTING_KEYS if isinstance(content.get(name), dict)]
        advice = (
            f"Declare key={nested[0]!r}."
            if nested
            else "Declare no key if these are the names of the network's weights."
        )
        raise WeightsError(message, advice=advice)
    inner = content[key]
    if not isinstance(inner, dict):
        message = f"{path}: {key!r} holds a {type(inner).__name__}, expected a state dict"
        raise WeightsError(message)
    return inner


def _require_tensors(path: Path, state: dict[Any, Any], key: str | None) -> dict[str, Tensor]:
    import torch

    if not state:
        message = f"{path}: the state dict is empty"
        raise WeightsError(message, advice="Save network.state_dict().")
    others = [
        f"{name} is a {type(value).__name__}"
        for name, value in state.items()
        if not isinstance(name, str) or not isinstance(value, torch.Tensor)
    ]
    if others:
        nested = [name for name in NESTING_KEYS if isinstance(state.get(name), dict)]
        level = "" if key is None else f" under {key!r}"
        message = f"{path}: expected tensors by name{level}, but {_some(others)}"
        advice = (
            f"The state dict seems nested: declare key={nested[0]!r}."
            if key is None and nested
            else "Save network.state_dict() alone."
        )
        raise WeightsError(message, advice=advice)
    odd = [
        name
        for name, tensor in state.items()
        if tensor.layout is not torch.strided
        or tensor.is_quantized
        or tensor.device.type != "cpu"
        or (tensor.is_floating_point() and tensor.dtype.itemsize == 1)
    ]
    if odd:
        message = f"{path}: {len(odd)} tensors are sparse, quantised or without data: {_some(odd)}"
        raise WeightsError(message, advice="Save dense float tensors.")
    wild = [name for name, tensor in state.items() if not bool(torch.isfinite(tensor).all())]
    if wild:
        message = f"{path}: {len(wild)} tensors hold NaN or infinity: {_some(wild)}"
        raise WeightsError(message, advice="The file is damaged or its training diverged.")
    return state


def _strip(path: Path, state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    others = [name for name in state if not name.startswith(prefix)]
    if others:
        message = (
            f"{path}: {len(others)} of {len(state)} keys do not start with the declared prefix "
            f"{prefix!r}: {_some(others)}"
        )
        common = _common_prefix(state)
        advice = f"All keys start with {common!r}: declare that." if common else "Declare none."
        raise WeightsError(message, advice=advice)
    return {name.removeprefix(prefix): tensor for name, tensor in state.items()}


def _rename(
    path: Path, state: dict[str, Tensor], renames: tuple[tuple[str, str], ...]
) -> dict[str, Tensor]:
    pairs = [(tuple(theirs.split(".")), ours) for theirs, ours in renames]
    pairs.sort(key=lambda pair: len(pair[0]), reverse=True)
    names = {name: _renamed(name, pairs) for name in state}
    clashes = [name for name, times in Counter(names.values()).items() if times > 1]
    if clashes:
        message = f"{path}: the declared renames give several tensors one name: {_some(clashes)}"
        raise WeightsError(message, advice="Correct the renames.")
    return {names[name]: tensor for name, tensor in state.items()}


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


def _fit_advice(expected: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> str:
    common = _common_prefix(state)
    if common and not any(name.startswith(common) for name in expected):
        return f"All its keys start with {common!r}: declare prefix={common!r}."
    if set(expected) == set(state):
        return "Check the scale and the options of the network."
    return "Check that the file belongs to this network, its scale and options, or declare renames."


def _common_prefix(names: Iterable[str]) -> str:
    """The first dotted part with its dot, if all names share it; otherwise empty."""
    firsts = {name.partition(".")[0] if "." in name else "" for name in names}
    first = firsts.pop() if len(firsts) == 1 else ""
    return f"{first}." if first else ""


def _describe(tensor: Tensor) -> str:
    return (
        f"{'x'.join(map(str, tensor.shape)) or 'scalar'} {str(tensor.dtype).removeprefix('torch.')}"
    )


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    return f"{shown}, ..." if len(names) > _SHOWN else shown

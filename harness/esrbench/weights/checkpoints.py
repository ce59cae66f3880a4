"""Reading weights as data, never as programs, and loading them strictly."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import io
import json
import re
import struct
import warnings
from collections import Counter
from typing import TYPE_CHECKING, Any, BinaryIO

from esrbench.errors import WeightsError
from esrbench.plaintext import line
from esrbench.weights.archives import ZIP_MAGIC, require_archive
from esrbench.weights.pickled import no_checkpoint, require_legacy
from esrbench.weights.state_dicts import (
    MAX_WEIGHTS_BYTES,
    common_prefix,
    is_finite,
    keep_versions,
    rename_parts,
    require_tensors,
    select_level,
    shown,
    some,
    strip_prefix,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from torch import Tensor, nn

PICKLE_SUFFIXES = (".pth", ".pt", ".ckpt")
MAX_HEADER_BYTES = 4 * 1024 * 1024
"""Of safetensors; a tensor takes some 100 bytes of it."""

_HEADER_LENGTH = struct.Struct("<Q")
_SIZE_MISMATCH = re.compile(
    r"size mismatch for ([^:\n]+): copying a param with shape (.+?) from checkpoint, "
    r"the shape in current model is (.+?)\.(?:\n|$)"
)
"""How PyTorch tells of another shape."""


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
) -> dict[str, Any]:
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
        Dense CPU tensors of any shape and dtype by name, extra state of modules as it was saved,
        and, as in PyTorch's own state dicts, versions of modules in ``_metadata``.

    Raises:
        WeightsError: the file is missing, truncated, holds a program (TorchScript, a pickled
            module), is not laid out as declared, or holds anything else.
    """
    renames = tuple(renames)
    level = select_level(path, read_content(path), key)
    state = strip_prefix(path, require_tensors(path, level, key), prefix)
    return keep_versions(level, rename_parts(path, state, renames), prefix, renames)


def load_into(network: nn.Module, state: Mapping[str, Any], *, source: str) -> None:
    """Load a state dict as the network's own ``load_state_dict(strict=True)`` does.

    PyTorch decides what fits: hooks, renames of a module's own, extra state and lazy modules count
    as they do there. A name may also be missing if its elements were loaded under another name
    (tied weights, of which safetensors' ``save_model`` writes one).

    Args:
        network: the network to fill.
        state: what ``read_state_dict`` returns; tensors are cast to the network's dtype.
        source: what the state came from, for messages (a file name).

    Raises:
        WeightsError: keys are missing, unexpected or of another shape, PyTorch refuses the state
            for another reason, or a parameter is NaN or infinite. The network is unchanged then.
    """
    import torch

    before = [(tensor, tensor.detach().clone()) for tensor in _tensors(network).values()]
    try:
        _load_strictly(network, state, source)
        _require_finite(network, source)
    except WeightsError:
        with torch.no_grad(), contextlib.suppress(RuntimeError):
            for tensor, value in before:
                tensor.copy_(value)
        raise


def _load_strictly(network: nn.Module, state: Mapping[str, Any], source: str) -> None:
    import torch

    missing: list[str] = []
    unexpected: list[str] = []

    def look(_: nn.Module, keys: Any) -> None:
        found = _loaded_elsewhere(network, keys.missing_keys)
        keys.missing_keys[:] = [name for name in keys.missing_keys if name not in found]
        missing[:], unexpected[:] = keys.missing_keys, keys.unexpected_keys

    handle = None
    # Scripted modules take no hooks; PyTorch's own words say then what does not fit.
    if not isinstance(network, torch.jit.ScriptModule):
        handle = network.register_load_state_dict_post_hook(look)  # type: ignore[no-untyped-call]
    try:
        # A copy keeps the versions of modules, which hooks read.
        network.load_state_dict(copy.copy(state), strict=True)
    except MemoryError:
        raise
    except Exception as error:  # a network's own hooks may raise anything
        raise _misfit(network, state, source, (missing, unexpected), str(error)) from error
    finally:
        if handle is not None:
            handle.remove()


def _tensors(network: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by every name that they have, without uninitialised ones."""
    from torch.nn.parameter import is_lazy

    named = (*network.named_parameters(remove_duplicate=False), *_buffers(network))
    return {name: tensor for name, tensor in named if not is_lazy(tensor)}


def _buffers(network: nn.Module) -> Iterable[tuple[str, Tensor]]:
    return network.named_buffers(remove_duplicate=False)


def _loaded_elsewhere(network: nn.Module, missing: Iterable[str]) -> set[str]:
    """The missing names whose elements all lie in a tensor that is not missing."""
    tensors = _tensors(network)
    absent = set(missing)
    plain = {name: tensor for name, tensor in tensors.items() if _is_plain(tensor)}
    whole = {
        tensor.untyped_storage().data_ptr()
        for name, tensor in plain.items()
        if name not in absent and 0 < tensor.nbytes == tensor.untyped_storage().nbytes()
    }
    return {
        name for name in absent & set(plain) if plain[name].untyped_storage().data_ptr() in whole
    }


def _is_plain(tensor: Tensor) -> bool:
    """Whether a tensor has storage of its own, unlike sparse tensors and those on ``meta``."""
    import torch

    return tensor.layout is torch.strided and not tensor.is_meta


def _misfit(
    network: nn.Module,
    state: Mapping[str, Any],
    source: str,
    keys: tuple[Sequence[str], Sequence[str]],
    told: str,
) -> WeightsError:
    """What PyTorch found wrong: missing and unexpected keys, and shapes, from its own words."""
    tensors, title = _tensors(network), type(network).__name__
    shapes = [
        f"{name} is {_describe(state[name])}, expected {_describe(tensors[name])}"
        if name in state and name in tensors
        else f"{name} is {found}, expected {expected}"
        for name, found, expected in _SIZE_MISMATCH.findall(told)
    ]
    problems = [
        f"{len(names)} {kind} ({some(names)})"
        for kind, names in zip(
            ("missing", "unexpected", "of the wrong shape"), (*keys, shapes), strict=True
        )
        if names
    ]
    if not problems:
        message = f"{source}: {title} did not accept its weights: {line(told, 300)}"
        return WeightsError(message, advice="Check that the file belongs to this network.")
    try:
        expected: Mapping[str, Any] = network.state_dict()
    except Exception:  # noqa: BLE001 - a network's own method may raise anything
        expected = tensors
    message = f"{source} does not fit {title}, which has {len(expected)} keys: "
    return WeightsError(message + "; ".join(problems), advice=_fit_advice(expected, state))


def _require_finite(network: nn.Module, source: str) -> None:
    """Only parameters tell of damage: buffers may hold attention masks of minus infinity."""
    from torch.nn.parameter import is_lazy

    wild = [
        name
        for name, tensor in network.named_parameters()
        if not is_lazy(tensor) and not is_finite(tensor.detach())
    ]
    if wild:
        message = f"{source}: {len(wild)} parameters hold NaN or infinity: {some(wild)}"
        raise WeightsError(message, advice="The file is damaged or its training diverged.")


def read_content(path: Path) -> Any:
    """Everything in a weights file, on the CPU, without running anything in it.

    Returns:
        What was saved: a dict of tensors by name, or whatever else a checkpoint nests it in.
        Tensors may still be views that claim more than they hold; see ``require_tensors``.

    Raises:
        WeightsError: the file is missing, too large, damaged, or holds programs or objects.
    """
    if not path.is_file():
        message = f"{path}: there is no such file"
        raise WeightsError(message, advice="Check the path, or fetch it: esrbench fetch weights.")
    suffix = path.suffix.lower()
    if suffix != ".safetensors" and suffix not in PICKLE_SUFFIXES:
        expected = ", ".join((".safetensors", *PICKLE_SUFFIXES))
        message = f"{path}: weights end in {expected}, not {path.suffix or 'nothing'!r}"
        raise WeightsError(message, advice="Save the state dict as .safetensors.")
    try:
        with path.open("rb") as file:
            size = file.seek(0, io.SEEK_END)
            file.seek(0)
            if size > MAX_WEIGHTS_BYTES:
                message = f"{path}: {size} bytes, at most {MAX_WEIGHTS_BYTES} are read"
                raise WeightsError(message, advice="Save network.state_dict() alone.")
            if suffix == ".safetensors":
                read_safetensors_header(file, str(path))
                return _read_safetensors(path)
            return _read_torch(file, path, size)
    except OSError as error:
        raise _unreadable(path, error) from error


def read_safetensors_header(file: BinaryIO, source: str) -> Any:
    """The header of a safetensors file as JSON, checked before anybody else reads it.

    Args:
        file: at its start.
        source: what it came from, for messages.

    Raises:
        WeightsError: there is none, it is far longer than names and shapes need, or it has a name
            twice, of which readers take the one or the other.
    """
    start = file.read(_HEADER_LENGTH.size)
    if len(start) < _HEADER_LENGTH.size:
        message = f"{source}: truncated, altered, or no safetensors file (no header)"
        raise WeightsError(message, advice="Fetch or save it again.")
    (length,) = _HEADER_LENGTH.unpack_from(start)
    if length > MAX_HEADER_BYTES:
        message = (
            f"{source}: truncated, altered, or no safetensors file (a header of {length} bytes, "
            f"at most {MAX_HEADER_BYTES} may)"
        )
        raise WeightsError(message, advice="Fetch or save it again.")
    try:
        return json.loads(
            file.read(length), object_pairs_hook=lambda pairs: _once_each(pairs, source)
        )
    except (ValueError, RecursionError) as error:
        message = f"{source}: truncated, altered, or no safetensors file (its header is no JSON)"
        raise WeightsError(message, advice="Fetch or save it again.") from error


def _once_each(pairs: list[tuple[str, Any]], source: str) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        twice = [name for name, times in Counter(names).items() if times > 1]
        message = (
            f"{source}: truncated, altered, or no safetensors file (its header has names twice: "
            f"{some(twice)})"
        )
        raise WeightsError(message, advice="Save the state dict again, each tensor once.")
    return dict(pairs)


def _read_safetensors(path: Path) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path, device="cpu")
    except (SafetensorError, KeyError) as error:  # KeyError: a dtype that torch does not have
        message = f"{path}: truncated, altered, or no safetensors file ({shown(str(error))})"
        raise WeightsError(message, advice="Fetch or save it again.") from error


def _read_torch(file: BinaryIO, path: Path, size: int) -> Any:
    import torch

    magic = file.read(len(ZIP_MAGIC))
    file.seek(0)
    require = require_archive if magic == ZIP_MAGIC else require_legacy
    require(file, path, size)
    file.seek(0)
    try:
        with warnings.catch_warnings():
            # Advice on pickle protocols; the file either loads as tensors or is refused.
            warnings.simplefilter("ignore", UserWarning)
            return torch.load(file, map_location="cpu", weights_only=True)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # a damaged pickle may raise anything
        raise no_checkpoint(path, f"torch says: {shown(str(error))}") from error


def _unreadable(path: Path, error: OSError) -> WeightsError:
    reason = error.strerror or error
    return WeightsError(f"{path}: cannot be read: {reason}", advice="Check the path.")


def _fit_advice(expected: Mapping[str, Any], state: Mapping[str, Any]) -> str:
    common = common_prefix(state)
    if common and not any(name.startswith(common) for name in expected):
        return f"All its keys start with {common!r}: declare prefix={common!r}."
    if set(expected) == set(state):
        return "Check the scale and the options of the network."
    return "Check that the file belongs to this network, its scale and options, or declare renames."


def _describe(tensor: Tensor) -> str:
    return (
        f"{'x'.join(map(str, tensor.shape)) or 'scalar'} {str(tensor.dtype).removeprefix('torch.')}"
    )

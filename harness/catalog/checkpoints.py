"""Reading weights as data, never as programs, and loading them strictly."""

from __future__ import annotations

import hashlib
import io
import struct
import warnings
from typing import TYPE_CHECKING, Any, BinaryIO

from harness.catalog.archives import ZIP_MAGIC, require_archive
from harness.catalog.pickled import no_checkpoint, require_legacy
from harness.catalog.state_dicts import (
    MAX_WEIGHTS_BYTES,
    common_prefix,
    rename_parts,
    require_tensors,
    select_level,
    shown,
    some,
    strip_prefix,
)
from harness.errors import WeightsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from torch import Tensor, nn

PICKLE_SUFFIXES = (".pth", ".pt", ".ckpt")
MAX_HEADER_BYTES = 4 * 1024 * 1024
"""Of safetensors; a tensor takes some 100 bytes of it."""

_HEADER_LENGTH = struct.Struct("<Q")


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
    level = select_level(path, read_content(path), key)
    state = require_tensors(path, level, key)
    return rename_parts(path, strip_prefix(path, state, prefix), tuple(renames))


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
        f"{len(names)} {kind} ({some(names)})"
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
                require_safetensors_header(file.read(_HEADER_LENGTH.size), str(path))
                return _read_safetensors(path)
            return _read_torch(file, path, size)
    except OSError as error:
        raise _unreadable(path, error) from error


def require_safetensors_header(start: bytes, source: str) -> None:
    """Check the length of a safetensors header before anybody parses it.

    Args:
        start: the first 8 bytes of the file.
        source: what it came from, for messages.

    Raises:
        WeightsError: there is none, or it is far longer than names and shapes need.
    """
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


def _fit_advice(expected: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> str:
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

"""Reading weights files as data, never as programs."""

from __future__ import annotations

import hashlib
import io
import json
import math
import re
import struct
import warnings
import zipfile
from typing import TYPE_CHECKING, Any, BinaryIO

from esrbench.errors import WeightsError
from esrbench.weights.state_dicts import (
    MAX_WEIGHTS_BYTES,
    keep_versions,
    rename_parts,
    require_tensors,
    select_level,
    shown,
    strip_prefix,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

PICKLE_SUFFIXES = (".pth", ".pt", ".ckpt")
MAX_HEADER_BYTES = 4 * 1024 * 1024
"""Of safetensors; a tensor takes some 100 bytes of it."""

_HEADER_LENGTH = struct.Struct("<Q")
_CHUNK_BYTES = 1 << 20


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
            return _read_torch(file, path)
    except OSError as error:
        raise _unreadable(path, error) from error


def read_safetensors_header(file: BinaryIO, source: str) -> Any:
    """The header of a safetensors file as JSON, checked before anybody else reads it.

    Args:
        file: at its start.
        source: what it came from, for messages.

    Raises:
        WeightsError: there is none, or it is far longer than names and shapes need.
    """
    start = file.read(_HEADER_LENGTH.size)
    if len(start) < _HEADER_LENGTH.size:
        raise _no_safetensors(source, "no header")
    (length,) = _HEADER_LENGTH.unpack_from(start)
    if length > MAX_HEADER_BYTES:
        found = f"a header of {length} bytes, at most {MAX_HEADER_BYTES} may"
        raise _no_safetensors(source, found)
    try:
        return json.loads(file.read(length))
    except (ValueError, RecursionError) as error:
        raise _no_safetensors(source, "its header is no JSON") from error


def _no_safetensors(source: str, found: str) -> WeightsError:
    """A file that is damaged, or something else; ``found`` is what was seen in it."""
    message = f"{source}: truncated, altered, or no safetensors file ({found})"
    return WeightsError(message, advice="Fetch or save it again.")


def stored_elements(path: Path) -> int | None:
    """Numbers in a safetensors file; what several names share counts once, a complex one twice.

    Args:
        path: the file, of which only the header is read.

    Returns:
        None for a file of another format, whose sizes cannot be known without unpickling it, and
        for one that cannot be read or whose header is no table of tensors, which loading tells.
    """
    if path.suffix.lower() != ".safetensors":
        return None
    try:
        with path.open("rb") as file:
            header = read_safetensors_header(file, str(path))
        header.pop("__metadata__", None)
        by_place = {
            tuple(map(int, each["data_offsets"])): math.prod(map(int, each["shape"]))
            * (2 if str(each["dtype"]).startswith("C") else 1)
            for each in header.values()
        }
        return sum(by_place.values())
    except (WeightsError, OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _read_safetensors(path: Path) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path, device="cpu")
    except (SafetensorError, KeyError) as error:  # KeyError: a dtype that torch does not have
        raise _no_safetensors(str(path), shown(str(error))) from error


def _read_torch(file: BinaryIO, path: Path) -> Any:
    import torch

    try:
        problem = _zip_problem(file) if zipfile.is_zipfile(file) else None
        if problem is None:
            file.seek(0)
            with warnings.catch_warnings():
                # Advice on pickle protocols; the file either loads as tensors or is refused.
                warnings.simplefilter("ignore", UserWarning)
                return torch.load(file, map_location="cpu", weights_only=True)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # a damaged archive or pickle may raise anything
        named = re.search(r"GLOBAL (\S+)", str(error))
        if named is None:
            told = str(error).rpartition("WeightsUnpickler error:")[2].strip().partition("\n")[0]
            message = f"{path}: truncated, altered, or no PyTorch checkpoint ({shown(told)})"
            raise WeightsError(message, advice="Fetch or save it again.") from error
        problem = f"holds pickled Python objects ({shown(named[1])}), not a plain state dict"
    advice = "Save network.state_dict() as .safetensors; programs and objects are not loaded."
    raise WeightsError(f"{path}: {problem}", advice=advice)


def _zip_problem(file: BinaryIO) -> str | None:
    """What torch would not tell of an archive: a member is compressed or does not fit its CRC-32.

    Raises:
        zipfile.BadZipFile: it is damaged.
    """
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        if any(each.filename.endswith("/constants.pkl") for each in members):
            return "holds a TorchScript program, not a state dict"
        for member in members:
            if member.compress_type != zipfile.ZIP_STORED:
                return f"its zip archive has a compressed member, {shown(member.filename)}"
            with archive.open(member) as content:
                while member.CRC and content.read(_CHUNK_BYTES):  # torch may have written none
                    pass
    return None


def _unreadable(path: Path, error: OSError) -> WeightsError:
    reason = error.strerror or error
    return WeightsError(f"{path}: cannot be read: {reason}", advice="Check the path.")

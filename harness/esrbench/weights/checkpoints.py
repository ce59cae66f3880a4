"""Reads weights files as data, never as programs; their content counts, not their names."""

from __future__ import annotations

import hashlib
import io
import json
import math
import pickle
import re
import struct
import tarfile
import warnings
import zipfile
from typing import TYPE_CHECKING, Any, BinaryIO, Self

from esrbench.errors import WeightsError
from esrbench.weights.state_dicts import MAX_WEIGHTS_BYTES, shown

if TYPE_CHECKING:
    from pathlib import Path

_CHECKPOINT_STARTS = (b"PK\x03\x04", b"\x80\x02\x8a\x0al\xfc\x9c")
"""First bytes of an archive, and of the older format of ``torch.save``."""
SETTINGS = (
    "argparse.Namespace",
    "types.SimpleNamespace",
    *(f"datetime.{kind}" for kind in ("datetime", "date", "timedelta", "timezone")),
    *(
        f"pathlib{within}.{kind}"
        for within in ("", "._local")  # where Python 3.13 has them
        for kind in ("PosixPath", "PurePosixPath", "WindowsPath")
    ),
    *("numpy.dtype", "numpy.ndarray"),
    *(
        f"numpy.{core}.multiarray.{name}"
        for core in ("core", "_core")
        for name in ("scalar", "_reconstruct")
    ),
)
"""Other data that trainers save: options, paths, dates and scores; see ``Settings``."""
MAX_HEADER_BYTES = 4 * 1024 * 1024
"""Largest header of safetensors; a tensor takes about 100 bytes of it."""

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


def read_content(path: Path) -> Any:
    """Everything in a weights file, on the CPU, without running anything in it.

    Returns:
        The saved object: a dict of tensors by name, or a structure that contains one. A tensor
            may claim more elements than its storage has; see ``require_tensors``.

    Raises:
        WeightsError: the file is missing, too large, damaged, or holds programs or objects.
    """
    if not path.is_file():
        message = f"{path}: there is no such file"
        raise WeightsError(
            message, advice="Check the path, or fetch it by `esrbench fetch weights`."
        )
    try:
        with path.open("rb") as file:
            size = file.seek(0, io.SEEK_END)
            file.seek(0)
            if size > MAX_WEIGHTS_BYTES:
                message = f"{path}: {size} bytes, at most {MAX_WEIGHTS_BYTES} are read"
                raise WeightsError(message, advice="Save network.state_dict() alone.")
            if _is_safetensors(file, path):
                read_safetensors_header(file, str(path))
                return _read_safetensors(path)
            return _read_torch(file, path)
    except OSError as error:
        raise _unreadable(path, error) from error


def holds_safetensors(path: Path) -> bool:
    """Whether a file is read as safetensors; False if it cannot be read."""
    try:
        with path.open("rb") as file:
            return _is_safetensors(file, path)
    except OSError:
        return False


def _is_safetensors(file: BinaryIO, path: Path) -> bool:
    """Whether a file begins like safetensors, or has that suffix and is not another checkpoint."""
    start = file.read(_HEADER_LENGTH.size + 1)
    file.seek(0)
    begins = len(start) > _HEADER_LENGTH.size and start.endswith(b"{")
    if begins and _HEADER_LENGTH.unpack_from(start)[0] <= MAX_HEADER_BYTES:
        return True
    return path.suffix.lower() == ".safetensors" and not start.startswith(_CHECKPOINT_STARTS)


def read_safetensors_header(file: BinaryIO, source: str) -> Any:
    """The header of a safetensors file as JSON, checked before any library reads it.

    Args:
        file: the open file, at its start.
        source: name of the file, for messages.

    Raises:
        WeightsError: there is no header, or it is far longer than names and shapes need.
    """
    start = file.read(_HEADER_LENGTH.size)
    if len(start) < _HEADER_LENGTH.size:
        raise _no_safetensors(source, "no header")
    (length,) = _HEADER_LENGTH.unpack_from(start)
    if length > MAX_HEADER_BYTES:
        found = f"a header of {length} bytes, expected {MAX_HEADER_BYTES} at most"
        raise _no_safetensors(source, found)
    try:
        return json.loads(file.read(length))
    except (ValueError, RecursionError) as error:
        raise _no_safetensors(source, "its header is not JSON") from error


def _no_safetensors(source: str, found: str) -> WeightsError:
    """The error for a file that is damaged or not safetensors; ``found`` says what was seen."""
    message = f"{source}: truncated, altered, or not a safetensors file ({found})"
    return WeightsError(message, advice="Fetch or save it again.")


def stored_elements(path: Path) -> int | None:
    """How many numbers a safetensors file holds. Shared data counts once, complex numbers twice.

    Args:
        path: the file; only its header is read.

    Returns:
        None for a file of another format, because its sizes cannot be known without unpickling it.
        None also for a file that cannot be read or has no valid header; loading reports these.
    """
    if not holds_safetensors(path):
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


class IgnoredObject:
    """Replaces an object of ``SETTINGS`` in a file. It calls nothing and keeps nothing."""

    def __new__(cls, *_arguments: object, **_named: object) -> Self:
        """Accept any arguments."""
        return super().__new__(cls)

    def __setstate__(self, state: object) -> None:
        """Keep none of it."""


class _Nothing(IgnoredObject):
    """Replaces anything that a pickle names, and drops what is put into it."""

    def __setitem__(self, key: object, value: object) -> None:
        """Keep none of it."""

    def append(self, value: object) -> None:
        """Keep none of it."""

    def extend(self, values: object) -> None:
        """Keep none of it."""


class _Claims(pickle.Unpickler):
    """Reads the sizes of storages that a pickle of ``torch.save`` claims; the rest is ``_Nothing``.

    Args:
        content: bytes of ``data.pkl``.

    Attributes:
        found: claimed bytes of each storage, by its key.
    """

    def __init__(self, content: bytes) -> None:
        super().__init__(io.BytesIO(content))
        self.found: dict[str, int] = {}

    def find_class(self, module: str, name: str) -> type[_Nothing]:
        """A placeholder class; the name of the class that it replaces is the type of a storage."""
        return type(name, (_Nothing,), {"__module__": module})

    def persistent_load(self, claim: Any) -> None:
        """Note the claimed size of a storage; of several claims, the largest."""
        import torch

        _, kind, key, _, elements = claim
        # An untyped storage counts bytes.
        item = getattr(getattr(torch, kind.__name__), "dtype", None)
        claimed = int(elements) * (item.itemsize if isinstance(item, torch.dtype) else 1)
        self.found[key] = max(claimed, self.found.get(key, 0))


def _stand_in(name: str) -> type[IgnoredObject]:
    """A class with the name of an object in a file, so that torch accepts it in its place."""
    module, _, called = name.rpartition(".")
    return type(called, (IgnoredObject,), {"__module__": module})


STAND_INS = tuple(map(_stand_in, SETTINGS))


def _read_torch(file: BinaryIO, path: Path) -> Any:
    import torch

    from esrbench.torch_versions import allowed_in_files, reads_data_only

    try:
        problem = "is a tar archive, as PyTorch wrote it before 0.1.10" if _is_tar(file) else None
        if problem is None and zipfile.is_zipfile(file):
            problem = _zip_problem(file)
        if problem is None:
            file.seek(0)
            with warnings.catch_warnings(), allowed_in_files(STAND_INS):
                # Advice on pickle protocols and storages; the file loads as tensors or is refused.
                warnings.simplefilter("ignore", UserWarning)
                content = torch.load(file, map_location="cpu", weights_only=True)
                file.seek(0)
                if not reads_data_only() and file.read(4) == _CHECKPOINT_STARTS[0]:
                    _require_storages(file)
                return content
    except (OSError, MemoryError):
        raise
    except Exception as error:  # a damaged archive or pickle may raise anything
        named = re.search(r"GLOBAL (\S+)", str(error))
        if named is None:
            told = str(error).rpartition("WeightsUnpickler error:")[2].strip().partition("\n")[0]
            message = f"{path}: truncated, altered, or not a PyTorch checkpoint ({shown(told)})"
            raise WeightsError(message, advice="Fetch or save it again.") from error
        problem = f"holds pickled Python objects ({shown(named[1])}), not a plain state dict"
    advice = "Save network.state_dict() as .safetensors; programs and objects are not loaded."
    raise WeightsError(f"{path}: {problem}", advice=advice)


def _zip_problem(file: BinaryIO) -> str | None:
    """A fault of an archive that torch does not report: compression, or a wrong CRC-32.

    Raises:
        zipfile.BadZipFile: the archive is damaged.
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


def _is_tar(file: BinaryIO) -> bool:
    """Whether a file is a tar archive; torch before 2.6 ran programs in them (CVE-2025-32434)."""
    file.seek(0)
    try:
        with tarfile.open(fileobj=file, mode="r:") as archive:
            return archive.next() is not None
    except tarfile.TarError:
        return False


def _require_storages(file: BinaryIO) -> None:
    """Refuse an archive whose storages are not as long as its pickle claims.

    torch before 2.10 trusted the claim, and read memory of this process beyond the end.

    Raises:
        ValueError: a storage has another length, or a name occurs twice; torch ignores case.
        Exception: whatever a damaged pickle raises.
    """
    with zipfile.ZipFile(file) as archive:
        sizes = {each.filename.lower(): each.file_size for each in archive.infolist()}
        if len(sizes) < len(archive.infolist()):
            message = "a member occurs twice"
            raise ValueError(message)
        (pickled,) = [each for each in archive.namelist() if each.endswith("/data.pkl")]
        claims = _Claims(archive.read(pickled))
    claims.load()
    folder = pickled.removesuffix("data.pkl").lower()
    for key, claimed in claims.found.items():
        if sizes.get(f"{folder}data/{key}".lower()) != claimed:
            message = f"storage {key} has another length than its pickle says"
            raise ValueError(message)


def _unreadable(path: Path, error: OSError) -> WeightsError:
    reason = error.strerror or error
    return WeightsError(f"{path}: cannot be read: {reason}", advice="Check the path.")

"""What is in the zip archive that ``torch.save`` writes, found out without unpickling it.

Torch would inflate compressed members, whatever they come to, and checks neither checksums nor
what else is in the archive. Only what ``torch.save`` itself writes passes: stored members that do
not overlap, of one folder, each of a known name, with the data that the pickle asks for.
"""

from __future__ import annotations

import re
import struct
import zipfile
import zlib
from typing import TYPE_CHECKING, BinaryIO

from esrbench.errors import WeightsError
from esrbench.weights.pickled import MAX_PICKLE_BYTES, no_checkpoint, read_storages

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from zipfile import ZipInfo

ZIP_MAGIC = b"PK\x03\x04"
"""First bytes of a file that torch takes for an archive."""
MAX_DIRECTORY_BYTES = 4 * 1024 * 1024
"""A member takes some 60 bytes of it."""

_END = struct.Struct("<4s4H2IH")
_END64_LOCATOR = struct.Struct("<4sIQI")
_END64 = struct.Struct("<4sQ2H2I4Q")
_LOCAL = struct.Struct("<4s5H3I2H")
_MAX_32 = 0xFFFFFFFF
_FLAGS = 0x0808
"""Sizes after the data; names in UTF-8."""
_PICKLE = "data.pkl"
_MEMBER = re.compile(
    r"data\.pkl|version|byteorder|\.format_version|\.storage_alignment"
    r"|\.data/serialization_id|\.data/version|data/[0-9A-Za-z_-]+"
)
_PROGRAMS = (
    ("a TorchScript program", re.compile(r"constants\.pkl|code/.*")),
    ("a program of torch.export", re.compile(r"archive_format|models/.*|serialized_.*")),
    ("a torch.package", re.compile(r"\.data/(extern_modules|python_version)")),
)
_CHUNK_BYTES = 1 << 20
_SHOWN = 60


def require_archive(file: BinaryIO, path: Path, size: int) -> None:
    """Check the archive that a state dict is saved in; reads it, unpickles nothing.

    Args:
        file: the archive.
        path: its name, for messages.
        size: its length in bytes.

    Raises:
        WeightsError: it is damaged, or holds anything else than ``torch.save`` writes.
    """
    start = _directory_start(file, path, size)
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
    except Exception as error:  # a damaged directory may raise anything
        raise no_checkpoint(path, f"its zip directory is damaged: {error}") from error
    _require_no_program(members, path)
    named = _by_name(members, path)
    offsets = _offsets(file, path, members, start)
    if _PICKLE not in named:
        raise no_checkpoint(path, f"a zip archive without {_PICKLE}")
    pickle = named[_PICKLE]
    if pickle.file_size > MAX_PICKLE_BYTES:
        message = f"{path}: {_PICKLE} has {pickle.file_size} bytes, at most {MAX_PICKLE_BYTES} may"
        raise WeightsError(message, advice="Save network.state_dict() as .safetensors.")
    for member in members:
        _require_checksum(file, path, member, offsets[member.filename])
    file.seek(offsets[pickle.filename])
    for key, storage in read_storages(file.read(pickle.file_size), path).items():
        data = named.get(f"data/{key}")
        found = None if data is None else data.file_size
        if found != storage.bytes:
            said = "is not there" if found is None else f"has {found} bytes"
            raise no_checkpoint(
                path, f"data/{key[:_SHOWN]!a} {said}, its pickle says {storage.bytes}"
            )


def _directory_start(file: BinaryIO, path: Path, size: int) -> int:
    """Where the directory begins; it must end the file, or readers may find different ones."""
    damaged = no_checkpoint(path, "its zip archive has no end, or something follows it")
    tail_size = _END64.size + _END64_LOCATOR.size + _END.size
    file.seek(max(0, size - tail_size))
    tail = file.read(tail_size).rjust(tail_size, b"\0")
    end = _END.unpack(tail[-_END.size :])
    if end[0] != b"PK\x05\x06" or end[-1] != 0:
        raise damaged
    length: int = end[5]
    start: int = end[6]
    tail_start = size - _END.size
    locator = _END64_LOCATOR.unpack_from(tail, _END64.size)
    if locator[0] == b"PK\x06\x07":
        tail_start = size - tail_size
        record = _END64.unpack_from(tail)
        if record[0] != b"PK\x06\x06" or locator[1:] != (0, tail_start, 1) or any(record[4:6]):
            raise damaged
        if length not in {record[8], _MAX_32} or start not in {record[9], _MAX_32}:
            raise damaged
        length, start = record[8], record[9]
    if length > MAX_DIRECTORY_BYTES:
        message = f"{path}: a zip directory of {length} bytes, at most {MAX_DIRECTORY_BYTES} may"
        raise WeightsError(message, advice="Save network.state_dict() as .safetensors.")
    if start + length != tail_start:
        raise damaged
    return start


def _require_no_program(members: Iterable[ZipInfo], path: Path) -> None:
    for member in members:
        for what, pattern in _PROGRAMS:
            if pattern.fullmatch(member.orig_filename.partition("/")[2]):
                name = ascii(member.orig_filename[:_SHOWN])
                message = f"{path}: holds {what} ({name}), not a state dict"
                advice = "Save network.state_dict() as .safetensors; programs are not loaded."
                raise WeightsError(message, advice=advice)


def _by_name(members: Iterable[ZipInfo], path: Path) -> dict[str, ZipInfo]:
    """Members by name within the archive's one folder, each stored as it is."""
    named: dict[str, ZipInfo] = {}
    folders = set()
    for member in members:
        name = member.orig_filename
        shown = ascii(name[:_SHOWN])
        folder, _, inner = name.partition("/")
        folders.add(folder)
        if inner in named:
            raise _foreign(path, f"two members named {shown}")
        whole = name == member.filename and "\\" not in name
        if folder in {"", ".", ".."} or not _MEMBER.fullmatch(inner) or not whole:
            raise _foreign(path, f"a member named {shown}")
        if member.flag_bits & ~_FLAGS:
            raise _foreign(path, f"a member {shown} with flags {member.flag_bits:#x}")
        if member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size:
            sizes = f"{member.compress_size} bytes that become {member.file_size}"
            raise _foreign(path, f"a compressed member {shown}: {sizes}")
        named[inner] = member
    if len(folders) > 1:
        raise _foreign(path, f"{len(folders)} folders")
    return named


def _foreign(path: Path, what: str) -> WeightsError:
    message = f"{path}: its zip archive has {what}, which torch.save does not write"
    return WeightsError(message, advice="Save network.state_dict() again by torch.save.")


def _offsets(
    file: BinaryIO, path: Path, members: Iterable[ZipInfo], directory: int
) -> dict[str, int]:
    """Where the data of each member begin, by full name; no two members share a byte."""
    offsets = {}
    free = 0
    for member in sorted(members, key=lambda member: member.header_offset):
        shown = ascii(member.filename[:_SHOWN])
        if member.header_offset < free or (free == 0 and member.header_offset):
            raise _foreign(path, f"a member {shown} that overlaps another, or a gap before it")
        file.seek(member.header_offset)
        header = file.read(_LOCAL.size)
        if len(header) < _LOCAL.size or not header.startswith(ZIP_MAGIC):
            raise no_checkpoint(path, f"no header at member {shown}")
        local = _LOCAL.unpack(header)
        name = file.read(local[9])
        if name != member.orig_filename.encode() or local[3] or local[2] & ~_FLAGS:
            raise _foreign(path, f"a member {shown} whose header says something else")
        offsets[member.filename] = member.header_offset + _LOCAL.size + local[9] + local[10]
        free = offsets[member.filename] + member.file_size
        if free > directory:
            raise _foreign(path, f"a member {shown} that runs into the directory")
    return offsets


def _require_checksum(file: BinaryIO, path: Path, member: ZipInfo, offset: int) -> None:
    """Compare CRC-32, where one was written: torch can be told not to, and never compares."""
    if not member.CRC:
        return
    file.seek(offset)
    left, checksum = member.file_size, 0
    while left and (chunk := file.read(min(left, _CHUNK_BYTES))):
        checksum = zlib.crc32(chunk, checksum)
        left -= len(chunk)
    if checksum != member.CRC:
        raise no_checkpoint(path, f"the CRC-32 of {member.filename[:_SHOWN]!a} does not fit")

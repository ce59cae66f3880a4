"""SR images that somebody else made: found in a folder or a zip file, and matched with a data set.

They come from strangers. Links out of a folder are not followed, nothing of a zip file is written
to the disk, and files and bytes are bounded before anything is decoded.
"""

from __future__ import annotations

import io
import os
import re
import stat
import struct
import zipfile
import zlib
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from esrbench.data.codecs import MAX_FILE_BYTES, read_bytes
from esrbench.data.folders import SUFFIXES
from esrbench.errors import DataError, UsageError
from esrbench.plaintext import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

MAX_FILES = 10_000
"""Most files in a folder or zip file; data sets have hundreds of images."""
MAX_BYTES = 8 * 2**30
"""Most bytes of all images of a zip file, unpacked; those of DIV2K validation have 0.5 GiB."""
MAX_READ_BYTES = 16 * 2**20
"""Most bytes of a zip file that are read at once; this bounds its list of files too."""
BESIDE_IMAGES = frozenset({".txt", ".md", ".pdf", ".csv", ".json"})
"""Files that challenges and papers put beside images; such files are passed over."""

_CHUNK_BYTES = 2**20
_BROKEN = (
    OSError,
    EOFError,
    RuntimeError,
    ValueError,
    struct.error,
    zlib.error,
    zipfile.BadZipFile,
)
"""Errors of ``zipfile`` for an archive that is damaged, encrypted or of an unknown kind."""


class SrFile(NamedTuple):
    """An image file that can be read.

    Attributes:
        label: name of the file in messages.
        read: returns its bytes, or raises ``DataError``.
    """

    label: str
    read: Callable[[], bytes]


@contextmanager
def open_sr_images(path: Path, problems: list[str]) -> Iterator[list[SrFile]]:
    """The image files of a folder or zip file, which can be read within a ``with`` block.

    We take the images directly in it. If there are none, we take those of the only folder below
    that has images.
    Hidden files and ``BESIDE_IMAGES`` are passed over.

    Args:
        path: of the folder or zip file.
        problems: receives a line for every other file that is no image or has an unsafe name.

    Raises:
        UsageError: it is neither a folder nor a zip file.
        DataError: it cannot be read, holds too many files or bytes, or images in several folders.
    """
    if path.is_dir():
        yield list(_in_folder(path, problems))
    elif path.is_file():
        with _opened(path) as archive:
            yield list(_in_archive(path, archive, problems))
    else:
        message = f"{path}: there is no such folder or zip file"
        raise UsageError(message, advice="Give the folder or zip file that holds the SR images.")


def match_images(
    files: Iterable[SrFile], names: Iterable[str], scale: int, problems: list[str]
) -> dict[str, SrFile]:
    """The SR image of each image of a data set.

    A file is called ``NAME`` or ``NAMEx4`` (4 stands for the scale), and may have more text before
    or after that: ``team07_0801x4_SR``. No other letter or digit may touch the name; upper and
    lower case are the same.

    Args:
        files: image files.
        names: of the data set's images.
        scale: upscaling factor.
        problems: receives a line for every image without a file, or with several, and for every
            file that belongs to none, or to several.
    """
    patterns = {
        name: re.compile(rf"(?<![^\W_]){re.escape(name)}(?:x{scale})?(?![^\W_])", re.IGNORECASE)
        for name in names
    }
    found: dict[str, list[SrFile]] = {name: [] for name in patterns}
    for file in files:
        stem = PurePosixPath(file.label).stem
        meant = _meant(stem, patterns, scale)
        if len(meant) == 1:
            found[meant[0]].append(file)
        elif meant:
            problems.append(f"{file.label}: may be an SR image of {' or of '.join(meant)}")
        else:
            problems.append(f"{file.label}: is called like no image of the data set")
    for name, candidates in found.items():
        if len(candidates) > 1:
            labels = " and ".join(file.label for file in candidates)
            problems.append(f"{name}: has {len(candidates)} SR images, {labels}")
        elif not candidates:
            problems.append(f"{name}: has no SR image, expected {name}.png or {name}x{scale}.png")
    return {name: files[0] for name, files in found.items() if len(files) == 1}


def _meant(stem: str, patterns: Mapping[str, re.Pattern[str]], scale: int) -> list[str]:
    """Names of the images that a file may belong to; a name within a longer one does not count."""
    exact = [name for name in patterns if stem in {name, f"{name}x{scale}"}]
    if exact:
        return exact[:1]
    held = [name for name, pattern in patterns.items() if pattern.search(stem)]
    return [
        name
        for name in held
        if not any(name != other and name.lower() in other.lower() for other in held)
    ]


def _in_folder(root: Path, problems: list[str]) -> Iterator[SrFile]:
    members: list[PurePosixPath] = []
    seen = 0
    try:
        for folder, below, files in os.walk(root, onerror=_raise):
            below[:] = [name for name in below if not _passed_over(name)]
            relative = PurePosixPath(Path(folder).relative_to(root))
            members += [relative / name for name in files if not _passed_over(name)]
            seen += len(files) + len(below)
            _require_few(root, seen)
    except OSError as error:
        message = f"{root}: cannot be listed: {error.strerror or error}"
        raise DataError(message, advice="Make the folder readable.") from None
    whole = root.resolve()
    for member in _images(root, members, problems):
        path = root / member
        if not path.resolve().is_relative_to(whole):
            problems.append(f"{path}: is a link out of the folder")
        else:
            yield SrFile(str(path), partial(read_bytes, path))


def _in_archive(path: Path, archive: zipfile.ZipFile, problems: list[str]) -> Iterator[SrFile]:
    members = _members(path, archive, problems)
    chosen = list(_images(path, members, problems))
    total = sum(members[member].file_size for member in chosen)
    if total > MAX_BYTES:
        message = f"{path}: its images have {total} bytes when unpacked, expected {MAX_BYTES} "
        message += "at most"
        raise DataError(message, advice="Give the images of one data set.")
    for member in chosen:
        info = members[member]
        label = f"{path}/{member}"
        if stat.S_ISLNK(info.external_attr >> 16):
            problems.append(f"{label}: is a link")
        elif info.file_size > MAX_FILE_BYTES:
            problems.append(f"{label}: found a file of more than {MAX_FILE_BYTES} bytes")
        elif info.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
            problems.append(f"{label}: is not compressed by deflate; pack it again")
        else:
            yield SrFile(label, partial(_read_member, archive, info, label))


def _members(
    path: Path, archive: zipfile.ZipFile, problems: list[str]
) -> dict[PurePosixPath, zipfile.ZipInfo]:
    """The files of an archive.

    Raises:
        DataError: too many files, or one whose path leads elsewhere.
    """
    listed = archive.infolist()
    _require_few(path, len(listed))
    members: dict[PurePosixPath, zipfile.ZipInfo] = {}
    for info in listed:
        member = PurePosixPath(info.filename)
        if info.is_dir():
            continue
        if member.is_absolute() or ".." in member.parts or "\\" in info.filename:
            message = f"{path}: holds an unsafe path, {info.filename!a}"
            raise DataError(message, advice="Pack the SR images again, by their bare names.")
        if any(map(_passed_over, member.parts)):
            continue
        if member in members:
            problems.append(f"{path}: holds two files {info.filename!a}")
        else:
            members[member] = info
    return members


def _images(
    root: Path, members: Iterable[PurePosixPath], problems: list[str]
) -> Iterator[PurePosixPath]:
    """Image files of the one folder that holds them, sorted.

    Raises:
        DataError: none or several folders hold images.
    """
    by_folder: dict[PurePosixPath, list[PurePosixPath]] = {}
    for member in members:
        by_folder.setdefault(member.parent, []).append(member)
    holding = sorted(
        folder
        for folder, files in by_folder.items()
        if any(file.suffix.lower() in SUFFIXES for file in files)
    )
    top = PurePosixPath()
    if top in holding:
        holding = [top]
    if not holding:
        message = f"{root}: found no images, expected PNG or BMP files"
        raise DataError(message, advice="Give the folder or zip file that holds the SR images.")
    if len(holding) > 1:
        shown = ", ".join(f"{folder}/" for folder in holding[:5])
        message = f"{root}: found images in {len(holding)} folders, expected one: {shown}"
        raise DataError(message, advice="Give the folder of one data set at one scale.")
    for member in sorted(by_folder[holding[0]]):
        suffix = member.suffix.lower()
        if visible(member.name) != member.name:
            problems.append(f"{root}: {member.name!a} cannot be shown as text; rename that file")
        elif suffix in SUFFIXES:
            yield member
        elif suffix not in BESIDE_IMAGES:
            problems.append(f"{root}/{member}: found a file that is no image, expected PNG or BMP")


def _passed_over(name: str) -> bool:
    """Whether a file or folder is skipped: it is hidden, or macOS adds it to archives."""
    return name.startswith(".") or name == "__MACOSX"


def _require_few(root: Path, count: int) -> None:
    if count > MAX_FILES:
        message = f"{root}: holds more than {MAX_FILES} files"
        raise DataError(message, advice="Give the folder or zip file of one data set's SR images.")


def _raise(error: OSError) -> None:
    raise error


class _Bounded(io.FileIO):
    """A file that bounds each read, since ``zipfile`` reads its whole list of files at once."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0:
            size = max(0, os.fstat(self.fileno()).st_size - self.tell())
        if size > MAX_READ_BYTES:
            message = f"its list of files has {size} bytes, expected {MAX_READ_BYTES} at most"
            raise zipfile.BadZipFile(message)
        return super().read(size)


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        file = _Bounded(path)
    except OSError as error:
        message = f"{path}: cannot be read: {error.strerror or error}"
        raise DataError(message, advice="Make the file readable.") from None
    with file:
        try:
            archive = zipfile.ZipFile(file)
        except _BROKEN as error:
            message = f"{path}: found no readable zip file ({error}), expected a folder or zip file"
            raise DataError(message, advice="Pack the SR images again.") from None
        with archive:
            yield archive


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, label: str) -> bytes:
    content = bytearray()
    try:
        with archive.open(info) as member:
            # It never gives more than the size that the archive states.
            while chunk := member.read(_CHUNK_BYTES):
                content += chunk
    except _BROKEN as error:
        raise DataError(f"{label}: cannot be unpacked: {error}") from None
    return bytes(content)

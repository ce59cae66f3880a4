"""Decoded images kept between runs, so that each file is decoded once.

Below ``decoded`` in the cache lies one ``.npy`` file an image, uint8 (H, W, 3) RGB, named by the
SHA-256 of the image file's bytes and by how it was decoded, followed by the SHA-256 of its own
shape and pixels. Entries appear whole or not at all, are mapped into memory, and can be deleted
at any time. A cache that is full, read-only or damaged costs time, never a run.
"""

from __future__ import annotations

import hashlib
import math
import os
import secrets
import stat
import threading
import time
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from esrbench.data.codecs import decode_rgb, open_regular, pixel_digest, read_bytes
from esrbench.data.downloads import cache_dir
from esrbench.errors import DataError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    Pixels = npt.NDArray[np.uint8]

DECODED_VARIABLE = "ESRBENCH_DECODED"
"""``off``, or the most GiB that decoded images may take."""
DEFAULT_GIB = 4.0
"""Room for 400 images of 2040x1356 pixels with their LR images."""

_DECODER = 2
"""Part of every name: change it with what ``decode_rgb`` refuses or makes of a file."""
_DIGEST_BYTES = hashlib.sha256().digest_size
_OVERHEAD_BYTES = 128 + _DIGEST_BYTES  # numpy's header and the digest
_KEEP_SECONDS = 3600.0
"""What was used so recently makes no room for others: a set larger than the bound would push
itself out, image by image."""
_SETTLED_NANOSECONDS = 3 * 10**9
"""Age from which on a file that changes gets another time stamp; those of FAT last 2 s."""


class Version(NamedTuple):
    """What tells one version of a file from another without reading it.

    Attributes:
        device: number of the file system.
        inode: number of the file on it.
        size: bytes.
        modified: nanoseconds of the last write, as the system or anyone has set them.
        changed: nanoseconds of the last change of any kind, which only the system sets.
    """

    device: int
    inode: int
    size: int
    modified: int
    changed: int


class Seen(NamedTuple):
    """What an image file held when it was checked.

    Attributes:
        sha256: ``codecs.pixel_digest`` of its pixels.
        version: of the file; None where a later change might not be told from it.
    """

    sha256: str
    version: Version | None


class Decoded(NamedTuple):
    """An image.

    Attributes:
        pixels: uint8 (H, W, 3) RGB, C-contiguous, read-only.
        sha256: ``codecs.pixel_digest`` of them.
        version: of the file that they were read from; None where it may change unnoticed.
    """

    pixels: Pixels
    sha256: str
    version: Version | None = None

    @property
    def seen(self) -> Seen:
        """The image without its pixels."""
        return Seen(self.sha256, self.version)


_hashes: dict[Path, tuple[Version, str]] = {}
"""SHA-256 of files that this process has read."""


def read_decoded(path: Path, *, allow_grey: bool = False, seen: Seen | None = None) -> Pixels:
    """Read an image file, from its kept pixels where there are any.

    What was hashed before is taken on trust as long as its version is the same: the file's
    bytes, and kept pixels.

    Args:
        path: PNG or BMP file.
        allow_grey: accept an 8-bit one-channel PNG and repeat it in all three channels.
        seen: what the file must still hold.

    Returns:
        uint8 array (H, W, 3), RGB order, C-contiguous, read-only; the pixels of
        ``codecs.read_rgb``.

    Raises:
        DataError: as ``codecs.read_rgb``, or other pixels than ``seen``.
        UsageError: ``ESRBENCH_DECODED`` is neither ``off`` nor a number.
    """
    cache = _cache()
    image = None
    if cache is not None and (sha256 := _known_hash(path)) is not None:
        image = _kept(cache, _entry_name(sha256, allow_grey=allow_grey), seen)
    if image is None:
        image = _read(path, cache, allow_grey=allow_grey, seen=seen)
    if seen is not None and image.sha256 != seen.sha256:
        message = f"{path}: changed since it was checked: found pixels with digest "
        message += f"{image.sha256}, expected {seen.sha256}"
        advice = "Leave images alone while they are measured on; run again."
        raise DataError(message, (), advice=advice)
    return image.pixels


def read_proven(path: Path, *, allow_grey: bool = False) -> Decoded:
    """Read an image file and hash its pixels; nothing known of it is taken on trust.

    The file's bytes are hashed anew, and kept pixels are decoded again unless their hash is
    the one stored with them.

    Args:
        path: PNG or BMP file.
        allow_grey: accept an 8-bit one-channel PNG and repeat it in all three channels.

    Raises:
        DataError: as ``codecs.read_rgb``.
        UsageError: ``ESRBENCH_DECODED`` is neither ``off`` nor a number.
    """
    return _read(path, _cache(), allow_grey=allow_grey, anew=True)


class DecodedCache:
    """Entries in one folder, up to a bound.

    Other processes may use the same folder: each keeps its own account of it, so that together
    they may exceed the bound by what they have added since they last looked.

    Args:
        folder: created when the first entry is kept.
        limit_bytes: bound of all entries together.
    """

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self.folder = folder
        self.limit_bytes = limit_bytes
        self._used_bytes: int | None = None
        self._usable = True
        self._lock = threading.Lock()
        self._proven: dict[str, Version] = {}

    def get(self, name: str, *, anew: bool = False) -> Decoded | None:
        """An entry whose pixels have the digest stored with them.

        Args:
            name: of the entry.
            anew: hash its pixels even if that was done and the entry did not change since.

        Returns:
            None if it is absent, damaged, or cannot be read now.
        """
        path = self.folder / name
        try:
            kept = _open(path)
        except (OSError, MemoryError):  # absent, or the system is short of something
            return None
        except Exception:  # noqa: BLE001 - a damaged header makes numpy raise anything
            self.drop(name)
            return None
        if anew or kept.version is None or self._proven.get(name) != kept.version:
            if pixel_digest(kept.pixels) != kept.sha256:
                self.drop(name)
                return None
            if kept.version is not None:
                self._proven[name] = kept.version
        self._mark_used(path)
        return kept._replace(version=None)

    @staticmethod
    def _mark_used(path: Path) -> None:
        """Seldom, since it makes another version of the entry."""
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > _KEEP_SECONDS / 2:
                os.utime(path)

    def drop(self, name: str) -> None:
        """Remove an entry that is damaged."""
        with suppress(OSError):
            (self.folder / name).unlink()

    def put(self, name: str, image: Decoded) -> None:
        """Keep an image if there is room; what the system refuses is not tried again."""
        if not self._usable or not self._make_room(image.pixels.nbytes + _OVERHEAD_BYTES):
            return
        temporary = self.folder / f".{name}.{secrets.token_hex(4)}.tmp"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                np.lib.format.write_array(file, image.pixels, allow_pickle=False)
                file.write(bytes.fromhex(image.sha256))
            temporary.rename(self.folder / name)
        except OSError:  # full, read-only, or no folder
            self._usable = False
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)

    def _make_room(self, needed: int) -> bool:
        with self._lock:
            if self._used_bytes is None or self._used_bytes + needed > self.limit_bytes:
                self._used_bytes = self._shrink_to(self.limit_bytes - needed)
            if self._used_bytes + needed > self.limit_bytes:
                return False
            self._used_bytes += needed
            return True

    def _shrink_to(self, target: int) -> int:
        """Remove what was unused the longest; the bytes that stay."""
        entries = []
        with suppress(OSError):
            for path in self.folder.iterdir():
                with suppress(OSError):
                    status = path.stat()
                    if stat.S_ISREG(status.st_mode):
                        entries.append((status.st_mtime, status.st_size, path))
        used = sum(size for _, size, _ in entries)
        spared = time.time() - _KEEP_SECONDS
        for used_last, size, path in sorted(entries):
            torn = path.suffix == ".tmp"  # left by a process that was killed
            if used_last > spared or (used <= target and not torn):
                continue
            with suppress(OSError):
                path.unlink()
                used -= size
        return used


def _read(
    path: Path,
    cache: DecodedCache | None,
    *,
    allow_grey: bool,
    seen: Seen | None = None,
    anew: bool = False,
) -> Decoded:
    """Read a file's bytes, then its kept pixels if there are any, else decode and keep them."""
    data, version = _read_file(path)
    known = seen if seen is not None and version is not None and version == seen.version else None
    name = ""
    if cache is not None:
        sha256 = hashlib.sha256(data).hexdigest()
        if version is not None:
            _hashes[path] = (version, sha256)
        name = _entry_name(sha256, allow_grey=allow_grey)
        kept = _kept(cache, name, seen, anew=anew)
        if kept is not None:
            return kept._replace(version=version)
    pixels = decode_rgb(data, str(path), allow_grey=allow_grey, proven=known is not None)
    pixels.flags.writeable = False
    image = Decoded(pixels, pixel_digest(pixels) if known is None else known.sha256, version)
    if cache is not None:
        cache.put(name, image)
    return image


def _kept(
    cache: DecodedCache, name: str, seen: Seen | None, *, anew: bool = False
) -> Decoded | None:
    """An entry, unless it holds what may not be used."""
    kept = cache.get(name, anew=anew)
    # Else the file has changed, or somebody replaced the entry: what decodes tells which.
    fits = kept is not None and (seen is None or kept.sha256 == seen.sha256)
    return kept if fits else None


def _entry_name(file_sha256: str, *, allow_grey: bool) -> str:
    return f"{file_sha256}-{'grey-' if allow_grey else ''}v{_DECODER}.npy"


def _open(path: Path) -> Decoded:
    """Map an entry; its version is that of what was mapped.

    Raises:
        OSError: it is not there, or cannot be read now.
        Exception: it is no entry, or not all of one.
    """
    with open_regular(path) as file:
        version = _version_of(os.fstat(file.fileno()))
        settled = _is_settled(version)
        magic = np.lib.format.read_magic(file)
        shape, by_columns, dtype = np.lib.format.read_array_header_1_0(file)
        start, end = file.tell(), version.size - _DIGEST_BYTES
        is_image = len(shape) == 3 and shape[2] == 3 and dtype == np.uint8 and not by_columns  # noqa: PLR2004
        if magic != (1, 0) or not is_image or start + math.prod(shape) != end:
            message = f"{path}: found {dtype} {shape} in {version.size} bytes"
            raise ValueError(message)
        file.seek(end)
        sha256 = file.read().hex()
        mapped = np.memmap(file, np.uint8, "r", start, shape)
    return Decoded(np.asarray(mapped), sha256, version if settled else None)


def _cache() -> DecodedCache | None:
    """The user's cache as the environment has it now, or None where it is switched off."""
    given = os.environ.get(DECODED_VARIABLE) or f"{DEFAULT_GIB:g}"
    if given.lower() == "off":
        return None
    try:
        limit_bytes = int(float(given) * 2**30)
    except (ValueError, OverflowError):
        limit_bytes = -1
    if limit_bytes < 0:
        message = f"{DECODED_VARIABLE} is {given!r}, expected off or a number of GiB"
        raise UsageError(message, advice=f"Unset {DECODED_VARIABLE} for {DEFAULT_GIB:g} GiB.")
    return _opened(cache_dir() / "decoded", limit_bytes) if limit_bytes else None


@lru_cache(maxsize=4)
def _opened(folder: Path, limit_bytes: int) -> DecodedCache:
    return DecodedCache(folder, limit_bytes)


def _known_hash(path: Path) -> str | None:
    known = _hashes.get(path)
    return known[1] if known is not None and known[0] == _version(path) else None


def _read_file(path: Path) -> tuple[bytes, Version | None]:
    """A file's bytes and its version, if another change would give it another one."""
    before = _version(path)
    settled = before is not None and _is_settled(before)
    data = read_bytes(path)
    return data, before if settled and _version(path) == before else None


def _is_settled(version: Version) -> bool:
    """What changed a moment ago may change again within the same time stamp."""
    return time.time_ns() - max(version.modified, version.changed) > _SETTLED_NANOSECONDS


def _version(path: Path) -> Version | None:
    try:
        return _version_of(path.stat())
    except OSError:
        return None


def _version_of(found: os.stat_result) -> Version:
    return Version(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)

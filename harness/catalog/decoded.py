"""Decoded images kept between runs, so that each file is decoded once.

Below ``decoded`` in the cache lies one ``.npy`` file an image, uint8 (H, W, 3) RGB, named by the
SHA-256 of the image file's bytes and by how it was decoded, followed by the SHA-256 of its own
shape and pixels. Entries appear whole or not at all, are mapped into memory, and can be deleted
at any time. A cache that is full, read-only or damaged costs time, never a run.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
import threading
import time
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from harness.catalog.downloads import cache_dir
from harness.errors import UsageError
from harness.imaging.codecs import decode_rgb, pixel_digest, read_bytes

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    Pixels = npt.NDArray[np.uint8]

DECODED_VARIABLE = "ESRBENCH_DECODED"
"""``off``, or the most GiB that decoded images may take."""
DEFAULT_GIB = 4.0
"""Room for 400 images of 2040x1356 pixels with their LR images."""

_DECODER = 1
"""Part of every name: change it with the pixels that ``decode_rgb`` makes of a file."""
_DIGEST_BYTES = hashlib.sha256().digest_size
_OVERHEAD_BYTES = 128 + _DIGEST_BYTES  # numpy's header and the digest
_KEEP_SECONDS = 3600.0
"""What was used so recently makes no room for others: a set larger than the bound would push
itself out, image by image."""
_SETTLED_NANOSECONDS = 10**9
"""Age from which on a file that changes gets another time stamp on any file system in use."""


class _Version(NamedTuple):
    """What tells one version of a file from another without reading it."""

    device: int
    inode: int
    size: int
    modified: int
    changed: int


class Decoded(NamedTuple):
    """An image.

    Attributes:
        pixels: uint8 (H, W, 3) RGB, C-contiguous, read-only.
        sha256: ``codecs.pixel_digest`` of them.
    """

    pixels: Pixels
    sha256: str


_hashes: dict[Path, tuple[_Version, str]] = {}
"""SHA-256 of files that this process has read."""


def read_decoded(path: Path, *, allow_grey: bool = False) -> Pixels:
    """Read an image file, from its kept pixels where there are any.

    Args:
        path: PNG or BMP file.
        allow_grey: accept an 8-bit one-channel PNG and repeat it in all three channels.

    Returns:
        uint8 array (H, W, 3), RGB order, C-contiguous, read-only; the pixels of
        ``codecs.read_rgb``.

    Raises:
        DataError: as ``codecs.read_rgb``.
        UsageError: ``ESRBENCH_DECODED`` is neither ``off`` nor a number.
    """
    cache = _cache()
    if cache is None:
        return _decoded(read_bytes(path), path, allow_grey=allow_grey)
    if (sha256 := _known_hash(path)) is not None:
        kept = cache.get(_entry_name(sha256, allow_grey=allow_grey))
        if kept is not None:
            return kept.pixels
    return _read(path, cache, allow_grey=allow_grey, proven=False).pixels


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
    return _read(path, _cache(), allow_grey=allow_grey, proven=True)


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

    def get(self, name: str) -> Decoded | None:
        """An entry with the digest stored in it, or None if it is absent or not whole."""
        path = self.folder / name
        try:
            kept = _open(path)
        except FileNotFoundError:
            return None
        except Exception:  # noqa: BLE001 - a damaged header makes numpy raise anything
            self.drop(name)
            return None
        with suppress(OSError):
            os.utime(path)
        return kept

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


def _read(path: Path, cache: DecodedCache | None, *, allow_grey: bool, proven: bool) -> Decoded:
    """Read a file's bytes, then its kept pixels if there are any, else decode and keep them."""
    if cache is None:
        return _hashed(_decoded(read_bytes(path), path, allow_grey=allow_grey))
    data, sha256 = _read_and_hash(path)
    name = _entry_name(sha256, allow_grey=allow_grey)
    kept = cache.get(name)
    if kept is not None:
        if not proven or pixel_digest(kept.pixels) == kept.sha256:
            return kept
        cache.drop(name)
    image = _hashed(_decoded(data, path, allow_grey=allow_grey))
    cache.put(name, image)
    return image


def _decoded(data: bytes, path: Path, *, allow_grey: bool) -> Pixels:
    pixels = decode_rgb(data, str(path), allow_grey=allow_grey)
    pixels.flags.writeable = False
    return pixels


def _hashed(pixels: Pixels) -> Decoded:
    return Decoded(pixels, pixel_digest(pixels))


def _entry_name(file_sha256: str, *, allow_grey: bool) -> str:
    return f"{file_sha256}-{'grey-' if allow_grey else ''}v{_DECODER}.npy"


def _open(path: Path) -> Decoded:
    """Map an entry.

    Raises:
        OSError: it is not there, or cannot be read.
        Exception: it is no entry, or not all of one.
    """
    with path.open("rb") as file:
        file.seek(-_DIGEST_BYTES, os.SEEK_END)
        end = file.tell()
        sha256 = file.read().hex()
    mapped = np.lib.format.open_memmap(path, mode="r")
    whole = mapped.offset + mapped.nbytes == end and mapped.flags.c_contiguous
    if not whole or mapped.dtype != np.uint8 or mapped.ndim != 3 or mapped.shape[2] != 3:  # noqa: PLR2004
        message = f"{path}: found {mapped.dtype} {mapped.shape} in {end} bytes"
        raise ValueError(message)
    return Decoded(np.asarray(mapped), sha256)


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


def _read_and_hash(path: Path) -> tuple[bytes, str]:
    before = _version(path)
    data = read_bytes(path)
    sha256 = hashlib.sha256(data).hexdigest()
    if before is not None and _version(path) == before:
        # What changed a moment ago may change again within the same time stamp.
        age = time.time_ns() - max(before.modified, before.changed)
        if age > _SETTLED_NANOSECONDS:
            _hashes[path] = (before, sha256)
    return data, sha256


def _version(path: Path) -> _Version | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return _Version(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)

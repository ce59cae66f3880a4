"""Image files that were checked once, and are read again without repeating the whole check."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from esrbench.data.codecs import decode_rgb, pixel_digest, read_bytes
from esrbench.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    Pixels = npt.NDArray[np.uint8]

_SETTLED_NANOSECONDS = 3 * 10**9
"""After this time, a change gives a file a new time stamp; FAT counts in steps of 2 s."""


class Version(NamedTuple):
    """Identity of one version of a file, found without reading it.

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
    """The content of an image file when it was checked.

    Attributes:
        sha256: ``codecs.pixel_digest`` of its pixels.
        version: version of the file; None if a later change might keep the same version.
    """

    sha256: str
    version: Version | None


def check_image(path: Path, *, allow_grey: bool = False) -> tuple[Pixels, Seen]:
    """Read an image file, verify every checksum in it, and hash its pixels.

    Args:
        path: PNG or BMP file.
        allow_grey: accept an 8-bit one-channel PNG and repeat it in all three channels.

    Returns:
        uint8 array (H, W, 3), RGB order, C-contiguous, read-only; and what was seen.

    Raises:
        DataError: as ``codecs.read_rgb``.
    """
    data, version = _read_file(path)
    pixels = _decode(data, path, allow_grey=allow_grey)
    return pixels, Seen(pixel_digest(pixels), version)


def read_image(path: Path, *, allow_grey: bool = False, seen: Seen | None = None) -> Pixels:
    """Read an image file that must still hold what was seen in it.

    Checksums and the digest are verified again only if the file may have changed since.

    Args:
        path: PNG or BMP file.
        allow_grey: as ``check_image``.
        seen: what the file must hold; None accepts any image.

    Returns:
        uint8 array (H, W, 3), RGB order, C-contiguous, read-only.

    Raises:
        DataError: as ``codecs.read_rgb``, or the pixels differ from ``seen``.
    """
    data, version = _read_file(path)
    unchanged = seen is not None and version is not None and version == seen.version
    pixels = _decode(data, path, allow_grey=allow_grey, proven=unchanged)
    if seen is not None and not unchanged and (found := pixel_digest(pixels)) != seen.sha256:
        message = f"{path}: changed since it was checked: found pixels with digest "
        message += f"{found}, expected {seen.sha256}"
        advice = "Do not change images during a run. Run again."
        raise DataError(message, advice=advice)
    return pixels


def _decode(data: bytes, path: Path, *, allow_grey: bool, proven: bool = False) -> Pixels:
    pixels = decode_rgb(data, str(path), allow_grey=allow_grey, proven=proven)
    pixels.flags.writeable = False
    return pixels


def _read_file(path: Path) -> tuple[bytes, Version | None]:
    """A file's bytes and its version; None if a later change might keep the same version."""
    before = _version(path)
    data = read_bytes(path)
    if before is None or before != _version(path):
        return data, None
    # A file that changed a moment ago may change again within the same time stamp.
    age = time.time_ns() - max(before.modified, before.changed)
    return data, before if age > _SETTLED_NANOSECONDS else None


def _version(path: Path) -> Version | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return Version(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)

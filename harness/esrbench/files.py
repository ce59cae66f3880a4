"""Files that a reader sees old or new, never in part; and all operations on the disk behind them.

A file is replaced in four steps: write a file of another name, flush it to the disk, rename it,
flush its folder. Whatever ends a process, or its machine, between any two of them, a reader finds
the file as it was before or as it is now.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TEMPORARY: Final = ".tmp"
"""How the names of files end that are not complete; they begin with a dot."""


class FlushError(OSError):
    """Bytes or names may not be on the disk, since they could not be flushed."""


class Files:
    """Operations on files and folders, so that a test can make each of them fail.

    Each raises OSError where the system refuses it.
    """

    def make_folder(self, path: Path) -> None:
        """Create one folder; its parent must be there."""
        path.mkdir()

    def is_folder(self, path: Path) -> bool:
        """Whether a folder is there."""
        return path.is_dir()

    def names(self, path: Path) -> list[str]:
        """Names in a folder, sorted."""
        return sorted(os.listdir(path))  # noqa: PTH208 - names are wanted, not paths

    def read(self, path: Path) -> bytes:
        """All bytes of a file."""
        return path.read_bytes()

    def stamp(self, path: Path) -> tuple[int, int, int, int]:
        """Inode, bytes, and when contents and names were last changed, in nanoseconds."""
        found = path.stat()
        return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns

    def create(self, path: Path) -> int:
        """Descriptor of a new file to write; nothing may have its name."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)

    def write(self, descriptor: int, content: memoryview) -> int:
        """Write some of the content; how many bytes it were."""
        return os.write(descriptor, content)

    def sync(self, descriptor: int) -> None:
        """Return once the file's bytes are on the disk."""
        os.fsync(descriptor)

    def close(self, descriptor: int) -> None:
        """Close a descriptor."""
        os.close(descriptor)

    def rename(self, source: Path, target: Path) -> None:
        """Give a file or folder another name, at once; a file of that name is replaced."""
        source.rename(target)

    def unlink(self, path: Path) -> None:
        """Remove a file."""
        path.unlink()

    def remove_folder(self, path: Path) -> None:
        """Remove an empty folder."""
        path.rmdir()

    def sync_folder(self, path: Path) -> None:
        """Return once the names in a folder are on the disk."""
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def open_lock(self, path: Path) -> int:
        """Descriptor of a file to lock, made if it is not there."""
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o644)

    def lock(self, descriptor: int) -> None:
        """Take a file for this process alone; BlockingIOError if another has it."""
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def describe_owner(self, descriptor: int, content: bytes) -> None:
        """Replace what a lock's file says."""
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, content, 0)


def write_new(path: Path, content: bytes | memoryview, *, flush: bool, files: Files) -> None:
    """Write a file that was not there.

    Raises:
        FlushError: its bytes may not be on the disk.
        OSError: it cannot be written.
    """
    descriptor = files.create(path)
    try:
        _write_all(descriptor, memoryview(content).cast("B"), files)
        if flush:
            _flushed(path, files.sync, descriptor)
    except BaseException:
        with suppress(OSError):
            files.close(descriptor)
        raise
    files.close(descriptor)


def _write_all(descriptor: int, rest: memoryview, files: Files) -> None:
    while rest:
        written = files.write(descriptor, rest)
        if not written:
            raise OSError(errno.EIO, "nothing was written")
        rest = rest[written:]


def replace_file(
    target: Path, content: bytes | memoryview, *, flush: bool = True, files: Files | None = None
) -> None:
    """Write a file so that a reader sees the old or the new one, never a part.

    Args:
        target: of which the folder exists.
        content: all of it.
        flush: return only when it is on the disk, so that a power loss does no harm either.
        files: operations on the disk.

    Raises:
        FlushError: it may not be on the disk.
        OSError: it cannot be written; the old one is unchanged.
    """
    files = files or Files()
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}{TEMPORARY}")
    try:
        write_new(temporary, content, flush=flush, files=files)
        files.rename(temporary, target)
    except BaseException:
        with suppress(OSError):
            files.unlink(temporary)
        raise
    if flush:
        sync_folder(target.parent, files)


def sync_folder(folder: Path, files: Files) -> None:
    """Return once the names in a folder are on the disk.

    Raises:
        FlushError: they may not be.
    """
    _flushed(folder, files.sync_folder, folder)


def _flushed(path: Path, sync: Callable[[Any], None], what: Path | int) -> None:
    try:
        sync(what)
    except OSError as error:
        raise FlushError(error.errno, error.strerror, str(path)) from error

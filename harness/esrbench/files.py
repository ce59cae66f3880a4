"""Files that a reader sees old or new, never in part; and all operations on the disk behind them.

A file is replaced in four steps: write a file of another name, flush it to the disk, rename it,
flush its folder. A process or its machine may stop between any two of them. A reader then finds
the old file or the new one. A file that is written once gets its final name by a hard link instead
of renaming. This fails if the name is taken. So the first of several writers on several machines
wins.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TEMPORARY: Final = ".tmp"
"""Suffixes of the names of incomplete files; they begin with a dot."""
PAUSES: Final = (0.05, 0.2, 0.5)
"""Seconds between tries where a network file system answers by what it knew of a moment ago."""
NO_LINKS: Final = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})
"""Error numbers of file systems without hard links."""

T = TypeVar("T")


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

    def stamp(self, folder: Path, name: str) -> tuple[int, int, int, int]:
        """Inode, bytes, and when contents and names were last changed, in nanoseconds."""
        # Making a path of thousands of names takes longer than asking the system.
        found = os.stat(f"{folder}{os.sep}{name}")  # noqa: PTH116
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

    def link(self, source: Path, target: Path) -> None:
        """Give a file a second name; FileExistsError if something has that name."""
        os.link(source, target)

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
        """Descriptor of a file to lock, made if it is not there; also where one may only read."""
        try:
            return os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError:
            return os.open(path, os.O_RDONLY)

    def lock(self, descriptor: int, *, shared: bool) -> None:
        """Take a file, alone or with others that share it; BlockingIOError if it is taken."""
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)


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


def write_once(target: Path, content: bytes, *, files: Files) -> bool:
    """Write a file unless there is one of its name: of several writers the first wins.

    Args:
        target: of which the folder exists.
        content: all of it; no other writer has the same.
        files: operations on the disk.

    Returns:
        Whether this is the content of the file now, and on the disk.

    Raises:
        FlushError: it may not be on the disk.
        OSError: it cannot be written.
    """
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}{TEMPORARY}")
    try:
        write_new(temporary, content, flush=True, files=files)
        won = _linked(temporary, target, content, files)
    finally:
        with suppress(OSError):
            files.unlink(temporary)
    if won:
        sync_folder(target.parent, files)
    return won


def _linked(source: Path, target: Path, content: bytes, files: Files) -> bool:
    try:
        files.link(source, target)
    except FileExistsError:
        # A network file system repeats a request whose answer was lost, and finds its own work.
        return files.read(target) == content
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        return _claimed(source, target, files)
    return True


def _claimed(source: Path, target: Path, files: Files) -> bool:
    """Rename a file while no other writer of its new name may do so, where there are no hard links.

    A claim that a killed writer leaves goes with the incomplete files; until then others lose.
    """
    claim = target.with_name(f".{target.name}.claim{TEMPORARY}")
    try:
        files.close(files.create(claim))
    except FileExistsError:
        return False
    try:
        if target.name in files.names(target.parent):
            return False
        files.rename(source, target)
    finally:
        with suppress(OSError):
            files.unlink(claim)
    return True


def patiently(act: Callable[[], T], *again: int) -> T:
    """Do something again where a network file system answers by what it knew of a moment ago.

    Args:
        act: what can be done twice.
        again: numbers of errors beside ``ESTALE`` after which it is.

    Raises:
        OSError: the last one.
    """
    for pause in PAUSES:
        try:
            return act()
        except OSError as error:
            if isinstance(error, FlushError) or error.errno not in {errno.ESTALE, *again}:
                raise
        time.sleep(pause)
    return act()


def sync_folder(folder: Path, files: Files) -> None:
    """Return once the names in a folder are on the disk.

    Raises:
        FlushError: they may not be.
    """
    # A folder that could not be opened has lost nothing yet.
    _flushed(folder, lambda path: patiently(lambda: files.sync_folder(path)), folder)


def _flushed(path: Path, sync: Callable[[Any], None], what: Path | int) -> None:
    try:
        sync(what)
    except OSError as error:
        raise FlushError(error.errno, error.strerror, str(path)) from error

"""Every way in which the store touches the disk, so that each can be made to fail."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class Files:
    """Operations on files and folders; each raises OSError where the system refuses it."""

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

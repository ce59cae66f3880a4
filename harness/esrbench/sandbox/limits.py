"""Limits on the resources that a worker may use."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import sys
from dataclasses import dataclass
from pathlib import Path

from esrbench.environment import memory_bytes as physical_memory_bytes

MEMORY_MARGIN = 16
"""One part in this many of the memory is kept for the evaluator and the system."""
LIBRARY_BYTES = 16 * 2**30
"""Address space, not memory: libraries, thread stacks and reserves of allocators."""
THREADS = 1024
"""Threads and processes that the user may add to those running when a worker starts."""
CGROUP_MEMORY_FILES = ("sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory/memory.limit_in_bytes")


@dataclass(frozen=True, slots=True)
class Limits:
    """Resources that a worker may use.

    Attributes:
        memory_bytes: private memory on a CPU; None for the machine's memory less a margin. Not
            enforced with a GPU, whose driver reserves address space by the terabyte.
        file_bytes: size of each file that it writes.
        temp_bytes: size of its temporary folder, if the sandbox can limit it.
        shared_memory_bytes: size of ``/dev/shm``, if there is one.
        open_files: descriptors that are open at a time.
        processes: whether it may start any; compiling needs it.
    """

    memory_bytes: int | None = None
    file_bytes: int = 2**30
    temp_bytes: int = 2**30
    shared_memory_bytes: int = 64 * 2**20
    open_files: int = 1024
    processes: bool = False

    def resources(self, *, capped_memory: bool) -> dict[str, int]:
        """Limits of the kernel by the name of their constant in ``resource``.

        Args:
            capped_memory: whether memory is limited.
        """
        limits = {
            "RLIMIT_CORE": 0,
            "RLIMIT_FSIZE": self.file_bytes,
            "RLIMIT_NOFILE": self.open_files,
        }
        if hasattr(resource, "RLIMIT_MSGQUEUE"):
            limits["RLIMIT_MSGQUEUE"] = 0
        memory = usable_memory_bytes() if self.memory_bytes is None else self.memory_bytes
        if memory is not None and capped_memory and sys.platform == "linux":
            # The first counts what is written privately, the second all that is mapped: a
            # network's own memory must not depend on how large its libraries are.
            limits["RLIMIT_DATA"] = memory
            limits["RLIMIT_AS"] = memory + LIBRARY_BYTES
        if os.getuid():
            running = user_threads()
            if running is not None:
                limits["RLIMIT_NPROC"] = running + THREADS
        return limits


def usable_memory_bytes(*, root: Path = Path("/")) -> int | None:
    """Memory of this machine or container less a margin, or None if neither is known."""
    told = [] if (physical := physical_memory_bytes()) is None else [physical]
    for name in CGROUP_MEMORY_FILES:
        with contextlib.suppress(OSError, ValueError):  # "max" is no number
            told.append(int((root / name).read_text()))
    return min(told) // MEMORY_MARGIN * (MEMORY_MARGIN - 1) if told else None


def user_threads(*, proc: Path = Path("/proc")) -> int | None:
    """Threads of this user on the machine, which is what ``RLIMIT_NPROC`` counts."""
    total = 0
    try:
        folders = [folder for folder in proc.iterdir() if folder.name.isdigit()]
    except OSError:
        return None
    for folder in folders:
        with contextlib.suppress(OSError):  # it ended meanwhile
            if folder.stat().st_uid == os.getuid():
                found = re.search(
                    r"^Threads:\s*(\d+)", (folder / "status").read_text(), re.MULTILINE
                )
                total += int(found[1]) if found else 1
    return total

"""CPU time and memory of a process and of all that descend from it, as Linux tells them."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")


def family(root: int, *, proc: Path = PROC) -> tuple[int, ...]:
    """A process and its descendants, however they were started.

    Args:
        root: process id.
        proc: where the kernel lists processes.

    Returns:
        Ids in ascending order; empty where the process is gone or the system has no such list.
    """
    parents: dict[int, int] = {}
    try:
        listed = [entry.name for entry in proc.iterdir() if entry.name.isdigit()]
    except OSError:
        return ()
    for name in listed:
        try:
            stat = (proc / name / "stat").read_text(errors="replace")
        except OSError:
            continue  # it ended meanwhile
        # The command's name, in brackets, may hold anything.
        parents[int(name)] = int(stat.rpartition(")")[2].split()[1])
    if root not in parents:
        return ()
    found = {root}
    grown = True
    while grown:
        children = {pid for pid, parent in parents.items() if parent in found} - found
        found |= children
        grown = bool(children)
    return tuple(sorted(found))


def cpu_seconds(root: int, *, proc: Path = PROC) -> float | None:
    """CPU time that a process, its threads and its descendants took so far.

    To the nanosecond where the kernel counts so, otherwise in its ticks of 10 ms. Threads that
    ended count in ticks only.

    Returns:
        None where the system does not tell.
    """
    total = 0.0
    known = False
    for pid in family(root, proc=proc):
        seconds = _process_seconds(proc / str(pid))
        if seconds is not None:
            total += seconds
            known = True
    return total if known else None


def _process_seconds(folder: Path) -> float | None:
    """The larger of both accounts: schedstat leaves out threads that ended, stat is coarse."""
    try:
        fields = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    coarse = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    try:
        threads = [int((task / "schedstat").read_text().split()[0]) for task in _tasks(folder)]
    except (OSError, ValueError, IndexError):
        return coarse
    return max(coarse, sum(threads) / 1e9)


def _tasks(folder: Path) -> list[Path]:
    return list((folder / "task").iterdir())


def peak_bytes(root: int, *, proc: Path = PROC) -> int | None:
    """Most memory that the largest of a process and its descendants held at a time, resident.

    Returns:
        None where the system does not tell.
    """
    found = []
    for pid in family(root, proc=proc):
        with suppress(OSError):  # it ended meanwhile
            status = (proc / str(pid) / "status").read_text(errors="replace")
            found += re.findall(r"^VmHWM:\s*(\d+) kB", status, re.MULTILINE)
    return 1024 * max(map(int, found)) if found else None

"""What Landlock leaves to a worker of the host's files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from esrbench.sandbox.bubblewrap import GPU_DEVICES
from esrbench.sandbox.view import without

if TYPE_CHECKING:
    from collections.abc import Iterator

    from esrbench.sandbox.landlock import Grant
    from esrbench.sandbox.limits import Limits
    from esrbench.sandbox.view import Visible

DEVICES: Final[tuple[tuple[Grant, str], ...]] = (
    ("device", "/dev/null"),
    ("read", "/dev/zero"),
    ("read", "/dev/urandom"),
    ("read", "/dev/random"),
)
SYSTEM = (
    "/proc/self",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/loadavg",
    "/proc/uptime",
    "/proc/version",
    "/proc/sys/vm",
    "/proc/sys/kernel",
    "/proc/pressure",
    "/sys/kernel/mm/transparent_hugepage",
    "/sys/fs/cgroup",
)
GPU_SYSTEM = ("/proc/driver/nvidia", "/proc/devices", "/proc/modules", "/proc/filesystems")


def grants(visible: Visible, limits: Limits, temp: Path) -> Iterator[tuple[Grant, str]]:
    """All that Landlock leaves to a worker.

    Modules are found by listing their folders, and what is listed is so all the way down. So
    in folders of modules the names of what is hidden can be seen, and nothing more.
    """
    runs: Grant = "execute" if limits.processes else "read"
    for folders, grant in ((visible.programs, runs), (visible.readable, "read")):
        for path in folders:
            for part in without(path.resolve(), visible.hidden):
                yield grant, str(part)
    for path in (*visible.programs, *visible.modules):
        if path.is_dir():
            yield "list", str(path.resolve())
    yield ("build" if limits.processes else "write"), str(temp)
    system = (*SYSTEM, *(GPU_SYSTEM if visible.on_gpu else ()))
    yield from (("read", path) for path in system if Path(path).exists())
    yield from DEVICES
    if visible.on_gpu:
        # CUDA gives its threads names, and fails to start where it cannot.
        yield "write", "/proc/self/task"
        for pattern in (*GPU_DEVICES, "nvidia-caps"):
            yield from (("device", str(path)) for path in sorted(Path("/dev").glob(pattern)))

"""The command line of bubblewrap: a root of its own, read-only, with what a worker sees in it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from esrbench.sandbox.view import without

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from esrbench.sandbox.limits import Limits
    from esrbench.sandbox.view import Visible

TEMP = "/esrbench-temp"
"""The worker's temporary folder, which hides no file of the host's."""
GPU_DEVICES = ("nvidia[0-9]*", "nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-modeset")
"""All of them are visible: which one CUDA takes is said by a variable."""


def arguments(visible: Visible, limits: Limits, *, devices: Path = Path("/dev")) -> list[str]:
    """Options of bubblewrap for a worker.

    Args:
        visible: what it sees.
        limits: what it may take.
        devices: folder of device files.
    """
    return [
        *("--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts"),
        "--unshare-cgroup-try",
        "--disable-userns",
        "--die-with-parent",
        *("--cap-drop", "ALL"),
        *("--hostname", "worker"),
        *mounts(visible),
        *("--proc", "/proc"),
        *("--dev", "/dev"),
        *(_gpu(devices) if visible.on_gpu else ()),
        *("--size", str(limits.shared_memory_bytes), "--tmpfs", "/dev/shm"),  # noqa: S108
        *("--remount-ro", "/dev"),
        *("--size", str(limits.temp_bytes), "--tmpfs", TEMP),
        *("--chdir", TEMP),
        *("--remount-ro", "/"),
    ]


def mounts(visible: Visible) -> list[str]:
    """Options that put files and folders in place, what contains others first."""
    options: list[str] = []
    bound: dict[Path, Path] = {}
    links: dict[Path, Path] = {}
    wanted = [*visible.programs, *visible.readable]
    for path in sorted({*wanted, *(path.resolve() for path in wanted)}, key=_depth):
        # Where a folder above is there already, links in it lead on as they do outside.
        if any(path.is_relative_to(above) for above in (*bound, *links)):
            continue
        if path.is_symlink() and len(path.parts) == 2:  # noqa: PLR2004 - "/" and a name
            links[path] = path.readlink()
            options += ["--symlink", str(links[path]), str(path)]
            continue
        # A name that leads elsewhere shows what is there, under that name.
        source = path.resolve()
        absent = [hidden for hidden in visible.hidden if not hidden.exists()]
        for part in without(source, absent):
            target = path / part.relative_to(source)
            bound[target] = part
            options += ["--ro-bind", str(part), str(target)]
    return options + list(_masks(visible.hidden, bound))


def _masks(hidden: Iterable[Path], bound: dict[Path, Path]) -> Iterator[str]:
    """Options that cover what is hidden in a bound folder; its name and nothing else remains."""
    for target, source in bound.items():
        for path in hidden:
            if not path.exists() or not path.is_relative_to(source):
                continue
            place = str(target / path.relative_to(source))
            if path.is_dir():
                yield from ("--perms", "0000", "--tmpfs", place, "--remount-ro", place)
            else:
                yield from ("--ro-bind", os.devnull, place)


def _gpu(devices: Path) -> Iterator[str]:
    for pattern in GPU_DEVICES:
        for device in sorted(devices.glob(pattern)):
            yield from ("--dev-bind", str(device), str(device))
    if (devices / "nvidia-caps").is_dir():
        yield from ("--dev-bind", str(devices / "nvidia-caps"), str(devices / "nvidia-caps"))


def _depth(path: Path) -> tuple[int, str]:
    return len(path.parts), str(path)

"""The three sandboxes, the strongest first: bubblewrap, Landlock, and a plain process."""

from __future__ import annotations

import os
import shutil
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from esrbench.errors import UsageError
from esrbench.sandbox import landlock, seccomp
from esrbench.sandbox.sandbox import Obstacle, Sandbox
from esrbench.sandbox.start import nameless
from esrbench.sandbox.view import without

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterable, Iterator

    from esrbench.records import Tier
    from esrbench.sandbox.landlock import Grant
    from esrbench.sandbox.limits import Limits
    from esrbench.sandbox.view import Visible

IsolationChoice = str
"""``auto``, or the ``choice`` of a sandbox."""
DEV: Final = Path("/dev")
TEMP: Final = "/esrbench-temp"
"""The temporary folder of a worker in bubblewrap, which hides no file of the host's."""


class Bubblewrap(Sandbox):
    """A root, processes and a network of its own, with what a worker sees mounted read-only."""

    tier = "bubblewrap"
    choice = "require-bwrap"
    title = "bubblewrap"
    finding = "bubblewrap: entries cannot see ground truth or results, nor use the Internet"

    @staticmethod
    def weakness() -> None:
        """None: a worker is kept from everything that ``docs/isolation.md`` names."""

    @staticmethod
    def missing() -> Obstacle | None:
        """The program."""
        if shutil.which("bwrap") is not None:
            return None
        advice = (
            "Install it: apt install bubblewrap, dnf install bubblewrap or pacman -S bubblewrap."
        )
        return Obstacle("bubblewrap is not installed", advice)

    def around(self, visible: Visible, limits: Limits, descriptors: list[int]) -> list[str]:
        """The program; its options are in a file, since a worker could read a command line."""
        told = "\0".join(bubblewrap_options(visible, limits))
        descriptors.append(nameless(told.encode()))
        return [shutil.which("bwrap") or "bwrap", "--args", str(descriptors[-1]), "--"]

    def evaluator(self) -> None:
        """None: its processes have numbers of their own."""

    def temp_folder(self) -> str:
        """One that only the worker has."""
        return TEMP

    @staticmethod
    def remove(temp: str) -> None:
        """Nothing: the folder goes with the worker."""

    def end_descendants(self, process: subprocess.Popen[bytes]) -> None:
        """Nothing: all its processes end with the first."""


class Landlock(Sandbox):
    """A process that gives up all files but some, its privileges and many system calls."""

    tier = "landlock"
    choice = "landlock"
    title = "Landlock"
    finding = "Landlock and seccomp, the second best"

    @staticmethod
    def weakness() -> str:
        """Actions that this kernel's Landlock cannot control."""
        filtered = seccomp.this_machine() is not None
        missing = (
            [] if filtered else ["UDP and starting processes (no seccomp filter for this CPU)"]
        )
        if landlock.version() < landlock.SCOPE_SINCE:
            missing.append("signals to other processes where it may start its own")
        if landlock.version() < landlock.NETWORK_SINCE and not filtered:
            missing.append("TCP")
        also = f"; also possible are {', '.join(missing)}" if missing else ""
        return (
            "Isolation by Landlock only: networks can see which files exist and how large they "
            f"are, and can fill the disk of the temporary folder{also}"
        )

    @staticmethod
    def missing() -> Obstacle | None:
        """The kernel's support."""
        if landlock.version():
            return None
        advice = "Use Linux 5.13 or newer with landlock among the lsm= of its command line."
        return Obstacle("this kernel has no Landlock, or it is switched off", advice)

    def grants(self, visible: Visible, limits: Limits, temp: str) -> list[tuple[Grant, str]]:
        """The grants of ``landlock_grants``."""
        return list(landlock_grants(visible, limits, temp))


class PlainProcess(Sandbox):
    """A process with limits on its resources, and no other restriction."""

    tier = "subprocess"
    choice = "subprocess"
    title = "a plain process"
    finding = "none, run no network you do not trust"
    privileges = True

    @staticmethod
    def weakness() -> str:
        """Everything."""
        return (
            "NO ISOLATION: networks run as plain processes and can read the ground truth, change "
            "files and results, use the Internet and outlive the run; run none you do not trust"
        )

    @classmethod
    def obstacle(cls) -> None:
        """None: it can always be started, so it is not tried."""


SANDBOXES: Final[dict[Tier, type[Sandbox]]] = {
    sandbox.tier: sandbox for sandbox in (Bubblewrap, Landlock, PlainProcess)
}
"""By their names, the strongest first."""


def open_sandbox(choice: IsolationChoice = "auto") -> Sandbox:
    """The strongest sandbox that works here, or the one asked for.

    Args:
        choice: ``auto`` takes the strongest; the others name what must be used.

    Raises:
        UsageError: what was asked for is not known or does not work here; the message says why.
    """
    unused: list[str] = []
    for tier, sandbox in SANDBOXES.items():
        if choice not in ("auto", sandbox.choice):
            continue
        found = obstacle(tier)
        if found is None:
            return sandbox(unused="; ".join(unused) or None)
        if choice != "auto":
            message = f"--isolation {choice} does not work here: {found.reason}"
            raise UsageError(message, advice=found.advice)
        unused.append(found.reason)
    known = ", ".join(isolation_choices())
    raise UsageError(f"there is no isolation {choice!r}", advice=f"Use one of {known}.")


def isolation_choices() -> list[IsolationChoice]:
    """All values of ``--isolation``."""
    return ["auto", *(sandbox.choice for sandbox in SANDBOXES.values())]


@cache
def obstacle(tier: Tier) -> Obstacle | None:
    """Why a sandbox cannot be used here, by trying it once a process; None where it works."""
    return SANDBOXES[tier].obstacle()


def bubblewrap_options(visible: Visible, limits: Limits, *, devices: Path = DEV) -> list[str]:
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
        *(word for path in _device_files(visible, devices) for word in ("--dev-bind", path, path)),
        *("--size", str(limits.shared_memory_bytes), "--tmpfs", "/dev/shm"),  # noqa: S108
        *("--remount-ro", "/dev"),
        *("--size", str(limits.temp_bytes), "--tmpfs", TEMP),
        *("--chdir", TEMP),
        *("--remount-ro", "/"),
    ]


def mounts(visible: Visible) -> list[str]:
    """Options that mount files and folders; a folder comes before what lies in it."""
    options: list[str] = []
    bound: dict[Path, Path] = {}
    links: dict[Path, Path] = {}
    wanted = [*visible.programs, *visible.readable]
    for path in sorted({*wanted, *(path.resolve() for path in wanted)}, key=_depth):
        # If a parent folder is mounted already, links in it work as they do outside.
        if any(path.is_relative_to(above) for above in (*bound, *links)):
            continue
        if path.is_symlink() and len(path.parts) == 2:  # noqa: PLR2004 - "/" and a name
            links[path] = path.readlink()
            options += ["--symlink", str(links[path]), str(path)]
            continue
        # The target of a link is mounted at the link's own path.
        source = path.resolve()
        absent = [hidden for hidden in visible.hidden if not hidden.exists()]
        for part in without(source, absent):
            target = path / part.relative_to(source)
            bound[target] = part
            options += ["--ro-bind", str(part), str(target)]
    return options + list(_masks(visible.hidden, bound))


def _masks(hidden: Iterable[Path], bound: dict[Path, Path]) -> Iterator[str]:
    """Options that cover what is hidden in a bound folder; only its name stays visible."""
    for target, source in bound.items():
        for path in hidden:
            if not path.exists() or not path.is_relative_to(source):
                continue
            place = str(target / path.relative_to(source))
            if path.is_dir():
                yield from ("--perms", "0000", "--tmpfs", place, "--remount-ro", place)
            else:
                yield from ("--ro-bind", os.devnull, place)


def _device_files(visible: Visible, devices: Path = DEV) -> Iterator[str]:
    """Paths in a folder of device files that the worker's device needs."""
    for pattern in visible.device.device_files:
        yield from (str(path) for path in sorted(devices.glob(pattern)))


def _depth(path: Path) -> tuple[int, str]:
    return len(path.parts), str(path)


COMMON_DEVICES: Final[tuple[tuple[Grant, str], ...]] = (
    ("device", "/dev/null"),
    ("read", "/dev/zero"),
    ("read", "/dev/urandom"),
    ("read", "/dev/random"),
)
KERNEL_FILES: Final = (
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


def landlock_grants(visible: Visible, limits: Limits, temp: str) -> Iterator[tuple[Grant, str]]:
    """All that Landlock leaves to a worker.

    Python finds modules by listing their folders, and a grant to list a folder holds for all
    folders in it. So the names of hidden files in such folders can be seen, but nothing more.
    """
    runs: Grant = "execute" if limits.processes else "read"
    for folders, grant in ((visible.programs, runs), (visible.readable, "read")):
        for path in folders:
            for part in without(path.resolve(), visible.hidden):
                yield grant, str(part)
    for path in (*visible.programs, *visible.modules):
        if path.is_dir():
            yield "list", str(path.resolve())
    yield ("build" if limits.processes else "write"), temp
    system = (*KERNEL_FILES, *visible.device.kernel)
    yield from (("read", path) for path in system if Path(path).exists())
    yield from COMMON_DEVICES
    yield from (("write", path) for path in visible.device.written)
    yield from (("device", path) for path in _device_files(visible))

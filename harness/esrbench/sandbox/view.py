"""The files that a worker sees: the interpreter, its libraries, this program, its entry.

A link is kept as it is, and its target is visible too, so that a worker finds a file under the
name that it was given.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from esrbench.devices import DEVICES
from esrbench.environment import own_packages
from esrbench.errors import UsageError
from esrbench.sandbox.interpreters import Interpreter, own_interpreter

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from esrbench.devices import DeviceTraits
    from esrbench.protocol import Device

SYSTEM = tuple(
    Path(path)
    for path in (
        "/usr",
        "/bin",
        "/sbin",
        "/lib",
        "/lib32",
        "/lib64",
        "/libx32",
        "/nix/store",
        "/etc/alternatives",
        "/etc/ld.so.cache",
        "/etc/ld.so.conf",
        "/etc/ld.so.conf.d",
        "/etc/localtime",
        "/etc/timezone",
        "/sys/devices/system",
    )
)
"""Programs and libraries, the files that locate them, the time zone, and facts about the CPUs."""


@dataclass(frozen=True, slots=True)
class View:
    """Files that a worker may see, apart from the interpreter and this program.

    Attributes:
        readable: files and folders, read-only, at their own paths.
        hidden: never visible, even where something readable covers them.
        python_path: folders that modules are imported from, first; readable too.
        device: where forwards run; what its driver needs is visible too.
        interpreter: the one that the worker runs in.
    """

    readable: tuple[Path, ...]
    hidden: tuple[Path, ...] = ()
    python_path: tuple[Path, ...] = ()
    device: Device = "cpu"
    interpreter: Interpreter = field(default_factory=own_interpreter)


@dataclass(frozen=True, slots=True)
class Visible:
    """A view and all that every worker needs, ready for a sandbox.

    Attributes:
        programs: of the system and the interpreter; may be executed and listed.
        readable: may be read and listed.
        modules: folders of ``readable`` that modules are imported from.
        hidden: real paths; none lies inside another.
        path: the worker's ``sys.path``; of an entry's interpreter, without installed packages.
        interpreter: the one that the worker runs in.
        device: where forwards run; its files are visible.
    """

    programs: tuple[Path, ...]
    readable: tuple[Path, ...]
    modules: tuple[Path, ...]
    hidden: tuple[Path, ...]
    path: tuple[str, ...]
    device: DeviceTraits = DEVICES["cpu"]
    interpreter: Interpreter = field(default_factory=own_interpreter)


def resolve_view(view: View) -> Visible:
    """Complete a view.

    Raises:
        UsageError: something readable is not there or is hidden.
    """
    device = DEVICES[view.device]
    hidden = _outermost(path.resolve() for path in view.hidden)
    wanted = (*map(_absolute, view.readable), *map(_absolute, view.python_path))
    for path in wanted:
        if not path.exists():
            raise UsageError(
                f"{path}, which the network needs, is not there",
                advice="Check the entry's files and the path of its weights.",
            )
    interpreter = view.interpreter
    programs = [*interpreter.files(), *SYSTEM, *device.system]
    programs = [path for path in programs if path.exists()]
    own = tuple(own_packages().values())
    for path in (*wanted, *own, *interpreter.files()):
        cover = next((one for one in hidden if path.resolve().is_relative_to(one)), None)
        if cover is not None:
            raise UsageError(
                f"{path} is needed by the network, but lies in {cover}, which it must not see",
                advice="Keep ground truth and results in folders of their own, and neither "
                "entries nor the Python environment in them.",
            )
    seen = [*programs, *own, *wanted]
    entries = [_absolute(Path(entry)) for entry in interpreter.path]
    inherited = [entry for entry in entries if _within(entry, seen)]
    modules = tuple(map(_absolute, view.python_path))
    return Visible(
        programs=tuple(dict.fromkeys(programs)),
        readable=tuple(dict.fromkeys((*own, *wanted))),
        hidden=hidden,
        modules=modules,
        path=tuple(dict.fromkeys(str(entry) for entry in (*modules, *inherited))),
        interpreter=interpreter,
        device=device,
    )


def without(folder: Path, hidden: Iterable[Path]) -> Iterator[Path]:
    """Parts that make up a folder, except what is hidden in it; links are left out.

    Args:
        folder: a real path, file or folder.
        hidden: real paths.

    Yields:
        The folder itself if nothing in it is hidden, otherwise the largest parts without hidden
        files; nothing if all of it is hidden.
    """
    below = [path for path in hidden if path.is_relative_to(folder)]
    if not below:
        if not any(folder.is_relative_to(path) for path in hidden):
            yield folder
        return
    if folder in below or not folder.is_dir():
        return
    for child in sorted(folder.iterdir()):
        if not child.is_symlink():
            yield from without(child, below)


def _absolute(path: Path) -> Path:
    """The absolute path without ``..``; links are kept."""
    return Path(os.path.abspath(path))  # noqa: PTH100 - Path.absolute keeps "..", resolve no links


def _outermost(paths: Iterable[Path]) -> tuple[Path, ...]:
    kept: list[Path] = []
    for path in sorted(set(paths), key=lambda path: len(path.parts)):
        if not _within(path, kept):
            kept.append(path)
    return tuple(kept)


def _within(path: Path, folders: Iterable[Path]) -> bool:
    return any(path.is_relative_to(folder) for folder in folders)

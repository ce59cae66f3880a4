"""Interpreters that workers run in: the harness's own, or an entry's, and what belongs to one.

Packages that are installed for an entry may run code whenever its interpreter starts. So outside
a sandbox we start that interpreter without them, and read their versions from their metadata.
"""

from __future__ import annotations

import json
import os
import site
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from packaging.version import InvalidVersion, Version

from esrbench.errors import UsageError
from esrbench.plaintext import line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

OF_PREFIX: Final = ("bin", "lib", "lib64", "include", "pyvenv.cfg", "nvvm", "targets")
"""What belongs to an interpreter in its folder, which may hold other files, even a checkout."""
PACKAGE_FOLDERS: Final = frozenset({"site-packages", "dist-packages"})
OLDEST_PYTHON: Final = Version("3.8")
OLDEST_TORCH: Final = Version("1.13")
NUMPY_2_SINCE: Final = Version("2.3")
"""Earlier versions of torch cannot exchange arrays with numpy 2."""
SECONDS: Final = 60.0

_ASK: Final = """
import json, os, site, sys
home = os.path.dirname(os.path.dirname(os.path.abspath(sys.executable)))
virtual = os.path.join(home, "pyvenv.cfg")
prefixes, own = [sys.prefix], []
if os.path.isfile(virtual):
    with open(virtual) as file:
        lines = [line.replace(" ", "").strip().lower() for line in file]
    own = [home]
    prefixes = own + prefixes * ("include-system-site-packages=true" in lines)
print(json.dumps({
    "python": "%d.%d.%d" % sys.version_info[:3],
    "executable": sys.executable,
    "prefixes": own + [sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix],
    "path": [entry for entry in sys.path if entry],
    "packages": site.getsitepackages(prefixes),
}))
"""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """An interpreter of Python, and what a worker must see to run in it.

    Attributes:
        executable: path of its program.
        prefixes: folders that hold it, its libraries and its packages.
        path: its ``sys.path``; for an entry's interpreter, without installed packages.
        packages: folders of installed packages.
        versions: versions of ``python``, ``torch`` and ``numpy`` in an entry's interpreter; empty
            for the harness's own.
    """

    executable: Path
    prefixes: tuple[Path, ...]
    path: tuple[str, ...]
    packages: tuple[Path, ...]
    versions: tuple[tuple[str, str], ...] = ()

    @property
    def own(self) -> bool:
        """Whether it is the harness's own."""
        return not self.versions

    def files(self) -> tuple[Path, ...]:
        """Files and folders of it, its libraries and installed packages, that are there."""
        found = [prefix / name for prefix in self.prefixes for name in OF_PREFIX]
        found += [*self.packages, *links(self.executable)]
        absolute = (Path(os.path.abspath(path)) for path in found if path.exists())  # noqa: PTH100 - keeps links
        return tuple(dict.fromkeys(absolute))


def own_interpreter() -> Interpreter:
    """The interpreter of this process."""
    prefixes = dict.fromkeys((sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix))
    packages = [Path(entry) for entry in sys.path if Path(entry).name in PACKAGE_FOLDERS]
    if site.ENABLE_USER_SITE:
        packages.append(Path(site.getusersitepackages()))
    return Interpreter(
        executable=Path(sys.executable),
        prefixes=tuple(map(Path, prefixes)),
        path=tuple(entry for entry in sys.path if entry),
        packages=tuple(packages),
    )


def entry_interpreter(path: Path) -> Interpreter:
    """An interpreter that an entry runs in.

    Args:
        path: its program, or the folder of its environment.

    Raises:
        UsageError: it is no Python, or is too old, or lacks torch or numpy; the message says what
            was found.
    """
    return _asked(Path(os.path.abspath(path)))  # noqa: PTH100 - a link may lead out of an environment


@cache
def _asked(path: Path) -> Interpreter:
    told = _ask(path, path / "bin" / "python" if path.is_dir() else path)
    python = Version(told["python"])
    if python < OLDEST_PYTHON:
        message = f"{path}: Python {python}, expected {OLDEST_PYTHON} or newer"
        raise UsageError(message, advice="Make the environment with a newer Python.")
    packages = tuple(folder for folder in map(Path, told["packages"]) if folder.is_dir())
    torch, numpy = (_installed(path, name, packages) for name in ("torch", "numpy"))
    if torch < OLDEST_TORCH:
        message = f"{path}: torch {torch}, expected {OLDEST_TORCH} or newer"
        raise UsageError(message, advice="Install a newer torch there.")
    if torch < NUMPY_2_SINCE and numpy.major > 1:
        message = f"{path}: torch {torch} cannot exchange arrays with numpy {numpy}"
        raise UsageError(message, advice="Install 'numpy<2' there.")
    versions = {"python": python, "torch": torch, "numpy": numpy}
    return Interpreter(
        executable=Path(told["executable"]),
        prefixes=tuple(dict.fromkeys(map(Path, told["prefixes"]))),
        path=tuple(told["path"]),
        packages=packages,
        versions=tuple((name, str(version)) for name, version in versions.items()),
    )


def _ask(path: Path, program: Path) -> Any:
    """The facts that an interpreter reports about itself, without its packages."""
    advice = "Give the interpreter of an environment, such as env/bin/python."
    try:
        done = subprocess.run(  # noqa: S603 - the user's own choice, no shell
            [program, "-I", "-S", "-c", _ASK],
            check=False,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            text=True,
            errors="replace",
            timeout=SECONDS,
            cwd="/",
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = error.strerror if isinstance(error, OSError) else f"no answer in {SECONDS:g} s"
        message = f"{path}: this Python cannot be started: {reason}"
        raise UsageError(message, advice=advice) from None
    try:
        return json.loads(done.stdout)
    except ValueError:
        said = line((done.stderr.strip().splitlines() or ["nothing"])[-1])
        message = f"{path}: not a Python {OLDEST_PYTHON} or newer; when started, it prints: {said}"
        raise UsageError(message, advice=advice) from None


def _installed(path: Path, name: str, folders: Sequence[Path]) -> Version:
    """Version of a distribution in some folders, by its metadata."""
    for found in metadata.distributions(name=name, path=[str(folder) for folder in folders]):
        try:
            return Version(found.version)
        except (InvalidVersion, TypeError):
            continue
    message = f"{path}: {name} is not installed there"
    advice = "A worker needs torch and numpy: install both in that environment."
    raise UsageError(message, advice=advice)


def links(program: Path) -> Iterator[Path]:
    """The path of a program and, if it is a link, every path that the chain of links names."""
    path = Path(os.path.abspath(program))  # noqa: PTH100 - Path.absolute keeps ".."
    while path.is_symlink():
        yield path
        path = Path(os.path.normpath(path.parent / path.readlink()))
    yield path

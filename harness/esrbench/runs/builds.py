"""What an entry brings as source is compiled once, in the sandbox, and kept in the cache."""

from __future__ import annotations

import hashlib
import platform
import shlex
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from esrbench.data.cache import cache_dir, complete_folder, usable
from esrbench.entries.sources import folder_files, source_sha256
from esrbench.environment import package_version
from esrbench.errors import UsageError
from esrbench.worker.process import DEFAULT_TIMEOUT_SECONDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from esrbench.entries.descriptor import ModelDescriptor
    from esrbench.worker.launcher import Launcher

COMPILERS: Final = ("c++", "g++", "clang++")


def build(
    descriptor: ModelDescriptor,
    launcher: Launcher,
    *,
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
) -> ModelDescriptor:
    """An entry with what it builds: a descriptor of the folder in the cache that holds both.

    It is built where the cache has no result of the same sources, Python and torch.

    Args:
        descriptor: of any network; one that builds nothing is returned as it is.
        launcher: of the worker that builds, which has no network, no GPU and a copy of the folder.
        timeout_seconds: that it may take.

    Raises:
        UsageError: there is no sandbox or no compiler here.
        WorkerError: it failed, or made no module.
        DataError: the cache cannot be used.
    """
    if descriptor.build is None or descriptor.folder is None:
        return descriptor
    folder = Path(descriptor.folder)
    kept = cache_dir() / "builds" / _key(descriptor, descriptor.build)
    if not kept.is_dir():
        _require_tools(descriptor.name, launcher)
        worker = launcher.worker(readable=[folder], timeout_seconds=timeout_seconds, processes=True)
        with worker as session:
            made = session.build(folder, shlex.split(descriptor.build))
        with usable(kept), complete_folder(kept) as staging:
            _fill(staging / folder.name, descriptor, made)
    built = descriptor.model_copy(update={"folder": str(kept / folder.name)})
    return built.model_copy(update={"built_sha256": source_sha256(built)})


def _key(descriptor: ModelDescriptor, command: str) -> str:
    parts = (
        *(source_sha256(descriptor), command),
        *(sys.version, package_version("torch"), platform.machine()),
    )
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _require_tools(name: str, launcher: Launcher) -> None:
    if launcher.sandbox.privileges:
        message = f"{name} builds a module from source, and no sandbox works here to build it in"
        raise UsageError(message, advice="`esrbench doctor` says how to mend that.")
    missing = [] if find_spec("setuptools") else ["setuptools (pip install setuptools)"]
    if not any(map(shutil.which, COMPILERS)):
        missing.append("a C++ compiler (g++ or clang++)")
    if missing:
        message = f"{name} builds a module from source, which needs {' and '.join(missing)}"
        raise UsageError(message, advice="Install that.")


def _fill(target: Path, descriptor: ModelDescriptor, made: Mapping[str, bytes]) -> None:
    """The files of a submission but its weights, and what was built of them."""
    folder = Path(descriptor.folder or "")
    weights = {folder / each.filename for each in descriptor.submitted}
    for path in folder_files(folder):
        if path not in weights:
            place = target / path.relative_to(folder)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, place, follow_symlinks=False)
    for name, content in made.items():
        place = target / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)

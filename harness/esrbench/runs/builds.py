"""Compile the sources of an entry once, in the sandbox, and keep the result in the cache."""

from __future__ import annotations

import hashlib
import platform
import shlex
import shutil
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Final

from esrbench.data.cache import cache_dir, complete_folder, usable
from esrbench.entries.sources import folder_files, source_sha256
from esrbench.environment import package_version
from esrbench.errors import UsageError
from esrbench.plaintext import series
from esrbench.sandbox.interpreters import own_interpreter
from esrbench.worker.process import DEFAULT_TIMEOUT_SECONDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from esrbench.entries.descriptor import ModelDescriptor
    from esrbench.sandbox.interpreters import Interpreter
    from esrbench.worker.launcher import Launcher

COMPILERS: Final = ("c++", "g++", "clang++")


def build(
    descriptor: ModelDescriptor,
    launcher: Launcher,
    interpreter: Interpreter | None = None,
    *,
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
) -> ModelDescriptor:
    """Compile an entry: its descriptor then names a cached folder with the entry and the result.

    The build is skipped if the cache has a result of the same folder, interpreter and torch.

    Args:
        descriptor: any network. One that builds nothing is returned unchanged; one that was built
            for another interpreter is built again.
        launcher: starts the worker that builds. The worker has no internet access and no GPU, and
            sees a copy of the folder.
        interpreter: builds and runs the entry; None for the harness's own.
        timeout_seconds: longest time of the build.

    Raises:
        UsageError: there is no sandbox or no compiler here.
        WorkerError: the build failed, or made no module.
        DataError: the cache cannot be used.
    """
    if descriptor.build is None or descriptor.folder is None:
        return descriptor
    folder = Path(descriptor.sources or descriptor.folder)
    declared = descriptor.model_copy(update={"folder": str(folder), "sources": None})
    kept = cache_dir() / "builds" / _key(declared, descriptor.build, interpreter)
    if not kept.is_dir():
        _require_tools(descriptor.name, launcher, interpreter)
        worker = launcher.worker(
            readable=[folder],
            interpreter=interpreter,
            timeout_seconds=timeout_seconds,
            processes=True,
        )
        with worker as session:
            made = session.build(folder, shlex.split(descriptor.build))
        with usable(kept), complete_folder(kept) as staging:
            _fill(staging / folder.name, folder, made)
    whole = {"folder": str(kept / folder.name), "sources": str(folder)}
    built = declared.model_copy(update=whole)
    return built.model_copy(update={"built_sha256": source_sha256(built)})


def _key(descriptor: ModelDescriptor, command: str, interpreter: Interpreter | None) -> str:
    """Digest of everything that decides the result, and of the weights in the same folder."""
    versions = (sys.version, package_version("torch"))
    if interpreter is not None:
        versions = (str(interpreter.executable), str(interpreter.versions))
    weights = sorted(each.sha256 for each in descriptor.submitted)
    parts = (source_sha256(descriptor), command, *versions, platform.machine(), *weights)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _require_tools(name: str, launcher: Launcher, interpreter: Interpreter | None) -> None:
    if launcher.sandbox.privileges:
        message = f"{name} builds a module from source, and no sandbox works here to build it in"
        raise UsageError(message, advice="`esrbench doctor` says how to fix that.")
    chosen = own_interpreter() if interpreter is None else interpreter
    path = [str(folder) for folder in chosen.packages]
    missing = []
    if not [*metadata.distributions(name="setuptools", path=path)]:
        missing.append(f"setuptools ({chosen.executable} -m pip install setuptools)")
    if not any(map(shutil.which, COMPILERS)):
        missing.append("a C++ compiler (g++ or clang++)")
    if missing:
        message = f"{name} builds a module from source, which needs {series(missing)}"
        raise UsageError(message, advice="Install that.")


def _fill(target: Path, folder: Path, made: Mapping[str, bytes]) -> None:
    """Write the files of a submission and the built modules into a folder."""
    for path in folder_files(folder):
        place = target / path.relative_to(folder)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place, follow_symlinks=False)
    for name, content in made.items():
        place = target / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)

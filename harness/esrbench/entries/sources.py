"""The source files of an entry, found without importing any of them; no torch.

This hash identifies code before a run. In the worker, ``building.code_sha256`` covers the code that
was really imported.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import os
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

from esrbench.entries.reach import import_source, module_file, module_name, parsed
from esrbench.entries.targets import CACHES
from esrbench.environment import own_packages
from esrbench.errors import RegistrationError
from esrbench.weights.checkpoints import file_sha256

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from importlib.machinery import ModuleSpec

    from esrbench.entries.descriptor import ModelDescriptor

SOURCE_SUFFIXES = frozenset({".py", ".pyx", ".c", ".cc", ".cpp", ".h", ".hpp", ".cu", ".cuh"})
"""Suffixes of files of an installed package that define what it computes."""
MOST_IMPORTS = 8
"""Most files that are searched for a definition, following imports."""

MAX_FOLDER_FILES = 10_000
MAX_FOLDER_BYTES = 2 * 2**30
"""Most bytes of a submission's folder: enough for weights of several scales, hashed in a second."""


def require_bounded(folder: Path) -> None:
    """Raise an error if a submission's folder is too large to read quickly; nothing is read.

    Files count with their length, even sparse ones; links are not followed.

    Raises:
        RegistrationError: it has more than ``MAX_FOLDER_FILES`` files and folders or more than
            ``MAX_FOLDER_BYTES``, or a part of it cannot be listed.
    """
    found = size = 0
    pending = [folder]
    advice = "Keep only the manifest, code and weights of the entry in this folder."
    try:
        while pending:
            with os.scandir(pending.pop()) as entries:
                for each in entries:
                    is_folder = each.is_dir(follow_symlinks=False)
                    if is_folder and each.name in CACHES:
                        continue
                    found += 1
                    if is_folder:
                        pending.append(Path(each.path))
                    else:
                        size += each.stat(follow_symlinks=False).st_size
                    if found > MAX_FOLDER_FILES:
                        message = f"{folder}: more than {MAX_FOLDER_FILES:,} files and folders"
                        raise RegistrationError(f"{message}, expected fewer", advice=advice)
                    if size > MAX_FOLDER_BYTES:
                        message = f"{folder}: more than {MAX_FOLDER_BYTES:,} bytes"
                        raise RegistrationError(f"{message}, expected fewer", advice=advice)
    except OSError as error:
        message = f"{folder}: cannot be listed: {error.strerror or error}"
        raise RegistrationError(message, advice="Make all of it readable.") from error


def source_sha256(descriptor: ModelDescriptor) -> str:
    """SHA-256 (hex) of the source files that define an entry; none of its code is imported.

    For a submission these are all files of its folder, except its declared weights and caches of
    tools; of a link, the text of its target is hashed. For a ``.py`` file it is that file.
    Otherwise they are the sources of the top-level packages or modules of its targets, with all
    portions of namespace packages. Of a compiled module without a source, the bytes are hashed; of
    a built-in module, Python's version.

    Raises:
        RegistrationError: the module, file or folder does not exist, or is too large to read.
        WeightsError: a file cannot be read.
    """
    digest = hashlib.sha256()
    if descriptor.folder is not None:
        folder = Path(descriptor.folder)
        weights = {folder / each.filename for each in descriptor.submitted}
        if not folder.is_dir():
            message = f"{folder}: the submission's folder does not exist"
            raise RegistrationError(message, advice="Restore the folder.")
        require_bounded(folder)
        _add(digest, folder, (path for path in folder_files(folder) if path not in weights))
        return digest.hexdigest()
    for target in _tops(descriptor):
        digest.update(f"{Path(target).name}\0".encode())
        if target.endswith(".py"):
            _add(digest, Path(target).parent, [_require_file(target)])
            continue
        spec = _find(target)
        portions = sorted(map(Path, spec.submodule_search_locations or ()))
        for portion in portions:
            files = (path for path in folder_files(portion) if path.suffix in SOURCE_SUFFIXES)
            _add(digest, portion, files)
        if not portions and spec.has_location and spec.origin:
            _add(digest, Path(spec.origin).parent, [Path(spec.origin)])
        elif not portions:
            digest.update(f"{spec.origin} of {sys.version}".encode())
    return digest.hexdigest()


def view_paths(descriptor: ModelDescriptor) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """The files and folders that a sandboxed worker must see to import an entry.

    Returns:
        Folders (or single files) that must be readable, and folders that must be on ``sys.path``.
        A submission needs only its folder, and its sources if modules were compiled from them. A
        ``.py`` file needs its folder. A module needs the folder of ``sys.path`` that contains it,
        or only its own files if an installed import hook finds them; it needs nothing if it is
        installed in the interpreter's folders or belongs to esrbench.

    Raises:
        RegistrationError: the module, file or folder does not exist.
    """
    if descriptor.folder is not None:
        folders = (descriptor.folder, descriptor.sources)
        return tuple(Path(folder) for folder in folders if folder is not None), ()
    readable: dict[Path, None] = {}
    on_path: dict[Path, None] = {}
    for target in _tops(descriptor):
        if target.endswith(".py"):
            folder = _require_file(target).parent
            readable[folder] = on_path[folder] = None
            continue
        for place in _places(_find(target)):
            if place == own_packages().get(target):
                continue
            if _is_installed(place):
                continue
            entry = next((at for at in _search_path() if at == place.parent), None)
            readable[entry or place] = None
            if entry is not None:
                on_path[entry] = None
    return tuple(readable), tuple(on_path)


def _tops(descriptor: ModelDescriptor) -> Iterator[str]:
    """Top-level modules and absolute ``.py`` files of a descriptor's targets, each once."""
    locations = [target.rpartition(":")[0] for target in descriptor.targets.values()]
    yield from dict.fromkeys(
        str(Path(location).resolve()) if location.endswith(".py") else location.partition(".")[0]
        for location in locations
    )


def _require_file(path: str) -> Path:
    if not Path(path).is_file():
        message = f"{path}: there is no such file"
        raise RegistrationError(message, advice="Correct the path of the factory or the hook.")
    return Path(path)


def _find(top: str) -> ModuleSpec:
    """Find a top-level module without importing it."""
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):  # a module that code created has no spec
        spec = None
    if spec is None:
        message = f"there is no module {top!r}"
        raise RegistrationError(message, advice="Install it in this environment.")
    return spec


def _places(spec: ModuleSpec) -> list[Path]:
    """Folders of a package or the file of a module, with links followed; none if built in."""
    if spec.submodule_search_locations is not None:
        return [Path(folder).resolve() for folder in spec.submodule_search_locations]
    return [Path(spec.origin).resolve()] if spec.has_location and spec.origin else []


def _search_path() -> Iterator[Path]:
    for entry in sys.path:
        yield Path(entry or os.curdir).resolve()


def _is_installed(place: Path) -> bool:
    """Whether a path lies in the interpreter's own folders or where distributions go."""
    if {"site-packages", "dist-packages"} & set(place.parts):
        return True
    paths = sysconfig.get_paths()
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    return any(place.is_relative_to(Path(paths[name]).resolve()) for name in names)


def folder_files(folder: Path) -> Iterator[Path]:
    """All files and links below a folder in a fixed order, without tools' caches."""
    for root, folders, files in os.walk(folder):
        links = [name for name in folders if (Path(root) / name).is_symlink()]
        folders[:] = sorted(set(folders) - CACHES - set(links))
        yield from (Path(root) / name for name in sorted([*files, *links]))


def _add(digest: hashlib._Hash, folder: Path, files: Iterable[Path]) -> None:
    for path in files:
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            content = f"link to {path.readlink()}"
        elif path.is_file():
            content = file_sha256(path)
        else:
            content = "no plain file"  # reading a pipe could block for ever
        digest.update(f"{name}\0{content}\0".encode(errors="surrogateescape"))


def defined_at(descriptor: ModelDescriptor, checkout: Path) -> tuple[str, int] | None:
    """Find the class or function that builds a network in a checkout, without importing code.

    Args:
        descriptor: descriptor of the network.
        checkout: absolute path of the repository's folder. A module is searched for in the working
            directory, in its ``src`` and in ``sys.path``; a submission's module in its folder.

    Returns:
        Path of the file relative to the checkout, with ``/``, and the line, from 1. It is the first
        line if the definition cannot be found by reading. None if the checkout has no such file.
    """
    location, _, attribute = descriptor.factory.rpartition(":")
    own = descriptor.sources or descriptor.folder
    here = Path.cwd()
    folders = [own] if own else [str(here), str(here / "src"), *sys.path]
    for root in map(Path, folders):
        script = location.endswith(".py")
        file = root / location if script else module_file(root, location)
        if file is None or not file.is_file():
            continue
        top = file.parent if script else root
        file, number = _definition(top, file, attribute.partition(".")[0])
        if file.resolve().is_relative_to(checkout):
            return file.resolve().relative_to(checkout).as_posix(), number
    return None


def _definition(root: Path, file: Path, name: str, most: int = MOST_IMPORTS) -> tuple[Path, int]:
    """File and line of a definition; if the file imports it, the file that defines it."""
    tree = parsed(file)
    for node in tree.body if tree else ():
        match node:
            case ast.ClassDef(name=defined) | ast.FunctionDef(name=defined) if defined == name:
                return file, node.lineno
            case ast.ImportFrom(names=names) if most:
                place = module_name(file.relative_to(root))
                module = import_source(node, place, is_package=file.name == "__init__.py")
                origin = module_file(root, ".".join(module))
                for each in names:
                    if origin and (each.asname or each.name) == name:
                        return _definition(root, origin, each.name, most - 1)
    return file, 1

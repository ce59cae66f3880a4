"""Import a network's code from a file or from the folder of a submission.

Authors give their modules any names: ``model``, ``utils``, ``models``. So each folder gets its own
package, and its modules are imported below that package. An ``import blocks`` in one of them first
finds the ``blocks`` in its folder. Nothing is added to ``sys.path``, so two submissions in one
process do not conflict, and none hides a module from the harness.
"""

from __future__ import annotations

import builtins
import hashlib
import importlib
import importlib.util
import operator
import sys
from functools import lru_cache
from importlib.abc import MetaPathFinder
from importlib.machinery import (
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    ModuleSpec,
    SourceFileLoader,
)
from pathlib import Path
from typing import TYPE_CHECKING, Any

from esrbench.errors import RegistrationError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import CodeType, ModuleType

SUBMITTED_PREFIX = "esrbench_submission_"
"""Prefix of the packages for submissions' modules; a hash of the folder follows."""
CACHES = frozenset(
    {
        "__pycache__",
        ".git",
        ".hypothesis",
        ".ipynb_checkpoints",
        ".mypy_cache",
        ".pytest_cache",
        ".ruff_cache",
    }
)
"""Folders that tools write next to code; nothing is imported from them."""


def resolve_factory(target: str, *, folder: str | None = None) -> Callable[..., Any]:
    """Import a ``module:attr`` or ``path/to/file.py:attr`` target.

    Args:
        target: what to import.
        folder: folder of the submission, the only place to look for the module; None for installed
            modules.

    Raises:
        RegistrationError: the module, file or attribute does not exist. Errors raised by the
            imported code itself pass through.
    """
    location, _, attribute = target.rpartition(":")
    if folder is not None:
        module = import_submitted(Path(folder), location)
    elif location.endswith(".py"):
        path = Path(location).resolve()
        if not path.is_file():
            message = f"{target}: there is no file {path}"
            raise RegistrationError(message)
        module = import_file(path)
    else:
        try:
            module = importlib.import_module(location)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{location}.".startswith(f"{error.name}."):
                raise
            message = f"{target}: there is no module {error.name!r}"
            raise RegistrationError(message, advice="Install it in this environment.") from error
    try:
        value = operator.attrgetter(attribute)(module)
    except AttributeError:
        message = f"{target}: {location} has no attribute {attribute!r}"
        hint = did_you_mean(attribute, [name for name in dir(module) if name[0] != "_"])
        advice = f"Define {attribute} there, or correct the name. {hint}".rstrip()
        raise RegistrationError(message, advice=advice) from None
    if not callable(value):
        message = f"{target}: expected a class or function, got {type(value).__name__}"
        raise RegistrationError(message)
    return value  # type: ignore[no-any-return]


def importable_location(module: str) -> str | None:
    """Say how a new process can import a module that is imported here.

    Python imports a script, and pytest ``conftest.py`` and test modules, under names that do not
    exist in another process, or mean another file there. Such a module is named by its file;
    relative imports do not work in it.

    Returns:
        The module's name, or the absolute path of its file; None for code typed at a prompt.
    """
    file = getattr(sys.modules.get(module), "__file__", None)
    if module == "__main__":
        return str(Path(file).resolve()) if file and Path(file).is_file() else None
    if file is None or _found_file(module) == Path(file).resolve():
        return module
    return str(Path(file).resolve())


def _found_file(name: str) -> Path | None:
    """The file that an import of this name finds in a new process."""
    path: Sequence[str] | None = None
    spec = None
    parts = name.split(".")
    for end in range(1, len(parts) + 1):
        whole = ".".join(parts[:end])
        finders = (getattr(finder, "find_spec", None) for finder in sys.meta_path)
        found = (find(whole, path) for find in finders if find is not None)
        spec = next((each for each in found if each is not None), None)
        if spec is None:
            return None
        path = spec.submodule_search_locations
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).resolve()


def import_file(path: Path) -> ModuleType:
    """Import a file once; if a module of any name was already made from it, return that.

    Raises:
        RegistrationError: the file is not a Python file.
    """
    for imported in list(sys.modules.values()):
        file = getattr(imported, "__dict__", {}).get("__file__")
        if isinstance(file, str) and file.endswith(path.name) and Path(file).resolve() == path:
            return imported
    name = f"esrbench_file_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        message = f"{path} is not importable"
        raise RegistrationError(message)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def import_submitted(folder: Path, module: str) -> ModuleType:
    """Import a module of a submission from its folder and from nowhere else.

    Args:
        folder: folder of the submission.
        module: dotted name relative to the folder.

    Raises:
        RegistrationError: the folder has no such module. Errors raised by the imported code
            itself pass through.
    """
    folder = folder.resolve()
    package = SUBMITTED_PREFIX + hashlib.sha256(str(folder).encode()).hexdigest()[:12]
    if package not in sys.modules:
        if not any(isinstance(finder, _SubmissionFinder) for finder in sys.meta_path):
            sys.meta_path.insert(0, _SubmissionFinder())
        spec = ModuleSpec(package, None, is_package=True)
        spec.submodule_search_locations = [str(folder)]
        sys.modules[package] = importlib.util.module_from_spec(spec)
    name = f"{package}.{module}"
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        missing = error.name[len(package) + 1 :]
        message = f"{folder}: there is no module {missing!r} in this folder"
        raise RegistrationError(
            message, advice="Correct model.factory or model.prepare."
        ) from error


def stable_module_name(name: str) -> str:
    """A module's name without the part that depends on the path of its submission's folder."""
    return name.partition(".")[2] if name.startswith(SUBMITTED_PREFIX) else name


class _SourceLoader(SourceFileLoader):
    """Always compiles the source, because cached bytecode in a submission may differ from it."""

    def get_code(self, fullname: str) -> CodeType | None:
        path = self.get_filename(fullname)
        code: CodeType = self.source_to_code(self.get_data(path), path)
        return code

    def exec_module(self, module: ModuleType) -> None:
        # An import statement uses the builtins of its own module.
        module.__dict__["__builtins__"] = _builtins_of(module.__name__.partition(".")[0])
        super().exec_module(module)


class _SubmissionFinder(MetaPathFinder):
    """Finds modules below submissions' packages, only in their folders."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,  # noqa: ARG002 - the protocol of finders
    ) -> ModuleSpec | None:
        if not fullname.startswith(SUBMITTED_PREFIX):
            return None
        for folder in path or ():
            if spec := _find(folder, fullname):
                return spec
        # We raise here, because later finders would accept cached bytecode without a source.
        message = f"No module named {stable_module_name(fullname)!r}"
        raise ModuleNotFoundError(message, name=fullname)


def _find(folder: str, name: str) -> ModuleSpec | None:
    source = (_SourceLoader, SOURCE_SUFFIXES)
    return FileFinder(folder, (ExtensionFileLoader, EXTENSION_SUFFIXES), source).find_spec(name)


@lru_cache(maxsize=None)
def _builtins_of(package: str) -> dict[str, Any]:
    """The builtins of a submission's modules; their ``__import__`` looks in its folder first."""
    (folder,) = sys.modules[package].__path__

    @lru_cache(maxsize=None)
    def is_beside(top: str) -> bool:
        spec = _find(folder, top)
        if spec is None or spec.loader is not None:
            return spec is not None
        # A folder without __init__.py is a package if it contains code, otherwise data.
        return next((Path(folder) / top).rglob("*.py"), None) is not None

    def import_(
        name: str,
        globals: dict[str, Any] | None = None,  # noqa: A002 - the signature of __import__
        locals: dict[str, Any] | None = None,  # noqa: A002
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        top = name.partition(".")[0]
        if level or not is_beside(top):
            return original(name, globals, locals, fromlist or (), level)
        # `import a.b` without a list of names binds `a`.
        found = original(f"{package}.{name}", globals, locals, fromlist or ("",), 0)
        return found if fromlist else sys.modules[f"{package}.{top}"]

    original: Callable[..., ModuleType] = builtins.__import__
    return {**vars(builtins), "__import__": import_}

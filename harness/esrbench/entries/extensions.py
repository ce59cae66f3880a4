"""Find the extensions that the ``setup.py`` files of a repository build; no file is run."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from esrbench.entries.reach import imported, parsed, running

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

SETUP: Final = "setup.py"
CUDA_KIND: Final = "CUDAExtension"
_KINDS: Final = frozenset({"Extension", "CppExtension", CUDA_KIND})
_CAUGHT: Final = frozenset({"ImportError", "ModuleNotFoundError", "Exception", "BaseException"})


@dataclass(frozen=True, slots=True)
class Extension:
    """A module that a script compiles.

    Attributes:
        name: dotted name in the script.
        folder: folder of the script, in parts from the repository's root.
        needs_cuda: CUDA's compiler is needed.
    """

    name: str
    folder: tuple[str, ...]
    needs_cuda: bool

    @property
    def place(self) -> tuple[str, ...]:
        """Parts of the module's name from the repository's root, if it is built in place."""
        return (*self.folder, *self.name.split("."))


@dataclass(frozen=True, slots=True)
class Use:
    """An extension that code imports.

    Attributes:
        extension: the extension.
        in_place: imported from the script's folder; otherwise by its own name alone.
        optional: the code also runs without it.
    """

    extension: Extension
    in_place: bool
    optional: bool


def extensions_of(root: Path) -> list[Extension]:
    """Extensions that the ``setup.py`` files of a repository compile, in order of their folders."""
    return [
        Extension(name, script.parent.relative_to(root).parts, kind == CUDA_KIND)
        for script in sorted(root.rglob(SETUP))
        if script.resolve().is_relative_to(root.resolve()) and (tree := parsed(script))
        for kind, name in _named(tree)
    ]


def _named(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Kinds and names of the extensions that a script lists."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(ast.Name(kind) | ast.Attribute(attr=kind)) if kind in _KINDS:
                named = [each.value for each in node.keywords if each.arg == "name"]
                match [*named, *node.args]:
                    case [ast.Constant(str(name)), *_]:
                        yield kind, name


def use_of(
    extensions: Iterable[Extension], code: Iterable[tuple[tuple[str, ...], bool, ast.Module]]
) -> Use | None:
    """The first extension that some modules import, or None.

    Args:
        extensions: known extensions.
        code: for each module the parts of its name, whether it is a package, and its parsed code.
    """
    imports = [
        (parts, optional)
        for place, is_package, tree in code
        for parts, optional in _imports(tree, place, is_package=is_package)
    ]
    for extension in extensions:
        name = tuple(extension.name.split("."))
        for place in dict.fromkeys((extension.place, name)):
            found = [optional for parts, optional in imports if parts == place]
            if found:
                return Use(extension, place == extension.place, all(found))
    return None


def _imports(
    tree: ast.Module, place: tuple[str, ...], *, is_package: bool
) -> Iterator[tuple[tuple[str, ...], bool]]:
    """The imports of a module, each with whether the module catches its failure."""
    caught = {
        id(node)
        for each in ast.walk(tree)
        if isinstance(each, ast.Try) and any(map(_does_without, each.handlers))
        for statement in each.body
        for node in ast.walk(statement)
    }
    for node in running(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            alone = ast.Module([node], [])
            for parts in imported(alone, place, is_package=is_package):
                yield parts, id(node) in caught


def _does_without(handler: ast.ExceptHandler) -> bool:
    """Whether a handler goes on after an import failed."""
    kinds = [each.id for each in ast.walk(handler.type or handler) if isinstance(each, ast.Name)]
    catches = handler.type is None or not _CAUGHT.isdisjoint(kinds)
    return catches and not any(isinstance(each, ast.Raise) for each in ast.walk(handler))

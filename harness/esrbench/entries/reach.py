"""Find the modules of a submission that the harness imports, by reading import statements.

If in doubt, a module counts as imported. So only scripts for training and testing in the same
folder are left out.
"""

from __future__ import annotations

import ast
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path, PurePath

_MAX_BYTES: Final = 2**20

_BY_NAME: Final = frozenset(
    {"importlib", "imp", "runpy", "pkgutil", "zipimport", "pickle", "dill", "joblib", "cloudpickle"}
)
"""Modules that can import others whose names cannot be read from the source."""

_RUNNING: Final = frozenset({"__import__", "__builtins__", "exec", "eval", "compile"})

_LOADING: Final = frozenset(
    {("sys", "modules"), ("sys", "meta_path"), ("sys", "path_hooks"), ("torch", "load")}
)


def modules_of(folder: Path, files: Iterable[Path], targets: Iterable[str]) -> set[Path]:
    """Python files of a folder that targets import, directly or not.

    Args:
        folder: folder of the submission.
        files: files in that folder.
        targets: each ``module:attr`` or ``path/to/file.py:attr``.

    Returns:
        Files whose path ends like the name of an imported module, in any folder, because some code
        changes ``sys.path``. All Python files if there is no target, if the file of a target is
        missing, or if code computes the names of its imports.
    """
    python = [path for path in files if path.suffix == ".py"]
    places = {path: module_name(path.relative_to(folder)) for path in python}
    waiting = [_target(target) for target in targets]
    known = {place[-length:] for place in places.values() for length in range(1, len(place) + 1)}
    if not waiting or not known.issuperset(waiting):
        return set(python)
    reached: set[Path] = set()
    while waiting:
        for path in _ending(places, waiting.pop()):
            if path in reached:
                continue
            reached.add(path)
            tree = parsed(path)
            if tree is None or _imports_by_name(tree):
                return set(python)
            waiting += imported(tree, places[path], is_package=path.name == "__init__.py")
    return reached


def is_main(node: ast.If, tree: ast.Module) -> bool:
    """Whether a block runs only if its file is run as a script: ``if __name__ == "__main__"``.

    Args:
        node: the block.
        tree: code of its file, which must not change ``__name__``.
    """
    match node.test:
        case ast.Compare(
            ast.Name("__name__"), [ast.Eq()], [ast.Constant("__main__")]
        ) | ast.Compare(ast.Constant("__main__"), [ast.Eq()], [ast.Name("__name__")]):
            return not any(map(_renames, ast.walk(tree)))
    return False


def _renames(node: ast.AST) -> bool:
    """Whether a statement can give ``__name__`` another value."""
    match node:
        case ast.Name(id="__name__", ctx=ctx):
            return not isinstance(ctx, ast.Load)
        case ast.Name(id="globals" | "vars" | "exec" | "locals"):
            return True
        case ast.arg(arg="__name__") | ast.alias(name="__name__") | ast.alias(asname="__name__"):
            return True
    return False


def module_name(path: PurePath) -> tuple[str, ...]:
    """Parts of a module's name, from its path in the folder."""
    parts = PurePosixPath(path.as_posix()).with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" else parts


def _target(target: str) -> tuple[str, ...]:
    location = target.rpartition(":")[0]
    if location.endswith(".py"):
        return PurePosixPath(location).with_suffix("").parts
    return tuple(location.split("."))


def _ending(places: dict[Path, tuple[str, ...]], module: tuple[str, ...]) -> list[Path]:
    """Files that match a module's name, and the files of its packages."""
    return [
        path
        for path, place in places.items()
        if place and any(place[-length:] == module[:length] for length in range(1, len(module) + 1))
    ]


def parsed(path: Path) -> ast.Module | None:
    """The parsed code of a file, or None if it is too long or not Python."""
    try:
        return ast.parse(path.read_bytes()) if path.stat().st_size <= _MAX_BYTES else None
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def running(tree: ast.Module) -> Iterator[ast.AST]:
    """Nodes of a module, without blocks that run only if it is run as a script."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, ast.If) and is_main(node, tree):
            waiting += node.orelse
        else:
            waiting += ast.iter_child_nodes(node)


def _imports_by_name(tree: ast.Module) -> bool:
    for node in running(tree):
        match node:
            case ast.Import(names=names):
                imported = [alias.name for alias in names]
            case ast.ImportFrom(module=str(module), level=0):
                imported = [module]
            case ast.Name(id=name) if name in _RUNNING:
                return True
            case ast.Attribute(value=ast.Name(id=owner), attr=name) if (owner, name) in _LOADING:
                return True
            case _:
                continue
        if any(name.partition(".")[0] in _BY_NAME for name in imported):
            return True
    return False


def imported(
    tree: ast.Module, place: tuple[str, ...], *, is_package: bool
) -> Iterator[tuple[str, ...]]:
    """Names, in parts, of all imported modules, and of the names imported from them.

    Args:
        tree: code of the module.
        place: parts of the module's own name.
        is_package: the module is the ``__init__.py`` of a package.
    """
    for node in running(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield tuple(alias.name.split("."))
        elif isinstance(node, ast.ImportFrom):
            module = import_source(node, place, is_package=is_package)
            if module:
                yield module
            for alias in node.names:
                yield (*module, *alias.name.split("."))


def import_source(
    node: ast.ImportFrom, place: tuple[str, ...], *, is_package: bool
) -> tuple[str, ...]:
    """Parts of the name of the module that a statement imports from; see ``imported``."""
    package = place if is_package else place[:-1]
    above = package[: len(package) - node.level + 1] if node.level else ()
    return (*above, *(node.module.split(".") if node.module else ()))


def module_file(root: Path, name: str) -> Path | None:
    """The source file of a module in a folder, by its dotted name, or None."""
    parts = name.split(".")
    if not all(part.isidentifier() for part in parts):
        return None
    base = root.joinpath(*parts)
    files = (base.with_name(f"{base.name}.py"), base / "__init__.py")
    return next((file for file in files if file.is_file()), None)

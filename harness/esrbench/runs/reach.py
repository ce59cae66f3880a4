"""Which modules of a submission the harness imports, found by reading import statements.

When in doubt a module is taken to be imported: this leaves out scripts for training and testing
that lie beside a network, and hides nothing.
"""

from __future__ import annotations

import ast
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_MAX_BYTES: Final = 2**20

_BY_NAME: Final = frozenset(
    {"importlib", "imp", "runpy", "pkgutil", "zipimport", "pickle", "dill", "joblib", "cloudpickle"}
)
"""Modules by which others can be imported whose names reading does not tell."""

_RUNNING: Final = frozenset({"__import__", "__builtins__", "exec", "eval", "compile"})

_LOADING: Final = frozenset(
    {("sys", "modules"), ("sys", "meta_path"), ("sys", "path_hooks"), ("torch", "load")}
)


def modules_of(folder: Path, files: Iterable[Path], targets: Iterable[str]) -> set[Path]:
    """Python files of a folder that targets import, directly or not.

    Args:
        folder: of the submission.
        files: in that folder.
        targets: ``module:attr`` or ``path/to/file.py:attr``.

    Returns:
        Those whose path ends as a module does that is imported, from wherever: some change the
        path on which modules are looked for. All Python files where there is no target, none of
        its file, or code that imports by names that reading does not tell.
    """
    python = [path for path in files if path.suffix == ".py"]
    places = {path: _place(path.relative_to(folder)) for path in python}
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
            tree = _parsed(path)
            if tree is None or _imports_by_name(tree):
                return set(python)
            waiting += _imported(tree, places[path], is_package=path.name == "__init__.py")
    return reached


def is_main(node: ast.If, tree: ast.Module) -> bool:
    """Whether a block runs only where its file is run itself: ``if __name__ == "__main__"``.

    Args:
        node: the block.
        tree: of its file, in which nothing else may be called ``__name__``.
    """
    test = node.test
    if (
        not isinstance(test, ast.Compare)
        or len(test.ops) != 1
        or not isinstance(test.ops[0], ast.Eq)
    ):
        return False
    sides = (test.left, test.comparators[0])
    names = any(isinstance(each, ast.Name) and each.id == "__name__" for each in sides)
    texts = any(isinstance(each, ast.Constant) and each.value == "__main__" for each in sides)
    return names and texts and not any(map(_renames, ast.walk(tree)))


def _renames(node: ast.AST) -> bool:
    """Whether a statement can give ``__name__`` another value."""
    return (
        (
            isinstance(node, ast.Name)
            and node.id == "__name__"
            and not isinstance(node.ctx, ast.Load)
        )
        or (isinstance(node, ast.arg) and node.arg == "__name__")
        or (isinstance(node, ast.alias) and "__name__" in (node.asname, node.name))
        or (isinstance(node, ast.Name) and node.id in {"globals", "vars", "exec", "locals"})
    )


def _place(path: Path) -> tuple[str, ...]:
    """Parts of a module's name, from the folder on."""
    parts = PurePosixPath(path.as_posix()).with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" else parts


def _target(target: str) -> tuple[str, ...]:
    location = target.rpartition(":")[0]
    if location.endswith(".py"):
        return PurePosixPath(location).with_suffix("").parts
    return tuple(location.split("."))


def _ending(places: dict[Path, tuple[str, ...]], module: tuple[str, ...]) -> list[Path]:
    """Files of a module's name, and of the packages that it lies in."""
    return [
        path
        for path, place in places.items()
        if place and any(place[-length:] == module[:length] for length in range(1, len(module) + 1))
    ]


def _parsed(path: Path) -> ast.Module | None:
    try:
        return ast.parse(path.read_bytes()) if path.stat().st_size <= _MAX_BYTES else None
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _running(tree: ast.Module) -> Iterator[ast.AST]:
    """Nodes of a module but for blocks that run only where it is run itself."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, ast.If) and is_main(node, tree):
            waiting += node.orelse
        else:
            waiting += ast.iter_child_nodes(node)


def _imports_by_name(tree: ast.Module) -> bool:
    for node in _running(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module or ""]
        else:
            names = []
        if any(name.partition(".")[0] in _BY_NAME for name in names):
            return True
        if isinstance(node, ast.Name) and node.id in _RUNNING:
            return True
        if (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and (node.value.id, node.attr) in _LOADING
        ):
            return True
    return False


def _imported(
    tree: ast.Module, place: tuple[str, ...], *, is_package: bool
) -> Iterator[tuple[str, ...]]:
    for node in _running(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield tuple(alias.name.split("."))
        elif isinstance(node, ast.ImportFrom):
            package = place if is_package else place[:-1]
            above = package[: len(package) - node.level + 1] if node.level else ()
            module = (*above, *(node.module.split(".") if node.module else ()))
            if module:
                yield module
            for alias in node.names:
                yield (*module, *alias.name.split("."))

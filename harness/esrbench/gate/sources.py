"""Whether two revisions define a network by the same code, docstrings and comments aside."""

from __future__ import annotations

import ast
import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator
    from pathlib import Path

DYNAMIC = frozenset({"import_module", "__import__", "exec", "eval", "find_spec", "open"})
"""Names by which a module may reach code, or data that shapes it, that no import shows."""


def code_digest(
    modules: Iterable[str], find: Callable[[str], Path | None], roots: Collection[str]
) -> str | None:
    """SHA-256 (hex) of the syntax of modules and of all that they import of their own packages.

    Args:
        modules: dotted names to begin with.
        find: the source file of a module, or None where there is no such module.
        roots: top-level packages that are followed; what others do is not covered.

    Returns:
        None where it cannot be told: a module has no source, or one that is no Python, or reaches
        further code by other means than imports.
    """
    queue = [name for module in modules for name in _with_parents(module)]
    seen: dict[str, str] = {}
    while queue:
        name = queue.pop()
        if name in seen:
            continue
        path = find(name)
        if path is None:
            return None
        try:
            tree = ast.parse(path.read_bytes())
        except (SyntaxError, ValueError):
            # Whoever runs it says what is wrong with it.
            return None
        if any(_reaches_further(node) for node in ast.walk(tree)):
            return None
        seen[name] = ast.dump(_without_docstrings(tree))
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        for imported, certain in _imports(tree, package):
            if imported.partition(".")[0] in roots and (certain or find(imported) is not None):
                queue += _with_parents(imported)
    digest = hashlib.sha256()
    for name in sorted(seen):
        digest.update(f"{name}\0{seen[name]}\0".encode())
    return digest.hexdigest()


def _imports(tree: ast.AST, package: str) -> Iterator[tuple[str, bool]]:
    """Dotted names that a module imports, and whether each must be a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, True) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, *([base] if base else [])])
            yield base, True
            yield from ((f"{base}.{alias.name}", False) for alias in node.names)


def _with_parents(module: str) -> list[str]:
    parts = module.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts) + 1)]


def _reaches_further(node: ast.AST) -> bool:
    if isinstance(node, ast.Name):
        return node.id in DYNAMIC
    return isinstance(node, ast.Attribute) and node.attr in DYNAMIC - {"eval"}


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                node.body = node.body[1:]
    return tree

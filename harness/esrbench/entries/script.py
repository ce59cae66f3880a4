"""A challenge's script: the function that has a branch for each team."""

from __future__ import annotations

import ast
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from esrbench.entries.reach import parsed
from esrbench.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Question:
    """An open question after reading the script, and its line."""

    line: int
    text: str


@dataclass(frozen=True, slots=True)
class Script:
    """A challenge's script.

    Attributes:
        path: path of the file; its folder is the repository.
        tree: parsed code.
        function: the function with a branch for each team.
        selector: expression that is compared with a team's number, such as ``model_id``.
        sources: the selector, and the attributes from which it gets its value.
        numbers: numbers of the teams, in the order of the branches.
    """

    path: Path
    tree: ast.Module
    function: ast.FunctionDef
    selector: str
    sources: frozenset[str]
    numbers: tuple[int, ...]

    @property
    def root(self) -> Path:
        """Folder of the repository."""
        return self.path.parent


def read_script(path: Path) -> Script:
    """Find the function of a script that has a branch for each team.

    Raises:
        UsageError: the file cannot be read as Python, or has no such function.
    """
    tree = parsed(path)
    if tree is None:
        message = f"{path}: there is no such file, or it cannot be read as Python"
        raise UsageError(message, advice="Name the repository's folder, or its script.")
    try:
        script = _found_script(path, tree)
    except RecursionError:
        script = None
    if script is None:
        message = f"{path}: no function compares a team's number, as `if model_id == 7:` does"
        raise UsageError(message, advice="Name the script that has a branch for each team.")
    return script


def _found_script(path: Path, tree: ast.Module) -> Script | None:
    found: list[tuple[int, ast.FunctionDef, str, list[int]]] = []
    for function in tree.body:
        if isinstance(function, ast.FunctionDef):
            compared = [pair for node in ast.walk(function) for pair in compared_with(node)]
            for selector, times in Counter(name for name, _ in compared).items():
                numbers = [number for name, number in compared if name == selector]
                found.append((times, function, selector, numbers))
    if not found:
        return None
    _, function, selector, numbers = max(found, key=lambda each: each[0])
    sources = {selector}
    for node in ast.walk(function):
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == selector:
            inner = (each for each in ast.walk(node.value) if isinstance(each, ast.Attribute))
            sources.update(map(ast.unparse, inner))
    teams = tuple(dict.fromkeys(numbers))
    return Script(path, tree, function, selector, frozenset(sources), teams)


def compared_with(node: ast.AST) -> Iterable[tuple[str, int]]:
    """Expressions that a node compares with whole numbers, and the numbers."""
    match node:
        case ast.Compare(left, [ast.Eq()], [ast.Constant(int(number))]):
            yield ast.unparse(left), number
        case ast.Compare(left, [ast.In()], [ast.Tuple(numbers) | ast.List(numbers)]):
            for each in numbers:
                if isinstance(each, ast.Constant) and isinstance(each.value, int):
                    yield ast.unparse(left), each.value


def selects(test: ast.expr, script: Script) -> bool:
    """Whether a condition compares the selector with a team's number."""
    return any(name in script.sources for node in ast.walk(test) for name, _ in compared_with(node))


def special_uses(script: Script, number: int) -> list[Question]:
    """Places outside a team's branch where the script treats the team specially."""
    inside = set(map(id, ast.walk(script.function)))
    return [
        Question(
            node.lineno, f"the script has a special case for this team: {ast.unparse(node.body[0])}"
        )
        for node in ast.walk(script.tree)
        if isinstance(node, ast.If)
        and id(node) not in inside
        and any(
            other == number and name in script.sources
            for each in ast.walk(node.test)
            for name, other in compared_with(each)
        )
    ]


def source_of(script: Script, statements: Iterable[ast.stmt]) -> list[ast.stmt]:
    """Top-level statements of the script that define the names in some statements."""
    parameters = {each.arg for each in script.function.args.args}
    kinds = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef, ast.Assign)
    sources = [each for each in script.tree.body if isinstance(each, kinds)]
    givers = {name: each for each in sources for name in given_names(each) - parameters}
    needed: list[ast.stmt] = []
    waiting = list(statements)
    while waiting:
        for node in ast.walk(waiting.pop()):
            giver = givers.get(node.id) if isinstance(node, ast.Name) else None
            if giver is not None and giver not in needed and giver is not script.function:
                needed.append(giver)
                waiting.append(giver)
    return [statement for statement in script.tree.body if statement in needed]


def given_names(statement: ast.stmt) -> set[str]:
    """Names that a statement assigns, or whose items or attributes it changes."""
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return {statement.name}
    names = {target for node in ast.walk(statement) for target in targets_of(node)}
    for node in ast.walk(statement):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
    return names


def used_names(statement: ast.stmt) -> set[str]:
    """Names whose values a statement uses."""
    names = (node for node in ast.walk(statement) if isinstance(node, ast.Name))
    return {name.id for name in names if not isinstance(name.ctx, ast.Store)}


def targets_of(node: ast.AST) -> list[str]:
    """The names that a node assigns, or whose items or attributes it changes."""
    match node:
        case ast.Name(id=name, ctx=ast.Store()):
            return [name]
        case ast.Subscript(value=inner, ctx=ast.Store()) | ast.Attribute(inner, ctx=ast.Store()):
            while isinstance(inner, ast.Subscript | ast.Attribute):
                inner = inner.value
            return [inner.id] if isinstance(inner, ast.Name) else []
    return []

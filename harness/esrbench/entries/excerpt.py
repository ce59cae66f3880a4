"""Write lines of a challenge's script that a manifest cannot express as functions of a module."""

from __future__ import annotations

import ast
import textwrap
from typing import TYPE_CHECKING, Final

from esrbench.entries.script import given_names, source_of, used_names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esrbench.entries.script import Script

EXCERPT_MODULE: Final = "branch"
"""Name of that module, which lies next to the manifest."""


def excerpt(
    script: Script, number: int, *, build: Sequence[ast.stmt], prepare: Sequence[ast.stmt]
) -> str:
    """The code of a module with a function ``build``, ``prepare``, or both.

    Args:
        script: script of the repository.
        number: number of the team.
        build: statements that make the network; empty for no function ``build``.
        prepare: statements that change a network with its weights; empty for no such function.

    Returns:
        The statements without comments, after the top-level statements that they need.
    """
    functions = ""
    if build:
        functions += _function(script, number, "build()", build)
    if prepare:
        model = network_name(script)
        functions += _function(script, number, f"prepare({model})", prepare)
    said = f'"""Lines of {script.path.name} for team {number}."""'
    above = [ast.unparse(each) for each in source_of(script, [*build, *prepare])]
    return "\n".join([said, *above, functions])


def needed_before(
    statements: Sequence[ast.stmt], used: Sequence[ast.stmt], known: Sequence[str] = ()
) -> list[ast.stmt]:
    """The statements that define the names in other statements, directly or indirectly.

    Args:
        statements: candidates in order; only those before the first of ``used`` count.
        used: the other statements, in order.
        known: names that need no definition.
    """
    wanted = {name for each in used for name in used_names(each)} - {*known}
    kept: list[ast.stmt] = []
    before = [each for each in statements if each.lineno < used[0].lineno]
    for statement in reversed(before):
        if wanted & given_names(statement):
            kept.append(statement)
            wanted |= used_names(statement) - {*known}
    return kept[::-1]


def network_name(script: Script) -> str:
    """The name of the network in the return statement of the script's function."""
    for node in ast.walk(script.function):
        match node:
            case ast.Return(ast.Tuple([ast.Name(name), *_]) | ast.Name(name)):
                return name
    return "model"


def _function(script: Script, number: int, head: str, statements: Sequence[ast.stmt]) -> str:
    """The text of a function; it first sets the parameters of the script's function it uses."""
    used = {name for each in statements for name in used_names(each)}
    lines = []
    for argument in script.function.args.args:
        name = argument.arg
        attributes = [each.removeprefix(f"{name}.") for each in script.sources if "." in each]
        if name not in used:
            continue
        if name in script.sources:
            lines.append(f"{name} = {number}")
        elif name == "device":
            lines.append(f"{name} = 'cpu'")
        else:
            known = ", ".join(f"{each}={number}" for each in sorted(attributes))
            lines.append(f"from types import SimpleNamespace\n{name} = SimpleNamespace({known})")
    given = {name for each in statements for name in given_names(each)}
    if script.selector.isidentifier() and script.selector in used - given:
        lines.append(f"{script.selector} = {number}")
    lines += [ast.unparse(each) for each in statements]
    body = textwrap.indent("\n".join([*lines, f"return {network_name(script)}"]), "    ")
    return f"\n\ndef {head}:\n{body}\n"

"""Commands that messages suggest: each is one that esrbench takes, with the options of the run."""

import ast
import re
import shlex
import sys
from pathlib import Path

import pytest
from typer.exceptions import TyperException

import esrbench
from esrbench.cli.console import CARRIED, pasted
from esrbench.cli.verbs import VERBS, command_of

PACKAGE = Path(esrbench.__file__).parent
HINT = re.compile(r"(?<!`)`(esrbench [a-z][^`]+)`")
UNKNOWN = "4"
"""Stands for what is known only when esrbench runs, be it a number or a word."""


def spelled(node):
    """A text of the code."""
    if isinstance(node, ast.JoinedStr):
        return "".join(map(spelled, node.values))
    return node.value if isinstance(node, ast.Constant) else UNKNOWN


def hints():
    """All that is printed in code style and begins with esrbench, and the file it stands in."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr | ast.Constant) and isinstance(spelled(node), str):
                for hint in HINT.findall(spelled(node)):
                    yield path.relative_to(PACKAGE), " ".join(hint.split())


def test_every_command_that_a_message_suggests_is_one(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    commands = {verb: command_of(verb) for verb in VERBS}
    wrong, tried = [], set()
    for path, hint in hints():
        _, *words = shlex.split(hint)
        if hint in tried or "--help" in words:
            continue
        tried.add(hint)
        try:
            # A command alone stands for itself: what it needs is in its help.
            commands[words[0]].make_context(words[0], words[1:], resilient_parsing=not words[1:])
        except (KeyError, TyperException) as error:
            named_alone = words[-1].startswith("--") and "requires an argument" in str(error)
            if not named_alone and f"'{UNKNOWN}' is not one of" not in str(error):
                wrong.append(f"{path}: {hint}: {error!r}")
    assert not wrong, "\n".join(wrong)
    assert len(tried) > 60


def test_a_pointer_to_the_help_of_a_command_has_no_options(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["esrbench", "run", "rfdn", "--data", "demo"])
    assert pasted("See `esrbench run --help`.") == "See `esrbench run --help`."


def test_a_suggested_command_takes_over_where_results_and_images_are(monkeypatch):
    monkeypatch.setattr(
        sys,
        "argv",
        ["esrbench", "run", "x", "--results", "my runs", "--data=set5=a", "--data", "b"],
    )
    assert pasted("Run `esrbench runs list`.") == "Run `esrbench runs list --results 'my runs'`."
    assert pasted("`esrbench run x --data c`") == "`esrbench run x --data c --results 'my runs'`"
    assert pasted("`esrbench check x`") == "`esrbench check x --data set5=a --data b`"
    assert pasted("`esrbench help drift`") == "`esrbench help drift`"


@pytest.mark.parametrize("option", CARRIED)
def test_options_that_are_taken_over_are_those_of_all_commands_that_have_them(option):
    having = {verb for verb in VERBS for each in command_of(verb).params if option in each.opts}
    assert set(CARRIED[option]) <= having
    if option == "--results":
        assert set(CARRIED[option]) == having

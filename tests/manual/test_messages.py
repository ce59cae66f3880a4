"""Every notice and every status that code can give is explained, and no other."""

import ast
import importlib
from pathlib import Path
from typing import get_args

import pytest

import esrbench
from esrbench.manual.messages import NOTICES, STATUSES
from esrbench.records import Status
from esrbench.runs.noise import NOISES

PACKAGE = Path(esrbench.__file__).parent


def given_codes(path):
    """Codes of the notices that a module makes."""
    module = "esrbench." + ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            for given in node.keywords if node.func.id == "Notice" else ():
                if given.arg == "code":
                    for part in ast.walk(given.value):
                        if isinstance(part, ast.Constant):
                            yield part.value
                    if isinstance(given.value, ast.Name):
                        yield getattr(importlib.import_module(module), given.value.id)


def test_every_notice_is_explained():
    modules = (path for path in PACKAGE.rglob("*.py") if "Notice(" in path.read_text())
    given = {code for path in modules for code in given_codes(path)}
    assert {*given, *(rule.code for rule in NOISES)} == set(NOTICES)


def statuses(kind):
    return {name for part in get_args(kind) for name in (statuses(part) or {part})}


def test_every_status_is_explained():
    assert statuses(Status) == set(STATUSES)


@pytest.mark.parametrize("messages", [NOTICES, STATUSES], ids=["notices", "statuses"])
def test_explanations_are_parts_of_a_sentence(messages):
    for code, (when, do) in messages.items():
        assert when, code
        assert do, code
        assert not when.endswith("."), code
        assert not do.endswith("."), code

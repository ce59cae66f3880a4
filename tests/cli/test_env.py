from __future__ import annotations

import json

import pytest

from esrbench.entries import environments
from esrbench.entries.environments import EntryEnvironment


@pytest.fixture
def made(monkeypatch, tmp_path):
    """Environments that were asked for; nothing is installed."""
    there = []

    def create(name, requirements, *, python):
        there.append((name, requirements.name, python))
        return EntryEnvironment(name, tmp_path / name, "3.9.18", {"torch": "1.13.1", "numpy": "1"})

    monkeypatch.setattr(environments, "create_environment", create)
    return there


def test_an_environment_is_made_and_shown(in_process, made):
    done = in_process(
        *("env", "create", "old", "--python", "3.9", "--requirements", "wishes.txt", "--json")
    )
    assert done.returncode == 0, done.stderr
    assert made == [("old", "wishes.txt", "3.9")]
    (row,) = json.loads(done.stdout)
    assert (row["name"], row["python"], row["torch"], row["packages"]) == (
        *("old", "3.9.18", "1.13.1"),
        2,
    )
    assert row["interpreter"].endswith("/old")


def test_there_are_none_at_first(in_process, tmp_path):
    done = in_process("env", "list", "--json", ESRBENCH_CACHE=str(tmp_path / "cache"))
    assert (done.returncode, json.loads(done.stdout)) == (0, [])


@pytest.mark.parametrize(
    ("arguments", "says", "advice"),
    [
        (("create",), "env create: which environment?", "esrbench env create torch113"),
        (("remove",), "env remove: which environment?", "esrbench env remove torch113"),
        (("create", "old"), "env create: say what to install", "--requirements"),
        (("remove", "old"), "there is no environment 'old'", "Existing environments: none."),
        (("create", "old", "--requirements", "no.txt"), "no.txt: No such file", "Check the path."),
        (
            ("create", "../x", "--requirements", "no.txt"),
            "is not a valid name of an environment",
            "letters",
        ),
    ],
)
def test_what_cannot_be_done_exits_2_and_says_what_to_do(in_process, arguments, says, advice):
    done = in_process("env", *arguments)
    assert done.returncode == 2
    assert says in done.stderr
    assert advice in done.stderr

"""``new``, ``validate``, ``list`` and ``show`` on folders of submissions."""

import json
import shlex
from pathlib import Path

import pytest
import typer
from builders import edit
from typer.testing import CliRunner

from esrbench.cli.new import new_command
from esrbench.entries.manifest import json_schema
from esrbench.entries.scaffold import scaffold
from esrbench.errors import UsageError


@pytest.fixture
def new():
    """``esrbench new`` alone."""
    app = typer.Typer()
    app.command()(new_command)
    return app


@pytest.fixture
def root(work, monkeypatch):
    """Where an ``esrbench`` looks for submissions that is not told."""
    monkeypatch.delenv("ESRBENCH_SUBMISSIONS")
    return work / "submissions"


def test_new_writes_an_entry_and_says_what_is_next(new, tmp_path, monkeypatch):
    monkeypatch.setenv("ESRBENCH_SUBMISSIONS", str(tmp_path))
    done = CliRunner().invoke(new, ["team07-fastsr", "--scale", "2"], catch_exceptions=False)
    assert (tmp_path / "team07-fastsr" / "team07-fastsr_x2.safetensors").is_file()
    for step in ("model.py", "submission.toml", "validate team07-fastsr", "run team07-fastsr"):
        assert step in done.stdout


def test_new_says_the_same_as_one_document(new, tmp_path):
    arguments = ["team07-fastsr", "--submissions", str(tmp_path), "--json"]
    done = CliRunner().invoke(new, arguments, catch_exceptions=False)
    document = json.loads(done.stdout)
    path = tmp_path / "team07-fastsr"
    assert (document["name"], document["path"]) == ("team07-fastsr", str(path))
    assert document["files"] == sorted(map(str, filter(Path.is_file, path.rglob("*"))))
    assert str(path / "submission.toml") in document["files"]
    assert f"esrbench validate {path}" in document["next"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "what is the entry called"),
        (["nohyphen"], "expected TEAM-NAME"),
        (["rfdn"], "already registered by esrbench"),
        (["aidn-challenge"], "already registered by esrbench"),
        (["a-b"], "exists already"),
    ],
)
def test_new_refuses_names_that_cannot_be(new, tmp_path, arguments, says):
    (tmp_path / "a-b").mkdir()
    with pytest.raises(UsageError, match=says):
        CliRunner().invoke(
            new, [*arguments, "--submissions", str(tmp_path)], catch_exceptions=False
        )
    assert [path.name for path in tmp_path.iterdir()] == ["a-b"]


def test_new_prints_the_schema(new):
    done = CliRunner().invoke(new, ["--schema"], catch_exceptions=False)
    assert json.loads(done.stdout) == json_schema()


def test_a_folder_is_listed_shown_and_validated_by_name_and_by_path(esrbench, root):
    scaffold("team-net", root, scale=4)
    edit(root / "team-net/submission.toml", "requirements = []", 'requirements = ["esrtest-no"]')
    scaffold("team-bad", root, scale=4)
    edit(root / "team-bad/submission.toml", "scales", "scals")

    listed = esrbench("list", "--json")
    rows = {row["name"]: row for row in json.loads(listed.stdout)}
    assert rows["team-net"]["team"] == "team"
    assert rows["team-net"]["released_weights"] == ["x4 (submitted)"]
    assert rows["team-net"]["missing_requirements"] == ["esrtest-no is not installed"]
    assert "team-bad" not in rows
    assert "warning (broken-submission)" in listed.stderr
    assert "model.scals: unknown key in [model]; did you mean scales?" in listed.stderr
    assert "warning (missing-requirements): team-net: esrtest-no is not installed" in listed.stderr
    assert "pip install esrtest-no" in listed.stderr
    heading = esrbench("list").stdout.split()
    assert heading[:3] == ["name", "team", "scales"]

    shown = esrbench("show", "team-net").stdout
    assert "claimed x4 Params [M]" in shown
    assert "not measured yet" in shown

    esrbench("show", "team-bad", "--json", code=2)
    done = esrbench("validate", "team-bad", str(root / "team-net"), "--json", code=4)
    reports = {report["entry"]: report for report in json.loads(done.stdout)}
    assert reports["team-bad"]["checks"][0]["outcome"] == "failed"
    assert "did you mean scales?" in reports["team-bad"]["checks"][0]["detail"]
    wrong = [
        check["name"] for check in reports["team-net"]["checks"] if check["outcome"] != "passed"
    ]
    assert wrong == ["requirements"]


def test_requirements_that_many_entries_lack_are_one_warning(in_process, root):
    for name in ("team1-a", "team2-b"):
        scaffold(name, root, scale=4)
        edit(root / name / "submission.toml", "requirements = []", 'requirements = ["esrtest-no"]')
    said = in_process("list").stderr
    assert said.count("warning (missing-requirements)") == 1
    assert "2 entries (team1-a, team2-b)" in said


def test_a_list_without_submissions_has_no_column_of_teams(in_process):
    done = in_process("list")
    assert "missing requirements" not in done.stdout
    assert " team " not in done.stdout.splitlines()[1]


@pytest.mark.usefixtures("work")
def test_the_next_steps_name_an_entry_that_lies_elsewhere(in_process):
    options = ("--submissions", "our esr/submissions", "--json")
    steps = json.loads(in_process("new", "team07-a", *options, code=0).stdout)["next"]
    validate, run = map(shlex.split, steps[-2:])
    assert validate == ["esrbench", "validate", "our esr/submissions/team07-a"]
    in_process(*run[1:], "--plan", code=0)


@pytest.mark.usefixtures("lasting_workers")
def test_a_folder_anywhere_is_validated(in_process, tmp_path):
    folder = scaffold("team-net", tmp_path / "elsewhere", scale=2)
    done = in_process("validate", folder, code=0)
    assert "claimed Params" in done.stdout
    weights = folder / "team-net_x2.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    done = in_process("validate", f"{folder}/", code=4)
    assert "write into [weights]: bytes = " in done.stdout
    done = in_process("validate", folder, "--scale", "3", code=2)
    assert "not defined at x3" in done.stderr

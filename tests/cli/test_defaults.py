"""``[tool.esrbench]`` of ``pyproject.toml``."""

import json

import pytest

from esrbench.cli.defaults import COMMON
from esrbench.cli.verbs import VERBS, load
from esrbench.runs.store import Store


@pytest.fixture
def project(work):
    def write(text):
        (work / "pyproject.toml").write_text(text)
        return work

    return write


def test_commands_take_defaults_and_the_command_line_wins(in_process, make_record, project):
    folder = project(
        '[project]\nname = "x"\n[tool.esrbench]\nresults = "kept"\nrule = "aim2020"\n'
        '[tool.esrbench.run]\nmin-rounds = 4\ndata = "demo"\nlatency = false\n'
    )
    Store(folder / "kept").put(make_record("one", {"params": 1.0}))
    done = in_process("leaderboard", "--json", code=0)
    assert json.loads(done.stdout)["rule"] == "aim2020"
    assert f"defaults of {folder / 'pyproject.toml'}: results, rule" in done.stderr
    done = in_process("leaderboard", "--rule", "ntire2022", "--json", code=0)
    assert json.loads(done.stdout)["rule"] == "ntire2022"
    # A list of one is written as it is on the command line, and a flag by its name.
    planned = json.loads(in_process("run", "bicubic", "--plan", "--json", code=0).stdout)
    assert [(each["data"], each["passes"]) for each in planned] == [("demo", 1)]


def test_a_folder_below_has_the_same_and_paths_are_the_file_s(
    in_process, make_record, project, monkeypatch
):
    folder = project('[tool.esrbench]\nresults = "kept"\n')
    Store(folder / "kept").put(make_record("one", {"params": 1.0}))
    (folder / "below").mkdir()
    monkeypatch.setattr("pathlib.Path.cwd", lambda: folder / "below")
    assert json.loads(in_process("runs", "list", "--json", code=0).stdout)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "[tool.esrbench]\nresult = 'x'",
            "tool.esrbench.result: unknown key in [tool.esrbench]; d",
        ),
        ("[tool.esrbench.rum]\nthreads = 1", "did you mean run?"),
        ("[tool.esrbench.run]\nmin_round = 1", "tool.esrbench.run.min_round: unknown key"),
        ("[tool.esrbench.run]\nthreads = 'x'", "[tool.esrbench] of pyproject.toml: Invalid value"),
        ("[tool.esrbench.run]\nthreads = true", "threads: expected a text or a number, not True"),
        ("[tool.esrbench.run]\nlatency = 1", "latency: expected true or false, not 1"),
        ("[tool.esrbench.run]\nrule = ['a']", "rule: expected one value, not a list"),
        ("[tool.esrbench.run]\nresults = ''", "results: expected a path, not an empty text"),
        ("[tool.esrbench]\nisolation = 'none'", "no file of a repository may choose the sandbox"),
        ("[tool.esrbench.run]\nisolation = 'none'", "give --isolation on the command line"),
        ("[tool.esrbench", "not valid TOML"),
    ],
)
def test_what_is_wrong_names_the_file_and_the_key(in_process, project, text, says):
    project(text)
    done = in_process("run", "bicubic", "--plan", code=2)
    assert says in " ".join(done.stderr.split())
    assert "pyproject.toml" in done.stderr


def test_a_project_without_a_table_changes_nothing(in_process, project):
    project('[project]\nname = "tool.esrbench"\n')
    assert "defaults of" not in in_process("list", "rules", code=0).stderr


def test_every_common_option_is_one_of_some_command():
    taken = {name for verb in VERBS for name in load(verb).__code__.co_varnames}
    aliases = {"format": "table_format", "results": "folder"}
    assert all(aliases.get(name, name) in taken for name in COMMON)

from __future__ import annotations

import json
import os
import re
import shlex
from pathlib import Path

import pytest

SCRIPT = """
def select_model(args, device):
    model_id = args.model_id
    if model_id == 1:
        from models.net import Net
        name, data_range = f"{model_id:02}_One", 1.0
        model = Net()
    elif model_id == 2:
        pass
    elif model_id == 3:
        from models.gone import Net
        name, data_range = "\\x1b[2J", 1.0
        model = Net()
    return model, name, data_range, None
"""


@pytest.fixture
def repository(tmp_path):
    root = tmp_path / "ESR"
    (root / "models").mkdir(parents=True)
    (root / "models" / "net.py").write_text("class Net:\n    pass\n")
    (root / "test_demo.py").write_text(SCRIPT)
    return root


def test_every_branch_is_listed_with_what_became_of_it(in_process, repository, work):
    into = work / "submissions"
    done = in_process("import", repository, "--into", into)
    assert done.returncode == 4  # team 3 has no code
    assert "3 teams: 1 imported, 1 withheld, 1 not imported; folder: " in done.stdout
    assert "models.gone.Net: its module is not in the repository" in done.stdout
    said = " ".join(done.stdout.split())
    assert "line 8: the branch is empty: ask the team" in said
    assert f"Next: `esrbench validate {into}/team* --fix`" in said
    assert f"then `esrbench run {into}/team*`" in said
    assert "\x1b" not in done.stdout
    assert (into / "team01-one" / "submission.toml").is_file()
    done = in_process("import", repository, "--only", "2,1", "--into", into)
    assert done.returncode == 0
    assert "1 is there already" in done.stdout


def test_entries_of_a_challenge_are_run_by_its_file(in_process, repository, tmp_path):
    challenge = tmp_path / "esr" / "challenge.toml"
    challenge.parent.mkdir()
    challenge.touch()
    done = in_process("import", repository, "--into", challenge.parent / "submissions")
    assert f"then `esrbench run {challenge}`" in " ".join(done.stdout.split())


def test_it_is_one_document_for_programs(in_process, repository, tmp_path):
    into = tmp_path / "elsewhere"
    arguments = ("import", repository / "test_demo.py", "--only", "1", "--into", into)
    rows = json.loads(in_process(*arguments, "--json").stdout)
    assert rows == [
        {
            "number": 1,
            "entry": "team01-one",
            "outcome": "imported",
            "line": 4,
            "folder": str(into / "team01-one"),
            "factory": "models.net:Net",
            "weights": None,
            "requirements": [],
            "questions": [],
        }
    ]
    assert "team01-one" in in_process(*arguments, "--force", "--format", "markdown").stdout


def test_what_cannot_be_imported_is_refused_in_words(in_process, repository, tmp_path):
    done = in_process("import", repository, "--only", "1,9")
    assert done.returncode == 2
    assert "has no branch for 9" in done.stderr
    assert "It has branches for 1, 2, 3." in done.stderr
    done = in_process("import", tmp_path)
    assert done.returncode == 2
    assert "test_demo.py: there is no such file" in done.stderr


NET = """
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 48, 3, padding=1), nn.PixelShuffle(4))

    def forward(self, x):
        return self.body(x)
"""


@pytest.mark.slow
def test_the_page_for_organisers_is_a_way_that_works(esrbench, repository, work):
    page = Path(__file__).resolve().parents[2] / "docs" / "organising.md"
    commands = re.findall(r"^\$ esrbench (.+)$", page.read_text(), re.MULTILINE)
    verbs = [command.split()[0] for command in commands]
    first = ["import", "validate", "run", "init-challenge", "runs", "codabench"]
    assert list(dict.fromkeys(verbs)) == first
    repository.rename(work / "NTIRE2031_ESR")
    script = work / "NTIRE2031_ESR" / "test_demo.py"
    (script.parent / "models" / "net.py").write_text(NET)
    script.write_text(SCRIPT.replace("model_id == 1", "model_id == 7").replace("_One", "_Net"))
    quick = ["--data", "demo", "--rounds", "2", "--input-size", "16x16"]
    for command in commands:
        extra = quick if command == "run team07-net" else []
        own = {"ESRBENCH_SUBMISSIONS": os.fspath(work / "submissions")}
        done = esrbench(*shlex.split(command), *extra, **own)
        assert done.returncode == (4 if command.startswith("import") else 0), done.stderr

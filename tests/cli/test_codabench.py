"""``esrbench codabench``: the bundle as an organiser gets it, and a program as a worker runs it."""

import json
import shutil
import zipfile

import pytest
from builders import noise, write_set

from esrbench.challenge.codabench.competition import check_bundle

FILE = """title = "Small ESR"
entries = ["bicubic"]
[rule]
like = "aim2020"
gates = [{ title = "ours", minimum = 20.0 }]
[[data]]
name = "ours"
folder = "ours"
"""


@pytest.fixture
def challenge(work):
    write_set(work / "ours", {"one": noise(1, 48, 64)})
    (work / "challenge.toml").write_text(FILE)
    return work


def test_a_bundle_is_written_and_its_scoring_program_runs(in_process, challenge):
    command = ("codabench", "challenge.toml", "--docker-image", "registry.example/x:1")
    done = in_process(*command, "-o", "out/ours.zip", code=0)
    assert "Images, " in done.stdout
    assert "ours.zip is ready: upload it on Codabench" in done.stdout
    assert "no-start" in done.stderr
    assert "no-docker-image" not in done.stderr
    assert check_bundle(challenge / "out" / "ours.zip").docker_image == "registry.example/x:1"
    told = json.loads(in_process(*command, "--json", code=0).stdout)
    assert told["path"] == "bundle.zip"
    assert told["competition"]["leaderboards"][0]["columns"][0]["key"] == "gate"

    root = challenge / "app"
    with zipfile.ZipFile(challenge / "out" / "ours.zip") as archive:
        for name, place in (("scoring-images-ours", "program"), ("reference-ours", "input/ref")):
            with archive.open(f"{name}.zip") as file:
                zipfile.ZipFile(file).extractall(root / place)
    (root / "output").mkdir()
    done = in_process("codabench", "--run", "scoring", "app", code=2)
    assert "there is no such folder or zip file" in done.stderr
    shutil.copytree(root / "input" / "ref" / "LR", root / "input" / "res")
    done = in_process("codabench", "--run", "scoring", "app", code=2)
    assert "one.png: found 16x12 pixels, expected 64x48" in done.stderr
    shutil.copytree(root / "input" / "ref" / "HR", root / "input" / "res", dirs_exist_ok=True)
    done = in_process("codabench", "--run", "scoring", "app", "--json", code=0)
    assert json.loads(done.stdout)["gate"] == 1.0
    assert json.loads((root / "output" / "scores.json").read_text()) == json.loads(done.stdout)


@pytest.mark.usefixtures("challenge")
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("none.toml",), "none.toml: No such file"),
        (("challenge.toml", "-o", "challenge.toml/b.zip"), "challenge.toml: File exists"),
        (("--run", "scoring", "app"), "found no program/settings.json"),
        (("--run", "ingestion", "app"), "Codabench's worker calls this, in /app."),
    ],
)
def test_what_cannot_be_done_is_told(in_process, arguments, says):
    assert says in in_process("codabench", *arguments, code=2).stderr

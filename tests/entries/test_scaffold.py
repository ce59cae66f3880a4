from __future__ import annotations

import json
import re
import stat
import subprocess
import sys

import pytest

from esrbench.entries import scaffold as scaffold_module
from esrbench.entries.networks import load_network, resolve_weights
from esrbench.entries.scaffold import scaffold
from esrbench.entries.submissions import read_submission
from esrbench.errors import UsageError


def test_a_new_entry_is_whole_and_honest(tmp_path):
    folder = scaffold("team07-fastsr", tmp_path / "submissions", scale=3)
    assert {path.name for path in folder.iterdir()} == {
        "README.md",
        "model.py",
        "submission.toml",
        "team07-fastsr_x3.safetensors",
        "test_team07_fastsr.py",
    }
    first_line = (folder / "submission.toml").read_text().splitlines()[0]
    schema = json.loads((folder / first_line.removeprefix("#:schema ")).read_text())
    assert "model" in schema["required"]
    entry = read_submission(folder)
    assert (entry.name, entry.team, entry.scales) == ("team07-fastsr", "team07", (3,))
    resolved = resolve_weights(entry, 3)
    assert resolved.path is not None
    assert stat.S_IMODE(resolved.path.stat().st_mode) == 0o644
    network = load_network(entry, 3, resolved.path, released=resolved.released).network
    (claim,) = entry.published
    # Convolutions 3-16, 16-16, 16-16 and 16-27, each 3x3 with a bias.
    assert claim.value == 9 * (3 * 16 + 2 * 16 * 16 + 16 * 27) + 3 * 16 + 27
    assert sum(each.numel() for each in network.parameters()) == claim.value


def test_the_same_seed_gives_the_same_weights(tmp_path):
    first, again, other = (
        read_submission(scaffold("a-b", tmp_path / str(index), scale=4, seed=seed)).submitted
        for index, seed in enumerate((0, 0, 1))
    )
    assert first == again != other


def test_what_is_there_is_left_alone(tmp_path):
    (tmp_path / "a-b").mkdir()
    (tmp_path / "a-b" / "model.py").write_text("mine")
    with pytest.raises(UsageError, match="exists already"):
        scaffold("a-b", tmp_path, scale=4)
    assert [path.name for path in (tmp_path / "a-b").iterdir()] == ["model.py"]
    (tmp_path / "c-d").write_text("a file")
    with pytest.raises(UsageError, match="exists already"):
        scaffold("c-d", tmp_path, scale=4)


@pytest.mark.parametrize(
    "name", ["nohyphen", "-a", "a-", "A-b", "../a-b", "a-b/c", "a-" + "b" * 63]
)
def test_a_name_that_is_no_team_and_name_is_refused(tmp_path, name):
    with pytest.raises(UsageError, match="expected TEAM-NAME in lower case"):
        scaffold(name, tmp_path / "submissions", scale=4)
    assert not (tmp_path / "submissions").exists()


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be created"):
        scaffold("a-b", tmp_path / "file" / "submissions", scale=4)


def test_half_an_entry_is_not_left_behind(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(scaffold_module, "_write", full)
    with pytest.raises(OSError, match="No space"):
        scaffold("a-b", tmp_path, scale=4)
    assert not (tmp_path / "a-b").exists()


@pytest.mark.slow
def test_its_own_test_passes_and_fails_for_weights_that_are_not_its_own(tmp_path):
    whole, cut = (scaffold(name, tmp_path, scale=2) for name in ("a-whole", "a-cut"))
    weights = cut / "a-cut_x2.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    folders = [str(whole), str(cut)]
    command = [sys.executable, "-m", "pytest", "-q", "-rA", "-p", "no:cacheprovider", *folders]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=tmp_path)
    assert "1 failed, 1 passed" in done.stdout, done.stdout + done.stderr
    assert re.search(r"^PASSED a-whole/", done.stdout, re.MULTILINE)
    assert re.search(r"^FAILED a-cut/", done.stdout, re.MULTILINE)
    assert "bytes = " in done.stdout

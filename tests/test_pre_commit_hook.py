"""The hook for pre-commit: its declaration, and its command in a repository."""

import json
import os
import re
import shlex
import sys
from pathlib import Path

import pytest
import yaml
from builders import run

ROOT = Path(__file__).resolve().parent.parent
(HOOK,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
BASELINE = ROOT / "results" / "baseline.json"
NETWORK = "fsrcnn x4"


def hook(folder, code):
    """Run the command as pre-commit does: in the repository, the hook's environment first."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    known = {"PATH": path, "PRE_COMMIT": "1", "COLUMNS": "200"}
    return run(*shlex.split(HOOK["entry"]), code=code, folder=folder, **known)


def test_it_is_declared_as_pre_commit_asks():
    assert HOOK["id"] == "esrbench-check"
    # pre-commit installs the repository of the hook by pip, whose script the entry is.
    assert HOOK["language"] == "python"
    assert (ROOT / "pyproject.toml").is_file()
    assert shlex.split(HOOK["entry"])[:2] == ["esrbench", "check"]
    assert HOOK["pass_filenames"] is False
    # pre-commit shows nothing of a hook that passes, unless it is told to.
    assert HOOK["verbose"] is True
    wanted = (
        "mynets/net.py",
        "pyproject.toml",
        "esrbench-baseline.json",
        "ci/esrbench-baseline.json",
    )
    assert all(re.search(HOOK["files"], name) for name in wanted)
    assert not any(re.search(HOOK["files"], name) for name in ("README.md", "a.json", "copy"))


@pytest.mark.slow
@pytest.mark.skipif(not BASELINE.is_file(), reason="no results/baseline.json in this distribution")
@pytest.mark.parametrize(
    ("fewer", "code", "said"),
    [
        (0, 0, "Not judged in full, which --lenient lets pass: esrbench-baseline.json; 1 incomp"),
        (1, 1, "Regression: esrbench-baseline.json; 1 regressed, 1 incomparable"),
    ],
)
def test_a_commit_fails_for_what_it_makes_worse_alone(tmp_path, fewer, code, said):
    kept = json.loads(BASELINE.read_text())
    entry = kept["entries"][NETWORK]
    entry["counts"]["conv_calls_aten"] -= fewer
    # Released weights that are not on this machine, which is no fault of the commit.
    entry["weights"] = {"source": "released", "sha256": "a" * 64}
    entry["counts"]["weights_bytes"] = 50_000
    kept["entries"] = {NETWORK: entry}
    (tmp_path / "esrbench-baseline.json").write_text(json.dumps(kept))

    done = hook(tmp_path, code)

    assert said in done.stdout
    # Counts only: neither images nor races.
    assert not any(word in done.stdout for word in ("inconclusive", "PSNR", "Runtime"))


def test_without_a_baseline_it_says_what_to_do(tmp_path):
    said = hook(tmp_path, 2).stderr
    assert "there is no baseline esrbench-baseline.json" in said
    assert "esrbench baseline update" in said

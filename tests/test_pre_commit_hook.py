"""The hook for pre-commit: its declaration, and its command in a repository."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
(HOOK,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
NETWORK = "fsrcnn"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A git repository with a baseline of one small network's counts."""
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    options = ("--scale", "4", "--no-scores", "--no-runtime")
    path = tmp_path / "esrbench-baseline.json"
    run(tmp_path, "esrbench", "baseline", "update", NETWORK, *options, "--baseline", path.name)
    assert path.is_file()
    return tmp_path


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command as pre-commit does: in the repository, with the hook's environment first."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PATH": path, "PRE_COMMIT": "1", "COLUMNS": "200"},
    )


def test_it_is_declared_as_pre_commit_asks() -> None:
    assert HOOK["id"] == "esrbench-check"
    # pre-commit installs the repository of the hook by pip, whose script the entry is.
    assert HOOK["language"] == "python"
    assert (ROOT / "pyproject.toml").is_file()
    assert shlex.split(HOOK["entry"])[:2] == ["esrbench", "check"]
    assert HOOK["pass_filenames"] is False
    wanted = (
        "mynets/net.py",
        "pyproject.toml",
        "esrbench-baseline.json",
        "ci/esrbench-baseline.json",
    )
    assert all(re.search(HOOK["files"], name) for name in wanted)
    assert not any(re.search(HOOK["files"], name) for name in ("README.md", "a.json", "copy"))


@pytest.mark.slow
def test_equal_counts_pass_and_other_counts_fail(repository: Path) -> None:
    entry = shlex.split(HOOK["entry"])
    passed = run(repository, *entry)
    assert passed.returncode == 0, passed.stdout + passed.stderr
    # Counts only: neither images nor races.
    assert not any(word in passed.stdout for word in ("inconclusive", "PSNR", "Runtime"))
    path = repository / "esrbench-baseline.json"
    kept = json.loads(path.read_text())
    kept["entries"][f"{NETWORK} x4"]["counts"]["conv_calls_aten"] -= 1
    path.write_text(json.dumps(kept))
    failed = run(repository, *entry)
    assert failed.returncode == 1, failed.stdout + failed.stderr
    assert "regressed" in failed.stdout


def test_without_a_baseline_it_says_what_to_do(tmp_path: Path) -> None:
    done = run(tmp_path, *shlex.split(HOOK["entry"]))
    assert done.returncode == 2
    assert "there is no baseline esrbench-baseline.json" in done.stderr
    assert "esrbench baseline update" in done.stderr

"""Every block of the README is run: two shell lines, commands, and Python."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```([\w -]+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def blocks(kind: str) -> list[str]:
    return [content for label, content in BLOCKS if label == kind]


def test_it_opens_with_exactly_two_shell_lines() -> None:
    assert README.index("```sh") == README.index("```")
    (content,) = blocks("sh")
    install, test = content.strip().splitlines()
    assert install.endswith("esrbench run")
    assert test.endswith("tox")
    assert all("-c constraints.txt" in line for line in (install, test))


def test_every_block_is_of_a_kind_that_is_tested() -> None:
    assert {label for label, _ in BLOCKS} == {"sh", "console", "console no-run", "python"}


def commands(kind: str) -> list[list[str]]:
    lines = "".join(blocks(kind)).splitlines()
    assert all(line.startswith("$ esrbench ") for line in lines)
    return [shlex.split(line.removeprefix("$ ")) for line in lines]


@pytest.mark.slow
def test_console_blocks_run_in_order(shared: Path, tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "ESRBENCH_MIRROR": str(shared),
        "ESRBENCH_CACHE": str(tmp_path / "cache"),
    }
    for name, *arguments in commands("console"):
        command = Path(sys.executable).with_name(name)
        done = subprocess.run(
            [command, *arguments],
            check=False,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=environment,
        )
        assert done.returncode == 0, (arguments, done.stderr)
        assert done.stdout + done.stderr


def test_commands_that_need_a_network_or_gpu_have_only_known_options() -> None:
    for name, verb, *arguments in commands("console no-run"):
        command = Path(sys.executable).with_name(name)
        done = subprocess.run([command, verb, "--help"], check=True, capture_output=True, text=True)
        for option in arguments:
            assert not option.startswith("-") or option in done.stdout


def test_commands_in_the_table_have_only_known_options() -> None:
    rows = re.findall(r"^\| [^|]+ \| `(esrbench [^`]+)`", README, re.MULTILINE)
    assert len(rows) == 5
    for row in rows:
        name, verb, *arguments = shlex.split(row)
        command = Path(sys.executable).with_name(name)
        done = subprocess.run([command, verb, "--help"], check=True, capture_output=True, text=True)
        for option in arguments:
            assert not option.startswith("-") or option in done.stdout


def test_python_blocks_run(tmp_path: Path) -> None:
    for number, content in enumerate(blocks("python")):
        script = tmp_path / f"block{number}.py"
        script.write_text(content)
        done = subprocess.run(
            [sys.executable, script], check=False, capture_output=True, text=True, cwd=tmp_path
        )
        assert done.returncode == 0, done.stderr
        assert "psnr_rgb" in done.stdout

"""Every block of the README is run: two shell lines, commands, and Python."""

import json
import re
import shlex
import sys
from functools import cache
from pathlib import Path

import pytest
from builders import run
from typer.testing import CliRunner

from esrbench.cli.app import app

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```([\w -]+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def blocks(kind):
    return [content for label, content in BLOCKS if label == kind]


def test_it_opens_with_exactly_two_shell_lines():
    assert README.index("```sh") == README.index("```")
    (content,) = blocks("sh")
    install, test = content.strip().splitlines()
    assert install.endswith("esrbench run")
    assert test.endswith("tox")
    assert all("-c constraints.txt" in line for line in (install, test))


def test_every_block_is_of_a_kind_that_is_tested():
    assert {label for label, _ in BLOCKS} == {"sh", "console", "console no-run", "python"}


def commands(kind):
    lines = "".join(blocks(kind)).splitlines()
    assert all(line.startswith("$ esrbench ") for line in lines)
    return [shlex.split(line.removeprefix("$ ")) for line in lines]


@pytest.mark.slow
def test_console_blocks_run_in_order(shared, tmp_path):
    private = {"ESRBENCH_MIRROR": str(shared), "ESRBENCH_CACHE": str(tmp_path / "cache")}
    for name, *arguments in commands("console"):
        command = Path(sys.executable).with_name(name)
        done = run(command, *arguments, folder=tmp_path, **private)
        assert done.stdout + done.stderr


@cache
def options_of(verb):
    """Every option of a command, as its help lists them."""
    done = CliRunner().invoke(app, [verb, "--help"], env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", done.stdout))


def test_commands_that_are_not_run_here_have_only_known_options():
    rows = re.findall(r"^\| [^|]+ \| `(esrbench [^`]+)`", README, re.MULTILINE)
    written = [*commands("console no-run"), *(shlex.split(row) for row in rows)]
    assert len(rows) >= 5
    for _, verb, *arguments in written:
        given = {argument for argument in arguments if argument.startswith("--")}
        assert given <= options_of(verb), (verb, given)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_main_job_runs_as_written(tmp_path):
    (content,) = blocks("sh")
    install = content.strip().splitlines()[0]
    _, *arguments = shlex.split(install.rpartition("&&")[2])
    command = Path(sys.executable).with_name("esrbench")
    done = run(command, *arguments, folder=tmp_path, ESRBENCH_CACHE=str(tmp_path / "cache"))
    records = [json.loads(file.read_text()) for file in (tmp_path / "results/runs").iterdir()]
    values = {record["entry"]["name"]: record["values"] for record in records}
    assert set(values) == {"aidn", "rfdn", "imdn", "srresnet", "bicubic"}
    assert {name: round(found["params"]["value"] / 1e3) for name, found in values.items()} == {
        "aidn": 339,
        "rfdn": 433,
        "imdn": 715,
        "srresnet": 1518,
        "bicubic": 0,
    }
    for found in values.values():
        runtime = found["runtime_images"]
        # A busy machine may have none. The interval of an external time may begin below zero.
        assert runtime.get("reason") or 0 < runtime["value"] >= runtime["interval"]["low"]
    assert all(name in done.stdout for name in values)


def test_python_blocks_run(tmp_path):
    for number, content in enumerate(blocks("python")):
        script = tmp_path / f"block{number}.py"
        script.write_text(content)
        assert "psnr_rgb" in run(sys.executable, script, folder=tmp_path).stdout

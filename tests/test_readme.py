"""Every block of the README is run, and its pictures and outputs are those of now."""

import json
import re
import runpy
import shlex
import sys
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


def test_it_is_short():
    assert len(README.splitlines()) < 120


def test_it_opens_with_exactly_two_shell_lines():
    assert README.index("```sh") == README.index("```")
    (content,) = blocks("sh")
    install, test = content.strip().splitlines()
    assert install.endswith("esrbench run")
    assert test.endswith("tox")
    assert all("-c constraints.txt" in line for line in (install, test))


def test_every_block_is_of_a_kind_that_is_tested():
    assert {label for label, _ in BLOCKS} == {"sh", "console", "console no-run", "text"}


def test_what_it_links_to_is_there():
    links = re.findall(r"\]\((?!http)([^)#]+)", README)
    assert len(links) > 20
    assert [link for link in links if not (ROOT / link).is_file()] == []


def commands(kind):
    lines = "".join(blocks(kind)).splitlines()
    assert all(line.startswith("$ esrbench ") for line in lines)
    return [shlex.split(line.removeprefix("$ ")) for line in lines]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_console_blocks_run_in_order(tmp_path):
    private = dict.fromkeys(("ESRBENCH_SUBMISSIONS", "ESRBENCH_RESULTS"))
    for name, *arguments in commands("console"):
        command = Path(sys.executable).with_name(name)
        done = run(command, *arguments, folder=tmp_path, ESRBENCH_CACHE=str(tmp_path), **private)
        assert done.stdout + done.stderr


def test_a_comparison_prints_what_stands_there(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (words,) = (words for words in commands("console") if "compare" in words)
    done = CliRunner().invoke(app, words[1:])
    assert done.exit_code == 0, done.output
    printed = {" ".join(line.split()) for line in done.stdout.splitlines()}
    (shown,) = (block for block in blocks("text") if "PSNR/SSIM" in block)
    assert {" ".join(line.split()) for line in shown.splitlines()} <= printed


def test_pictures_show_the_figures_of_now():
    inputs = runpy.run_path(str(ROOT / "docs" / "pictures.py"))["inputs"]()
    drawn = json.loads((ROOT / "docs" / "pictures" / "inputs.json").read_text())
    assert drawn == inputs, "run: python docs/pictures.py"
    assert all(f"docs/pictures/{name}" in README for name in ("table.svg", "page.png"))


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

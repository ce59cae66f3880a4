"""Every block of docs/extending.md runs as it stands."""

import os
import re
import sys
from pathlib import Path

import pytest
from builders import run

PAGE = Path(__file__).resolve().parents[1] / "docs" / "extending.md"
SECTION = re.compile(r"^## (.+?)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SECTIONS = {title: BLOCK.findall(text) for title, text in SECTION.findall(PAGE.read_text())}


@pytest.mark.parametrize("title", SECTIONS)
def test_blocks_run_in_order(title, tmp_path):
    """A block that names a file is written to it; others are run, in the same folder."""
    assert SECTIONS[title], f"{PAGE.name}: the section {title!r} shows nothing"
    search = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    for kind, name, content in SECTIONS[title]:
        if name:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(content)
            continue
        program = {"python": [sys.executable, "-"], "sh": ["bash", "-euo", "pipefail", "-s"]}[kind]
        run(*program, folder=tmp_path, words=content, PATH=search)

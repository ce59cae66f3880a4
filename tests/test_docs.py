"""The pages of ``docs/``: the site is built of them without a warning, and their blocks run."""

import os
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
DOCS = ROOT / "docs"
PAGES = {str(path.relative_to(DOCS).with_suffix("")): path for path in DOCS.rglob("*.md")}
BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"(?:^ {4,}|^\$ |`)(esrbench [a-z][^`|\n]*)", re.MULTILINE)
FOLLOWED = [name for name in PAGES if name.startswith(("tutorials/", "coming-from/", "from-"))]
"""Pages that are followed from their first block to their last, in one folder."""


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", FOLLOWED)
def test_blocks_run_in_order(name, tmp_path):
    """A block that names a file is written to it; others are run, unless they show an output."""
    search = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    private = {"PATH": search, "ESRBENCH_CACHE": str(tmp_path / "cache")}
    private |= dict.fromkeys(("ESRBENCH_SUBMISSIONS", "ESRBENCH_RESULTS"))
    for kind, word, content in BLOCK.findall(PAGES[name].read_text()):
        if kind == "console" and word != "no-run":
            commands = re.sub(r"^\$ ", "", content, flags=re.MULTILINE)
            code = 1 if word == "fails" else 0
            run("bash", "-euc", commands, code=code, folder=tmp_path, **private)
        elif kind == "python" and not word:
            (tmp_path / "block.py").write_text(content)
            run(sys.executable, "block.py", folder=tmp_path, **private)
        elif kind != "console" and word:
            (tmp_path / word).write_text(content)
        else:
            assert (kind, word) in {("console", "no-run"), ("text", "")}, f"{name}: ```{kind}"


@cache
def options_of(verb):
    """Every option of a command, as its help lists them."""
    done = CliRunner().invoke(app, [verb, "--help"], env={"COLUMNS": "200"})
    assert done.exit_code == 0, f"{verb}: {done.output}"
    return set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", done.stdout))


@pytest.mark.parametrize("page", [*PAGES.values(), ROOT / "README.md"], ids=lambda page: page.stem)
def test_commands_have_only_known_options(page):
    for command in COMMAND.findall(page.read_text().replace("\\\n", " ")):
        _, verb, *arguments = shlex.split(command, comments=True)
        given = {each.partition("=")[0] for each in arguments if each.startswith("--")}
        assert given <= options_of(verb), (command, given - options_of(verb))


@pytest.mark.slow
def test_the_site_is_built_without_warnings_and_is_found_offline(tmp_path):
    pytest.importorskip("sphinx", reason="the extra docs is not installed")
    site = tmp_path / "site"
    built = ("-m", "sphinx", "-q", "-W", "--keep-going", "-d", tmp_path / "doctrees", DOCS, site)
    run(sys.executable, *built, folder=tmp_path)
    assert (site / "searchindex.js").stat().st_size > 10_000
    for page in DOCS.rglob("*.md"):
        assert site.joinpath(page.relative_to(DOCS).with_suffix(".html")).is_file(), page
    loaded = 'src="http', 'rel="stylesheet" href="http'
    for page in site.rglob("*.html"):
        assert not any(each in page.read_text() for each in loaded), page

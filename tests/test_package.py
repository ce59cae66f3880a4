"""Version, citation, issue forms, containers and release notes; `tox -e package` builds them."""

import json
import re
import shlex
import tomllib
from pathlib import Path

import pytest
import yaml

import esrbench

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
FIELDS = {"checkboxes", "dropdown", "input", "markdown", "textarea"}
CITATION_KEYS = {"cff-version", "message", "title", "authors", "version", "license", "type"}
INSTRUCTIONS = {"CMD", "COPY", "ENV", "FROM", "RUN", "USER", "WORKDIR"}


def read_yaml(name):
    return yaml.safe_load((ROOT / name).read_text())


def instructions():
    """Lines of the container file as pairs of instruction and rest, continuations joined."""
    text = (ROOT / "Containerfile").read_text()
    text = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ")
    return [tuple(line.split(maxsplit=1)) for line in text.splitlines() if line.strip()]


def test_one_version_everywhere():
    version = esrbench.__version__
    assert re.fullmatch(r"\d+\.\d+\.\d+", version)
    assert read_yaml("CITATION.cff")["version"] == version
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None
    assert newest[1] == version
    for page in (ROOT / "docs").rglob("*.md"):
        named = re.findall(r"(?:esrbench@v|esrbench\n    rev: v)([\d.]+)", page.read_text())
        assert set(named) <= {version}, page


def test_citation_has_what_the_format_requires():
    citation = read_yaml("CITATION.cff")
    assert citation.keys() >= CITATION_KEYS
    assert citation["cff-version"] == "1.2.0"
    assert citation["type"] == "software"
    assert citation["license"] == PROJECT["project"]["license"]
    assert all(author.keys() == {"name"} for author in citation["authors"])


def test_what_the_metadata_names_is_there():
    project = PROJECT["project"]
    assert len(project["classifiers"]) == len(set(project["classifiers"]))
    assert "Typing :: Typed" in project["classifiers"]
    for folder in PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]:
        assert (ROOT / folder / "py.typed").read_bytes() == b""
    for name in PROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]:
        assert (ROOT / name).exists(), name


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_issue_forms_are_forms(path):
    form = yaml.safe_load(path.read_text())
    if path.stem == "config":
        assert form == {"blank_issues_enabled": True}
        return
    assert form["name"]
    assert form["description"]
    fields = form["body"]
    assert {each["type"] for each in fields} <= FIELDS
    named = [each["id"] for each in fields if each["type"] != "markdown"]
    assert len(named) == len(set(named)) > 0
    assert all(each["attributes"].get("label") or each["type"] == "markdown" for each in fields)


def test_the_container_file_installs_what_exists_and_ends_as_an_ordinary_user():
    found = instructions()
    assert {name for name, _ in found} <= INSTRUCTIONS
    stages = [re.fullmatch(r"(\S+) AS (\w+)", rest) for name, rest in found if name == "FROM"]
    assert all(stages)
    assert stages[-1][2] == "official"
    python = re.search(r"python:(\d\.\d+)", stages[0][1])[1]
    assert f"Programming Language :: Python :: {python}" in PROJECT["project"]["classifiers"]
    assert [rest for name, rest in found if name == "USER"][-1] == "1000:1000"
    installed = [rest for name, rest in found if name == "RUN"]
    assert any("bubblewrap" in shlex.split(each) for each in installed)
    (extras,) = re.findall(r'"/src\[([\w,]+)\]"', "\n".join(installed))
    assert set(extras.split(",")) <= PROJECT["project"]["optional-dependencies"].keys()


def test_the_development_container_builds_a_stage_of_the_container_file():
    container = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text())
    build = container["build"]
    assert (ROOT / ".devcontainer" / build["dockerfile"]).resolve() == ROOT / "Containerfile"
    assert ("FROM", f"base AS {build['target']}") in instructions()


def test_commits_are_checked_as_ci_does():
    (own,) = read_yaml(".pre-commit-config.yaml")["repos"]
    assert own["repo"] == "local"
    checked = (ROOT / "tox.ini").read_text()
    for hook in own["hooks"]:
        assert hook["language"] == "system"
        assert hook["entry"].split()[0] in checked


def test_fragments_of_release_notes_have_a_kind():
    settings = PROJECT["tool"]["towncrier"]
    kinds = "|".join(each["directory"] for each in settings["type"])
    for path in (ROOT / settings["directory"]).iterdir():
        if path.name not in {*settings["ignore"], ".gitignore"}:
            assert re.fullmatch(rf"(\d+|\+[\w-]+)\.({kinds})\.md", path.name), path.name
    assert settings["start_string"] in (ROOT / settings["filename"]).read_text()

"""The composite GitHub Action, its steps run as a runner would.

Two things are not GitHub's: Python is set up already, and an interpreter that notes what it is
asked stands in for the one that would make an environment and install over the network. Whatever it
is told to install, ``esrbench`` is the present one, or, where only its exit code matters, a script
that notes its arguments and ends with that.
"""

import json
import os
import re
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import yaml
from builders import git, run

from esrbench.runs.store import Store

ROOT = Path(__file__).resolve().parent.parent
ACTION = yaml.safe_load((ROOT / "action.yml").read_text())
ESRBENCH = Path(sys.executable).with_name("esrbench")
BASELINE = ROOT / "results" / "baseline.json"
QUICK = "--metrics params,macs_aten --no-runtime"
INTERPRETER = """#!/bin/sh
echo "$@" >> "$RUNNER_TEMP/asked"
if [ "$2" = venv ]; then
  for folder; do :; done
  mkdir -p "$folder/bin"
  cp "$0" "$folder/bin/python"
  ln -sf "$INSTALLED" "$folder/bin/esrbench"
fi
"""
CANNED = """#!/bin/sh
printf '[%s]' "$@" > "$RUNNER_TEMP/arguments"
exit {code}
"""
GH = """#!/bin/sh
if [ "$2" = --paginate ]; then
  jq -r "$5" "$RUNNER_TEMP/comments.json"
else
  echo "$4 $5 $7" >> "$RUNNER_TEMP/posted"
  [ -f "$RUNNER_TEMP/writable" ]
fi
"""
"""What GitHub's own ``gh api`` does with its arguments, of comments in a file."""
NETWORK = """
from torch import nn

from esrbench import ModelDescriptor

ENTRIES = (ModelDescriptor(name="mynet", summary="mine", scales=(4,), factory="mynets:Net"),)


class Net(nn.Module):
    def __init__(self, scale: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 3 * scale**2, 3, padding=1), nn.PixelShuffle(scale))

    def forward(self, lr):
        return self.body(lr)
"""


@dataclass
class Runner:
    """A machine with a checkout, on which the Action's steps run."""

    checkout: Path
    temporary: Path
    environment: dict[str, str] = field(default_factory=dict)
    outputs: dict[str, dict[str, str]] = field(default_factory=dict)
    event: dict[str, str] = field(default_factory=dict)
    log: str = ""
    installed: Path = ESRBENCH

    def install_canned(self, code):
        """Install an ``esrbench`` that notes its arguments and ends with a code."""
        self.installed = self.temporary / "canned"
        self.installed.write_text(CANNED.format(code=code))
        self.installed.chmod(0o755)

    @property
    def arguments(self):
        """Of the canned ``esrbench``, each in brackets."""
        return (self.temporary / "arguments").read_text()

    @property
    def summary(self):
        return (self.temporary / "summary.md").read_text()

    @property
    def tests(self):
        """Tests and failures of the JUnit report."""
        report = ET.parse(self.outputs["check"]["junit"]).getroot()  # noqa: S314 - ours
        return report.get("tests"), report.get("failures")

    @property
    def asked(self):
        return (self.temporary / "asked").read_text().splitlines()

    def run(self, *, until=None, **inputs):
        """Run the Action, or its steps up to one; the exit code of the last step that ran."""
        known = {name: given["default"] for name, given in ACTION["inputs"].items()}
        given = {name.replace("_", "-"): value for name, value in inputs.items()}
        assert set(given) <= set(known)
        self.inputs = {**known, **given}
        interpreter = self.temporary / "python"
        interpreter.write_text(INTERPRETER)
        interpreter.chmod(0o755)
        self.outputs = {"python": {"python-path": str(interpreter)}}
        failed = 0
        for step in ACTION["runs"]["steps"]:
            condition = step.get("if", "")
            wanted = self.resolve(condition.replace("always() && ", "")) or not condition
            if "uses" in step or not wanted or (failed and "always()" not in condition):
                continue
            failed = self._step(step) or failed
            if until and step.get("id") == until:
                break
        return failed

    def _step(self, step):
        assert step["shell"] == "bash"
        script = self.temporary / "step.sh"
        script.write_text(step["run"])
        said = self.temporary / "output"
        said.write_text("")
        given = {name: self.resolve(text) for name, text in step.get("env", {}).items()}
        known = {
            "GITHUB_ACTION_PATH": str(ROOT),
            "GITHUB_OUTPUT": str(said),
            "GITHUB_STEP_SUMMARY": str(self.temporary / "summary.md"),
            "GITHUB_ACTIONS": "true",
            "RUNNER_TEMP": str(self.temporary),
            "INSTALLED": str(self.installed),
            "COLUMNS": "200",
            "OMP_NUM_THREADS": "1",
        }
        shell = ("bash", "--noprofile", "--norc", "-eo", "pipefail", script)
        folder = self.checkout / self.resolve(step["working-directory"])
        done = run(*shell, code=None, folder=folder, **(self.environment | given | known))
        self.log += done.stdout + done.stderr
        if "id" in step:
            lines = said.read_text().splitlines()
            self.outputs[step["id"]] = dict(line.split("=", 1) for line in lines)
        return done.returncode

    def resolve(self, text):
        """Put values in place of expressions; only the forms that the Action uses."""

        def holds(condition):
            if condition.endswith(" == 'true'"):
                return self._term(condition.removesuffix(" == 'true'")) == "true"
            return bool(self._term(condition.removesuffix(" != ''")))

        def value(match):
            if match[1].endswith("'"):
                return "true" if all(map(holds, match[1].split(" && "))) else ""
            return next(filter(None, map(self._term, match[1].split(" || "))), "")

        return re.sub(r"\$\{\{ (.*?) \}\}", value, text)

    def _term(self, term):
        if found := re.fullmatch(r"inputs\.([\w-]+)", term):
            return self.inputs[found[1]]
        if term.startswith("github."):
            return self.event.get(term, "")
        found = re.fullmatch(r"steps\.([\w-]+)\.outputs\.([\w-]+)", term)
        assert found, f"unknown expression: {term}"
        return self.outputs.get(found[1], {}).get(found[2], "")


@pytest.fixture
def runner(tmp_path):
    checkout, temporary = tmp_path / "checkout", tmp_path / "runner temp"
    checkout.mkdir()
    temporary.mkdir()
    return Runner(checkout, temporary)


def test_every_input_and_output_is_described_and_used():
    steps = json.dumps(ACTION["runs"]["steps"])
    documented = (ROOT / "docs" / "ci.md").read_text()
    for name, given in ACTION["inputs"].items():
        assert given["description"]
        assert isinstance(given["default"], str)
        assert f"inputs.{name}" in steps, name
        assert f"\n| `{name}` |" in documented, name
    ids = {step["id"] for step in ACTION["runs"]["steps"] if "id" in step}
    for given in ACTION["outputs"].values():
        found = re.fullmatch(r"\$\{\{ steps\.(\w+)\.outputs\.[\w-]+ \}\}", given["value"])
        assert found
        assert found[1] in ids


def test_what_users_give_never_becomes_part_of_a_script():
    for step in ACTION["runs"]["steps"]:
        assert "${{" not in step.get("run", "")


@pytest.mark.slow
@pytest.mark.skipif(not BASELINE.is_file(), reason="no results/baseline.json in this distribution")
def test_what_is_unchanged_passes(runner):
    folder = runner.checkout / "networks"
    folder.mkdir()
    (folder / "mine.json").write_text(BASELINE.read_text())
    code = runner.run(
        names="fsrcnn",
        baseline="mine.json",
        working_directory="networks",
        arguments=QUICK,
        install=". numpy",
        torch_index="https://example.org/cpu wheels",
    )
    assert code == 0, runner.log
    assert runner.outputs["check"]["exit-code"] == "0"
    assert "No regression" in runner.summary
    assert runner.tests == ("2", "0")
    folder, constraints = runner.temporary / "esrbench", f"--constraint {ROOT}/constraints.txt"
    pip = "-m pip --disable-pip-version-check install"
    assert runner.asked == [
        f"-m venv --clear {folder}",
        f"{pip} {constraints} --index-url https://example.org/cpu wheels torch",
        f"{pip} {constraints} {ROOT} . numpy",
    ]
    assert (ROOT / "constraints.txt").is_file()


@pytest.mark.parametrize("code", [0, 1, 2, 3, 4])
def test_the_exit_code_is_told_and_what_could_not_be_judged_warns(runner, code):
    runner.install_canned(code)
    assert runner.run() == (0 if code == 3 else code)
    assert runner.outputs["check"]["exit-code"] == str(code)
    warned = "::warning title=esrbench::Not judged in full" in runner.log
    assert warned == (code == 3)
    report = runner.temporary / "esrbench.xml"
    assert runner.outputs["check"]["junit"] == str(report)
    assert runner.arguments == (
        f"[check][--baseline][esrbench-baseline.json][--junit][{report}]"
        f"[--summary][{runner.temporary / 'summary.md'}]"
        f"[--comment][{runner.temporary / 'esrbench-comment.md'}][--]"
    )


def test_inputs_become_arguments_and_nothing_else(runner):
    runner.install_canned(1)
    names = "net; touch x $(touch y) --strict"
    assert runner.run(names=names, arguments="--scale 2  --no-runtime", strict="true") == 1
    options, _, given = runner.arguments.partition("[--]")
    assert options.endswith("[--scale][2][--no-runtime][--strict]")
    assert given == "[net;][touch][x][$(touch][y)][--strict]"
    assert list(runner.checkout.iterdir()) == []


@pytest.fixture
def comments(runner):
    """Tell a runner what comments there are; the result is what is posted, a line each."""
    if shutil.which("jq") is None:
        pytest.skip("jq stands in for what gh does with --jq, and is not installed")
    tools = runner.temporary / "tools"
    tools.mkdir()
    (tools / "gh").write_text(GH)
    (tools / "gh").chmod(0o755)
    runner.environment["PATH"] = f"{tools}{os.pathsep}{os.environ['PATH']}"
    runner.environment["GITHUB_REPOSITORY"] = "me/nets"
    runner.event["github.event.pull_request.number"] = "7"
    runner.install_canned(1)
    written = 'echo "<!-- esrbench check: CI gate -->" > "$RUNNER_TEMP/esrbench-comment.md"'
    runner.installed.write_text(CANNED.format(code=1).replace("exit", f"{written}\nexit"))
    posted = runner.temporary / "posted"

    def posted_beside(*given, writable=True):
        found = [
            {"id": number, "user": {"login": login}, "body": body}
            for number, (login, body) in enumerate(given, start=1)
        ]
        (runner.temporary / "comments.json").write_text(json.dumps(found))
        (runner.temporary / "writable").touch() if writable else None
        assert runner.run(comment="true") == 1, runner.log
        return posted.read_text().splitlines() if posted.exists() else []

    return posted_beside


def test_a_pull_request_has_one_comment_that_is_replaced(runner, comments):
    bot, body = "github-actions[bot]", "<!-- esrbench check: CI gate -->\nold"
    others = [("stranger", body), (bot, "<!-- esrbench check: CI other -->"), (bot, "Hello.")]
    file = f"body=@{runner.temporary / 'esrbench-comment.md'}"
    new = f"POST repos/me/nets/issues/7/comments {file}"
    assert comments(*others) == [new]
    again = comments(*others, (bot, body), (bot, body))
    assert again == [new, f"PATCH repos/me/nets/issues/comments/4 {file}"]
    assert "::warning" not in runner.log


def test_a_comment_that_cannot_be_written_warns(runner, comments):
    assert len(comments(writable=False)) == 1
    assert "::warning title=esrbench::No comment could be written" in runner.log


def test_a_push_has_no_comment(runner, comments):
    runner.event.clear()
    assert comments() == []
    assert "::warning" not in runner.log


def test_a_site_is_written_where_it_is_asked_for(runner):
    runner.install_canned(0)
    assert runner.run(site="public pages", site_arguments="--rule  ntire2026 --dates 3") == 0
    assert runner.outputs["check"]["exit-code"] == "0"
    assert runner.arguments == "[site][--rule][ntire2026][--dates][3][--][public pages]"


def test_a_site_is_published_only_where_it_is_asked_for(runner):
    upload, publish = (step for step in ACTION["runs"]["steps"] if "-pages" in step.get("uses", ""))
    runner.install_canned(0)
    (runner.checkout / "networks").mkdir()
    runner.run(site="public", working_directory="networks")
    assert not runner.resolve(upload["if"])
    assert not runner.resolve(publish["if"])
    runner.run(site="public", working_directory="networks", publish="true")
    assert runner.resolve(upload["if"])
    assert runner.resolve(publish["if"])
    assert runner.resolve(upload["with"]["path"]) == "networks/public"
    runner.run(publish="true", check="false")  # a whole checkout is no site
    assert not runner.resolve(upload["if"])
    assert not runner.resolve(publish["if"])


def test_a_site_is_written_without_a_check(runner):
    runner.install_canned(2)
    assert runner.run(site="--help; touch x", check="false") == 2
    assert "check" not in runner.outputs
    assert runner.arguments == "[site][--][--help; touch x]"
    assert list(runner.checkout.iterdir()) == []


def test_what_regressed_is_not_published(runner):
    runner.install_canned(1)
    assert runner.run(site="public") == 1
    assert runner.arguments.startswith("[check]")


def test_the_site_of_a_checkout(runner, make_record):
    Store(runner.checkout / "results").put(make_record("rfdn", {"psnr_rgb": 29.0}))
    assert runner.run(site="public", check="false") == 0, runner.log
    assert (runner.checkout / "public" / "entry_rfdn.html").is_file()
    assert (runner.checkout / "public" / ".nojekyll").is_file()


@pytest.mark.slow
def test_a_revision_is_fetched_into_a_shallow_checkout(runner, tmp_path):
    origin = tmp_path / "origin"
    origin.mkdir()
    git(origin, "init", "--quiet", "--initial-branch=main")
    git(origin, "config", "uploadpack.allowAnySHA1InWant", "true")
    project = '[project]\nname = "mynets"\nversion = "0"\n'
    points = '[project.entry-points."esrbench.models"]\nmine = "mynets:ENTRIES"\n'
    (origin / "pyproject.toml").write_text(project + points)
    (origin / "mynets.py").write_text(NETWORK)
    git(origin, "add", ".")
    git(origin, "commit", "--quiet", "--message=first")
    first = git(origin, "rev-parse", "HEAD")
    git(origin, "switch", "--quiet", "--create=larger")
    larger = NETWORK.replace("nn.Sequential(", "nn.Sequential(nn.Conv2d(3, 3, 1), ")
    (origin / "mynets.py").write_text(larger)
    git(origin, "commit", "--quiet", "--all", "--message=second")
    runner.checkout.rmdir()
    url = origin.as_uri()
    git(tmp_path, "clone", "--quiet", "--depth=1", "--branch=larger", url, str(runner.checkout))
    # As if the Action had installed the checkout.
    installed = tmp_path / "installed" / "mynets-0.dist-info"
    installed.mkdir(parents=True)
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: mynets\nVersion: 0\n")
    (installed / "entry_points.txt").write_text("[esrbench.models]\nmine = mynets:ENTRIES\n")
    paths = [runner.checkout, installed.parent, os.environ.get("PYTHONPATH", "")]
    runner.environment["PYTHONPATH"] = os.pathsep.join(filter(None, map(str, paths)))
    assert runner.run(ref="origin/main", until="revision") == 0, runner.log
    assert runner.outputs["revision"]["commit"] == first
    git(runner.checkout, "update-ref", "-d", "refs/remotes/origin/main")
    assert runner.run(ref=first, names="mynet", arguments=QUICK) == 1, runner.log
    assert runner.outputs["revision"]["commit"] == first
    assert "1,344 then, 1,356 now" in runner.summary
    assert "::error file=mynets.py,line=9,title=esrbench%3A mynet x4 regressed::" in runner.log
    assert runner.tests == ("2", "2")

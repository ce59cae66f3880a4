import json
import shlex
from xml.etree import ElementTree as ET

import pytest
import typer
from builders import descriptor, finding, gate_report
from typer.testing import CliRunner

from esrbench.cli.baseline import baseline_command
from esrbench.cli.check import check_command, parse_metrics
from esrbench.entries.registry import Registry
from esrbench.errors import UsageError
from esrbench.metrics import METRICS

app = typer.Typer()
app.command("check")(check_command)
app.command("baseline")(baseline_command)


def invoke(*arguments):
    return CliRunner().invoke(app, list(arguments))


def report(verdict="regressed"):
    return gate_report(finding(verdict, before=1, now=2, reason="1 then, 2 now", advice="Mend it."))


@pytest.fixture
def canned(monkeypatch):
    """The report that a check gives, and no CI around it."""
    given = {"report": report()}
    monkeypatch.setattr("esrbench.gate.gate.check", lambda *_: given["report"])
    for variable in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(variable, raising=False)
    return given


@pytest.mark.usefixtures("lasting_workers")
def test_a_baseline_is_made_and_checked_and_a_change_is_found(tmp_path):
    """Bicubic has no parameters, so a baseline with nine of them is worse."""
    file = tmp_path / "baseline.json"
    common = ("--baseline", str(file), "--threads", "1")

    made = invoke("baseline", "update", "bicubic", *common, "--no-scores")
    assert made.exit_code == 0, made.output
    assert made.stdout.splitlines() == ["bicubic x4: new"]
    content = file.read_text()
    again = invoke("baseline", "update", *common, "--no-scores", "--json")
    assert json.loads(again.stdout) == {"path": str(file), "written": False, "changes": []}
    assert file.read_text() == content

    assert content.count('"params": 0') == 1
    file.write_text(content.replace('"params": 0', '"params": 9'))
    better = invoke("check", *common, "--json")
    found = {each["metric"]: each for each in json.loads(better.stdout)["findings"]}
    assert better.exit_code == 0
    assert (found["params"]["before"], found["params"]["now"]) == (9, 0)
    assert found["params"]["verdict"] == "improved"
    assert {each["verdict"] for metric, each in found.items() if metric != "params"} == {
        "unchanged"
    }
    update = f"`esrbench baseline update bicubic --baseline {file} --threads 1`"
    assert found["params"]["advice"] == f"Keep it: run {update}."
    assert invoke(*shlex.split(update.strip("`"))[1:], "--no-scores").exit_code == 0
    assert file.read_text() == content


@pytest.mark.usefixtures("lasting_workers")
def test_a_baseline_without_scores_says_why(tmp_path):
    file = tmp_path / "baseline.json"
    made = invoke("baseline", "update", "fsrcnn", "--scale", "2", "--baseline", str(file))
    assert made.exit_code == 0, made.output
    assert "hint: no scores of fsrcnn x2: the weights are random" in made.stderr
    assert "--weights fsrcnn=FILE" in made.stderr


@pytest.mark.parametrize(
    ("verdict", "arguments", "code"),
    [
        ("unchanged", (), 0),
        ("improved", (), 0),
        ("regressed", (), 1),
        ("missing", (), 1),
        ("inconclusive", (), 3),
        ("incomparable", (), 3),
        ("incomparable", ("--strict",), 1),
        ("incomparable", ("--lenient",), 0),
        ("regressed", ("--lenient",), 1),
        ("failed", ("--strict",), 4),
    ],
)
def test_exit_codes(canned, verdict, arguments, code):
    canned["report"] = report(verdict)

    result = invoke("check", *arguments)

    assert result.exit_code == code
    assert "1 " + verdict in result.stdout


def test_json_is_one_document_and_annotations_go_elsewhere(canned, tmp_path, monkeypatch):
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    (tmp_path / "nets.py").write_text("\n\nclass Net:\n    pass\n")
    registry = Registry()
    registry.add([descriptor("rfdn", factory="nets:Net")], origin="here")
    monkeypatch.setattr("esrbench.cli.check.open_registry", lambda: registry)
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path))
    monkeypatch.chdir(tmp_path)

    plain = invoke("check")
    result = invoke("check", "--json")

    document = json.loads(result.stdout)
    assert (document["exit_code"], document["counts"]) == (1, {"regressed": 1})
    assert document["findings"][0]["now"] == 2
    line = "::error file=nets.py,line=3,title=esrbench%3A rfdn x4 regressed::"
    line += "Params regressed: 1 then, 2 now%0AMend it."
    assert line in result.stderr.splitlines()
    assert line in plain.stdout.splitlines()
    assert "::error" not in invoke("check", "--no-annotations").output
    assert canned


@pytest.mark.usefixtures("canned")
def test_reports_are_written(tmp_path, monkeypatch):
    junit, summary = tmp_path / "new" / "junit.xml", tmp_path / "summary.md"
    steps = tmp_path / "steps.md"
    steps.write_text("# before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(steps))

    # The variable alone is not GitHub Actions, and a given file is used instead.
    monkeypatch.setenv("GITHUB_JOB", "efficiency")
    comment = tmp_path / "comment.md"
    written = ("--summary", str(summary), "--comment", str(comment))
    invoke("check", "--junit", str(junit), *written)
    assert comment.read_text().splitlines()[0] == "<!-- esrbench check:  efficiency -->"
    assert steps.read_text() == "# before\n"
    assert ET.parse(junit).getroot().attrib["failures"] == "1"  # noqa: S314 - our own
    assert summary.read_text().startswith("### esrbench check\n")

    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    invoke("check")
    assert steps.read_text() == "# before\n" + summary.read_text()


@pytest.mark.usefixtures("canned")
def test_the_summary_leaves_room_for_what_is_there(tmp_path, monkeypatch):
    steps = tmp_path / "steps.md"
    steps.write_text("x" * (1024 * 1024 - 100))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(steps))
    monkeypatch.setenv("GITHUB_ACTIONS", "true")

    invoke("check")

    assert steps.stat().st_size <= 1024 * 1024


def test_metrics_and_groups():
    everything = parse_metrics([], runtime=True)
    assert everything >= {"weights", "runtime", "psnr_rgb", "peak_bytes", "params"}
    assert parse_metrics([], runtime=False) == everything - {"runtime"}
    counts = parse_metrics(["counts, weights"], runtime=True)
    assert counts == {
        "weights",
        *(key for key, row in METRICS.items() if row.source in {"complexity", "weights"}),
    }
    assert parse_metrics(["params,macs_aten", "runtime"], runtime=True) == {
        "params",
        "macs_aten",
        "runtime",
    }
    with pytest.raises(UsageError, match="--metrics flops"):
        parse_metrics(["flops"], runtime=True)
    with pytest.raises(UsageError, match="no metric is left"):
        parse_metrics(["runtime"], runtime=False)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "there is no baseline: "),
        (("--baseline", "gone.json"), "there is no baseline gone.json"),
        (("--baseline", "no-such-ref"), "no-such-ref: "),
        (("--baseline", "empty"), "no complete runs"),
        (("--against", "rfdn"), "needs the names"),
        (("rfdn", "--against", "imdn", "--metrics", "params"), "compares runtime, which"),
        (("--strict", "--lenient"), "are opposites"),
        (("rfnd", "--against", "rfdn"), "no network is registered as 'rfnd'"),
    ],
)
def test_what_cannot_be_compared_with(tmp_path, monkeypatch, arguments, said):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ESRBENCH_RESULTS", raising=False)

    result = invoke("check", *arguments)

    assert isinstance(result.exception, UsageError)
    assert said in result.exception.message
    assert result.exception.exit_code == 2

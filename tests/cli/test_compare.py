import csv
import json
import sys

import pytest
from builders import run, write_files

from esrbench.cli.compare import compare_command
from esrbench.errors import UsageError
from esrbench.runs.store import Store


@pytest.fixture
def folder(make_record, tmp_path):
    """Results of IMDN and RFDN on Set5 x4."""
    store = Store(tmp_path / "results")
    scores = {"imdn": (32.2096, 0.89476, 715_176), "rfdn": (32.1589, 0.89459, 433_448)}
    for name, (psnr, ssim, params) in scores.items():
        values = {"psnr_y": psnr, "ssim_y": ssim, "params": params}
        store.put(make_record(name, values, data="set5", verified=True, weights="released"))
    return store.folder


def test_the_terminal_shows_the_table_and_the_commands_apart(folder, capsys):
    compare_command(["rfdn", "imdn"], data=["set5,set14"], scale=["4"], folder=folder)
    out, err = capsys.readouterr()
    assert "32.21¹/0.8948¹" in out
    assert "32.16²/0.8946²" in out
    assert "esrbench run" not in out
    assert "esrbench run rfdn imdn --data set14 --scale 4" in err


def test_a_table_says_what_it_needs_and_the_rest_for_the_asking(folder, capsys):
    compare_command(folder=folder)
    out, err = capsys.readouterr()
    assert out.count("\n- ") == 4, "what marks mean, the input of complexity, and publications"
    assert out.index("RFDN [1]") < out.index("IMDN [2]") < out.index("- [1] Residual Feature")
    assert "--notes` shows 2 more notes" in err
    compare_command(folder=folder, notes=True)
    out, err = capsys.readouterr()
    assert "- PSNR-Y and SSIM-Y: BT.601 Y" in out
    assert "--notes" not in err


@pytest.mark.parametrize(
    ("form", "opening"),
    [
        ("markdown", "### Comparison on Set5"),
        ("latex", "% needs"),
        ("html", '<div class="esrbench-table">'),
    ],
)
def test_other_forms_go_to_stdout_alone(folder, capsys, form, opening):
    compare_command(table_format=form, folder=folder)
    out, err = capsys.readouterr()
    assert out.startswith(opening)
    assert "32.21" in out
    assert "hint" not in err


def test_captions_and_labels(folder, capsys):
    compare_command(table_format="latex", caption="50 % of x_y", label="tab:y", folder=folder)
    out = capsys.readouterr().out
    assert r"\caption{50 \% of x\_y}" in out
    assert r"\label{tab:y}" in out
    with pytest.raises(UsageError, match="label"):
        compare_command(label="a}b", folder=folder)


def test_csv_and_json_are_documents(folder, capsys):
    compare_command(columns=["params,psnr_y", "ssim_y"], table_format="csv", folder=folder)
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [(row["entry"], row["params"]) for row in rows] == [
        ("rfdn", "433448"),
        ("imdn", "715176"),
    ]
    compare_command(scale=["x4"], folder=folder, as_json=True)
    document = json.loads(capsys.readouterr().out)
    assert document["lines"][1]["cells"][2]["shown"] == "32.21"
    assert document["lines"][1]["cells"][2]["place"] == 1
    assert document["commands"] == []


def test_latex_cites_and_writes_what_it_cites(folder, capsys, tmp_path):
    bib = tmp_path / "networks.bib"
    compare_command(table_format="latex", bibliography=bib, folder=folder)
    assert r"RFDN~\cite{liu2020rfdn} & " in capsys.readouterr().out
    assert "@inproceedings{liu2020rfdn," in bib.read_text()
    compare_command(table_format="markdown", bibliography=bib, folder=folder)
    out = capsys.readouterr().out
    assert r"| RFDN \[1\] " in out
    listed = (
        r"- \[1\] Residual Feature Distillation Network for Lightweight Image Super-Resolution. "
    )
    assert listed + "AIM workshop, ECCV, 2020" in out
    bib.write_text("mine")
    with pytest.raises(UsageError, match="exists already"):
        compare_command(bibliography=bib, folder=folder)
    assert bib.read_text() == "mine"
    with pytest.raises(UsageError, match="cannot be written"):
        compare_command(bibliography=tmp_path / "no" / "a.bib", folder=folder)


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("scale", "2,four", "expected numbers"),
        ("scale", "0", "expected numbers"),
        ("data", "set5,", "separated by commas"),
        ("columns", "psnr", "there is no column"),
    ],
)
def test_wrong_values_are_refused(folder, option, value, said):
    with pytest.raises(UsageError, match=said):
        compare_command(folder=folder, **{option: [value]})


def test_a_terminal_that_can_gets_bold_and_underlined(folder, capsys, monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("FORCE_COLOR", "1")
    compare_command(folder=folder)
    out = capsys.readouterr().out
    assert "\x1b[1m32.21\x1b[0m" in out
    assert "\x1b[4m32.16\x1b[0m" in out
    assert "¹" not in out


def test_tables_need_no_torch():
    text = "import sys; import esrbench.reports.comparison, esrbench.reports.formats, "
    text += "esrbench.cli.compare; print(sorted({'torch', 'cv2', 'pandas'} & set(sys.modules)))"
    assert run(sys.executable, "-c", text).stdout.strip() == "[]"


def test_a_folder_is_told_as_run_takes_it(make_record, tmp_path, capsys):
    """Records know a folder by its name, and one called like a declared set by another."""
    store = Store(tmp_path / "results")
    for data in ("mine", "set5-folder"):
        store.put(make_record("rfdn", {"psnr_y": 31.5}, data=data, weights="file"))
    for given in ("mine", "set5"):
        (tmp_path / "images" / given).mkdir(parents=True)
        compare_command(data=[str(tmp_path / "images" / given)], folder=store.folder)
        assert "31.50" in capsys.readouterr().out
    compare_command(data=["mine"], folder=store.folder)
    assert "31.50" in capsys.readouterr().out


CLAIMING = """schema = 1

[model]
name = "team-claims"
factory = "model:Net"
scales = [4]

[team]
name = "Team"
contact = "somebody"

[claims]
params = 0.4e6

[[claims.psnr]]
db = 32.5
data = "set5"
channel = "y"
"""


def test_claims_of_an_entry_that_was_not_run_are_marked_as_claims(in_process, work):
    write_files(work / "team-claims", {"submission.toml": CLAIMING, "model.py": ""})
    given = ["compare", "./team-claims", "rfdn-paper", "--published", "--data", "set5"]
    table = in_process(*given, "--scale", "4", "--format", "markdown")
    assert table.returncode == 0, table.stderr
    (own,) = [row for row in table.stdout.splitlines() if "32.50" in row]
    (other,) = [row for row in table.stdout.splitlines() if "32.24" in row]
    assert own.count("¶") == 2  # parameters and PSNR
    assert "†" not in own
    assert "†" in other
    assert "¶" not in other
    said = "¶ Claimed by the authors in submission.toml, not measured here: team-claims (x4)."
    assert said in table.stdout
    latex = in_process(*given, "--scale", "4", "--format", "latex").stdout
    assert r"$^{\P}$" in latex
    document = in_process(*given, "--scale", "4", "--format", "csv").stdout
    assert "claimed" in document


def test_a_chart_names_the_commands_for_what_was_not_run(in_process, work):
    pytest.importorskip("matplotlib")
    given = ["figure", "pareto", "--data", "set5", "--scale", "4", "-o", work / "f.svg"]
    refused = in_process(*given, "imdn", "rfdn")
    assert refused.returncode == 2
    assert "esrbench run imdn rfdn --data set5 --scale 4" in refused.stderr
    plain = CLAIMING.partition("[claims]")[0]
    write_files(work / "submissions/team-claims", {"submission.toml": plain, "model.py": ""})
    drawn = in_process(*given, "rfdn-paper", "submissions/team-claims", "--published")
    assert drawn.returncode == 0, drawn.stderr
    assert "to draw the entries that were not run, run:" in drawn.stderr
    assert "  esrbench run team-claims --data set5 --scale 4" in drawn.stderr

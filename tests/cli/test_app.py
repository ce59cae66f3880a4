import json
import re
import signal
import sys

import pytest
from builders import run

from esrbench.cli.app import _stand_in, main
from esrbench.cli.list import list_command
from esrbench.entries.registry import Registry
from esrbench.metrics import METRICS

NO_TORCH = """
import contextlib, io, json, sys
from importlib.abc import MetaPathFinder

class Refuse(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "cv2", "pandas", "skimage", "fvcore", "ptflops"}:
            raise AssertionError(f"{name} was imported")

sys.meta_path.insert(0, Refuse())
from esrbench.cli.app import main
ends = {}
for command in sys.argv[1:]:
    sys.argv = ["esrbench", *command.split()]
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        try:
            main()
        except SystemExit as ended:
            code = ended.code
    ends[command] = [code, said.getvalue()]
print(json.dumps(ends))
"""
LOOKS = (
    "--help",
    "run --help",
    "race --help",
    "doctor --help",
    "list models",
    "list data",
    "list metrics --json",
    "list rules",
    "show rfdn",
)


def test_looking_around_imports_nothing_heavy():
    done = run(sys.executable, "-c", NO_TORCH, *LOOKS)
    ends = json.loads(done.stdout)
    assert {look: code for look, (code, _) in ends.items()} == dict.fromkeys(LOOKS, 0), done.stderr
    assert all(said for _, said in ends.values())


@pytest.mark.parametrize("what", ["models", "data", "metrics", "rules"])
def test_lists_as_json_are_one_document(in_process, what):
    done = in_process("list", what, "--json")
    names = {row["name"] for row in json.loads(done.stdout)}
    expected = {
        "models": {"aidn", "aidn-challenge", "rfdn", "imdn", "imdn-challenge", "srresnet"},
        "data": {"demo", "div2k-valid", "set5", "set14", "bsd100", "urban100", "manga109"},
        "metrics": set(METRICS),
        "rules": {"ntire2022"},
    }[what]
    assert expected <= names


def test_a_list_says_yes_and_no(in_process):
    printed = in_process("list", "metrics", "--format", "markdown").stdout
    assert "| params | Params \\[M\\] | lower | yes |" in re.sub(" +", " ", printed)
    assert "| lower | no |" in re.sub(" +", " ", printed)


@pytest.mark.parametrize(
    ("arguments", "says", "advice"),
    [
        (["run", "rfdm"], "no network is registered as 'rfdm'", "Did you mean rfdn"),
        (["run", "rfdn", "--data", "set6"], "set6", "set5"),
        (["run", "imdn-challenge", "--scale", "3"], "not defined at x3", "x4"),
        (["run", "rfdn", "--input-size", "big"], "--input-size 'big'", "256x256"),
        (
            ["run", "rfdn", "--input-size", "8x8"],
            "rfdn needs LR images of 15x15",
            "raise the input size",
        ),
        (["run", "rfdn", "--min-rounds", "31"], "--min-rounds 31 exceeds --rounds 30", "--rounds"),
        (["run", "rfdn", "--precision", "tf32"], "precision tf32: only GPUs", "--device cuda"),
        (
            ["run", "rfdn", "--threads", "9999"],
            "--threads 9999: this process may use only",
            "--threads",
        ),
        (["run", "rfdn", "--baseline", "imdm"], "imdm", "imdn"),
        (["leaderboard", "--class", "fp16"], "no matching records", "esrbench run"),
        (["run", "rfdn", "--budget", "inf"], "--budget inf", "For example 3"),
        (["run", "rfdn", "--rounds", "501"], "'--rounds'", "run --help"),
        (["run", "rfdn", "--bogus"], "--bogus", "run --help"),
        (["show"], "Missing argument", "show --help"),
        (["paper-table", "3", "--scale", "5"], "no rows at x5", "x2, x3 and x4"),
        (["show", "rfdn", "--depth", "1", "--scale", "0"], "not defined at x0", "x2"),
        (["validate", "bicubic", "imdn-challenge", "--scale", "2"], "not defined at x2", "x4"),
        (["show", "demo", "--depth", "1"], "--depth shows networks only", "Leave --depth out"),
        (["list", "data", "--long"], "--long is for models only", "Leave --long out"),
        (["run", "rfdn", "--weights", "imdn=w.pth"], "imdn is not among", "rfdn"),
        (["run", "rfdn", "imdn", "--weights", "w.pth"], "which of rfdn, imdn", "NAME=FILE"),
        (["run", "rfdn", "--weights", "missing.pth"], "missing.pth", "path"),
        (["run", "rfdn", "--rule", "ntire1999"], "ntire1999", "ntire2022"),
        (["leaderboard"], "no matching records", "esrbench run"),
        (["show", "nothing"], "nothing is called 'nothing'", "rfdn"),
        (["fetch", "weights"], "which networks", "rfdn"),
        (["fetch", "weights", "aidn"], "no weights are released for aidn", "rfdn"),
        (["fetch", "weights", "rfdn", "--scale", "2"], "rfdn at x2", "rfdn"),
        (["doctor", "--device", "tpu"], "tpu", "Write cuda:1 for the second GPU"),
        (["doctor", "--slow"], "--slow", "doctor --help"),
        (["race", "rfdn"], "Missing argument", "race --help"),
        (["race", "rfdn", "rfdm"], "'rfdm'", "rfdn"),
        (["race", "rfdn", "imdn", "--weights", "no.pth"], "which of rfdn, imdn", "NAME=FILE"),
        (["race", "rfdn", "rfdn", "--weights", "rfdn=no.pth"], "no such weights file", "path"),
        (["race", "rfdn", "rfdn", "--input-size", "8x8"], "LR images of 15x15", "input size"),
    ],
)
def test_usage_errors_exit_2_and_say_what_to_do(in_process, arguments, says, advice):
    done = in_process(*arguments, code=2)
    assert says in done.stderr
    assert advice in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["run", "rfdm"], "Did you mean rfdn"),
        (["run", "rfdn", "--bogus"], "run --help"),
        (["run", "rfdn", "--input-size", "8x8"], "raise the input size"),
    ],
)
def test_a_process_ends_by_a_usage_error_without_a_traceback(esrbench, arguments, says):
    done = esrbench(*arguments, code=2)
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert not done.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["run", "rfdm"], "rfdm"),
        (["run", "--bogus"], "--bogus"),
        (["run", "--scale", "x"], "'--scale'"),
        (["show"], "Missing argument"),
    ],
)
def test_an_error_as_json_is_one_document(in_process, arguments, says):
    done = in_process(*arguments, "--json")
    error = json.loads(done.stdout)["error"]
    assert done.returncode == error["exit_code"] == 2
    assert says in error["message"]


def test_no_command_shows_help(esrbench):
    done = esrbench(code=0)
    assert "leaderboard" in done.stdout
    assert not done.stderr


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        (["rnu"], "Did you mean 'run'?\nSee `esrbench --help`."),
        (["run", "--bogus"], "See `esrbench run --help`."),
    ],
)
def test_a_wrong_word_names_the_right_help(in_process, arguments, advice):
    said = in_process(*arguments, code=2).stderr
    assert advice.splitlines()[-1] in said.splitlines()
    assert advice.splitlines()[0] in said


@pytest.mark.usefixtures("lasting_workers")
def test_show_depth_counts_blocks(in_process):
    blocks = json.loads(in_process("show", "rfdn", "--depth", "1", "--json").stdout)
    assert blocks[0]["params"] == 433_448
    assert [block["name"] for block in blocks[1:6]] == [
        "head",
        *(f"blocks.{number}" for number in range(4)),
    ]


@pytest.mark.usefixtures("lasting_workers")
def test_list_long_counts_every_network(describe, monkeypatch, capsys):
    registry = Registry()
    registry.add([describe("Nearest"), describe("FailsToBuild")], origin="tests")
    monkeypatch.setattr("esrbench.cli.list.open_registry", lambda: registry)
    list_command("models", long=True, as_json=True)
    counted, failed = json.loads(capsys.readouterr().out)
    assert (counted["params"], counted["macs_aten"], counted["conv_calls"]) == (12, 9 * 2**16, 1)
    assert failed["params"].startswith("failed: load-error")


@pytest.mark.usefixtures("lasting_workers")
def test_validate_exits_4_on_a_broken_promise(in_process, tmp_path):
    file = tmp_path / "nan.safetensors"
    file.write_bytes(b"nonsense")
    done = in_process("validate", "rfdn", "--scale", "4", "--weights", file, code=4)
    assert "builds and loads strictly" in done.stdout
    assert "failed" in done.stdout


@pytest.mark.usefixtures("lasting_workers")
def test_validate_passes_interpolation(in_process):
    done = in_process("validate", "bicubic", "--scale", "4", "--json", code=0)
    (report,) = json.loads(done.stdout)
    assert {check["outcome"] for check in report["checks"]} == {"passed"}


def test_a_bug_is_no_regression(monkeypatch, capsys):
    def broken(**_):
        message = "a bug"
        raise ZeroDivisionError(message)

    monkeypatch.setattr("esrbench.cli.app.app", broken)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 70
    assert "ZeroDivisionError: a bug" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ("leaderboard", "--results", ""),
        ("leaderboard", "--results="),
        ("run", "bicubic", "--save-sr", "", "--no-runtime"),
        ("new", "a-b", "--submissions", ""),
        ("baseline", "update", "--baseline="),
    ],
)
def test_an_empty_path_is_no_folder(in_process, work, arguments):
    done = in_process(*arguments, code=2)
    option = next(each for each in arguments if each.startswith("--")).rstrip("=")
    assert f"error: {option}: expected a path, not an empty text" in done.stderr
    assert not list(work.iterdir())


def test_a_bug_s_words_are_no_commands(in_process, monkeypatch):
    def fail(*_):
        raise RuntimeError("\x1b[2J\n::stop-commands::a")

    monkeypatch.setattr("esrbench.cli.list.open_registry", fail)
    done = in_process("list", code=70)
    assert "RuntimeError: \ufffd[2J" in done.stderr
    assert not any(each.lstrip().startswith("::") for each in done.stderr.splitlines())


@pytest.mark.slow
def test_a_pipe_of_ascii_has_no_question_marks():
    command = (sys.executable, "-m", "esrbench")
    ascii_only = {"PYTHONIOENCODING": "ascii", "LC_ALL": "C", "COLUMNS": "200"}
    table = run(*command, "leaderboard", "--official", "ntire2022", **ascii_only).stdout
    assert "27.11_1  0.317_11" in table
    assert table.isascii()
    assert "?" not in table
    narrow = run(*command, "list", **ascii_only | {"COLUMNS": "60"}).stdout
    assert " name            scales " in narrow
    assert "|" not in narrow
    document = run(*command, "show", "rfdn", "--json", **ascii_only).stdout
    plain = run(*command, "show", "rfdn", "--json", PYTHONIOENCODING="utf-8").stdout
    assert json.loads(document) == json.loads(plain)


def test_what_a_stream_does_not_take_is_escaped_in_json_alone():
    error = UnicodeEncodeError("ascii", "a\u00d7\U0001f600", 1, 3, "ordinal not in range")
    assert _stand_in(error, as_json=False) == ("x?", 3)
    assert _stand_in(error, as_json=True) == ("\\u00d7\\ud83d\\ude00", 3)


def test_a_quiet_command_prints_its_table_and_errors_alone(in_process):
    board = ("leaderboard", "--official", "ntire2022")
    quiet = in_process(*board, "--quiet", code=0)
    wrong = in_process("leaderboard", "--official", "ntire2099", "--quiet", code=2)
    assert wrong.stderr.startswith("error: no rule is called 'ntire2099'\nDid you mean")
    said = in_process(*board, code=0)
    assert said.stderr.startswith("hint: ")
    assert (quiet.stdout, quiet.stderr) == (said.stdout, "")


@pytest.mark.slow
def test_a_quiet_run_and_check_print_tables_alone(in_process):
    options = ("--threads", "1", "--no-runtime", "--quiet")
    measured = in_process("run", "bicubic", *options, code=0)
    assert "bicubic" in measured.stdout
    assert measured.stderr == ""
    counts = ("--metrics", "params", "--no-runtime", "--quiet")
    in_process("baseline", "update", "bicubic", "--no-scores", code=0)
    checked = in_process("check", *counts, code=0)
    assert checked.stdout.strip().startswith("No regression")
    assert checked.stderr == ""

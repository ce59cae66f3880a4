"""``esrbench runs``: what is stored, and what is decided about it."""

import json

import pytest

from esrbench.runs.store import Store


@pytest.fixture
def results(make_record, work):
    store = Store(work / "results")
    for name in ("one", "two"):
        store.put(make_record(name, {"params": 1.0}, run_id=f"run-{name}"))
    return store


@pytest.mark.usefixtures("results")
def test_a_withdrawn_entry_leaves_the_board_and_comes_back(in_process):
    in_process("runs", "withdraw", "one", "--reason", "by wish", code=0)
    board = in_process("leaderboard", "--rule", "aim2020", "--json", code=0).stdout
    assert '"one"' not in board
    rows = json.loads(in_process("runs", "list", "--json", code=0).stdout)
    states = {row["entry"]: (row["state"], row["reason"]) for row in rows}
    assert states == {"one": ("withdrawn", "by wish"), "two": ("counted", None)}
    in_process("runs", "restore", "run-one", code=2)
    done = in_process("runs", "restore", "one", "--json", code=0)
    assert json.loads(done.stdout)[0]["action"] == "restore"
    assert '"one"' in in_process("leaderboard", "--rule", "aim2020", "--json").stdout
    log = json.loads(in_process("runs", "log", "--json", code=0).stdout)
    board = ("leaderboard", "--rule", "aim2020", "--json", "--as-of")
    earlier = in_process(*board, "2026-01-02").stdout
    assert '"one"' in earlier
    assert in_process(*board, log[-1]["when"]).stdout == in_process(*board[:-1]).stdout
    in_process(*board, "yesterday", code=2)
    shown = json.loads(in_process("runs", "show", "run-one", "--json", code=0).stdout)
    assert [each["action"] for each in shown["decisions"]] == ["withdraw", "restore"]
    log = in_process("runs", "log", "--format", "csv", code=0).stdout
    assert "by wish" in log


@pytest.mark.usefixtures("results")
def test_runs_go_out_and_come_in(in_process, work):
    done = in_process("runs", "export", "public", "two", "--public", "--json", code=0)
    assert json.loads(done.stdout)[0]["records"] == 1
    in_process("runs", "merge", "public", "--results", "other", code=0)
    assert len(list((work / "other/runs").iterdir())) == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("show",), "which entry or run?"),
        (("show", "nobody"), "no run of nobody"),
        (("list", "nobody"), "no run of nobody"),
        (("withdraw", "noe"), "Did you mean one?"),
        (("export",), "runs export: which folder?"),
        (("merge", "nowhere"), "nowhere: there are no run records"),
        (("list", "--public"), "--public has no effect with list"),
        (("drop", "one"), "'drop' is not one of"),
    ],
)
@pytest.mark.usefixtures("results")
def test_what_cannot_be_done_exits_2_and_says_so(in_process, arguments, says):
    done = in_process("runs", *arguments, code=2)
    assert says in done.stderr

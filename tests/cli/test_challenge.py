"""A challenge from ``init-challenge`` to its page, by workers that answer at once."""

import json

import pytest
from builders import LENIENT_TABLES, edit, noise, write_set
from fake_worker import FakeWorker, Workers, use_fake_workers

from esrbench.entries.scaffold import scaffold
from esrbench.runs.store import Store
from esrbench.worker.failure import WorkerError
from esrbench.worker.launcher import Launcher

FILE = (
    """title = "Small ESR"
entries = ["submissions/*", "bicubic"]
replicates = 2
[rule]
ties = "shared"
source = "this test"
columns = ["psnr_rgb", "runtime_images"]
gates = [{ data = "test", title = "our test images", minimum = 1.0 }]
[[rule.tracks]]
key = "main"
label = "Main"
title = "Speed"
formula = { kind = "rank-sum", metrics = ["runtime_images"] }
[[data]]
name = "valid"
folder = "valid"
[[data]]
name = "test"
folder = "test"
hidden = true
[protocol]
threads = 1
counted_input = [16, 16]
"""
    + LENIENT_TABLES
)


@pytest.fixture
def workers(monkeypatch):
    """Workers that answer at once instead of all others."""
    monkeypatch.setattr(Launcher, "worker", Launcher.worker)  # put back afterwards
    for wait in ("SETTLING_SECONDS", "IDLE_SECONDS"):
        monkeypatch.setattr(f"esrbench.runs.timing.{wait}", 0.0)
    workers = Workers()
    use_fake_workers(workers)
    return workers


@pytest.fixture
def folder(work):
    """A challenge with two entries, on images that are hidden and others that are not."""
    for name in ("team1-a", "team2-b"):
        scaffold(name, work / "submissions", scale=4)
    write_set(work / "valid", {"open-one": noise(1, 64, 64), "open-two": noise(2, 64, 64)})
    write_set(work / "test", {"secret-one": noise(3, 64, 64)})
    (work / "challenge.toml").write_text(FILE)
    return work


def read_board(folder, name="valid-fp32.csv"):
    rows = (folder / "board" / name).read_text().splitlines()
    heads = rows[0].split(",")
    return {row.split(",")[0]: dict(zip(heads, row.split(","), strict=False)) for row in rows[1:]}


@pytest.mark.slow
def test_late_failing_replaced_and_withdrawn_entries(in_process, folder, workers, monkeypatch):
    workers.of = {"team2-b": WorkerError("forward-error", "no such operator", fatal=False)}
    planned = json.loads(in_process("run", "challenge.toml", "--plan", "--json", code=0).stdout)
    assert [each["passes"] for each in planned] == [3] * 6
    assert not (folder / "results").exists()

    done = in_process("run", "challenge.toml", code=4)
    assert "pinned valid at its first use" in done.stderr
    board = read_board(folder)
    assert board["team1-a"]["main_rank"] == "1"
    assert board["team2-b"]["unranked_because"].startswith("forward-error: no such operator")
    assert "Small ESR" in (folder / "board" / "valid-fp32.html").read_text()
    workers.networks()

    # A late entry alone is measured; the replaced one once more.
    scaffold("team3-late", folder / "submissions", scale=4)
    edit(folder / "submissions/team2-b/model.py", "def forward", "# mended\n    def forward")
    workers.of = {}
    monkeypatch.setattr(FakeWorker, "code_sha256", "b" * 64)
    planned = json.loads(in_process("run", "challenge.toml", "--plan", "--json", code=0).stdout)
    left = {each["entry"] for each in planned if each["passes"]}
    assert left == {"team2-b", "team3-late"}
    assert {each["basis"] for each in planned if each["entry"] == "bicubic"} == {"measured before"}
    in_process("run", "challenge.toml", code=0)
    assert set(workers.networks()) == {"team2-b", "team3-late"}
    assert set(read_board(folder)) == {"team1-a", "team2-b", "team3-late", "bicubic"}
    assert not any(
        row["unranked_because"] for name, row in read_board(folder).items() if name != "bicubic"
    )
    log = json.loads(in_process("runs", "log", "--json", code=0).stdout)
    assert [each["action"] for each in log] == ["challenge", "withdraw", "withdraw"]
    assert log[1]["reason"].startswith("replaced by")

    # What is withdrawn leaves the boards, and is not measured again.
    in_process("runs", "withdraw", "team1-a", "--reason", "by wish", code=0)
    in_process("runs", "disqualify", "team2-b", "--reason", "trained on test images", code=0)
    done = in_process("run", "challenge.toml", "--json")
    assert "team1-a is withdrawn: by wish" in done.stderr
    assert workers.networks() == []
    board = read_board(folder)
    assert "team1-a" not in board
    assert board["team2-b"]["unranked_because"] == "disqualified: trained on test images"
    in_process("runs", "restore", "team1-a", "team2-b", code=0)
    in_process("run", "challenge.toml", code=0)
    assert {"team1-a", "team2-b"} <= set(read_board(folder))


@pytest.mark.usefixtures("workers")
def test_hidden_images_stay_with_the_evaluator(in_process, folder):
    in_process("run", "challenge.toml", code=0)
    for path in (folder / "board").iterdir():
        assert "secret-one" not in path.read_text(), path
    assert "open-one" in (folder / "board" / "valid-fp32.html").read_text()
    assert not list((folder / "results").glob("crops/**/*.webp"))
    in_process("runs", "export", "public", "--public", code=0)
    texts = [path.read_text() for path in (folder / "public").rglob("*.json")]
    assert texts
    assert not any("secret-one" in text for text in texts)
    assert any("open-one" in text for text in texts)
    means = {r.entry.name: r.measured("psnr_rgb") for r in Store(folder / "public").load()[0]}
    assert means["team1-a"] > 5


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("challenge.toml", "--data", "demo"), "--data cannot be given"),
        (("challenge.toml", "rfdn", "--rounds", "3"), "--rounds, rfdn cannot be given"),
        (("none.toml",), "none.toml: No such file"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_what_a_file_says_is_not_said_twice(in_process, arguments, says):
    done = in_process("run", *arguments, code=2)
    assert says in done.stderr


def test_a_new_challenge_runs_as_it_is(in_process, workers, work):
    done = in_process("init-challenge", "esr", "--like", "ntire2024", "--json", code=0)
    assert json.loads(done.stdout)["path"] == "esr/challenge.toml"
    done = in_process("run", "esr/challenge.toml", "--plan", code=0)
    assert "matches no folder with a submission.toml" in done.stderr
    assert "8 passes of 2 runs to make" in done.stdout
    assert workers.networks() == []
    assert [path.name for path in (work / "esr").iterdir() if path.name == "results"] == []
    in_process("init-challenge", "esr", code=2)
    in_process("init-challenge", code=2)
    assert json.loads(in_process("init-challenge", "--schema", code=0).stdout)["properties"]

"""``esrbench run``, whole: real workers, real clocks."""

import json
import shlex
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from builders import write_files
from safetensors.numpy import save_file
from scipy.stats import gmean

from esrbench.cli.suites import ROW, conclude, demonstration_hints, execute, shown_values
from esrbench.entries.registry import default_registry
from esrbench.errors import UsageError
from esrbench.ranking.leaderboard import build_leaderboard
from esrbench.ranking.rules import get_rule
from esrbench.records import Absent, Notice, RunRecord, WeightsIdentity
from esrbench.runs.store import Store
from esrbench.runs.trust import net_seconds
from esrbench.runtimes import claimed, images_seconds
from esrbench.worker.launcher import Launcher

PATIENCE_SECONDS = 120.0
QUICK = ("--threads", "1", "--input-size", "16x16", "--rounds", "2", "--min-rounds", "2")


@pytest.fixture(scope="module")
def ran(esrbench_in, shared_pair_folder, tmp_path_factory):
    """RFDN with random weights and interpolation, timed; what came of it, and its folder."""
    esrbench = esrbench_in(tmp_path_factory.mktemp("ran"))
    chosen = ("--data", shared_pair_folder, "--weights", "rfdn=random")
    done = esrbench("run", "rfdn", "bicubic", *chosen, *QUICK, "--results", "out")
    return SimpleNamespace(done=done, esrbench=esrbench)


def test_run_prints_a_leaderboard_and_stores_records(ran):
    assert ran.done.returncode == 0, ran.done.stderr
    assert "NTIRE 2022 Efficient Super-Resolution" in ran.done.stdout
    assert "No gate is claimed" in ran.done.stdout
    assert "0.433₁" in ran.done.stdout
    assert "esrbench fetch weights rfdn" in ran.done.stderr

    again = ran.esrbench("leaderboard", "--results", "out", "--json")
    board = json.loads(again.stdout)
    assert [row["entry"] for row in board["ranked"]] == ["rfdn"]
    assert [row["entry"] for row in board["unranked"]] == ["bicubic"]
    assert board["ranked"][0]["values"]["params"]["value"] == 433_448
    run_id = board["ranked"][0]["run_id"]

    shown = ran.esrbench("show", run_id, "--results", "out")
    assert "0.433" in shown.stdout
    assert "absent (unavailable): random weights" in shown.stdout


@pytest.mark.slow
def test_what_to_do_next_works_as_printed(ran):
    lines = [line for line in ran.done.stderr.splitlines() if line.startswith("next: ")]
    commands = [shlex.split(line.removeprefix("next: "), comments=True) for line in lines]
    assert [words[1] for words in commands] == ["leaderboard", "report", "new"]
    assert commands[0][-2:] == ["--results", "out"]
    for _, *words in commands:
        ran.esrbench(*words, code=0)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_without_subscripts_gets_a_table_all_the_same(ran, encoding):
    done = ran.esrbench("leaderboard", "--results", "out", PYTHONIOENCODING=encoding, code=0)
    assert "bicubic" in done.stdout
    assert "0.433_1" in done.stdout


@pytest.mark.slow
def test_run_sets_entries_in_relation_to_a_baseline_in_their_class(in_process, shared_pair_folder):
    options = ["--precision", "bf16", "--channels-last", "--processes", "2", "--order-seed", "5"]
    run = ["run", "rfdn", "--baseline", "imdn", "--data", shared_pair_folder, *QUICK, *options]
    done = in_process(*run, "--results", "out", "--json", code=0)
    document = json.loads(done.stdout)
    assert document["interrupted"] is False
    records = [RunRecord.model_validate(each) for each in document["records"]]
    by_name = {record.entry.name: record for record in records}
    assert set(by_name) == {"rfdn", "imdn"}
    assert all(record.measured("psnr_rgb") is not None for record in records)
    latency = by_name["rfdn"].latency
    assert latency.order_seed == 5
    baseline = latency.baseline
    ours = [
        (images_seconds(each, claimed) or 0.0, images_seconds(each, net_seconds) or 0.0)
        for each in latency.replicates
    ]
    theirs = zip(baseline.images_seconds, baseline.trusted_seconds, strict=True)
    rounds = [
        (one, (said or 0.0, seen or 0.0)) for one, (said, seen) in zip(ours, theirs, strict=True)
    ]
    # Less the null network's time, a short one may come out below zero.
    ratios = [max(one) / max(other) for one, other in rounds if min(*one, *other) > 0]
    found = by_name["rfdn"].values["runtime_ratio"]
    # On a busy machine there may be none to publish.
    assert isinstance(found, Absent) or found.value == pytest.approx(gmean(ratios))

    chosen = in_process(
        "leaderboard", "--notes", "--results", "out", "--class", "bf16, channels_last"
    )
    assert "bf16, channels_last" in chosen.stdout
    assert "The baseline is imdn, timed in the same rounds" in chosen.stdout
    shown = in_process("show", by_name["rfdn"].run_id, "--results", "out").stdout
    assert "fresh-processes, order seed 5" in shown
    assert "latency at LR 16x24" in shown


def test_an_unwritable_results_folder_is_told_before_measuring(
    in_process, shared_pair_folder, tmp_path
):
    blocked = tmp_path / "blocked"
    blocked.write_text("a file")
    done = in_process("run", "bicubic", "--data", shared_pair_folder, "--results", blocked / "in")
    assert done.returncode == 2
    assert "--results a folder you can write to" in done.stderr
    assert "bicubic on pairs" not in done.stderr


def test_bad_data_lists_every_problem_before_any_network_runs(in_process, pair_folder, work):
    (pair_folder / "LR_bicubic" / "X4" / "image0x4.png").unlink()
    broken = pair_folder / "HR" / "image1.png"
    broken.write_bytes(broken.read_bytes()[:-20])
    done = in_process("run", "bicubic", "--data", pair_folder, code=2)
    assert "image0" in done.stderr
    assert "image1" in done.stderr
    assert not list(work.iterdir())


@pytest.mark.usefixtures("lasting_workers")
def test_weights_that_do_not_fit_are_a_failed_run_with_exit_4(in_process, shared_pair_folder, work):
    # A relative path, though the worker works elsewhere; it may hold an equals sign.
    save_file({"head.weight": np.zeros((1, 1), dtype=np.float32)}, work / "a=b.bin")
    chosen = ("--weights", "a=b.bin", "--data", shared_pair_folder)
    done = in_process("run", "rfdn", *chosen, *QUICK)
    assert "; `esrbench help load-error` explains this" in done.stderr
    assert done.returncode == 4
    assert "load-error" in done.stdout + done.stderr
    assert "a=b.bin does not fit RFDN" in done.stderr


UNTIMED = ("--threads", "1", "--input-size", "16x16", "--no-runtime")


@contextmanager
def started(*arguments):
    """``esrbench`` as a process that is there to be signalled."""
    command = [Path(sys.executable).with_name("esrbench"), *arguments]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_ctrl_c_keeps_finished_runs_and_exits_130(shared_pair_folder, tmp_path):
    results = tmp_path / "results"
    names = ("bicubic", "rfdn", "imdn", "aidn", "srresnet", "rlfn")
    where = ("--data", shared_pair_folder, "--results", results)
    with started("run", *names, *where, *UNTIMED) as process:
        # A record is there a moment before the command knows that it is.
        said = next(line for line in process.stderr if ": ok in " in line)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=PATIENCE_SECONDS)
    assert said.startswith("bicubic on pairs")
    assert process.returncode == 130, stderr
    finished = len(list(results.glob("runs/*.json")))
    assert 1 <= finished < 6
    assert f"interrupted: {finished} finished run" in stderr
    assert "bicubic" in stdout


@pytest.mark.slow
def test_a_second_ctrl_c_ends_at_once_and_what_was_stored_is_whole(shared_pair_folder, tmp_path):
    where = ("--data", shared_pair_folder, "--results", tmp_path / "results")
    with started("run", "bicubic", "rfdn", *where, *UNTIMED) as process:
        next(line for line in process.stderr if ": ok in " in line)
        for _ in range(20):
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                time.sleep(0.01)
        _, stderr = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 130, stderr
    assert "Traceback" not in stderr
    assert len(Store(tmp_path / "results").load()[0]) >= 1


def test_a_process_that_hangs_in_its_end_is_left_by_a_second_ctrl_c():
    code = (
        "import signal, time\n"
        "from esrbench.cli.app import _interrupt\n"
        "signal.signal(signal.SIGINT, _interrupt)\n"
        "try:\n    print('ready', flush=True)\n    time.sleep(60)\n"
        "except KeyboardInterrupt:\n    print('ending', flush=True)\n    time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        for word in ("ready", "ending"):
            assert process.stdout.readline().strip() == word
            process.send_signal(signal.SIGINT)
        assert process.wait(timeout=PATIENCE_SECONDS) == 130
        assert process.stderr.read() == "interrupted twice: ended at once\n"


def test_a_terminated_run_takes_its_worker_along(shared_pair_folder, tmp_path):
    where = ("--data", shared_pair_folder, "--results", tmp_path / "results")
    with started("run", "rfdn", *where) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        if not children.exists():
            pytest.skip("this system does not list a process's children")
        deadline = time.monotonic() + PATIENCE_SECONDS
        workers = []
        while not workers and time.monotonic() < deadline:
            time.sleep(0.05)
            workers = children.read_text().split()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=PATIENCE_SECONDS) == 128 + signal.SIGTERM
    assert workers
    # A signal within the very call that starts the worker leaves it to find its pipe closed.
    deadline = time.monotonic() + PATIENCE_SECONDS
    while any(Path(f"/proc/{worker}").exists() for worker in workers):
        assert time.monotonic() < deadline, "the worker outlived the run"
        time.sleep(0.1)


@pytest.mark.slow
@pytest.mark.usefixtures("lasting_workers")
def test_fetched_weights_are_used_and_scored(in_process, shared, shared_pair_folder, tmp_path):
    cache = {"ESRBENCH_CACHE": str(tmp_path / "cache")}
    names = ("rfdn", "imdn")
    mirror = ("--scale", "4", "--mirror", shared / "weights")
    in_process("fetch", "weights", *names, *mirror, **cache, code=0)
    run = ("run", *names, "--data", shared_pair_folder, *QUICK, "--no-runtime", "--json")
    document = json.loads(in_process(*run, **cache).stdout)
    records = [RunRecord.model_validate(record) for record in document["records"]]
    assert [record.entry.name for record in records] == [*names]
    for record in records:
        assert record.entry.weights.source == "released"
        assert record.measured("psnr_rgb") is not None


@pytest.mark.usefixtures("lasting_workers")
def test_a_first_run_has_psnr_and_says_whose_weights_ran(in_process, shared_pair_folder, tmp_path):
    done = in_process(
        "run",
        "rfdn",
        "--data",
        shared_pair_folder,
        *QUICK,
        "--no-runtime",
        ESRBENCH_CACHE=str(tmp_path / "empty"),
    )
    assert done.returncode == 0, done.stderr
    assert "Demonstration weights of esrbench, not the authors': rfdn." in done.stdout
    assert "Random weights" not in done.stdout
    assert "`esrbench fetch weights rfdn` fetches the authors'" in done.stderr


def test_what_was_said_of_the_registry_is_not_said_again_with_the_boards(
    monkeypatch, capsys, tmp_path, make_record
):
    said, new = (
        Notice(code="same-weights", message=f"{names} have the same weights", advice="Ask.")
        for names in ("a and b", "c and d")
    )
    monkeypatch.setattr(default_registry(), "notices", [said])
    board = build_leaderboard(
        [make_record("net", {"psnr_rgb": 29.1})], get_rule("ntire2022")
    ).model_copy(update={"notices": (said, new)})
    conclude(
        [],
        [board, board],
        Store(tmp_path),
        interrupted=False,
        count=0,
        verbose=False,
        as_json=False,
    )
    told = capsys.readouterr()
    assert "a and b" not in told.out + told.err
    assert (told.out + told.err).count("c and d have the same weights") == 1


def test_hints_advise_only_what_can_help_and_each_once(make_record):
    entries = [
        make_record(name=name).entry.model_copy(
            update={"weights": WeightsIdentity(source=source, sha256=sha256)}
        )
        for name, source, sha256 in (
            ("imdn", "demo", "a" * 64),
            ("srresnet", "demo", "b" * 64),
            ("rfdn", "demo", "c" * 64),
            ("imdn", "demo", "a" * 64),
            ("carn", "random", None),
        )
    ]
    fetched, own = demonstration_hints(entries)
    assert fetched.startswith("imdn, rfdn ran with demonstration weights")
    assert "`esrbench fetch weights imdn rfdn`" in fetched
    assert own.startswith("srresnet ran with demonstration weights")
    assert "none were released. Give your own: --weights NAME=FILE." in own


def test_who_has_an_entry_is_not_told_to_start_one(in_process, work):
    write_files(work / "submissions" / "a-b", {"submission.toml": "schema = 2"})
    run = ["run", "--all", "--no-runtime"]
    done = in_process(*run, ESRBENCH_SUBMISSIONS=str(work / "submissions"), code=4)
    following = [line for line in done.stderr.splitlines() if line.startswith("next: ")]
    assert [line.split()[2] for line in following] == ["leaderboard", "report"]


def test_a_run_ends_with_two_warnings_one_hint_and_what_to_do_next(capsys, make_record, tmp_path):
    noisy = [Notice(code=code, message=code, advice="Wait.") for code in ("one", "two", "three")]
    records = [
        make_record("net", {"psnr_rgb": 29.1}).model_copy(update={"notices": tuple(noisy)}),
        make_record("other", {"psnr_rgb": 29.1}).model_copy(update={"notices": tuple(noisy[1:])}),
    ]
    following = [("esrbench new a-b", "yours"), ("esrbench report", "a page")]
    ends = {"interrupted": False, "count": 1, "following": following, "as_json": False}
    conclude(records, [], Store(tmp_path), verbose=False, **ends)
    said = capsys.readouterr().err
    assert said.count("warning (") == 2
    assert "warning (one)" not in said, "it is the least frequent"
    assert said.count("hint: ") <= 1
    assert "1 new record in" in said
    assert said.splitlines()[-2:] == [
        "next: esrbench new a-b  # yours",
        "next: esrbench report   # a page",
    ]
    conclude(records, [], Store(tmp_path), verbose=True, **ends)
    assert capsys.readouterr().err.count("warning (") == 5


def test_a_pipe_is_told_of_each_entry_once_and_of_waiting(
    make_record, monkeypatch, capsys, tmp_path
):
    record = make_record("net", {}, status="load-error", cause="load-error: einops is missing")

    def run_suite(_, *, events, **_settings):
        events.on_step("net", "waiting for process 7, which measures")
        events.on_step("net", "counting")
        events.on_scored(record)
        yield record

    monkeypatch.setattr("esrbench.runs.suite.run_suite", run_suite)
    settings = {"resume": False, "engine": None, "timeout_seconds": 9, "entry_seconds": 9}
    assert execute([None], Store(tmp_path), [], **settings) == ([record], False)
    waiting, failed = filter(None, map(str.strip, capsys.readouterr().err.splitlines()))
    assert waiting == "net: waiting for process 7, which measures"
    assert failed.startswith(f"net on {record.data.name}: load-error in ")
    assert "(einops is missing); `esrbench help load-error`" in failed


def test_a_row_shows_what_there_is(make_record):
    record = make_record("net", {"psnr_rgb": 29.126, "params": 433_448})
    assert list(shown_values(record, ROW)) == ["PSNR 29.13 dB", "Params 0.433 M"]


@pytest.mark.parametrize("command", [("run", "bicubic"), ("race", "bicubic", "bicubic")])
def test_a_gpu_that_is_not_here_ends_with_2_before_any_worker(in_process, monkeypatch, command):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(Launcher, "worker", lambda *_, **__: pytest.fail("a worker was started"))
    done = in_process(*command, "--device", "cuda")
    assert done.returncode == 2
    assert "sees no GPU here" in done.stderr
    done = in_process(*command, "--device", "gpu")
    assert done.returncode == 2
    assert "expected cpu, cuda or cuda:N" in done.stderr


@pytest.mark.parametrize("command", [("run", "bicubic"), ("race", "bicubic", "bicubic")])
def test_a_gpu_is_chosen_by_its_number(in_process, monkeypatch, command):
    started = []

    def worker(launcher, *_, protocol, **__):
        started.append((launcher.gpu, protocol.device))
        raise UsageError("no further")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(Launcher, "worker", worker)
    in_process(*command, "--device", "cuda:1")
    assert started == [(1, "cuda")]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("rfdn", "--python rfdn: expected NAME=PATH"),
        ("imdn=/usr/bin/python3", "imdn is not among the networks to run"),
        ("rfdn=/no/such/python", "/no/such/python: this Python cannot be started"),
        ("rfdn=/bin/cat", "/bin/cat: not a Python 3.8 or newer"),
    ],
)
def test_a_python_that_cannot_run_entries_is_told_before_measuring(
    *, in_process, shared_pair_folder, tmp_path, given, says
):
    done = in_process(
        "run", "rfdn", "--data", shared_pair_folder, "--python", given, "--results", tmp_path / "r"
    )
    assert done.returncode == 2
    assert says in " ".join(done.stderr.split())

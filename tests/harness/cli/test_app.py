from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from safetensors.numpy import save_file
from scipy.stats import gmean

from harness.catalog.registry import ModelDescriptor, Registry
from harness.cli import listing
from harness.cli.app import main
from harness.evaluation.runtimes import claimed, images_seconds
from harness.evaluation.trust import net_seconds
from harness.metrics import METRICS
from harness.records import Latency, RunRecord

if TYPE_CHECKING:
    from collections.abc import Callable

    Command = Callable[..., subprocess.CompletedProcess[str]]

QUICK = ("--threads", "1", "--input-size", "16x16", "--rounds", "2", "--min-rounds", "2")

NO_TORCH = """
import sys
from importlib.abc import MetaPathFinder

class Refuse(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "cv2", "pandas", "skimage", "fvcore", "ptflops"}:
            raise AssertionError(f"{name} was imported")

sys.meta_path.insert(0, Refuse())
sys.argv = ["esrbench", *sys.argv[1:]]
from harness.cli.app import main
main()
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["run", "--help"],
        ["race", "--help"],
        ["doctor", "--help"],
        ["list", "models"],
        ["list", "data"],
        ["list", "metrics", "--json"],
        ["list", "rules"],
        ["show", "rfdn"],
    ],
)
def test_looking_around_imports_nothing_heavy(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", NO_TORCH, *arguments], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.parametrize("what", ["models", "data", "metrics", "rules"])
def test_lists_as_json_are_one_document(esrbench: Command, what: str) -> None:
    done = esrbench("list", what, "--json")
    names = {row["name"] for row in json.loads(done.stdout)}
    expected = {
        "models": {"aidn", "aidn-challenge", "rfdn", "imdn", "imdn-challenge", "srresnet"},
        "data": {"demo", "div2k-valid", "set5", "set14", "bsd100", "urban100", "manga109"},
        "metrics": set(METRICS),
        "rules": {"ntire2022"},
    }[what]
    assert expected <= names


def test_run_prints_a_leaderboard_and_stores_records(esrbench: Command, pair_folder: Path) -> None:
    chosen = ("--data", pair_folder, "--weights", "rfdn=random")
    done = esrbench("run", "rfdn", "bicubic", *chosen, *QUICK, "--results", "out")
    assert done.returncode == 0, done.stderr
    assert "NTIRE 2022 Efficient Super-Resolution" in done.stdout
    assert "No gate is claimed" in done.stdout
    assert "0.433₁" in done.stdout
    assert "esrbench fetch weights rfdn" in done.stderr

    again = esrbench("leaderboard", "--results", "out", "--json")
    board = json.loads(again.stdout)
    assert [row["entry"] for row in board["ranked"]] == ["rfdn"]
    assert [row["entry"] for row in board["unranked"]] == ["bicubic"]
    assert board["ranked"][0]["values"]["params"]["value"] == 433_448
    run_id = board["ranked"][0]["run_id"]

    shown = esrbench("show", run_id, "--results", "out")
    assert "0.433" in shown.stdout
    assert "absent (unavailable): random weights" in shown.stdout


@pytest.mark.slow
def test_run_sets_entries_in_relation_to_a_baseline_in_their_class(
    esrbench: Command, pair_folder: Path
) -> None:
    options = ["--precision", "bf16", "--channels-last", "--processes", "2", "--order-seed", "5"]
    run = ["run", "imdn", "--baseline", "srresnet", "--data", pair_folder, *QUICK, *options]
    done = esrbench(*run, "--results", "out", "--json")
    assert done.returncode == 0, done.stderr
    records = [RunRecord.model_validate(each) for each in json.loads(done.stdout)["records"]]
    by_name = {record.entry.name: record for record in records}
    assert set(by_name) == {"imdn", "srresnet"}
    latency = by_name["imdn"].latency
    assert isinstance(latency, Latency)
    assert latency.order_seed == 5
    assert latency.baseline is not None
    # On a busy machine the evaluator's clock may be the one that counts.
    disputed = by_name["imdn"].status == "timing-disputed"
    times = net_seconds if disputed else claimed
    ours = [images_seconds(each, times) for each in latency.replicates]
    baseline = latency.baseline
    theirs = baseline.trusted_seconds if disputed else baseline.images_seconds
    ratios = [one / other for one, other in zip(ours, theirs, strict=True) if one and other]
    assert len(ratios) == 2
    assert by_name["imdn"].measured("runtime_ratio") == pytest.approx(gmean(ratios))

    board = esrbench("leaderboard", "--results", "out", "--class", "bf16, channels_last")
    assert "bf16, channels_last" in board.stdout
    assert "The baseline is srresnet, timed in the same rounds" in board.stdout
    shown = esrbench("show", by_name["imdn"].run_id, "--results", "out").stdout
    assert "fresh-processes, order seed 5" in shown
    assert "latency at LR 16x24" in shown


def test_run_as_json_is_one_document_of_valid_records(esrbench: Command, pair_folder: Path) -> None:
    done = esrbench("run", "bicubic", "--data", pair_folder, *QUICK, "--json")
    document = json.loads(done.stdout)
    records = [RunRecord.model_validate(record) for record in document["records"]]
    assert [record.entry.name for record in records] == ["bicubic"]
    assert document["interrupted"] is False
    assert records[0].measured("psnr_rgb") is not None


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
        (["run", "rfdn", "--threads", "9999"], "9999 threads were asked for", "--threads"),
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
    ],
)
def test_usage_errors_exit_2_and_say_what_to_do(
    esrbench: Command, arguments: list[str], says: str, advice: str
) -> None:
    done = esrbench(*arguments)
    assert done.returncode == 2
    assert says in done.stderr
    assert advice in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["run", "rfdm"], "rfdm"),
        (["run", "--bogus"], "--bogus"),
        (["run", "--scale", "x"], "'--scale'"),
        (["show"], "Missing argument"),
    ],
)
def test_an_error_as_json_is_one_document(
    esrbench: Command, arguments: list[str], says: str
) -> None:
    done = esrbench(*arguments, "--json")
    error = json.loads(done.stdout)["error"]
    assert done.returncode == error["exit_code"] == 2
    assert says in error["message"]


def test_no_command_shows_help(esrbench: Command) -> None:
    done = esrbench()
    assert done.returncode == 2
    assert "leaderboard" in done.stdout + done.stderr
    assert "error" not in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_without_subscripts_gets_a_table_all_the_same(
    esrbench: Command, pair_folder: Path, encoding: str
) -> None:
    esrbench("run", "bicubic", "--data", pair_folder, *QUICK)
    done = esrbench("leaderboard", PYTHONIOENCODING=encoding)
    assert done.returncode == 0, done.stderr
    assert "bicubic" in done.stdout


def test_an_unwritable_results_folder_is_told_before_measuring(
    esrbench: Command, pair_folder: Path, tmp_path: Path
) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("a file")
    done = esrbench("run", "bicubic", "--data", pair_folder, "--results", blocked / "in")
    assert done.returncode == 2
    assert "--results a folder you can write to" in done.stderr
    assert "bicubic on pairs" not in done.stderr


def test_a_weights_path_may_hold_an_equals_sign(
    esrbench: Command, pair_folder: Path, tmp_path: Path
) -> None:
    file = tmp_path / "a=b.safetensors"
    save_file({"head.weight": np.zeros((1, 1), dtype=np.float32)}, file)
    done = esrbench("run", "rfdn", "--weights", file, "--data", pair_folder, *QUICK)
    assert done.returncode == 4
    assert "a=b.safetensors" in done.stderr


def test_show_depth_counts_blocks(esrbench: Command) -> None:
    blocks = json.loads(esrbench("show", "rfdn", "--depth", "1", "--json").stdout)
    assert blocks[0]["params"] == 433_448
    assert [block["name"] for block in blocks[1:6]] == [
        "head",
        *(f"blocks.{number}" for number in range(4)),
    ]


def test_list_long_counts_every_network(
    describe: Callable[..., ModelDescriptor],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    registry = Registry()
    registry.add([describe("Nearest"), describe("FailsToBuild")], origin="tests")
    monkeypatch.setattr(listing, "open_registry", lambda: registry)
    listing.list_command("models", long=True, as_json=True)
    counted, failed = json.loads(capsys.readouterr().out)
    assert (counted["params"], counted["macs_aten"], counted["conv_calls"]) == (12, 9 * 2**16, 1)
    assert failed["params"].startswith("failed: load-error")


def test_bad_data_lists_every_problem_before_any_network_runs(
    esrbench: Command, pair_folder: Path
) -> None:
    (pair_folder / "LR_bicubic" / "X4" / "image0x4.png").unlink()
    broken = pair_folder / "HR" / "image1.png"
    broken.write_bytes(broken.read_bytes()[:-20])
    done = esrbench("run", "bicubic", "--data", pair_folder)
    assert done.returncode == 2
    assert "image0" in done.stderr
    assert "image1" in done.stderr
    assert not (Path(pair_folder).parent / "work" / "results").exists()


def test_weights_that_do_not_fit_are_a_failed_run_with_exit_4(
    esrbench: Command, pair_folder: Path, tmp_path: Path
) -> None:
    file = tmp_path / "other.safetensors"
    save_file({"head.weight": np.zeros((1, 1), dtype=np.float32)}, file)
    done = esrbench("run", "rfdn", "--weights", file, "--data", pair_folder, *QUICK)
    assert done.returncode == 4
    assert "load-error" in done.stdout + done.stderr
    assert "other.safetensors" in done.stdout + done.stderr


def test_ctrl_c_keeps_finished_runs_and_exits_130(pair_folder: Path, tmp_path: Path) -> None:
    command = Path(sys.executable).with_name("esrbench")
    results = tmp_path / "results"
    with subprocess.Popen(
        [
            *(command, "run", "bicubic", "rfdn", "imdn", "aidn", "srresnet", "rlfn"),
            *("--data", pair_folder, "--results", results),
            *("--threads", "1", "--input-size", "16x16", "--no-latency"),
        ],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        deadline = time.monotonic() + 120
        while not list(results.glob("runs/*.json")) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    finished = len(list(results.glob("runs/*.json")))
    assert 1 <= finished < 6
    assert f"interrupted: {finished} finished runs" in stderr
    assert "bicubic" in stdout


def test_a_terminated_run_takes_its_worker_along(pair_folder: Path, tmp_path: Path) -> None:
    command = Path(sys.executable).with_name("esrbench")
    with subprocess.Popen(
        [command, "run", "srresnet", "--data", pair_folder, "--results", tmp_path / "results"],
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    ) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        if not children.exists():
            process.kill()
            pytest.skip("this system does not list a process's children")
        deadline = time.monotonic() + 60
        workers: list[str] = []
        while not workers and time.monotonic() < deadline:
            time.sleep(0.05)
            workers = children.read_text().split()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 128 + signal.SIGTERM
    assert workers
    # A signal within the very call that starts the worker leaves it to find its pipe closed.
    deadline = time.monotonic() + 60
    while any(Path(f"/proc/{worker}").exists() for worker in workers):
        assert time.monotonic() < deadline, "the worker outlived the run"
        time.sleep(0.1)


@pytest.mark.parametrize("weights_name", ["rfdn", "imdn"])
def test_fetched_weights_are_used_and_scored(
    esrbench: Command, shared: Path, pair_folder: Path, tmp_path: Path, weights_name: str
) -> None:
    cache = str(tmp_path / "cache")
    fetched = esrbench(
        "fetch", "weights", weights_name, "--scale", "4", "--mirror", shared / "weights",
        ESRBENCH_CACHE=cache,
    )  # fmt: skip
    assert fetched.returncode == 0, fetched.stderr
    done = esrbench(
        "run", weights_name, "--data", pair_folder, *QUICK, "--json", ESRBENCH_CACHE=cache
    )
    record = RunRecord.model_validate(json.loads(done.stdout)["records"][0])
    assert record.entry.weights.source == "released"
    assert record.measured("psnr_rgb") is not None


def test_validate_exits_4_on_a_broken_promise(esrbench: Command, tmp_path: Path) -> None:
    file = tmp_path / "nan.safetensors"
    file.write_bytes(b"nonsense")
    done = esrbench("validate", "rfdn", "--scale", "4", "--weights", file)
    assert done.returncode == 4
    assert "builds and loads strictly" in done.stdout
    assert "failed" in done.stdout


def test_validate_passes_the_floor(esrbench: Command) -> None:
    done = esrbench("validate", "bicubic", "--scale", "4", "--json")
    assert done.returncode == 0, done.stdout
    (report,) = json.loads(done.stdout)
    assert {check["outcome"] for check in report["checks"]} == {"passed"}


def test_a_bug_is_no_regression(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(**_: object) -> int:
        message = "a bug"
        raise ZeroDivisionError(message)

    monkeypatch.setattr("harness.cli.app.app", broken)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 70
    assert "ZeroDivisionError: a bug" in capsys.readouterr().err

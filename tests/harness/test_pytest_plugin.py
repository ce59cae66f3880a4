from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from harness.protocol import Protocol

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    RunPytest = Callable[..., subprocess.CompletedProcess[str]]

NETWORK = """
from torch import nn

from harness import register_model


@register_model("{name}", scales={scales})
class Net(nn.Module):
    def __init__(self, scale: int = 4) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 3 * scale**2, 3, padding=1), nn.PixelShuffle(scale))

    def forward(self, lr):
        return self.body(lr)
"""
PARAMS = 27 * 48 + 48
"""Of one convolution from 3 to 48 channels, 3x3, with biases."""

COUNTING = """
import harness.evaluation.inspection as inspection

count_models, calls = inspection.count_models, []


def counted(*arguments, **keywords):
    calls.append(keywords)
    return count_models(*arguments, **keywords)


inspection.count_models = counted


def pytest_sessionfinish():
    print(f"workers: {len(calls)}")
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with a network in a module that its conftest imports."""
    files = {
        "pytest.ini": "[pytest]\nfilterwarnings = error\npythonpath = .\n",
        "conftest.py": "import mynet\n",
        "mynet.py": NETWORK.format(name="mynet", scales=(2, 4)),
    }
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    return tmp_path


@pytest.fixture
def run_pytest(repository: Path) -> RunPytest:
    """Run pytest on one test file of the repository."""

    def run(tests: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        (repository / "test_efficiency.py").write_text(tests)
        return subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rs", *arguments],
            check=False,
            capture_output=True,
            text=True,
            cwd=repository,
            env={**os.environ, "COLUMNS": "200", "OMP_NUM_THREADS": "1"},
        )

    return run


def outcomes(done: subprocess.CompletedProcess[str]) -> dict[str, int]:
    """Counts of pytest's last line."""
    last = done.stdout.strip().splitlines()[-1]
    return {what: int(number) for number, what in re.findall(r"(\d+) (\w+)", last.split(" in ")[0])}


def test_without_the_option_tests_that_measure_are_skipped(run_pytest: RunPytest) -> None:
    done = run_pytest(
        """
import pytest

def test_plain():
    pass

def test_counts(efficiency):
    assert efficiency.params("mynet") == 0

@pytest.mark.esrbench
def test_marked():
    assert False
""",
        "--strict-markers",
    )
    assert outcomes(done) == {"passed": 1, "skipped": 2}, done.stdout
    assert done.stdout.count("measures networks: run pytest with --esrbench") == 2
    assert "test_efficiency.py" in done.stdout


def test_the_plugin_is_there_by_itself_and_imports_nothing_heavy(tmp_path: Path) -> None:
    script = """
import sys, pytest

class Look:
    def pytest_collection_finish(self, session):
        assert session.config.pluginmanager.hasplugin("esrbench")

code = pytest.main(["--collect-only", "-q"], plugins=[Look()])
heavy = {"torch", "numpy", "cv2", "pandas", "pydantic", "fvcore"} & set(sys.modules)
print("heavy:", sorted(heavy), "code:", int(code))
"""
    (tmp_path / "test_plain.py").write_text("def test_plain(): pass\n")
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True, cwd=tmp_path
    )
    assert done.stdout.endswith("heavy: [] code: 0\n"), done.stdout


def test_a_run_without_the_plugin_goes_on(run_pytest: RunPytest, repository: Path) -> None:
    (repository / "conftest.py").write_text("")
    plain = "def test_plain(): pass\n"
    done = run_pytest(plain, "-p", "no:esrbench")
    assert outcomes(done) == {"passed": 1}, done.stdout
    refused = run_pytest(plain, "-p", "no:esrbench", "--esrbench")
    assert refused.returncode == pytest.ExitCode.USAGE_ERROR


def test_counts_are_those_of_hand_computation(run_pytest: RunPytest, repository: Path) -> None:
    (repository / "conftest.py").write_text(f"import mynet\n{COUNTING}")
    done = run_pytest(
        f"""
def test_parameters(efficiency):
    assert efficiency.params("mynet") == {PARAMS}

def test_the_same_once_more(efficiency):
    assert efficiency.params("mynet") == {PARAMS}
    assert efficiency.macs("mynet", counter="aten") == 27 * 48 * 256 * 256
    assert efficiency.activations("mynet") == 48 * 256 * 256
    assert efficiency.conv_calls("mynet", counter="aten") == 1
    # Weights, input, features and output at LR 510x510 in fp32.
    tensors = (3 + 48 + 48) * 510 * 510 * 4
    assert tensors <= efficiency.predicted_memory("mynet") <= 1.01 * tensors

def test_another_input_and_scale(efficiency):
    size = (64, 32)
    assert efficiency.macs("mynet", counter="aten", input_size=size, scale=2) == 27 * 12 * 64 * 32
""",
        "--esrbench",
        "-s",
    )
    assert outcomes(done) == {"passed": 3}, done.stdout
    assert "workers: 2\n" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["prepend", "importlib"])
def test_networks_of_conftest_and_of_test_modules_are_found_by_workers(
    run_pytest: RunPytest, repository: Path, mode: str
) -> None:
    # The outer conftest has the name of the inner one, which a worker would import instead.
    network = NETWORK.format(name="{}", scales=(3,))
    (repository / "conftest.py").write_text(network.format("outer"))
    inner = repository / "inner"
    inner.mkdir()
    (inner / "conftest.py").write_text(network.format("inner"))
    (inner / "test_inner.py").write_text(
        f"{network.format('beside')}\n\n"
        "def test_all(efficiency):\n"
        "    for name in ('outer', 'inner', 'beside'):\n"
        "        assert efficiency.params(name) == 27 * 27 + 27\n"
    )
    done = run_pytest("", "--esrbench", f"--import-mode={mode}")
    assert outcomes(done) == {"passed": 1}, done.stdout


def test_what_goes_wrong_fails_in_words(run_pytest: RunPytest, repository: Path) -> None:
    conftest = f"import mynet\n{NETWORK.format(name='two-scales', scales=(2, 3))}"
    broken = NETWORK.format(name="broken", scales=(4,)).replace("class Net", "class Broken")
    broken = broken.replace("self.body(lr)", "1 / 0")
    (repository / "conftest.py").write_text(conftest)
    (repository / "mynet.py").write_text(f"{NETWORK.format(name='mynet', scales=(4,))}{broken}")
    done = run_pytest(
        """
def test_unknown(efficiency):
    efficiency.params("mynett")

def test_scale(efficiency):
    efficiency.params("two-scales")

def test_counter(efficiency):
    efficiency.activations("mynet", counter="ptflops")

def test_no_such_counter(efficiency):
    efficiency.macs("mynet", counter="thop")

def test_forward(efficiency):
    efficiency.macs("broken")

def test_random_weights(efficiency):
    efficiency.psnr("mynet")
""",
        "--esrbench",
    )
    assert outcomes(done) == {"failed": 6}, done.stdout
    for words in (
        "no network is registered as 'mynett'\nDid you mean mynet",
        "two-scales is defined at the scales 2, 3\nPass scale= to say which one is meant.",
        "the counter ptflops has no rule for activations\nUse counter=",
        "there is no counter 'thop'\nUse one of ntire2022, fvcore, ptflops, aten.",
        "division by zero",
        "random weights: none are released for mynet at x4\n",
    ):
        assert words in done.stdout, (words, done.stdout)
    assert "Traceback" not in done.stdout
    assert "pytest_plugin.py" not in done.stdout


def test_scores_are_means_over_images(
    run_pytest: RunPytest, repository: Path, pair_folder: Path
) -> None:
    done = run_pytest(
        f"""
from pathlib import Path

from harness import evaluate

def test_scores(efficiency):
    data = Path({str(pair_folder)!r})
    images = evaluate("bicubic", data).images
    assert len(images) == 2
    psnr = sum(image.psnr_rgb for image in images) / 2
    assert abs(efficiency.psnr("bicubic", data=data) - psnr) < 1e-9
    psnr_y = sum(image.psnr_y for image in images) / 2
    assert abs(efficiency.psnr("bicubic", data=data, channel="y") - psnr_y) < 1e-9
    ssim = sum(image.ssim_y for image in images) / 2
    assert abs(efficiency.ssim("bicubic", data=data) - ssim) < 1e-9
""",
        "--esrbench",
    )
    assert outcomes(done) == {"passed": 1}, done.stdout
    assert not (repository / "results").exists()


@pytest.mark.slow
def test_regressions_fail_with_every_verdict(run_pytest: RunPytest, repository: Path) -> None:
    gate = """
def test_gate(efficiency):
    report = efficiency.no_regression("mynet", baseline="kept.json")
    assert {finding.verdict for finding in report.findings} == {"unchanged"}
"""
    updated = run_pytest(gate, "--esrbench-update")
    assert outcomes(updated) == {"skipped": 1}, updated.stdout
    assert "mynet x4: new" in updated.stdout
    counts = json.loads((repository / "kept.json").read_text())["entries"]["mynet x4"]["counts"]
    assert counts["params"] == PARAMS

    others = """
import pytest

@pytest.mark.parametrize("strict", [False, True])
def test_random_weights_have_no_score(efficiency, strict):
    efficiency.no_regression("mynet", baseline="kept.json", metrics=["psnr_rgb"], strict=strict)

def test_it_is_not_in_the_baseline(efficiency):
    efficiency.no_regression("fsrcnn", baseline="kept.json")

def test_unknown_metric(efficiency):
    efficiency.no_regression("mynet", baseline="kept.json", metrics=["speed"])

def test_no_baseline(efficiency):
    efficiency.no_regression("mynet")
"""
    unchanged = run_pytest(gate + others, "--esrbench")
    assert outcomes(unchanged) == {"passed": 1, "skipped": 1, "failed": 4}, unchanged.stdout
    for words in (
        "nothing was compared",
        "the baseline has no such entry",
        "there is no metric 'speed'\nUse any of weights",
        "esrbench-baseline.json",
    ):
        assert words in unchanged.stdout, (words, unchanged.stdout)

    larger = (repository / "mynet.py").read_text()
    larger = larger.replace("nn.Sequential(", "nn.Sequential(nn.Conv2d(3, 3, 1), ")
    (repository / "mynet.py").write_text(larger)
    failed = run_pytest(gate, "--esrbench")
    assert outcomes(failed) == {"failed": 1}, failed.stdout
    # Every metric has a line, those that are as they were too.
    assert re.search(r"mynet x4 +Params +regressed +1,344 then, 1,356 now", failed.stdout)
    assert re.search(r"mynet x4 +Buffers +unchanged", failed.stdout)
    assert "Regression: compared with kept.json" in failed.stdout
    assert "pytest_plugin.py" not in failed.stdout
    assert "efficiency.py" not in failed.stdout.replace("test_efficiency.py", "")


def test_runtimes_are_stored_with_what_makes_them_comparable(
    run_pytest: RunPytest, repository: Path
) -> None:
    done = run_pytest(
        """
def test_asked_for(efficiency, benchmark):
    efficiency.benchmark("mynet", benchmark, input_size=(16, 16), rounds=4)

def test_found(efficiency):
    efficiency.benchmark("mynet", input_size=(24, 16), rounds=3)
""",
        "--esrbench",
        "--benchmark-json=stored.json",
    )
    assert outcomes(done) == {"passed": 2}, done.stdout
    first, second = json.loads((repository / "stored.json").read_text())["benchmarks"]
    assert (first["stats"]["rounds"], second["stats"]["rounds"]) == (4, 3)
    assert first["stats"]["min"] > 0
    stored = first["extra_info"]["esrbench"]
    assert (stored["network"], stored["scale"], stored["input_size"]) == ("mynet", 4, [16, 16])
    assert stored["weights"]["source"] == "random"
    threads = stored["environment"]["threads"]
    protocol = Protocol(threads=threads, counted_input=(16, 16), latency=None)
    assert stored["protocol_digest"] == protocol.digest()
    code = hashlib.sha256((repository / "mynet.py").read_bytes()).hexdigest()
    assert stored["code_sha256"] == hashlib.sha256(f"mynet\0{code}\0".encode()).hexdigest()


def test_without_pytest_benchmark_only_benchmark_fails(run_pytest: RunPytest) -> None:
    done = run_pytest(
        f"""
def test_counts(efficiency):
    assert efficiency.params("mynet") == {PARAMS}

def test_found(efficiency):
    efficiency.benchmark("mynet")
""",
        "--esrbench",
        "-p",
        "no:benchmark",
    )
    assert outcomes(done) == {"passed": 1, "failed": 1}, done.stdout
    assert "which is not here\nInstall pytest-benchmark." in done.stdout
    assert "Traceback" not in done.stdout


def test_several_processes_of_pytest(run_pytest: RunPytest) -> None:
    done = run_pytest(
        f"""
import pytest

@pytest.mark.parametrize("number", range(2))
def test_counts(efficiency, number):
    assert efficiency.params("mynet") == {PARAMS}
""",
        "--esrbench",
        "--numprocesses=2",
        "-p",
        "no:benchmark",
    )
    assert outcomes(done) == {"passed": 2}, done.stdout


def test_the_mark_is_documented(run_pytest: RunPytest) -> None:
    done = run_pytest("", "--markers")
    assert "@pytest.mark.esrbench: measures networks" in done.stdout

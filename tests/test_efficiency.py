"""The fixture of the plugin in a repository of its own; pytest runs only as often as it has to."""

import hashlib
import json
import os
import re
import sys
from dataclasses import dataclass
from xml.etree import ElementTree as ET

import cv2
import numpy as np
import pytest
from builders import finding, gate_report, run, write_files

import esrbench.efficiency
from esrbench.data.codecs import read_rgb
from esrbench.data.resize import downscale, upscale
from esrbench.efficiency import Efficiency
from esrbench.gate.baseline import Baseline, write_baseline
from esrbench.gate.verdicts import UPDATE
from esrbench.probes.quality import score_image
from esrbench.protocol import Protocol

NETWORK = """
from torch import nn

from esrbench import register_model


@register_model("{name}", scales={scales})
class {network}(nn.Module):
    def __init__(self, scale: int = 4) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 3 * scale**2, 3, padding=1), nn.PixelShuffle(scale))

    def forward(self, lr):
        return self.body(lr)
"""
PARAMS = 27 * 48 + 48  # of one convolution from 3 to 48 channels, 3x3, with biases
HR, LR = "pairs/HR/image{}.png", "pairs/LR_bicubic/X4/image{}x4.png"
LARGER = ("nn.Sequential(", "nn.Sequential(nn.Conv2d(3, 3, 1), ")
"""A change that adds 12 parameters."""


def network(name, *scales, network="Net"):
    return NETWORK.format(name=name, scales=scales, network=network)


COUNTING = """
import os

import esrbench.runs.inspection as inspection

count_models = inspection.count_models


def counted(*arguments, **keywords):
    print("\\ncounted for", os.environ["PYTEST_CURRENT_TEST"].split("::")[1].split()[0])
    return count_models(*arguments, **keywords)


inspection.count_models = counted
"""
"""Prints a line a call: the test that had a worker count for it."""
# The outer conftest has the name of the inner one, which a worker would import instead.
FILES = {
    "pytest.ini": "[pytest]\nfilterwarnings = error\npythonpath = .\n",
    "conftest.py": f"import mynet\n{network('outer', 2, 4)}{COUNTING}",
    "mynet.py": network("mynet", 2, 4)
    + network("two-scales", 2, 3, network="Two")
    + network("broken", 4, network="Broken").replace("self.body(lr)", "1 / 0"),
    "inner/conftest.py": network("inner", 3),
    "inner/test_inner.py": f"""import pytest
{network("beside", 3)}

@pytest.mark.parametrize("name", ["inner", "beside"])
def test_network_of(efficiency, name):
    assert efficiency.params(name) == 27 * 27 + 27
""",
    "test_benchmark.py": """
def test_benchmark_asked_for(efficiency, benchmark):
    efficiency.benchmark("mynet", benchmark, input_size=(16, 16), rounds=4)

def test_benchmark_found(efficiency):
    efficiency.benchmark("mynet", input_size=(24, 16), rounds=3)
""",
    "test_counts.py": f"""
def test_parameters(efficiency):
    assert efficiency.params("outer") == {PARAMS}

def test_the_same_once_more(efficiency):
    assert efficiency.params("outer") == {PARAMS}
    assert efficiency.macs("outer", counter="aten") == 27 * 48 * 256 * 256
    assert efficiency.activations("outer") == 48 * 256 * 256
    assert efficiency.conv_calls("outer", counter="aten") == 1
    # Weights, input, features and output at LR 510x510 in fp32.
    tensors = (3 + 48 + 48) * 510 * 510 * 4
    assert tensors <= efficiency.predicted_memory("outer") <= 1.01 * tensors

def test_another_input_and_scale(efficiency):
    size = (64, 32)
    assert efficiency.macs("outer", counter="aten", input_size=size, scale=2) == 27 * 12 * 64 * 32
""",
    "test_gate.py": """
def test_gate(efficiency):
    report = efficiency.no_regression("mynet", baseline="kept.json")
    assert {finding.verdict for finding in report.findings} == {"unchanged"}
""",
    "test_scores.py": """
from pathlib import Path

def test_scores(efficiency):
    data = Path("pairs")
    psnr, psnr_y = (efficiency.psnr("bicubic", data=data, channel=each) for each in ("rgb", "y"))
    print("\\nscores", psnr, psnr_y, efficiency.ssim("bicubic", data=data))
""",
    "test_wrong.py": """
def test_unknown(efficiency):
    efficiency.params("mynett")

def test_scale(efficiency):
    efficiency.params("two-scales")

def test_counter(efficiency):
    efficiency.activations("outer", counter="ptflops")

def test_no_such_counter(efficiency):
    efficiency.macs("outer", counter="thop")

def test_forward(efficiency):
    efficiency.macs("broken")

def test_random_weights(efficiency):
    efficiency.psnr("mynet")

def test_it_is_not_in_the_baseline(efficiency):
    efficiency.no_regression("fsrcnn", baseline="kept.json")

def test_unknown_metric(efficiency):
    efficiency.no_regression("mynet", baseline="kept.json", metrics=["speed"])

def test_no_baseline(efficiency):
    efficiency.no_regression("mynet")
""",
}
WRONG = {
    "test_unknown": "no network is registered as 'mynett'\nDid you mean mynet",
    "test_scale": "two-scales is defined at the scales 2, 3\nPass scale= to say which",
    "test_counter": "the counter ptflops has no rule for activations\nUse counter=",
    "test_no_such_counter": "there is no counter 'thop'\nUse one of ntire2022, fvcore, ptflops,",
    "test_forward": "division by zero",
    "test_random_weights": "random weights: none are released for mynet at x4\n",
    "test_it_is_not_in_the_baseline": "the baseline has no such entry",
    "test_unknown_metric": "there is no metric 'speed'\nUse any of weights",
    "test_no_baseline": "esrbench-baseline.json: not readable",
}
"""What the tests of ``test_wrong.py`` fail with."""


@dataclass
class Ran:
    """One run of pytest.

    Attributes:
        stdout: of the run.
        outcomes: ``passed``, ``skipped`` or ``failed``, by test.
        said: why a test was skipped or failed, likewise.
    """

    stdout: str
    outcomes: dict[str, str]
    said: dict[str, str]


def outcomes_of(repository, *arguments):
    ours = {"COLUMNS": "200", "OMP_NUM_THREADS": "1", "ESRBENCH_CACHE": f"{repository}/cache"}
    # The run under test is no process of the one that tests it.
    ours |= dict.fromkeys(key for key in os.environ if "XDIST" in key)
    command = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--junit-xml=report.xml")
    done = run(*command, *arguments, code=None, folder=repository, **ours)
    assert (repository / "report.xml").is_file(), done.stdout + done.stderr
    ran = Ran(done.stdout, {}, {})
    for case in ET.parse(repository / "report.xml").iter("testcase"):  # noqa: S314 - our own
        name = str(case.get("name"))
        bad = next((each for each in case if each.tag in {"failure", "error", "skipped"}), None)
        ran.outcomes[name] = "passed" if bad is None else bad.tag.replace("failure", "failed")
        ran.said[name] = "" if bad is None else f"{bad.get('message')}\n{bad.text}"
    return ran


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A repository with networks in a module that its conftest imports, and in other places."""
    return write_files(tmp_path_factory.mktemp("repository"), FILES)


@pytest.fixture(scope="module")
def updated(repository):
    """The baseline is made."""
    return outcomes_of(repository, "--esrbench-update", "test_gate.py::test_gate")


@pytest.fixture(scope="module")
def ran(repository, updated):
    """Every test of the repository once, with a baseline to compare with."""
    assert updated.outcomes == {"test_gate": "skipped"}
    for path in HR, LR:
        (repository / path).parent.mkdir(parents=True)
    for index, width in enumerate((64, 96)):
        noise = np.random.default_rng(index).integers(0, 256, (16, width // 4, 3), dtype=np.uint8)
        hr = upscale(noise, 4, border="mirror")
        cv2.imwrite(str(repository / HR.format(index)), hr)
        cv2.imwrite(str(repository / LR.format(index)), downscale(hr, 4, border="mirror"))
    return outcomes_of(repository, "--esrbench", "-s", "--benchmark-json=stored.json")


def test_counts_are_those_of_hand_computation_and_are_taken_once(ran):
    tests = ("test_parameters", "test_the_same_once_more", "test_another_input_and_scale")
    assert [ran.outcomes[name] for name in tests] == ["passed"] * 3, ran.stdout
    counted = re.findall(r"^counted for (\w+)", ran.stdout, re.MULTILINE)
    assert [counted.count(name) for name in tests] == [1, 0, 1]


def test_networks_of_conftest_and_of_test_modules_are_found_by_workers(ran):
    for name in ("inner", "beside"):
        assert ran.outcomes[f"test_network_of[{name}]"] == "passed", ran.stdout


@pytest.mark.parametrize("test", WRONG)
def test_what_goes_wrong_fails_in_words(ran, test):
    assert ran.outcomes[test] == "failed"
    assert WRONG[test] in ran.said[test]
    assert "Traceback" not in ran.stdout
    assert "pytest_plugin.py" not in ran.stdout
    assert "efficiency.py" not in ran.stdout


def test_scores_are_means_over_images(ran, repository):
    found = re.search("^scores (.*)", ran.stdout, re.MULTILINE)
    assert found, ran.stdout
    images = [_score(repository, index) for index in range(2)]
    for said, metric in zip(found[1].split(), ("psnr_rgb", "psnr_y", "ssim_y"), strict=True):
        assert float(said) == pytest.approx(sum(getattr(each, metric) for each in images) / 2)
    assert not (repository / "results").exists()


def _score(repository, index):
    """Of MATLAB's bicubic enlargement of an image's LR version."""
    hr, lr = (read_rgb(repository / path.format(index)) for path in (HR, LR))
    sr = upscale(lr, 4, border="mirror")
    return score_image(sr, hr, scale=4, definition=Protocol().quality, image=str(index))


def test_runtimes_are_stored_with_what_makes_them_comparable(ran, repository):
    tests = ("test_benchmark_asked_for", "test_benchmark_found")
    assert {ran.outcomes[name] for name in tests} == {"passed"}
    first, second = json.loads((repository / "stored.json").read_text())["benchmarks"]
    assert (first["stats"]["rounds"], second["stats"]["rounds"]) == (4, 3)
    assert first["stats"]["min"] > 0
    stored = first["extra_info"]["esrbench"]
    assert (stored["network"], stored["scale"], stored["input_size"]) == ("mynet", 4, [16, 16])
    assert stored["weights"]["source"] == "random"
    threads = stored["environment"]["threads"]
    protocol = Protocol(threads=threads, counted_input=(16, 16), latency=None)
    assert stored["protocol_digest"] == protocol.digest()
    code = hashlib.sha256(FILES["mynet.py"].encode()).hexdigest()
    assert stored["code_sha256"] == hashlib.sha256(f"mynet\0{code}\0".encode()).hexdigest()


def test_a_baseline_is_written_and_compared_with(ran, updated, repository):
    assert "mynet x4: new" in updated.said["test_gate"]
    counts = json.loads((repository / "kept.json").read_text())["entries"]["mynet x4"]["counts"]
    assert counts["params"] == PARAMS
    assert ran.outcomes["test_gate"] == "passed", ran.stdout


@pytest.mark.slow
def test_regressions_fail_also_with_other_options_of_pytest(ran, repository):
    """A process of pytest-xdist, the other way to import tests, and no pytest-benchmark."""
    assert ran.outcomes["test_gate"] == "passed"
    (repository / "mynet.py").write_text(FILES["mynet.py"].replace(*LARGER, 1))
    tests = (
        "test_gate.py::test_gate",
        "test_benchmark.py::test_benchmark_found",
        *(f"inner/test_inner.py::test_network_of[{name}]" for name in ("inner", "beside")),
    )
    options = ("--numprocesses=1", "--import-mode=importlib", "-p", "no:benchmark")

    again = outcomes_of(repository, "--esrbench", *options, *tests)

    assert again.outcomes == {
        "test_gate": "failed",
        "test_benchmark_found": "failed",
        "test_network_of[inner]": "passed",
        "test_network_of[beside]": "passed",
    }, again.stdout
    # Every metric has a line, those that are as they were too.
    said = again.said["test_gate"]
    assert re.search(r"mynet x4 +Params +regressed +1,344 then, 1,356 now", said)
    assert re.search(r"mynet x4 +Buffers +unchanged", said)
    assert "Regression: compared with kept.json" in said
    assert "which is not installed\nInstall pytest-benchmark." in again.said["test_benchmark_found"]
    assert "pytest_plugin.py" not in again.stdout
    assert "Traceback" not in again.stdout


@pytest.mark.parametrize(
    ("verdict", "strict", "raised"),
    [
        ("unchanged", True, None),
        (None, False, pytest.skip.Exception),
        ("incomparable", False, pytest.skip.Exception),
        ("incomparable", True, pytest.fail.Exception),
        ("regressed", False, pytest.fail.Exception),
        ("failed", False, pytest.fail.Exception),
    ],
)
def test_what_cannot_be_judged_is_skipped_unless_it_is_strict(
    request, tmp_path, monkeypatch, verdict, strict, raised
):
    found = {"entry": "net", "reason": "so it is", "advice": UPDATE}
    report = gate_report(*([finding(verdict, **found)] if verdict else []))
    monkeypatch.setattr(esrbench.efficiency, "check_baseline", lambda *_: report)
    write_baseline(Baseline(), tmp_path / "kept.json")
    efficiency = Efficiency(request, {})

    if raised is None:
        assert efficiency.no_regression("net", baseline=tmp_path / "kept.json") == report
        return
    why = f"net x4 +Params +{verdict} +so it is" if verdict else "nothing was compared"
    with pytest.raises(raised, match=why) as caught:
        efficiency.no_regression("net", baseline=tmp_path / "kept.json", strict=strict)
    # `esrbench` does not know networks that only tests register.
    assert "esrbench baseline update" not in str(caught.value)
    assert ("`pytest --esrbench-update`" in str(caught.value)) == (verdict is not None)


def test_weights_of_a_gate_are_those_that_are_given(tmp_path, request, monkeypatch):
    asked = []

    def check(bench, *_):
        asked.append(dict(bench.request.weights))
        advice = "Give it: --weights net=FILE."
        return gate_report(finding("incomparable", reason="no file", advice=advice))

    monkeypatch.setattr(esrbench.efficiency, "check_baseline", check)
    write_baseline(Baseline(), tmp_path / "kept.json")
    file = tmp_path / "net.pth"
    file.touch()
    for given in ({}, {"weights": file}):
        with pytest.raises(pytest.skip.Exception, match=r"Give it: weights=FILE\.") as caught:
            Efficiency(request, {}).no_regression("net", baseline=tmp_path / "kept.json", **given)
        assert "--weights" not in str(caught.value)
    assert asked == [{}, {"net": file}]

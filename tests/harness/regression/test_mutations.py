"""Mutants of this program's own networks, each in a copy of it, against its own baseline."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import harness
import models

BASELINE = Path(__file__).resolve().parents[3] / "results" / "baseline.json"
RFDN = "models/rfdn.py"
WEIGHTS = "models/weights/rfdn_x4.safetensors"
COUNTED = {"params", "macs_aten", "macs_fvcore", "conv_calls_aten", "activations_aten"}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not BASELINE.is_file(), reason="results/baseline.json is not in this distribution"
    ),
]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A folder with this program in it, and nothing else."""
    folder = tmp_path / "copy"
    for package in (harness, models):
        source = Path(str(package.__file__)).parent
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(source, folder / source.name, ignore=ignored)
    return folder


def mutate(copy: Path, file: str, *replacements: tuple[str, str]) -> None:
    path = copy / file
    text = path.read_text()
    for old, new in replacements:
        assert text.count(old) == 1, f"{file} has {text.count(old)} of {old!r}"
        text = text.replace(old, new)
    path.write_text(text)


def check(copy: Path, *arguments: str) -> tuple[int, dict[str, str], dict[str, Any]]:
    """Exit code, verdicts by metric, and the whole report of a check of the copy's RFDN."""
    done = subprocess.run(
        [
            *(sys.executable, "-c", "from harness.cli.app import main; main()"),
            *("check", "rfdn", "--baseline", str(BASELINE), "--no-runtime", "--json"),
            *arguments,
        ],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(copy)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout, done.stderr
    report = json.loads(done.stdout)
    assert "findings" in report, report
    verdicts = {each["metric"]: each["verdict"] for each in report["findings"]}
    assert report["exit_code"] == done.returncode
    return done.returncode, verdicts, report


def by_verdict(verdicts: dict[str, str], verdict: str) -> set[str]:
    return {metric for metric, found in verdicts.items() if found == verdict}


def test_words_alone_change_nothing(copy: Path) -> None:
    mutate(
        copy,
        RFDN,
        ('"""Map (N, C, H, W) to the same shape."""', '"""Map features to features."""'),
        ("SLOPE = 0.05", "# Of every activation.\nSLOPE = 0.05"),
    )

    code, verdicts, _ = check(copy)

    assert code == 0
    assert set(verdicts.values()) == {"unchanged"}
    assert {"weights", "psnr_rgb", *COUNTED} <= set(verdicts)


def test_one_more_convolution_is_a_regression(copy: Path) -> None:
    attention = "        self.attention = attention\n"
    extra = "        self.extra = conv(channels, channels, 3)\n"
    mutate(
        copy,
        RFDN,
        (attention, attention + extra),
        ("self.merge(distilled)", "self.extra(self.merge(distilled))"),
    )

    code, verdicts, report = check(copy)

    assert code == 1
    assert by_verdict(verdicts, "regressed") >= {*COUNTED, "effective_constants"}
    # The shipped weights do not fit any more, which the scores say; the counts do not need them.
    assert by_verdict(verdicts, "failed") == {"psnr_rgb", "psnr_y", "ssim_y"}
    assert verdicts["weights"] == "unchanged"
    # Four blocks, each with 50 x 50 x 9 weights and 50 biases more.
    params = next(each for each in report["findings"] if each["metric"] == "params")
    assert params["now"] - params["before"] == 4 * (50 * 50 * 9 + 50)


def test_another_slope_moves_scores_alone(copy: Path) -> None:
    mutate(copy, RFDN, ("SLOPE = 0.05", "SLOPE = 0.06"))

    code, verdicts, _ = check(copy)

    assert code == 1
    assert by_verdict(verdicts, "regressed") == {"psnr_rgb", "psnr_y", "ssim_y"}
    assert by_verdict(verdicts, "unchanged") == set(verdicts) - {"psnr_rgb", "psnr_y", "ssim_y"}


def test_a_part_that_runs_twice_costs_more_with_the_same_parameters(copy: Path) -> None:
    refine = "        r3 = self.refine(self.residual3, r2)\n"
    mutate(copy, RFDN, (refine, refine + "        r3 = self.refine(self.residual3, r3)\n"))

    code, verdicts, _ = check(copy, "--metrics", "counts")

    assert code == 1
    assert by_verdict(verdicts, "regressed") >= COUNTED - {"params"}
    assert verdicts["params"] == "unchanged"


def test_doubled_blocks_are_a_regression(copy: Path) -> None:
    mutate(copy, RFDN, ("blocks: int = 4,", "blocks: int = 8,"))

    code, verdicts, _ = check(copy, "--metrics", "counts")

    assert code == 1
    assert by_verdict(verdicts, "regressed") >= COUNTED


def test_other_weights_are_a_regression(copy: Path) -> None:
    """Two tensors of one shape change places, as if a block had been loaded from another."""
    from safetensors.torch import load_file, save_file

    state = load_file(copy / WEIGHTS)
    first, second = "blocks.0.residual1.weight", "blocks.1.residual1.weight"
    assert state[first].shape == state[second].shape
    state[first], state[second] = state[second].clone(), state[first].clone()
    save_file(state, copy / WEIGHTS)

    code, verdicts, _ = check(copy)

    assert code == 1
    assert by_verdict(verdicts, "regressed") == {"weights", "psnr_rgb", "psnr_y", "ssim_y"}


def test_a_network_that_is_gone_is_a_regression(copy: Path) -> None:
    mutate(copy, "models/entries/rfdn.py", ('name="rfdn",', 'name="rfdn-renamed",'))

    code, verdicts, _ = check(copy)

    assert (code, verdicts) == (1, {"entry": "missing"})

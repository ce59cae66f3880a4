from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from harness.api import evaluate
from harness.imaging.codecs import write_png

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    Command = Callable[..., subprocess.CompletedProcess[str]]

RECIPE = """
name = "brief"
summary = "a few steps of a network of luma"
hr_patch = 32
batch = 2
log_every = 2
validate_every = 4
checkpoint_every = 2
[[stages]]
iterations = 4
learning_rate = { shape = "constant", first = 1e-3 }
"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Folder of three HR images and a recipe beside it."""
    folder = tmp_path / "data"
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(3):
        coarse = random.integers(0, 256, (12, 12, 3), dtype=np.uint8)
        write_png(folder / f"{number}.png", coarse.repeat(4, axis=0).repeat(4, axis=1))
    (tmp_path / "brief.toml").write_text(RECIPE)
    return folder


def test_what_is_trained_goes_straight_on(
    esrbench: Command, data: Path, pair_folder: Path, tmp_path: Path
) -> None:
    pytest.importorskip("lightning_fabric", reason="the train extra is not installed")
    out = tmp_path / "out"
    command = ("train", "fsrcnn", "--recipe", tmp_path / "brief.toml", "--data", f"photos={data}")
    options = ("--output", out, "--validate", pair_folder, "--workers", "0", "--device", "cpu")
    done = esrbench(*command, *options, "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["iterations"] == 4
    assert said["best"] == str(out / "best.safetensors")
    assert any(line.startswith("Set5") for line in said["compared_with"])
    assert "4/4: stage 1, rate 1.00e-03, loss 0." in done.stderr
    assert "dB, ETA 0:00:00" in done.stderr
    scores = evaluate("fsrcnn", pair_folder, weights=said["best"]).images
    mean = sum(score.psnr_rgb or 100.0 for score in scores) / len(scores)
    assert said["psnr_rgb"] == pytest.approx(mean, abs=1e-9)
    again = esrbench(*command, *options)
    assert again.returncode == 2
    assert "Add --resume" in again.stderr
    resumed = esrbench(*command, *options, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert f"esrbench run fsrcnn --weights {out / 'best.safetensors'}" in resumed.stderr


@pytest.mark.slow
def test_two_devices_train_as_one_does(esrbench: Command, data: Path, tmp_path: Path) -> None:
    """Two processes of gloo on CPU: halves of every batch, gradients averaged."""
    pytest.importorskip("lightning_fabric", reason="the train extra is not installed")
    ends = []
    for devices in (1, 2):
        out = tmp_path / str(devices)
        command = ("train", "fsrcnn", "--recipe", tmp_path / "brief.toml", "--data", data)
        options = ("--output", out, "--validate", "none", "--workers", "0", "--device", "cpu")
        done = esrbench(*command, *options, "--devices", devices, "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["iterations"] == 4
        ends.append(load_file(out / "last.safetensors"))
    one, two = ends
    assert all(np.allclose(one[name], two[name], atol=1e-6) for name in one)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"--recipe": "slow"}, "no recipe 'slow'"),
        ({"--data": "DIV2K"}, "ESRBENCH_TRAINING_DATA"),
        ({"--scale": "5"}, "fsrcnn is not defined at x5"),
        pytest.param(
            {"--device": "cuda"},
            "cannot train on 1 x cuda",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA is there"),
        ),
        ({"--resume": None}, "no checkpoint.pt to resume from"),
    ],
)
def test_what_cannot_be_trained_is_refused(
    esrbench: Command, data: Path, tmp_path: Path, changed: dict[str, str | None], said: str
) -> None:
    if changed.keys() & {"--resume", "--device"}:
        pytest.importorskip("lightning_fabric", reason="the train extra is not installed")
    options: dict[str, str | None] = {
        "--recipe": str(tmp_path / "brief.toml"),
        "--data": str(data),
        "--output": str(tmp_path / "out"),
        "--validate": "none",
        "--device": "cpu",
    }
    given = [part for pair in (options | changed).items() for part in pair if part is not None]
    done = esrbench("train", "fsrcnn", *given, ESRBENCH_TRAINING_DATA="")
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_without_an_output_the_folder_is_named_after_what_is_trained(
    esrbench: Command, data: Path, tmp_path: Path
) -> None:
    pytest.importorskip("lightning_fabric", reason="the train extra is not installed")
    options = ("--validate", "none", "--workers", "0", "--device", "cpu")
    recipe = ("--recipe", tmp_path / "brief.toml")
    done = esrbench("train", "fsrcnn", *recipe, "--data", data, *options)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "work/trained/fsrcnn-x4-brief/last.safetensors").is_file()


def test_help_imports_nothing_heavy(esrbench: Command) -> None:
    done = esrbench("train", "--help", PYTHONPROFILEIMPORTTIME="1")
    assert done.returncode == 0
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert not imported & {"torch", "cv2", "lightning_fabric"}
    assert "typer" in imported

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from esrbench.api import evaluate
from esrbench.data.codecs import write_png

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


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Folder of a recipe and of a folder of three HR images."""
    folder = tmp_path_factory.mktemp("training")
    (folder / "data").mkdir()
    random = np.random.default_rng(0)
    for number in range(3):
        coarse = random.integers(0, 256, (12, 12, 3), dtype=np.uint8)
        write_png(folder / f"data/{number}.png", coarse.repeat(4, axis=0).repeat(4, axis=1))
    (folder / "brief.toml").write_text(RECIPE)
    return folder


@pytest.fixture(scope="module")
def trained(esrbench_in, place, shared_pair_folder, tmp_path_factory):
    pytest.importorskip("lightning_fabric", reason="the train extra is not installed")
    recipe = ("--recipe", place / "brief.toml", "--data", f"photos={place / 'data'}")
    options = ("--validate", shared_pair_folder, "--workers", "0", "--device", "cpu")
    command = ("train", "fsrcnn", *recipe, *options)
    folder = tmp_path_factory.mktemp("trained")
    done = esrbench_in(folder)(*command, "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    return SimpleNamespace(done=done, said=said, command=command, folder=folder)


BRIEF = "trained/fsrcnn-x4-brief"


def test_without_an_output_the_folder_is_named_after_what_is_trained(trained):
    assert (trained.folder / BRIEF / "last.safetensors").is_file()


def test_what_is_trained_goes_straight_on(trained, in_process, shared_pair_folder):
    said = trained.said
    assert said["iterations"] == 4
    assert said["best"] == f"{BRIEF}/best.safetensors"
    assert any(line.startswith("Set5") for line in said["compared_with"])
    assert "4/4: stage 1, rate 1.00e-03, loss 0." in trained.done.stderr
    assert "dB, ETA 0:00:00" in trained.done.stderr
    best = trained.folder / said["best"]
    scores = evaluate("fsrcnn", shared_pair_folder, weights=best).images
    mean = sum(score.psnr_rgb or 100.0 for score in scores) / len(scores)
    assert said["psnr_rgb"] == pytest.approx(mean, abs=1e-9)
    output = ("--output", trained.folder / BRIEF)
    again = in_process(*trained.command, *output, code=2)
    assert "Add --resume" in again.stderr
    resumed = in_process(*trained.command, *output, "--resume", code=0)
    assert f"esrbench run fsrcnn --weights {best}" in resumed.stderr


@pytest.mark.slow
def test_two_devices_train_as_one_does(trained, esrbench, tmp_path):
    """Two processes of gloo on CPU: halves of every batch, gradients averaged."""
    out = tmp_path / "two"
    done = esrbench(
        *trained.command, "--validate", "none", "--output", out, "--devices", "2", "--json"
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["iterations"] == trained.said["iterations"] == 4
    one = load_file(trained.folder / BRIEF / "last.safetensors")
    two = load_file(out / "last.safetensors")
    assert one.keys() == two.keys()
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
def test_what_cannot_be_trained_is_refused(in_process, place, tmp_path, changed, said):
    if changed.keys() & {"--resume", "--device"}:
        pytest.importorskip("lightning_fabric", reason="the train extra is not installed")
    options = {
        "--recipe": str(place / "brief.toml"),
        "--data": str(place / "data"),
        "--output": str(tmp_path / "out"),
        "--validate": "none",
        "--device": "cpu",
    }
    given = [part for pair in (options | changed).items() for part in pair if part is not None]
    done = in_process("train", "fsrcnn", *given, ESRBENCH_TRAINING_DATA="", code=2)
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_help_imports_nothing_heavy(esrbench):
    done = esrbench("train", "--help", PYTHONPROFILEIMPORTTIME="1", code=0)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert not imported & {"torch", "cv2", "lightning_fabric"}
    assert "typer" in imported

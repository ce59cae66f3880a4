"""The Python interface, and every released checkpoint against the reference scores."""

import csv
import importlib
import shutil
import subprocess
import sys
from pathlib import Path
from pkgutil import iter_modules
from types import FunctionType

import numpy as np
import pytest
import torch
from torch import nn

import esrbench
from esrbench.entries.registry import default_registry
from esrbench.errors import UsageError
from esrbench.protocol import Protocol, QualityDefinition

# Registered network, scale, and its name in the reference.
RELEASED = [
    ("imdn", 2, "IMDN_x2"),
    ("imdn", 3, "IMDN_x3"),
    ("imdn", 4, "IMDN_x4"),
    ("imdn-challenge", 4, "imdn_baseline"),
    ("rfdn", 4, "rfdn_baseline"),
    ("rlfn", 4, "team04_rlfn"),
    ("aidn-challenge", 4, "team14_arfdn"),
    ("bsrn", 4, "team18_bsrn"),
    ("bicubic", 2, "bicubic_x2"),
    ("bicubic", 3, "bicubic_x3"),
    ("bicubic", 4, "bicubic_x4"),
]
LR_SOURCE = {"Set5": "as_distributed_replicate", "DIV2K_valid_c256": "matlab_mirror"}
LR_SOURCE["Set14"] = LR_SOURCE["Set5"]


@pytest.fixture(name="released")
def _released(shared, tmp_path, monkeypatch):
    """The reference folder, its weights in the cache."""
    monkeypatch.setenv("ESRBENCH_CACHE", str(tmp_path / "cache"))
    shutil.copytree(shared / "weights", tmp_path / "cache" / "weights")
    return shared


def reference(shared, model, dataset):
    with (shared / "facts" / "reference_scores.csv").open(newline="") as file:
        return {
            row["image"]: row
            for row in csv.DictReader(file)
            if (row["model"], row["dataset"], row["lr_source"])
            == (model, dataset, LR_SOURCE[dataset])
        }


def agree(released, name, scale, model, dataset):
    expected = reference(released, model, dataset)
    folder = released / "data" / dataset
    quality = esrbench.evaluate(name, f"{dataset.lower()}={folder}", scale)
    assert {image.image for image in quality.images} == set(expected)
    for image in quality.images:
        row = expected[image.image]
        assert image.psnr_rgb == pytest.approx(float(row["psnr_rgb"]), abs=1e-4)
        assert image.psnr_y == pytest.approx(float(row["psnr_y"]), abs=1e-4)
        assert image.ssim_y == pytest.approx(float(row["ssim_y"]), abs=1e-5)


@pytest.mark.parametrize("dataset", ["Set5", pytest.param("Set14", marks=pytest.mark.slow)])
@pytest.mark.parametrize(("name", "scale", "model"), RELEASED)
def test_released_weights_give_the_reference_scores(released, name, scale, model, dataset):
    agree(released, name, scale, model, dataset)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "scale", "model"),
    [row for row in RELEASED if row[0] in {"rfdn", "aidn-challenge", "bicubic"} and row[1] == 4],
)
def test_released_weights_give_the_reference_scores_on_the_challenge_s_crops(
    released, name, scale, model
):
    expected = reference(released, model, "DIV2K_valid_c256")
    images = esrbench.evaluate(name, released / "data" / "DIV2K_valid_c256", scale).images
    assert {image.image for image in images} == set(expected)
    # The mean: one pixel that another summation order rounds otherwise moves a single crop of
    # 39 dB by more than 1e-4 dB.
    for key, tolerance in (("psnr_rgb", 1e-4), ("psnr_y", 1e-4), ("ssim_y", 1e-5)):
        mean = np.mean([float(expected[image.image][key]) for image in images])
        assert np.mean([getattr(image, key) for image in images]) == pytest.approx(
            mean, abs=tolerance
        )


def test_imdn_reaches_its_published_set5_figures(released):
    images = esrbench.evaluate("imdn", f"set5={released / 'data' / 'Set5'}", 4).images
    # IMDN paper, Set5 x4.
    assert f"{np.mean([image.psnr_y for image in images]):.2f}" == "32.21"
    assert f"{np.mean([image.ssim_y for image in images]):.4f}" == "0.8948"


def test_the_definition_decides_the_score(released):
    folder = f"set5={released / 'data' / 'Set5'}"
    rounded = esrbench.evaluate("bicubic", folder, 4, definition=QualityDefinition(luma="uint8"))
    expected = reference(released, "bicubic_x4", "Set5")
    for image in rounded.images:
        row = expected[image.image]
        assert image.psnr_y == pytest.approx(float(row["psnr_y_u8"]), abs=1e-4)
    assert "luma rounded to uint8" in rounded.definition


def test_a_module_is_scored_and_left_as_it_was():
    network = nn.Upsample(scale_factor=4, mode="nearest").train()
    quality = esrbench.evaluate(network, "demo", 4)
    assert network.training
    assert [image.image for image in quality.images] == [
        "astronaut",
        "chelsea",
        "coffee",
        "motorcycle_left",
    ]
    bicubic = esrbench.evaluate("bicubic", "demo", 4)
    pairs = zip(quality.images, bicubic.images, strict=True)
    assert all(worse.psnr_y < better.psnr_y for worse, better in pairs)


def test_random_weights_have_no_scores(tmp_path, monkeypatch):
    monkeypatch.setenv("ESRBENCH_CACHE", str(tmp_path))
    with pytest.raises(UsageError, match="rlfn has no trained weights here") as caught:
        esrbench.evaluate("rlfn")
    assert "esrbench fetch weights rlfn" in (caught.value.advice or "")


def test_no_command_is_advised_that_cannot_help():
    with pytest.raises(UsageError, match="carn has no trained weights here") as caught:
        esrbench.evaluate("carn")
    assert caught.value.advice == "Pass weights=FILE."


@pytest.mark.usefixtures("lasting_workers")
def test_a_path_is_a_folder_even_where_a_data_set_has_its_name(pair_folder, tmp_path, monkeypatch):
    shutil.copytree(pair_folder, tmp_path / "demo")
    monkeypatch.chdir(tmp_path)
    protocol = Protocol(threads=1, counted_input=(16, 16), latency=None)
    (record,) = esrbench.run("bicubic", data=Path("demo"), protocol=protocol, results="out")
    assert record.data.images == 2
    assert not record.data.verified
    assert len(esrbench.evaluate("bicubic", Path("demo")).images) == 2


def test_complexity_takes_names_and_modules():
    by_name = esrbench.complexity("srresnet", 4)
    assert by_name.params == 1_517_571
    module = nn.Conv2d(3, 5, 3, padding=1)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    counted = esrbench.complexity(module, input_size=(10, 20), counters=("aten",))
    assert counted.counters["aten"].macs == 10 * 20 * 5 * 27
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    assert not list(module._forward_hooks)


def test_a_network_on_enlarged_luma_is_counted_on_what_it_takes():
    counted = esrbench.complexity("srcnn", 2, input_size=(8, 8)).counters["aten"]
    assert counted.input_shape == (1, 1, 16, 16)
    assert counted.macs == 16 * 16 * 57_184


@pytest.mark.usefixtures("lasting_workers")
def test_run_and_leaderboard(pair_folder, tmp_path):
    protocol = Protocol(threads=1, counted_input=(16, 16), latency=None)
    records = esrbench.run("bicubic", data=pair_folder, protocol=protocol, results=tmp_path)
    assert [record.entry.name for record in records] == ["bicubic"]
    board = esrbench.leaderboard(results=tmp_path)
    assert [row.run_id for row in board.unranked] == [records[0].run_id]


def test_run_in_a_worker_is_refused(monkeypatch):
    monkeypatch.setenv("ESRBENCH_WORKER", "1")
    with pytest.raises(UsageError, match="a file that a worker imports") as caught:
        esrbench.run("bicubic")
    assert "__main__" in (caught.value.advice or "")


def test_every_public_name_exists_and_importing_costs_nothing():
    for name in esrbench.__all__:
        assert callable(getattr(esrbench, name))
    assert set(esrbench.__all__) <= set(dir(esrbench))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        esrbench.nothing  # noqa: B018
    code = "import sys, esrbench; print(*sorted(m for m in sys.modules if 'esrbench' in m))"
    loaded = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert loaded.split() == ["esrbench", "esrbench.version"]


def test_no_module_takes_the_place_of_a_public_name():
    """Importing ``esrbench.x`` sets the attribute ``x`` of the package."""
    assert not {each.name for each in iter_modules(esrbench.__path__)} & set(esrbench.__all__)
    importlib.import_module("esrbench.runs.suite")
    importlib.import_module("esrbench.paired.race")
    assert isinstance(esrbench.run, FunctionType)
    assert isinstance(esrbench.race, FunctionType)


def test_the_module_is_the_command():
    commands = ([Path(sys.executable).with_name("esrbench")], [sys.executable, "-m", "esrbench"])
    said = {subprocess.check_output([*each, "--version"], text=True) for each in commands}
    assert said == {f"{esrbench.__version__}\n"}


@pytest.mark.usefixtures("released")
def test_loaded_networks_take_and_give_unit_range():
    # rfdn's released weights are for 0..255.
    assert default_registry().get("rfdn").weights[0].data_range == 255
    network = esrbench.load_model("rfdn", 4)
    grey = torch.full((1, 3, 24, 24), 0.5)
    with torch.inference_mode():
        sr = network(grey)
    assert abs(float(sr[..., 8:-8, 8:-8].mean()) - 0.5) < 0.01


class Cell(nn.Sequential):
    """A network as one types it at a prompt."""

    def __init__(self, scale=4):
        super().__init__(nn.Conv2d(3, 3 * scale**2, 3, padding=1), nn.PixelShuffle(scale))


def test_a_network_of_a_notebook_is_counted_scored_and_timed_here():
    network = Cell().train()
    assert esrbench.complexity(network, input_size=(16, 16)).params == 28 * 48
    assert len(esrbench.evaluate(network).images) == 4
    design = esrbench.LatencyDesign(
        warmup_rounds=1, max_warmup_rounds=2, min_rounds=4, max_rounds=4, target_half_width=0
    )
    timed = esrbench.latency(network, input_size=(8, 12), design=design)
    assert timed.lr_size == (8, 12)
    assert len(timed.seconds) == 4
    assert min(timed.seconds) > 0
    assert network.training
    assert len(esrbench.latency("fsrcnn", 2, input_size=(8, 8), design=design).seconds) == 4


def test_a_wrong_output_is_not_timed():
    with pytest.raises(esrbench.MeasurementError, match=r"gave shape \(1, 3, 16, 16\), expected"):
        esrbench.latency(nn.Upsample(scale_factor=2), 4, input_size=(8, 8))


def test_a_network_of_a_notebook_is_run_from_a_file(monkeypatch):
    for given in (Cell(), Cell, [Cell()]):
        with pytest.raises(
            UsageError, match="run: got Cell itself; a worker process needs"
        ) as told:
            esrbench.run(given)
        assert "%%writefile mynet.py" in told.value.advice
    with pytest.raises(UsageError, match="race: got Cell itself"):
        esrbench.race("bicubic", Cell())
    monkeypatch.setattr(Cell, "__module__", "__main__")
    monkeypatch.delattr(sys.modules["__main__"], "__file__", raising=False)
    with pytest.raises(esrbench.RegistrationError, match="a worker process cannot import") as told:
        esrbench.register_model("cell", scales=(4,))(Cell)
    assert "%%writefile mynet.py" in told.value.advice
    assert "esrbench.complexity, evaluate or latency" in told.value.advice


@pytest.mark.parametrize("take", [esrbench.complexity, esrbench.evaluate, esrbench.latency])
def test_a_class_is_no_network(take):
    with pytest.raises(UsageError, match="got the class Cell, expected the name of a network"):
        take(Cell)

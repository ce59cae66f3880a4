import csv
from pathlib import Path

import numpy as np
import pytest
from builders import write_set

from esrbench.data.codecs import write_png
from esrbench.data.unscored import Source
from esrbench.entries.descriptor import ModelDescriptor
from esrbench.training.images import open_images
from esrbench.training.recipe import Recipe

NETWORKS = Path(__file__).with_name("networks.py")


def photograph(number, height, width):
    """Gratings of three frequencies under a disc with a hard edge, different for every number."""
    random = np.random.default_rng(number)
    rows, columns = np.mgrid[0:height, 0:width]
    image = np.empty((height, width, 3))
    for channel in range(3):
        waves = sum(
            np.sin(random.uniform(0.1, 0.9) * rows + random.uniform(0.1, 0.9) * columns)
            for _ in range(3)
        )
        image[..., channel] = 128 + 25 * waves
    centre = random.uniform(0.3, 0.7, 2) * (height, width)
    disc = (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 < (height / 4) ** 2
    image[disc] = image[disc] / 2 + random.uniform(0, 100, 3)
    return image.clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def make_photograph():
    return photograph


@pytest.fixture(scope="session")
def photographs(tmp_path_factory):
    """Folder of eight images, one of them in a folder of its own."""
    folder = tmp_path_factory.mktemp("photographs")
    (folder / "more").mkdir()
    for number in range(8):
        name = f"more/{number}.png" if number == 7 else f"{number}.png"
        write_png(folder / name, photograph(number, 64, 72))
    return folder


@pytest.fixture(scope="session")
def held_out(tmp_path_factory):
    """Two pairs at x2 and x4 that are not among ``photographs``."""
    images = {str(number): photograph(number, 64, 64) for number in (100, 101)}
    return write_set(tmp_path_factory.mktemp("held-out"), images, scales=(2, 4))


@pytest.fixture
def images(photographs, tmp_path):
    return open_images([Source("photographs", photographs)], 2, cache=tmp_path / "decoded")


@pytest.fixture
def open_set(tmp_path):
    """Opens ``tmp_path / "set"``; images given by name are written there first."""

    def write_and_open(images=None, scale=2):
        for name, pixels in (images or {}).items():
            path = tmp_path / "set" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            write_png(path, pixels)
        return open_images([Source("set", tmp_path / "set")], scale, cache=tmp_path / "decoded")

    return write_and_open


@pytest.fixture(scope="session")
def network():
    """Descriptor of a network of ``networks.py`` by class name."""

    def build(attribute, **fields):
        return ModelDescriptor(
            name=attribute.lower(),
            summary="test network",
            scales=(2, 4),
            factory=f"{NETWORKS}:{attribute}",
            **fields,
        )

    return build


@pytest.fixture(scope="session")
def make_recipe():
    """A recipe of crops of 16 HR pixels; without stages: one of L1 for 40 iterations."""

    def build(*stages, **fields):
        stage = {
            "iterations": 40,
            "learning_rate": {"shape": "cosine", "first": 5e-3, "last": 1e-5},
        }
        given = [{**stage, **each} for each in stages or ({},)]
        for each in given:
            if "epochs" in each:
                del each["iterations"]
        content = {
            "name": "test",
            "summary": "test recipe",
            "hr_patch": 16,
            "batch": 4,
            "log_every": 5,
            "validate_every": 20,
            "checkpoint_every": 10,
            "stages": given,
        }
        return Recipe.model_validate(content | fields)

    return build


@pytest.fixture
def two_stages():
    """Stages that differ in all they can, of 23 and 18 iterations on ``photographs``."""
    return (
        {"ema_decay": 0.9, "iterations": 23},
        {
            "loss": "l2",
            "hr_patch": 32,
            "epochs": 9,  # of 2 steps
            "ema_decay": 0.8,
            "learning_rate": {"shape": "step", "first": 1e-3, "every": 4, "factor": 0.5},
            "optimiser": {"name": "adamw", "weight_decay": 1e-3, "clip_norm": 1.0},
        },
    )


@pytest.fixture
def train_here(images, tmp_path):
    """``train`` on the CPU into a folder of ``tmp_path``; on ``images`` and not validated."""
    from esrbench.training.trainer import train

    def run(descriptor, recipe, folder="out", **fields):
        given = {"images": images, "validate": None} | fields
        return train(descriptor, recipe, output=tmp_path / folder, device="cpu", **given)

    return run


@pytest.fixture(scope="session")
def rows_of():
    """Rows of the log in a training's folder."""

    def read(folder):
        with (folder / "log.csv").open(newline="") as file:
            return list(csv.DictReader(file))

    return read


@pytest.fixture(autouse=True)
def _more_than_one_cpu(all_cpus):
    """Two threads or processes are part of what is tested here."""

"""Small data sets on disk for the catalog's tests."""

from __future__ import annotations

import numpy as np
import pytest

from esrbench.data import declarations
from esrbench.data.codecs import write_png
from esrbench.data.datasets import open_dataset
from esrbench.data.declarations import Dataset
from esrbench.data.resize import downscale
from esrbench.errors import DataError


def _image(seed, height=48, width=36):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture
def image():
    """Makes an RGB image of noise from a seed, 48x36 unless told otherwise."""
    return _image


@pytest.fixture
def make_set():
    """Writes a data set of ``image(0)``, ``image(1)``, ... as HR/ and LR_bicubic/X4/."""

    def make(root, names=("a", "b", "c"), scale=4, prefix=""):
        hr, lr = root / f"{prefix}HR", root / f"{prefix}LR_bicubic" / f"X{scale}"
        hr.mkdir(parents=True)
        lr.mkdir(parents=True)
        for seed, name in enumerate(names):
            write_png(hr / f"{name}.png", _image(seed))
            small = downscale(_image(seed), scale, border="replicate")
            write_png(lr / f"{name}x{scale}.png", small)
        return root

    return make


@pytest.fixture
def problems_of():
    """Opens a data set that must be refused; the problems that it lists."""

    def problems(root, scale=4):
        with pytest.raises(DataError) as caught:
            open_dataset(root, scale)
        assert caught.value.exit_code == 2
        return caught.value.problems

    return problems


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    """An empty cache for this test alone."""
    monkeypatch.setenv("ESRBENCH_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def trio(monkeypatch):
    """A benchmark set of three images with Set14's peculiarities."""
    dataset = Dataset(
        name="trio",
        title="Trio",
        scales=(2, 4),
        count=3,
        grey=("b",),
        modcrop=True,
        lr_border="replicate",
        origin="this test",
    )
    monkeypatch.setitem(declarations.DATASETS, "trio", dataset)
    return dataset

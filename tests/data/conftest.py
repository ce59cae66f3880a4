"""Small data sets on disk for the tests of this package."""

import resource
from contextlib import contextmanager

import pytest
from builders import noise, write_set

from esrbench.data import declarations
from esrbench.data.datasets import open_dataset
from esrbench.data.declarations import Dataset
from esrbench.errors import DataError


@pytest.fixture
def image():
    """Makes an RGB image of noise from a seed, 48x36 unless told otherwise."""
    return noise


@pytest.fixture
def make_set():
    """Writes a data set of ``image(0)``, ``image(1)``, ... as HR/ and LR_bicubic/X4/."""

    def make(root, names=("a", "b", "c"), scale=4, prefix=""):
        images = {name: noise(seed) for seed, name in enumerate(names)}
        return write_set(root, images, scales=(scale,), prefix=prefix, border="replicate")

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


@pytest.fixture
def small_files():
    """Lets no file grow beyond so many bytes, within a block, as on a full disk."""

    @contextmanager
    def limited(size):
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    return limited

"""Images by which networks are quantised: LR windows, spread over a folder, none of them scored."""

from importlib import resources

import cv2
import numpy as np
import pytest
from builders import noise, write_set

from esrbench.data import calibration as module
from esrbench.data.calibration import open_calibration
from esrbench.data.codecs import write_png
from esrbench.data.datasets import open_dataset
from esrbench.data.resize import downscale
from esrbench.errors import DataError, UsageError


@pytest.fixture
def folder(tmp_path):
    """Writes images into a folder, by name."""

    def write(**images):
        root = tmp_path / "mine"
        root.mkdir(exist_ok=True)
        for name, pixels in images.items():
            write_png(root / f"{name}.png", pixels)
        return str(root)

    return write


def test_lr_is_matlab_s_bicubic_of_the_middle_of_an_image(folder):
    small, wide = noise(0, 64, 64), noise(1, 64, 600)
    found = open_calibration(folder(a=small, b=wide), 2)
    ours, cut = found.images
    assert np.array_equal(ours, downscale(small, 2, border="mirror"))
    middle = np.ascontiguousarray(wide[:, 172:428])
    assert np.array_equal(cut, downscale(middle, 2, border="mirror"))
    assert found.quantisation().images == 2
    ends = found.quantisation(fp32_ends=True)
    assert (ends.fp32_ends, ends.sha256) == (True, found.quantisation().sha256)


def test_images_are_spread_over_the_folder_and_known_by_their_pixels(folder, monkeypatch):
    images = {name: noise(seed, 64, 64) for seed, name in enumerate("abcdef")}
    monkeypatch.setattr(module, "MOST_IMAGES", 3)
    found = open_calibration(folder(**images), 2)
    assert list(found.digests) == ["mine/a.png", "mine/c.png", "mine/e.png"]
    first = found.quantisation()
    assert open_calibration(folder(), 2).quantisation() == first
    assert open_calibration(folder(c=noise(9, 64, 64)), 2).quantisation() != first


def test_a_folder_without_images_and_one_that_is_not_there_are_named(folder):
    with pytest.raises(DataError, match="found no images"):
        open_calibration(folder(), 2)
    with pytest.raises(UsageError, match="--calibrate-with /nowhere: there is no folder"):
        open_calibration("/nowhere", 2)


def test_every_image_that_is_too_small_or_no_image_is_named(folder, tmp_path):
    root = folder(a=noise(0, 63, 200), b=noise(1, 64, 64), c=noise(2, 64, 20))
    (tmp_path / "mine" / "d.png").write_bytes(b"text")
    with pytest.raises(DataError, match="3 of 4 images cannot be calibrated with") as error:
        open_calibration(root, 2)
    small, other, damaged = error.value.problems
    assert "a.png: found 200x63 pixels, expected at least 64x64" in small
    assert "c.png" in other
    assert "d.png" in damaged


def test_images_that_are_scored_are_refused_as_hr_and_as_lr(folder, tmp_path):
    scored = {"x": noise(5, 256, 256), "y": noise(6, 256, 256)}
    pairs = open_dataset(write_set(tmp_path / "tested", scored, scales=(4,)), 4)
    edged = np.pad(scored["x"], ((0, 1), (0, 1), (0, 0)))
    other = np.pad(scored["y"], ((0, 128), (0, 0), (0, 0)))
    root = folder(edged=edged, lr=pairs.read_lr(1), other=other)
    with pytest.raises(DataError, match="2 of 3 images must not be used for calibration") as error:
        open_calibration(root, 2).refuse_scored([pairs])
    named = [problem.partition(":")[0] for problem in error.value.problems]
    assert named == ["mine/edged.png", "mine/lr.png"]


def test_images_of_a_declared_set_are_refused_though_another_is_scored(folder):
    with resources.as_file(resources.files("skimage") / "data" / "chelsea.png") as path:
        chelsea = np.ascontiguousarray(cv2.imread(str(path), cv2.IMREAD_COLOR_RGB))
    with pytest.raises(DataError) as error:
        open_calibration(folder(cat=chelsea), 4).refuse_scored(())
    assert error.value.problems == ("mine/cat.png: is in demo (4 scikit-image crops)",)

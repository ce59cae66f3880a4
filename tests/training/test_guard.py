from __future__ import annotations

import shutil
from importlib import resources
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from esrbench.data.codecs import read_rgb, write_png
from esrbench.data.datasets import open_dataset
from esrbench.errors import DataError
from esrbench.training.guard import refuse_scored_images
from esrbench.training.images import Source, open_images

if TYPE_CHECKING:
    from pathlib import Path

    from esrbench.training.images import TrainingImages


def opened(folder: Path, tmp_path: Path) -> TrainingImages:
    return open_images([Source("set", folder)], 2, cache=tmp_path / "decoded")


def test_images_that_nobody_scores_are_let_through_and_it_is_said_what_was_asked(
    images: TrainingImages,
) -> None:
    compared = refuse_scored_images(images, ())
    assert "Set5 (5)" in compared
    assert "Set14 (14)" in compared
    assert "demo (4 scikit-image photographs) (4)" in compared


def test_a_demo_photograph_is_refused_under_any_name(photographs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    shutil.copytree(photographs, folder)
    with resources.as_file(resources.files("skimage") / "data" / "chelsea.png") as path:
        pixels = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
    write_png(folder / "holiday.png", np.ascontiguousarray(pixels))
    with pytest.raises(DataError, match="1 of 9 training images must not") as error:
        refuse_scored_images(opened(folder, tmp_path), ())
    assert error.value.problems == ("set/holiday.png: is in demo (4 scikit-image photographs)",)


def test_an_image_of_the_validation_set_is_refused_whole_or_with_its_edge(
    photographs: Path, held_out: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "set"
    shutil.copytree(photographs, folder)
    pairs = open_dataset(held_out, 2)
    refuse_scored_images(opened(folder, tmp_path), (pairs,))
    scored = read_rgb(held_out / "HR" / "100.png")
    write_png(folder / "whole.png", scored)
    edged = np.pad(scored, ((0, 1), (0, 1), (0, 0)))
    write_png(folder / "edged.png", edged)
    with pytest.raises(DataError) as error:
        refuse_scored_images(opened(folder, tmp_path), (pairs,))
    assert [problem.partition(":")[0] for problem in error.value.problems] == [
        "set/edged.png",
        "set/whole.png",
    ]

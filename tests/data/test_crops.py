from __future__ import annotations

import cv2
import numpy as np
import pytest

from esrbench.data.crops import CropFolder, choose_crops, crops_of, read_crops, write_crop
from esrbench.data.datasets import open_dataset


@pytest.fixture(scope="module")
def demo():
    return open_dataset("demo", 4)


def test_crops_are_the_same_every_time_and_lie_on_lr_pixels(demo):
    chosen = choose_crops(demo)
    assert [crop for crop, _, _ in chosen] == [crop for crop, _, _ in choose_crops(demo)]
    assert len(chosen) == 8
    for crop, hr, lr in chosen:
        assert hr.shape == (128, 192, 3)
        assert lr.shape == (32, 48, 3)
        assert crop.top % 4 == crop.left % 4 == 0
        index = [pair.name for pair in demo.pairs].index(crop.image)
        whole = demo.read_hr(index)
        assert (whole[crop.top : crop.top + 128, crop.left : crop.left + 192] == hr).all()
        low = demo.read_lr(index)
        top, left = crop.top // 4, crop.left // 4
        assert (low[top : top + 32, left : left + 48] == lr).all()


def test_images_smaller_than_a_crop_are_kept_whole(shared_pair_folder):
    pairs = open_dataset(shared_pair_folder, 4)
    crops = [crop for crop, _, _ in choose_crops(pairs)]
    assert {(crop.height, crop.width) for crop in crops} == {(64, 64), (64, 96)}
    assert len(set(crops)) == len(crops) == 2


def test_files_are_lossless_and_small(demo, tmp_path):
    crops = crops_of(demo, tmp_path)
    assert read_crops(tmp_path) == crops == crops_of(demo, tmp_path)
    by_name = {pair.name: index for index, pair in enumerate(demo.pairs)}
    for crop in crops:
        read = cv2.imread(str(tmp_path / "HR" / crop.filename), cv2.IMREAD_COLOR_RGB)
        assert (read == crop.cut(demo.read_hr(by_name[crop.image]))).all()
    assert sum(path.stat().st_size for path in (tmp_path / "HR").iterdir()) < 300_000


def test_an_entry_keeps_the_crops_of_an_image_and_no_others(demo, tmp_path):
    crops = crops_of(demo, tmp_path / "data")
    folder = CropFolder(tmp_path / "entry", crops)
    image = crops[0].image
    folder.keep(image, np.zeros((512, 768, 3), np.uint8))
    folder.keep("another", np.zeros((512, 768, 3), np.uint8))
    kept = {path.name for path in (tmp_path / "entry").iterdir()}
    assert kept == {crop.filename for crop in crops if crop.image == image}


@pytest.mark.parametrize("content", ["", "{", "[]", '{"crops": [{"image": 1}]}'])
def test_a_damaged_index_is_none(content, tmp_path):
    (tmp_path / "crops.json").write_text(content)
    assert read_crops(tmp_path) == ()


def test_a_full_disk_is_an_error(demo, tmp_path):
    (tmp_path / "file").write_text("")
    crop = choose_crops(demo)[0][0]
    with pytest.raises(OSError, match="file"):
        write_crop(tmp_path / "file", crop, np.zeros((128, 192, 3), np.uint8))

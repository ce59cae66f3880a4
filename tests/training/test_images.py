import pickle
import shutil
from importlib import resources

import cv2
import numpy as np
import pytest

from esrbench.data.codecs import pixel_digest, read_rgb, write_png
from esrbench.data.datasets import open_dataset
from esrbench.data.resize import downscale, modcrop
from esrbench.data.unscored import Source
from esrbench.errors import DataError
from esrbench.training import images as module
from esrbench.training.images import open_images, refuse_scored_images


def test_images_and_their_lr_are_those_of_the_files(photographs, images):
    names = [image.name for image in images.images]
    assert names == [
        *(f"photographs/{number}.png" for number in range(7)),
        "photographs/more/7.png",
    ]
    for stored, hr, lr in zip(images.images, images.hr, images.lr, strict=True):
        pixels = read_rgb(photographs / stored.name.partition("/")[2])
        assert np.array_equal(hr, pixels)
        assert stored.pixels == pixel_digest(pixels)
        assert np.array_equal(lr, downscale(pixels, 2, border="mirror"))


def test_sizes_that_are_no_multiple_of_the_scale_are_cropped_for_lr(open_set, make_photograph):
    pixels = make_photograph(5, 43, 50)
    opened = open_set({"a.png": pixels}, 4)
    expected = downscale(np.ascontiguousarray(modcrop(pixels, 4)), 4, border="mirror")
    assert np.array_equal(opened.lr[0], expected)
    assert np.array_equal(opened.hr[0], pixels)


def test_images_are_decoded_once_and_lr_made_once_a_scale(photographs, tmp_path, monkeypatch):
    sources = [Source("photographs", photographs)]
    first = open_images(sources, 2, cache=tmp_path)
    monkeypatch.delattr(module, "read_rgb")
    again = open_images(sources, 2, cache=tmp_path)
    other = open_images(sources, 4, cache=tmp_path)
    assert again.digest == first.digest != other.digest
    files = {path.name for path in first.folder.iterdir()}
    assert files == {"hr.u8", "index.json", "lr_x2.u8", "lr_x4.u8"}
    monkeypatch.delattr(module, "downscale")
    open_images(sources, 4, cache=tmp_path)


def test_a_changed_image_is_decoded_again(open_set, make_photograph):
    first, second = (open_set({"a.png": make_photograph(seed, 40, 40)}) for seed in (1, 2))
    assert first.digest != second.digest
    assert not np.array_equal(first.hr[0], second.hr[0])


def test_a_decoding_that_was_cut_off_is_done_again(photographs, tmp_path):
    sources = [Source("photographs", photographs)]
    first = open_images(sources, 2, cache=tmp_path)
    (first.folder / "index.json").unlink()
    assert open_images(sources, 2, cache=tmp_path).digest == first.digest


def test_workers_are_sent_no_pixels(images):
    assert images.hr[0].size > 0
    sent = pickle.dumps(images)
    assert len(sent) < 3000
    assert np.array_equal(pickle.loads(sent).hr[3], images.hr[3])  # noqa: S301 - our own bytes


def test_lr_images_and_hidden_files_are_no_training_images(tmp_path, open_set, make_photograph):
    names = ("HR/a.png", "LR_bicubic/X2/ax2.png", ".thumbs/a.png", "HR/.b.png")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "README.txt").write_text("about")
    opened = open_set(dict.fromkeys(names, make_photograph(1, 40, 40)))
    assert [image.name for image in opened.images] == ["set/HR/a.png"]


def test_an_empty_folder_is_named(tmp_path):
    with pytest.raises(DataError) as error:
        open_images([Source("set", tmp_path)], 2, cache=tmp_path / "decoded")
    assert error.value.problems == (f"{tmp_path}: found no images, expected PNG or BMP files",)


def test_every_damaged_image_is_named_and_nothing_is_kept(tmp_path, open_set, make_photograph):
    folder = tmp_path / "set"
    folder.mkdir()
    for name in "abc":
        write_png(folder / f"{name}.png", make_photograph(1, 40, 40))
    damaged = [folder / "a.png", folder / "c.png"]
    for path in damaged:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match="2 training images cannot be read") as error:
        open_set()
    named = [problem.partition(": ")[0] for problem in error.value.problems]
    assert named == list(map(str, damaged))
    assert list((tmp_path / "decoded").iterdir()) == []


def test_images_smaller_than_a_crop_are_all_named(open_set, make_photograph):
    sizes = {"a.png": (48, 48), "b.png": (30, 60), "c.png": (60, 31)}
    opened = open_set({name: make_photograph(1, *size) for name, size in sizes.items()})
    opened.require_patch(30)
    with pytest.raises(DataError, match="2 of 3 training images are too small") as error:
        opened.require_patch(48)
    assert "set/b.png: found 60x30 pixels, expected at least 48x48" in error.value.problems[0]


def test_images_that_nobody_scores_are_let_through_and_it_is_said_what_was_asked(images):
    compared = refuse_scored_images(images, ())
    assert "Set5 (5)" in compared
    assert "Set14 (14)" in compared
    assert "demo (4 scikit-image crops) (4)" in compared


def test_a_demo_photograph_is_refused_under_any_name(photographs, tmp_path, open_set):
    shutil.copytree(photographs, tmp_path / "set")
    with resources.as_file(resources.files("skimage") / "data" / "chelsea.png") as path:
        pixels = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
    opened = open_set({"holiday.png": np.ascontiguousarray(pixels)})
    with pytest.raises(DataError, match="1 of 9 images must not be used for training") as error:
        refuse_scored_images(opened, ())
    assert error.value.problems == ("set/holiday.png: is in demo (4 scikit-image crops)",)


def test_an_image_of_the_validation_set_is_refused_whole_or_with_its_edge(
    photographs, held_out, tmp_path, open_set
):
    shutil.copytree(photographs, tmp_path / "set")
    pairs = open_dataset(held_out, 2)
    refuse_scored_images(open_set(), (pairs,))
    scored = read_rgb(held_out / "HR" / "100.png")
    edged = np.pad(scored, ((0, 1), (0, 1), (0, 0)))
    opened = open_set({"whole.png": scored, "edged.png": edged})
    with pytest.raises(DataError) as error:
        refuse_scored_images(opened, (pairs,))
    names = [problem.partition(":")[0] for problem in error.value.problems]
    assert names == ["set/edged.png", "set/whole.png"]

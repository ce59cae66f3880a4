from __future__ import annotations

import numpy as np
import pytest
from builders import noise

from esrbench.data.codecs import read_rgb, write_png
from esrbench.data.datasets import open_dataset
from esrbench.errors import UsageError
from esrbench.records import ImageScore, Quality
from esrbench.reports.page import copy_images


@pytest.fixture
def records(make_record):
    """Two entries with scores of the same two images."""
    images = tuple(
        ImageScore(image=name, psnr_rgb=28.0, psnr_y=29.0, ssim_y=0.8) for name in ("a b", "c")
    )
    quality = Quality(definition="test", images=images)
    return [make_record(name, quality=quality) for name in ("rfdn", "imdn")]


def test_images_of_entries_go_beside_the_page(records, tmp_path):
    sr = {(name, image): noise(n) for n, name in enumerate(("rfdn", "imdn")) for image in ("a b",)}
    for (name, image), pixels in sr.items():
        path = tmp_path / "sr" / "demo" / name / f"{image}x4.png"
        path.parent.mkdir(parents=True)
        write_png(path, pixels)
    (view,), said = copy_images(records, tmp_path / "sr", tmp_path / "report_files")
    assert (view.title, view.height, view.width) == ("a b, whole", 48, 36)
    assert said == []
    for picture in view.pictures:
        assert picture.caption == "28.00 dB, SSIM 0.8000"
        assert picture.source.startswith("report_files/")
        assert np.array_equal(read_rgb(tmp_path / picture.source), sr[picture.label, "a b"])


def test_hr_and_lr_of_public_images_stand_beside_them(make_record, tmp_path):
    pairs = open_dataset("demo", 4)
    scores = tuple(
        ImageScore(image=pair.name, psnr_rgb=28.0, psnr_y=29.0, ssim_y=0.8) for pair in pairs.pairs
    )
    record = make_record(
        "rfdn",
        quality=Quality(definition="test", images=scores),
        digest=pairs.digest,
        verified=True,
    )
    for at, pair in enumerate(pairs.pairs):
        path = tmp_path / "sr" / "demo" / "rfdn" / f"{pair.name}x4.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_png(path, pairs.read_hr(at))
    views, said = copy_images([record], tmp_path / "sr", tmp_path / "files")
    assert said == []
    assert len(views) == len(pairs)
    for at, view in enumerate(views):
        hr, lr, _ = view.pictures
        assert (hr.label, lr.label) == ("HR", "LR")
        assert np.array_equal(read_rgb(tmp_path / hr.source), pairs.read_hr(at))
        assert np.array_equal(read_rgb(tmp_path / lr.source), pairs.read_lr(at))
    for secret in ({"hidden": True}, {"verified": False}, {"digest": "0" * 64}):
        hidden = record.model_copy(update={"data": record.data.model_copy(update=secret)})
        views, _ = copy_images([hidden], tmp_path / "sr", tmp_path / "files")
        assert [picture.label for picture in views[0].pictures] == ["rfdn"]


def test_entries_without_images_are_named(records, tmp_path):
    path = tmp_path / "sr" / "demo" / "rfdn" / "cx4.png"
    path.parent.mkdir(parents=True)
    write_png(path, noise(0))
    _, said = copy_images(records, tmp_path / "sr", tmp_path / "files")
    command = f"esrbench run imdn --data demo --save-sr {tmp_path / 'sr'}"
    assert said == [f"No SR images of imdn: `{command}` makes them."]


def test_a_folder_without_images_is_refused(records, tmp_path):
    with pytest.raises(UsageError, match="found no SR images"):
        copy_images(records, tmp_path, tmp_path / "files")
    outside = records[0].model_copy(
        update={"entry": records[0].entry.model_copy(update={"name": "../rfdn"})}
    )
    write_png(tmp_path / "cx4.png", noise(0))
    with pytest.raises(UsageError, match="found no SR images"):
        copy_images([outside], tmp_path, tmp_path / "files")


def test_a_file_that_is_no_image_is_refused(records, tmp_path):
    path = tmp_path / "sr" / "demo" / "rfdn" / "cx4.png"
    path.parent.mkdir(parents=True)
    path.write_text("no image")
    with pytest.raises(UsageError, match="cannot be copied"):
        copy_images(records, tmp_path / "sr", tmp_path / "files")

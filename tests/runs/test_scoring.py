"""Scores of SR images against independent code, and what their record says and leaves out."""

from __future__ import annotations

import csv
import math
import shutil
import zipfile
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from builders import noise, write_set
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio

from esrbench import load_model
from esrbench.data.codecs import read_rgb, write_png
from esrbench.data.crops import read_crops
from esrbench.data.datasets import open_dataset
from esrbench.data.resize import upscale
from esrbench.entries.registry import Registry
from esrbench.errors import DataError, RegistrationError, UsageError
from esrbench.metrics import METRICS
from esrbench.protocol import Protocol
from esrbench.records import Absent
from esrbench.runs.quality_pass import score_images
from esrbench.runs.scoring import NOTHING_RAN, entry_name, score_sr_images
from esrbench.runs.store import Store

SCORES = ("psnr_rgb", "psnr_y", "ssim_y")


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """Two images of noise and their bicubic LR images at x4."""
    root = tmp_path_factory.mktemp("data") / "pair"
    return open_dataset(write_set(root, {"a": noise(0), "b": noise(1)}), 4)


@pytest.fixture
def folder(pairs, tmp_path):
    """Bicubic SR images of them, as a team sends them."""
    root = tmp_path / "team07"
    root.mkdir()
    for index, pair in enumerate(pairs.pairs):
        sr = upscale(pairs.read_lr(index), 4, border="mirror")
        write_png(root / f"team07_{pair.name}x4.png", sr)
    return root


def score(path, pairs, **options):
    return score_sr_images(path, pairs, name="team07", **options)


def problems_of(path, pairs):
    with pytest.raises(DataError, match=r"the SR images in .* cannot be used") as caught:
        score(path, pairs)
    return caught.value.problems


def test_scores_are_those_of_independent_code_and_of_a_network(folder, pairs, tmp_path):
    record = score(folder, pairs)
    for image, pair in zip(record.quality.images, pairs.pairs, strict=True):
        sr, hr = read_rgb(folder / f"team07_{pair.name}x4.png"), read_rgb(pair.hr)
        inner = (slice(4, -4), slice(4, -4))
        assert image.image == pair.name
        assert image.psnr_rgb == pytest.approx(
            peak_signal_noise_ratio(hr[inner], sr[inner], data_range=255), abs=1e-9
        )
    saved = tmp_path / "saved"
    scores, _ = score_images(
        lambda lr, _: upscale(lr, 4, border="mirror"),
        pairs,
        scale=4,
        definition=Protocol().quality,
        sr_folder=saved,
    )
    assert record.quality.images == scores == score(saved, pairs).quality.images
    for key in SCORES:
        mean = np.mean([getattr(each, key) for each in scores])
        assert record.measured(key) == pytest.approx(mean, abs=1e-12)


def test_a_zip_file_has_the_scores_of_its_folder(folder, pairs):
    archive = shutil.make_archive(str(folder), "zip", folder)
    told = []
    record = score(folder.with_name("team07.zip"), pairs, progress=lambda *each: told.append(each))
    assert archive.endswith("team07.zip")
    assert record.quality == score(folder, pairs).quality
    assert record.fingerprint == score(folder, pairs).fingerprint
    assert record.entry.origin == "images in team07.zip"
    assert told == [(1, 2), (2, 2)]


def test_all_but_scores_is_absent_and_says_why(folder, pairs):
    record = score(folder, pairs)
    assert (record.status, record.entry.role, record.environment.isolation) == (
        "ok",
        "images",
        NOTHING_RAN,
    )
    for key in METRICS.keys() - set(SCORES):
        value = record.value(key)
        assert isinstance(value, Absent)
        if METRICS[key].source == "quality":
            assert "asked" in value.reason or key == "perceptual_score"
            continue
        if METRICS[key].source == "energy":
            assert "asked" in value.reason
            continue
        if METRICS[key].source == "deployment":
            assert "no backend other than eager torch ran" in value.reason
            continue
        assert value.kind == "unavailable"
        expected = "no weights file" if key == "weights_bytes" else "only SR images were given"
        assert expected in value.reason
    assert record.failure() is None
    assert str(folder.parent) not in record.model_dump_json()


def test_crops_are_kept_of_declared_data_alone(folder, pairs, tmp_path):
    store = Store(tmp_path / "results")
    score(folder, pairs, store=store)
    assert not store.crops.exists()
    record = score(folder, replace(pairs, verified=True), store=store)
    crops = read_crops(store.crops_of(record.data.digest))
    kept = store.crops_of(record.fingerprint)
    assert sorted(path.name for path in kept.iterdir()) == sorted(c.filename for c in crops)
    for crop in crops:
        sr = read_rgb(folder / f"team07_{crop.image}x4.png")
        shown = cv2.imread(str(kept / crop.filename))[:, :, ::-1]
        assert np.array_equal(shown, crop.cut(sr))


def test_every_problem_is_told_at_once(folder, pairs, tmp_path):
    write_png(folder / "team07_ax4.png", noise(0, 44, 36))
    damaged = folder / "team07_bx4.png"
    damaged.write_bytes(damaged.read_bytes()[:-20])
    write_png(folder / "c.png", noise(2))
    problems = "\n".join(problems_of(folder, pairs))
    assert "team07_ax4.png: found 36x44 pixels, expected 36x48 as in a.png" in problems
    assert "team07_bx4.png: found a PNG" in problems
    assert "c.png: is called like no image" in problems
    assert problems.count("\n") == 2
    assert len(problems_of(write_set(tmp_path / "d", {"c": noise(2)}) / "HR", pairs)) == 3


@pytest.mark.parametrize(
    ("pixels", "said"),
    [
        (np.zeros((48, 36, 3), np.uint16), "16-bit RGB"),
        (np.zeros((48, 36), np.uint8), "8-bit grey"),
        (np.zeros((48, 36, 4), np.uint8), "RGB with alpha"),
    ],
)
def test_only_8_bit_rgb_is_scored(folder, pairs, pixels, said):
    cv2.imwrite(str(folder / "team07_ax4.png"), pixels)
    (problem,) = problems_of(folder, pairs)
    assert said in problem


@pytest.mark.parametrize(("form", "said"), [("png", "8-bit palette"), ("jpeg", "a JPEG file")])
def test_palettes_and_other_formats_are_refused(folder, pairs, form, said):
    Image.fromarray(noise(0)).quantize().convert("P" if form == "png" else "RGB").save(
        folder / "team07_ax4.png", form
    )
    (problem,) = problems_of(folder, pairs)
    assert said in problem


def test_an_image_without_error_has_no_mean(pairs, tmp_path):
    for pair in pairs.pairs:
        target = tmp_path / "hr" / f"{pair.name}.png"
        target.parent.mkdir(exist_ok=True)
        shutil.copy(pair.hr, target)
    record = score(tmp_path / "hr", pairs)
    assert [image.psnr_rgb for image in record.quality.images] == [None, None]
    assert "without error" in record.value("psnr_rgb").reason
    assert math.isclose(record.measured("ssim_y"), 1.0)


def test_a_name_is_one_of_an_entry_and_nobody_else_s(describe, tmp_path):
    registry = Registry()
    registry.add([describe("Nearest")], origin="tests")
    registry.broken["a-b"] = RegistrationError("no manifest")
    (tmp_path / "team07.v2").mkdir()
    assert entry_name(tmp_path / "team07.v2", None, registry) == "team07.v2"
    assert entry_name(tmp_path / "team07.zip", None, registry) == "team07"
    assert entry_name(tmp_path / "Team 07", "team07", registry) == "team07"
    for name, said in (("nearest", "nearest-images"), ("a-b", "a-b-images"), ("Team 7", "team07")):
        with pytest.raises(UsageError) as caught:
            entry_name(tmp_path / "x", name, registry)
        assert said in caught.value.advice


def test_the_scores_of_a_published_network_s_images(shared, tmp_path):
    """Bicubic SR of Set5, whose scores independent code has written down."""
    network = load_model("bicubic", 4)
    pairs = open_dataset(f"set5={shared / 'data' / 'Set5'}", 4)
    with zipfile.ZipFile(tmp_path / "sr.zip", "w") as archive:
        for index, pair in enumerate(pairs.pairs):
            path = tmp_path / f"bicubic_{pair.name}_SRx4.png"
            lr = torch.tensor(pairs.read_lr(index)).permute(2, 0, 1)[None] / 255
            sr = network(lr)[0].permute(1, 2, 0).clamp(0, 1).mul(255).round()
            write_png(path, sr.numpy().astype(np.uint8))
            archive.write(path, path.name)
    record = score(tmp_path / "sr.zip", pairs)
    with (shared / "facts" / "reference_scores.csv").open(newline="") as file:
        expected = {
            row["image"]: row
            for row in csv.DictReader(file)
            if (row["model"], row["dataset"]) == ("bicubic_x4", "Set5")
            and row["lr_source"] == "as_distributed_replicate"
        }
    assert len(record.quality.images) == len(expected) == 5
    for image in record.quality.images:
        row = expected[image.image]
        assert image.psnr_rgb == pytest.approx(float(row["psnr_rgb"]), abs=1e-4)
        assert image.psnr_y == pytest.approx(float(row["psnr_y"]), abs=1e-4)
        assert image.ssim_y == pytest.approx(float(row["ssim_y"]), abs=1e-5)

"""Data sets by name and folder: specs, layouts, declared exceptions."""

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
from builders import noise
from PIL import Image

from esrbench.data.cache import cache_dir
from esrbench.data.codecs import pixel_digest, read_rgb, write_png
from esrbench.data.datasets import (
    DataSpec,
    ImagePairs,
    fetch_dataset,
    get_dataset,
    listed_specs,
    open_dataset,
    parse_data_spec,
)
from esrbench.data.declarations import DATASETS
from esrbench.data.pairs import check
from esrbench.data.resize import downscale
from esrbench.errors import DataError, UsageError

pytestmark = pytest.mark.usefixtures("own_cache")


def test_a_spec_is_a_name_a_folder_or_both(tmp_path, monkeypatch):
    folder = tmp_path / "with=sign"
    folder.mkdir()
    (tmp_path / "set5").mkdir()
    monkeypatch.chdir(tmp_path)
    assert parse_data_spec("set5") == DataSpec("set5", None)
    assert parse_data_spec("./set5") == DataSpec(Path("set5"), None)
    assert parse_data_spec(str(folder)) == DataSpec(folder, None)
    assert parse_data_spec(f"set14={folder}") == DataSpec("set14", folder)


@pytest.mark.parametrize("text", ["", "set", "set14=", "nowhere/at/all", "sett14=x", "file.txt"])
def test_a_spec_that_names_nothing_is_a_usage_error(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file.txt").touch()
    with pytest.raises(UsageError):
        parse_data_spec(text)


def test_specs_come_one_by_one_or_with_commas(tmp_path):
    folder = tmp_path / "one,two"
    folder.mkdir()
    assert listed_specs(["set5,set14", "demo"]) == ["set5", "set14", "demo"]
    assert listed_specs(["set5, set14=elsewhere"]) == ["set5", "set14=elsewhere"]
    assert listed_specs([str(folder), f"set14={folder}"]) == [str(folder), f"set14={folder}"]
    assert listed_specs([]) == []


def test_a_folder_has_no_name_of_ones_own(tmp_path):
    with pytest.raises(UsageError, match="no data set is declared as 'sett5'") as caught:
        parse_data_spec(f"sett5={tmp_path}")
    assert caught.value.advice.startswith("Did you mean set5")
    assert caught.value.advice.endswith(f"give the folder alone: {tmp_path}.")


def rename(root, old, new):
    (root / new).parent.mkdir(parents=True, exist_ok=True)
    (root / old).rename(root / new)


LAYOUTS = {
    "HR + LR_bicubic/X4": {},
    "HR + LR": {"LR_bicubic/X4": "LR"},
    "HR + LR/X4": {"LR_bicubic": "LR"},
    "prefix": {"HR": "DIV2K_valid_HR", "LR_bicubic": "DIV2K_valid_LR_bicubic"},
    "same names": {f"LR_bicubic/X4/{n}x4.png": f"LR_bicubic/X4/{n}.png" for n in "abc"},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_in_circulation_are_recognised(tmp_path, layout, make_set, image):
    root = make_set(tmp_path / "photos")
    plain = open_dataset(root, 4).identity()
    for old, new in LAYOUTS[layout].items():
        rename(root, old, new)
    pairs = open_dataset(str(root), 4)
    assert [pair.name for pair in pairs.pairs] == ["a", "b", "c"]
    assert len(pairs) == 3
    assert np.array_equal(pairs.read_hr(1), image(1))
    assert np.array_equal(pairs.read_lr(1), downscale(image(1), 4, border="replicate"))
    assert pairs.identity() == plain
    assert (plain.name, plain.title) == ("photos", "photos (folder)")
    assert (plain.images, plain.scale, plain.verified) == (3, 4, False)


@pytest.mark.parametrize("name", ["div2k-valid", "trio"])
@pytest.mark.usefixtures("trio")
def test_a_folder_takes_no_declared_name(tmp_path, name, make_set):
    identity = open_dataset(make_set(tmp_path / name), 4).identity()
    assert (identity.name, identity.title) == (f"{name}-folder", f"{name} (folder)")
    assert not identity.verified


def test_the_digest_is_over_names_and_pixels_not_files(tmp_path, make_set, image):
    root = make_set(tmp_path / "set", ("a",))
    lr = downscale(image(0), 4, border="replicate")
    line = f"a {pixel_digest(lr)} {pixel_digest(image(0))}\n"
    expected = hashlib.sha256(line.encode()).hexdigest()
    pairs = open_dataset(root, 4)
    assert pairs.digest == pairs.identity().digest == check(pairs) == expected
    Image.fromarray(image(0)).save(root / "HR" / "a.bmp")
    (root / "HR" / "a.png").unlink()
    assert open_dataset(root, 4).digest == expected
    changed = image(0)
    changed[0, 0, 0] ^= 1
    Image.fromarray(changed).save(root / "HR" / "a.bmp")
    assert open_dataset(root, 4).digest != expected


def test_identity_checks_pairs_that_nobody_checked(tmp_path, make_set):
    opened = open_dataset(make_set(tmp_path / "set"), 4)
    unchecked = ImagePairs("set", "set (folder)", 4, opened.pairs)
    assert unchecked.identity() == opened.identity()


def test_progress_counts_images(tmp_path, make_set):
    told = []
    open_dataset(make_set(tmp_path), 4, progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_folders_that_hold_no_data_set_are_told_the_layouts(tmp_path, make_set):
    make_set(tmp_path / "set")
    (tmp_path / "flat").mkdir()
    make_set(make_set(tmp_path / "two", prefix="A_"), prefix="B_")
    for root, scale, found in (
        (tmp_path / "absent", 4, "no such folder"),
        (tmp_path / "flat", 4, "no HR folder"),
        (tmp_path / "two", 4, "A_HR, B_HR"),
        (tmp_path / "set", 3, "no LR images for x3"),
    ):
        with pytest.raises(DataError, match=found) as caught:
            open_dataset(root, scale)
        assert "HR/NAME.png" in (caught.value.advice or "")


def test_a_folder_cannot_lie_in_another(tmp_path):
    with pytest.raises(UsageError, match="is a folder already"):
        open_dataset(tmp_path, 4, root=tmp_path)


@pytest.mark.usefixtures("trio")
def test_declared_exceptions_hold_for_the_named_set_only(tmp_path, make_set, image):
    root = make_set(tmp_path / "set")
    grey = image(1)[:, :, 0]
    Image.fromarray(grey).save(root / "HR" / "b.png")
    lr = downscale(np.repeat(grey[:, :, None], 3, axis=2), 4, border="replicate")
    Image.fromarray(lr[:, :, 0]).save(root / "LR_bicubic" / "X4" / "bx4.png")
    write_png(root / "HR" / "c.png", np.pad(image(2), ((0, 3), (0, 1), (0, 0)), mode="edge"))
    pairs = open_dataset(f"trio={root}", 4)
    identity = pairs.identity()
    assert (identity.name, identity.title) == ("trio", "Trio (unverified folder)")
    assert not identity.verified
    assert np.array_equal(pairs.read_hr(1)[:, :, 2], grey)
    assert np.array_equal(pairs.read_hr(2), image(2))
    assert pairs.read_hr(2).flags.c_contiguous
    assert open_dataset("trio", 4, root=root) == pairs
    with pytest.raises(DataError) as caught:
        open_dataset(root, 4)
    assert len(caught.value.problems) == 3
    assert f"--data set14={root}" in (caught.value.advice or "")


@pytest.mark.usefixtures("trio")
@pytest.mark.parametrize("folder", ["HR", "."])
def test_lr_images_are_made_where_a_benchmark_set_has_none(
    tmp_path, folder, make_set, image, problems_of
):
    root = make_set(tmp_path / "set")
    shutil.rmtree(root / "LR_bicubic")
    given = root / "HR" if folder == "." else root
    made = open_dataset(f"trio={given}", 4)
    assert np.array_equal(made.read_lr(0), downscale(image(0), 4, border="replicate"))
    assert [path.name for path in root.iterdir()] == ["HR"]
    first = made.pairs[0].lr
    assert open_dataset(f"trio={given}", 4).pairs[0].lr == first
    write_png(root / "HR" / "a.png", image(9))
    again = open_dataset(f"trio={given}", 4)
    assert again.pairs[0].lr != first
    assert np.array_equal(again.read_lr(0), downscale(image(9), 4, border="replicate"))
    (root / "HR" / "a.png").write_bytes(b"")
    (problem,) = problems_of(f"trio={given}")
    assert "an empty file" in problem


@pytest.mark.usefixtures("trio")
def test_the_declared_count_is_required(tmp_path, make_set, problems_of):
    root = make_set(tmp_path / "set", ("a", "c"))
    (problem,) = problems_of(f"trio={root}")
    assert "found 2 image pairs, expected 3" in problem


@pytest.mark.usefixtures("trio")
def test_lr_of_another_hr_is_found_though_its_size_fits(tmp_path, make_set, image, problems_of):
    # The widely copied Urban100 x2 folder: HR is half size, LR is the x4 LR.
    root = make_set(tmp_path / "set", scale=2)
    for seed, name in enumerate("abc"):
        large = image(seed, 192, 144)
        write_png(root / "HR" / f"{name}.png", downscale(large, 2, border="replicate"))
        wrong = downscale(large, 4, border="replicate")
        write_png(root / "LR_bicubic" / "X2" / f"{name}x2.png", wrong)
    problems = problems_of(f"trio={root}", 2)
    assert len(problems) == 3
    assert all("is not the bicubic x2 LR image of" in line for line in problems)


@pytest.mark.usefixtures("trio")
def test_a_scale_it_is_not_defined_at_is_a_usage_error(tmp_path):
    for act in (lambda: open_dataset("trio", 3), lambda: fetch_dataset("demo", (5,))):
        with pytest.raises(UsageError, match="is not defined at x"):
            act()
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("name", ["bsd100", "urban100", "manga109"])
def test_sets_without_a_known_archive_say_where_to_put_them(name, make_set):
    make_set(cache_dir() / "datasets" / name)  # the cache is not the place
    for act in (
        lambda: open_dataset(name, 4),
        lambda: fetch_dataset(name, (4,)),
    ):
        with pytest.raises(DataError, match="cannot be fetched") as caught:
            act()
        assert f"--data {name}=FOLDER" in (caught.value.advice or "")


@pytest.mark.parametrize("name", ["set5", "set14"])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_reference_sets_are_the_declared_ones(shared, name, scale):
    pairs = open_dataset(f"{name}={shared / 'data' / name.capitalize()}", scale)
    dataset = get_dataset(name)
    assert pairs.digest == dataset.digests[scale]
    assert pairs.identity().verified
    assert pairs.title == dataset.title
    declared = {remote.image: remote.pixels for remote in dataset.remote_images}
    for pair in pairs.pairs:
        stored = read_rgb(pair.hr, allow_grey=pair.allow_grey)
        assert pixel_digest(stored) == declared[pair.name]


def test_the_bare_reference_set_is_refused_with_advice(shared):
    with pytest.raises(DataError) as caught:
        open_dataset(shared / "data" / "Set14", 4)
    assert any("bridge.png" in line and "grey" in line for line in caught.value.problems)
    assert "--data set14=" in (caught.value.advice or "")


def test_the_proxy_crops_open_as_a_plain_folder(shared):
    identity = open_dataset(shared / "data" / "DIV2K_valid_c256", 4).identity()
    assert (identity.name, identity.images) == ("DIV2K_valid_c256", 100)
    assert not identity.verified


@pytest.mark.parametrize("split", ["valid", "test"])
def test_the_sets_of_the_latest_editions_lie_as_their_organisers_lay_them(
    tmp_path, monkeypatch, split
):
    # Both splits in one folder; LR files as in the editions' scripts.
    for each, seed in (("valid", 1), ("test", 2)):
        for name in ("0801", "0000001"):
            hr = noise(seed, 24, 32)
            for folder, image in (("HR", f"{name}.png"), ("LR", f"{name}x4.png")):
                path = tmp_path / f"DIV2K_LSDIR_{each}_{folder}" / image
                path.parent.mkdir(exist_ok=True)
                write_png(path, hr if folder == "HR" else downscale(hr, 4, border="mirror"))
    name = f"div2k-lsdir-{split}"
    with pytest.raises(DataError) as caught:
        open_dataset(name, 4, root=tmp_path)
    assert "found 2 image pairs, expected 200" in caught.value.problems[0]
    few = DATASETS[name].model_copy(update={"count": 2})
    monkeypatch.setitem(DATASETS, name, few)
    pairs = open_dataset(f"{name}={tmp_path}", 4)
    assert {pair.hr.parent.name for pair in pairs.pairs} == {f"DIV2K_LSDIR_{split}_HR"}
    assert (pairs.name, pairs.verified, pairs.hidden) == (name, False, split == "test")
    with pytest.raises(DataError, match="cannot be fetched") as caught:
        open_dataset(name, 4)
    assert f"DIV2K_LSDIR_{split}_HR and DIV2K_LSDIR_{split}_LR" in caught.value.advice

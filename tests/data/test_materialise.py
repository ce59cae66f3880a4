"""Fetching through mirrors, the demo set, and a cache that holds whole folders only."""

import errno
import hashlib
import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from esrbench.data import declarations, materialise
from esrbench.data.cache import cache_dir
from esrbench.data.codecs import pixel_digest, read_rgb, write_png
from esrbench.data.datasets import fetch_dataset, get_dataset, open_dataset
from esrbench.data.declarations import Archive, RemoteImage
from esrbench.data.downloads import fetch_file
from esrbench.data.resize import downscale
from esrbench.errors import DataError, DownloadError

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def redeclare(monkeypatch):
    """Changes fields of a declared data set."""

    def change(name, **fields):
        changed = get_dataset(name).model_copy(update=fields)
        monkeypatch.setitem(declarations.DATASETS, name, changed)

    return change


@pytest.fixture
def div2k(tmp_path, redeclare, make_set):
    """A mirror with small archives in DIV2K's layout, declared under DIV2K's name."""
    names = ("0801", "0802", "0803")
    source = make_set(tmp_path / "made", names, prefix="DIV2K_valid_")
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    archives = []
    for scale, folder in ((None, "DIV2K_valid_HR"), (4, "DIV2K_valid_LR_bicubic/X4")):
        path = mirror / (f"{folder.replace('/', '_')}.zip")
        with zipfile.ZipFile(path, "w") as archive:
            for file in sorted((source / folder).iterdir()):
                archive.write(file, f"{folder}/{file.name}")
            archive.writestr("../escaped.txt", "an undeclared member")
            archive.writestr(f"{folder}/extra.png", "an undeclared member")
        content = path.read_bytes()
        archives.append(
            Archive(
                scale=scale,
                url=f"http://127.0.0.1:9/{path.name}",
                filename=path.name,
                bytes=len(content),
                sha256=hashlib.sha256(content).hexdigest(),
                folder=folder,
            )
        )
    redeclare("div2k-valid", count=3, images=names, archives=tuple(archives))
    shutil.rmtree(source)
    return mirror


def test_div2k_comes_through_a_mirror_and_stays(div2k, image):
    with pytest.raises(DataError, match="not in the cache") as caught:
        open_dataset("div2k-valid", 4)
    assert "esrbench fetch div2k-valid" in (caught.value.advice or "")
    root = fetch_dataset("div2k-valid", (4,), mirror=str(div2k))
    files = sorted(path.relative_to(cache_dir()) for path in cache_dir().rglob("*.*"))
    folder = Path("datasets/div2k-valid")
    expected = [folder / "HR" / f"080{n}.png" for n in (1, 2, 3)]
    expected += [folder / "LR_bicubic" / "X4" / f"080{n}x4.png" for n in (1, 2, 3)]
    assert [file for file in files if not file.name.startswith(".")] == expected
    shutil.rmtree(div2k)
    assert fetch_dataset("div2k-valid", (4,)) == root
    pairs = open_dataset("div2k-valid", 4)
    assert [pair.name for pair in pairs.pairs] == ["0801", "0802", "0803"]
    assert np.array_equal(pairs.read_hr(2), image(2))
    identity = pairs.identity()
    assert (identity.name, identity.title) == ("div2k-valid", "DIV2K validation")
    assert identity.verified


def alter(path):
    pixels = read_rgb(path)
    pixels[0, 0, 0] ^= 1
    write_png(path, pixels)


@pytest.mark.parametrize("where", ["HR/0802.png", "LR_bicubic/X4/0802x4.png"])
def test_an_image_altered_after_unpacking_is_found(div2k, where):
    root = fetch_dataset("div2k-valid", (4,), mirror=str(div2k))
    content = (root / where).read_bytes()
    alter(root / where)  # before anything was opened
    with pytest.raises(DataError, match="expected images with digest") as caught:
        open_dataset("div2k-valid", 4)
    assert str(root) in caught.value.message
    assert f"Delete {root} and run `esrbench fetch div2k-valid`" in (caught.value.advice or "")
    (root / where).write_bytes(content)
    assert open_dataset("div2k-valid", 4).verified


def test_images_that_no_archive_is_recorded_for_are_refused(div2k, redeclare):
    root = fetch_dataset("div2k-valid", (4,), mirror=str(div2k))
    (record,) = (root / "HR").glob(".*")
    content = record.read_bytes()
    declared = get_dataset("div2k-valid").archives
    other = tuple(item.model_copy(update={"sha256": "0" * 64}) for item in declared)
    record.unlink()
    for spoil in (
        lambda: None,
        lambda: record.write_bytes(content[:-20]),
        lambda: record.write_bytes(content.replace(b"0802", b"0804")),
        lambda: redeclare("div2k-valid", archives=other),
    ):
        spoil()
        with pytest.raises(DataError, match="nothing records"):
            open_dataset("div2k-valid", 4)
        record.write_bytes(content)
    redeclare("div2k-valid", archives=declared)
    assert open_dataset("div2k-valid", 4).verified


def extracted(mirror, folder):
    """The declared members of all archives of a mirror, in a folder."""
    for path in mirror.iterdir():
        with zipfile.ZipFile(path) as archive:
            archive.extractall(folder, [name for name in archive.namelist() if "/08" in name])
    return folder


def test_a_given_folder_is_verified_by_what_was_unpacked(div2k, tmp_path):
    given = extracted(div2k, tmp_path / "given")
    unproven = open_dataset(f"div2k-valid={given}", 4)
    assert not unproven.identity().verified
    assert unproven.title == "DIV2K validation (unverified folder)"
    root = fetch_dataset("div2k-valid", (4,), mirror=str(div2k))
    alter(root / "HR" / "0801.png")  # the record counts, not what became of the cache
    proven = open_dataset(f"div2k-valid={given}", 4)
    assert proven.identity().verified
    assert proven.title == "DIV2K validation"
    alter(given / "DIV2K_valid_HR" / "0803.png")
    assert not open_dataset(f"div2k-valid={given}", 4).verified


def test_an_altered_archive_leaves_nothing(div2k):
    path = div2k / "DIV2K_valid_HR.zip"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(DownloadError, match=r"DIV2K_valid_HR\.zip: expected"):
        fetch_dataset("div2k-valid", (4,), mirror=str(div2k))
    assert [path for path in cache_dir().rglob("*") if path.is_file()] == []


def test_an_archive_without_its_members_leaves_nothing(div2k, redeclare):
    redeclare("div2k-valid", images=("0801", "0802", "0803", "0804"))
    with pytest.raises(DataError, match="1 of 4 declared members are missing") as caught:
        fetch_dataset("div2k-valid", (4,), mirror=str(div2k))
    assert "DIV2K_valid_HR/0804.png" in caught.value.problems[0]
    assert not (cache_dir() / "datasets" / "div2k-valid" / "HR").exists()


def test_a_folder_with_training_images_beside_is_not_confused(
    div2k, tmp_path, make_set, problems_of
):
    root = extracted(div2k, tmp_path / "DIV2K")
    make_set(root, ("0001",), prefix="DIV2K_train_")
    assert len(open_dataset(f"div2k-valid={root}", 4)) == 3
    (root / "DIV2K_valid_HR" / "0802.png").unlink()
    text = "\n".join(problems_of(f"div2k-valid={root}"))
    assert "has no image 0802, expected 0802.png" in text
    assert "0802x4.png: has no HR image" in text


def test_an_interrupted_unpacking_leaves_no_half_folder(div2k, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(materialise.shutil, "copyfileobj", interrupt)
        with pytest.raises(KeyboardInterrupt):
            fetch_dataset("div2k-valid", (4,), mirror=str(div2k))
    assert list((cache_dir() / "datasets" / "div2k-valid").iterdir()) == []
    fetch_dataset("div2k-valid", (4,), mirror=str(div2k))
    assert len(open_dataset("div2k-valid", 4)) == 3


@pytest.mark.usefixtures("trio")
def test_single_images_are_verified_by_their_pixels(tmp_path, redeclare, image):
    mirror = tmp_path / "mirror"
    (mirror / "trio").mkdir(parents=True)
    remote, lines = [], {2: "", 4: ""}
    for seed, name in enumerate("abc"):
        hr, file = image(seed), f"trio/{name}.bmp"
        Image.fromarray(hr).save(mirror / file)
        url = f"http://127.0.0.1:9/{name}.bmp"
        remote.append(RemoteImage(image=name, url=url, filename=file, pixels=pixel_digest(hr)))
        for scale in lines:
            lr = downscale(hr, scale, border="replicate")
            lines[scale] += f"{name} {pixel_digest(lr)} {pixel_digest(hr)}\n"
    digests = {scale: hashlib.sha256(text.encode()).hexdigest() for scale, text in lines.items()}
    redeclare("trio", remote_images=tuple(remote), digests=digests)
    Image.fromarray(image(7)).save(mirror / "trio" / "c.bmp")
    with pytest.raises(DownloadError, match=r"c\.bmp: expected pixels"):
        fetch_dataset("trio", (4,), mirror=str(mirror))
    assert not (cache_dir() / "datasets" / "trio" / "HR").exists()
    Image.fromarray(image(2)).save(mirror / "trio" / "c.bmp")
    root = fetch_dataset("trio", (2, 4), mirror=str(mirror))
    assert sorted(path.name for path in cache_dir().iterdir()) == ["datasets"]
    assert np.array_equal(read_rgb(root / "HR" / "b.png"), image(1))
    for scale in (2, 4):
        pairs = open_dataset("trio", scale)
        assert np.array_equal(pairs.read_lr(0), downscale(image(0), scale, border="replicate"))


def test_the_demo_needs_no_network_and_is_always_the_same():
    from skimage.data import astronaut

    dataset = get_dataset("demo")
    for scale in (2, 3, 4):
        pairs = open_dataset("demo", scale)
        assert pairs.identity().digest == dataset.digests[scale]
        assert pairs.identity().verified
        assert pairs.title == dataset.title
        names = [pair.name for pair in pairs.pairs]
        assert names == ["astronaut", "chelsea", "coffee", "motorcycle_left"]
    assert {pairs.read_hr(index).shape for index in range(4)} == {(300, 396, 3)}
    assert np.array_equal(pairs.read_hr(0), astronaut()[24:324, 72:468])
    assert np.array_equal(pairs.read_lr(0), downscale(pairs.read_hr(0), 4, border="mirror"))


def test_the_demo_of_another_version_is_left_alone():
    other = cache_dir() / "datasets" / "demo"
    for folder in ("HR", "LR_bicubic/X4"):
        (other / folder).mkdir(parents=True)
    assert open_dataset("demo", 4).verified
    assert not any((other / "HR").iterdir())


def test_an_altered_cache_is_found():
    alter(open_dataset("demo", 4).pairs[0].hr)
    with pytest.raises(DataError, match="expected images with digest") as caught:
        open_dataset("demo", 4)
    assert "esrbench fetch demo" in (caught.value.advice or "")


def test_set14_fetched_image_by_image_equals_the_distributed_set(shared, tmp_path):
    mirror = tmp_path / "mirror"
    shutil.copytree(shared / "data" / "Set14" / "HR", mirror / "set14")
    fetch_dataset("set14", (2, 3, 4), mirror=str(mirror))
    for scale in (2, 3, 4):
        assert open_dataset("set14", scale).digest == get_dataset("set14").digests[scale]


PLACES = {
    "/proc/nope": errno.ENOENT,
    "a file": errno.ENOTDIR,
    "x" * 300: errno.ENAMETOOLONG,
}


@pytest.mark.parametrize("place", PLACES, ids=["no such place", "a file", "too long a name"])
def test_a_cache_that_cannot_be_made_is_named_with_the_reason(
    tmp_path, monkeypatch, trio, make_set, place
):
    (tmp_path / "a file").touch()
    cache = tmp_path / place
    monkeypatch.setenv("ESRBENCH_CACHE", str(cache))
    given = make_set(tmp_path / "set") / "HR"
    fetched = {"filename": "a.png", "sha256": None, "size": None, "mirror": str(given)}
    fetched["destination"] = cache / "weights"
    url = "http://127.0.0.1:9/file.bin"
    for kind, folder, act in (
        (DataError, "datasets", lambda: open_dataset("demo", 4)),
        (DataError, "datasets", lambda: fetch_dataset("demo", (4,))),
        (DataError, "datasets", lambda: open_dataset(f"{trio.name}={given}", 4)),
        (DownloadError, "weights", lambda: fetch_file(url, **fetched)),
        # Its archives are not asked for.
        ((DataError, DownloadError), ".", lambda: fetch_dataset("div2k-valid", (4,))),
    ):
        with pytest.raises(kind, match="this folder of the cache cannot be used") as caught:
            act()
        assert str(cache / folder) in caught.value.message
        assert os.strerror(PLACES[place]) in caught.value.message
        assert caught.value.advice == "Set ESRBENCH_CACHE to a folder you can write to."


def test_a_full_disk_leaves_no_half_folder(small_files):
    with small_files(2**14), pytest.raises(DataError) as caught:
        open_dataset("demo", 4)
    assert str(cache_dir() / "datasets" / "demo") in caught.value.message
    assert os.strerror(errno.EFBIG) in caught.value.message
    assert [path for path in cache_dir().rglob("*") if path.is_file()] == []
    assert open_dataset("demo", 4).verified

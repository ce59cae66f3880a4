"""What is read again is the image that was checked, whatever happened to its file."""

import hashlib
import os

import numpy as np
import pytest
from PIL import Image

from esrbench.data import pairs, seen
from esrbench.data.codecs import pixel_digest, read_rgb, write_png
from esrbench.data.seen import check_image, read_image
from esrbench.errors import DataError

READERS = (read_image, lambda path: check_image(path)[0])


@pytest.fixture
def photo(tmp_path, image):
    """A PNG file."""
    path = tmp_path / "photo.png"
    write_png(path, image(1))
    return path


@pytest.fixture(params=[True, False])
def settled(request, monkeypatch):
    """Whether files count as unchanged for long enough that their time stamps can be relied on."""
    monkeypatch.setattr(seen, "_SETTLED_NANOSECONDS", -(10**9) if request.param else 10**15)
    return bool(request.param)


@pytest.mark.parametrize("read", READERS)
def test_pixels_are_those_of_the_file_and_read_only(photo, read):
    pixels = read(photo)
    assert np.array_equal(pixels, read_rgb(photo))
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    assert not pixels.flags.writeable
    assert check_image(photo)[1].sha256 == pixel_digest(pixels)


@pytest.mark.parametrize("read", READERS)
def test_grey_is_an_exception_and_refused_files_say_why(tmp_path, read):
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    bridge, page = tmp_path / "bridge.png", tmp_path / "page.png"
    Image.fromarray(grey).save(bridge)
    page.write_bytes(b"<html>")
    assert np.array_equal(read_image(bridge, allow_grey=True), np.stack([grey] * 3, axis=2))
    for path, reason in (
        (bridge, "8-bit grey"),
        (page, r"page\.png: found unknown content"),
        (tmp_path / "gone.png", r"gone\.png: found no readable file"),
    ):
        with pytest.raises(DataError, match=reason):
            read(path)


def test_a_file_that_is_not_what_was_seen_is_an_error(photo, image, settled):
    status = photo.stat()
    _, found = check_image(photo)
    assert (found.version is not None) == settled
    assert np.array_equal(read_image(photo, seen=found), image(1))
    # The same pixels in other bytes are the same image.
    Image.fromarray(image(1)).save(photo)
    assert np.array_equal(read_image(photo, seen=found), image(1))
    write_png(photo, image(2))
    os.utime(photo, ns=(status.st_atime_ns, status.st_mtime_ns))
    for _ in range(2):
        with pytest.raises(DataError, match=r"photo\.png: changed since it was checked") as caught:
            read_image(photo, seen=found)
        assert f"found pixels with digest {pixel_digest(image(2))}" in caught.value.message
        assert f"expected {found.sha256}" in caught.value.message


def test_a_file_of_equal_size_and_time_is_told_apart(tmp_path, image, settled):
    photo, other = tmp_path / "photo.bmp", tmp_path / "other.bmp"
    for path, seed in ((photo, 1), (other, 2)):
        Image.fromarray(image(seed)).save(path)
    status = photo.stat()
    assert other.stat().st_size == status.st_size
    _, found = check_image(photo)
    assert (found.version is not None) == settled
    other.replace(photo)
    os.utime(photo, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(DataError, match="changed since it was checked"):
        read_image(photo, seen=found)


def test_a_file_that_changed_a_moment_ago_has_no_version(photo, monkeypatch):
    changed = photo.stat().st_ctime_ns
    # Time stamps of FAT and exFAT are of 2 s.
    for age, known in ((25 * 10**8, False), (4 * 10**9, True)):
        monkeypatch.setattr(seen.time, "time_ns", lambda age=age: changed + age)
        assert (check_image(photo)[1].version is not None) == known


def test_bytes_that_were_seen_are_not_verified_again(photo, monkeypatch):
    monkeypatch.setattr(seen, "_SETTLED_NANOSECONDS", -(10**9))
    proven = []
    decode = seen.decode_rgb

    def recording(data, name, **options):
        proven.append(options["proven"])
        return decode(data, name, **options)

    monkeypatch.setattr(seen, "decode_rgb", recording)
    _, found = check_image(photo)
    read_image(photo, seen=found)
    read_image(photo)
    read_image(photo, seen=found._replace(version=None))
    photo.touch()
    read_image(photo, seen=found)
    assert proven == [False, True, False, False, False]


def test_the_digest_of_a_data_set_is_that_of_names_and_pixels(tmp_path, make_set):
    root = make_set(tmp_path / "set")
    entries = tuple(
        pairs.ImagePair(name, root / "LR_bicubic" / "X4" / f"{name}x4.png", root / f"HR/{name}.png")
        for name in "abc"
    )
    lines = [
        f"{pair.name} {pixel_digest(read_rgb(pair.lr))} {pixel_digest(read_rgb(pair.hr))}\n"
        for pair in entries
    ]
    expected = hashlib.sha256("".join(lines).encode()).hexdigest()
    assert pairs.check(pairs.ImagePairs("set", "set", 4, entries)) == expected

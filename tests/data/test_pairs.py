"""Every fault of an image file or of a pair, all of them reported at once."""

import contextlib
import io
import os
import shutil
import socket
import struct
import zlib
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from PIL import Image

from esrbench.data.codecs import write_png
from esrbench.data.datasets import open_dataset
from esrbench.data.pairs import ImagePair, ImagePairs, check
from esrbench.errors import DataError

PHOTO = np.random.default_rng(0).integers(0, 256, (48, 36, 3), dtype=np.uint8)


def encoded(pixels, mode, kind="PNG"):
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(buffer, kind)
    return buffer.getvalue()


def bomb():
    ihdr = b"IHDR" + struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n\0\0\0\x0d" + ihdr + struct.pack(">I", zlib.crc32(ihdr))


SIXTEEN = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR" + struct.pack(">IIBBBBB", 36, 48, 16, 2, 0, 0, 0)
FAULTS = {
    "truncated": (encoded(PHOTO, "RGB")[:-20], "truncated"),
    "16-bit": (SIXTEEN + struct.pack(">I", zlib.crc32(SIXTEEN[12:])), "16-bit RGB"),
    "palette": (encoded(PHOTO, "P"), "palette"),
    "alpha": (encoded(PHOTO, "RGBA"), "alpha"),
    "grey": (encoded(PHOTO, "L"), "8-bit grey"),
    "one-bit": (encoded(PHOTO, "1"), "1-bit grey"),
    "jpeg": (encoded(PHOTO, "RGB", "JPEG"), "a JPEG file"),
    "empty": (b"", "an empty file"),
    "bomb": (bomb(), "over the limit"),
    "bytes after its end": (encoded(PHOTO, "RGB") + b"hidden", "6 bytes after its IEND chunk"),
    "two in one": (encoded(PHOTO, "RGB") * 2, "bytes after its IEND chunk"),
    "wrong size": (encoded(PHOTO[:-1], "RGB"), "found 36x47 pixels, expected 36x48"),
}


def test_all_problems_are_reported_at_once(tmp_path, make_set, problems_of):
    root = make_set(tmp_path, (*sorted(FAULTS), "orphan", "fine"))
    for fault, (content, _) in FAULTS.items():
        (root / "HR" / f"{fault}.png").write_bytes(content)
    (root / "LR_bicubic" / "X4" / "orphanx4.png").unlink()
    (root / "LR_bicubic" / "X4" / "strayx4.png").write_bytes(b"")
    (root / "HR" / "notes.txt").touch()
    problems = problems_of(root)
    assert len(problems) == len(FAULTS) + 3
    text = "\n".join(problems)
    for fault, (_, found) in FAULTS.items():
        (problem,) = (line for line in problems if str(root / "HR" / f"{fault}.png") in line)
        assert found in problem
    assert "orphan.png: has no LR image" in text
    assert "strayx4.png: has no HR image" in text
    assert "notes.txt: found a file that is no image" in text
    assert "fine" not in text


@pytest.mark.parametrize("side", ["lr", "hr"])
def test_an_image_that_changed_since_the_check_is_an_error(tmp_path, make_set, image, side):
    pairs = open_dataset(make_set(tmp_path / "set"), 4)
    assert len(pairs.seen) == 3
    assert np.array_equal(pairs.read_hr(1), image(1))
    path = getattr(pairs.pairs[1], side)
    height, width = (12, 9) if side == "lr" else (48, 36)
    write_png(path, image(7, height, width))
    fewer = replace(pairs, pairs=pairs.pairs[1:])
    for read in (
        partial(getattr(pairs, f"read_{side}"), 1),
        partial(getattr(fewer, f"read_{side}"), 0),
    ):
        with pytest.raises(DataError, match="changed since it was checked") as caught:
            read()
        assert str(path) in caught.value.message
    other = pairs.read_hr if side == "lr" else pairs.read_lr
    assert other(1).size
    assert np.array_equal(pairs.read_hr(2), image(2))
    # Another check sees what is there now.
    unchecked = ImagePairs("set", "set", 4, pairs.pairs)
    assert check(unchecked) != pairs.digest
    assert np.array_equal(getattr(unchecked, f"read_{side}")(1), image(7, height, width))


def test_a_cropped_image_is_compared_as_it_is_stored(tmp_path, make_set, image):
    root = make_set(tmp_path)
    write_png(root / "HR" / "a.png", image(0, 51, 38))
    pair = ImagePair("a", root / "LR_bicubic" / "X4" / "ax4.png", root / "HR" / "a.png")
    pairs = ImagePairs("set", "set", 4, (pair,), modcrop=True)
    check(pairs)
    assert np.array_equal(pairs.read_hr(0), image(0, 51, 38)[:48, :36])
    write_png(pair.hr, image(0, 50, 37))  # cropped, even these may be equal
    with pytest.raises(DataError, match="changed since it was checked"):
        pairs.read_hr(0)


def too_small(root):
    write_png(root / "HR" / "a.png", PHOTO[:16])
    write_png(root / "LR_bicubic" / "X4" / "ax4.png", PHOTO[:4, :9])


LR = "LR_bicubic/X4/a{}.png"
SPOILT = {
    "two HR images": (lambda root: shutil.copy(root / "HR/a.png", root / "HR/a.bmp"), "same name"),
    "two LR images": (
        lambda root: shutil.copy(root / LR.format("x4"), root / LR.format("")),
        "has two LR images",
    ),
    "too small to score": (too_small, "expected at least 19x19"),
    "no images": (
        lambda root: [path.unlink() for path in (root / "HR").iterdir()],
        "found no images",
    ),
}


@pytest.mark.parametrize("spoil", SPOILT)
def test_what_is_wrong_with_a_folder_is_named(tmp_path, make_set, problems_of, spoil):
    root = make_set(tmp_path)
    act, found = SPOILT[spoil]
    act(root)
    problem, *others = problems_of(root)
    assert found in problem
    assert bool(others) == (spoil == "no images")  # its LR images have no partners either


def test_hidden_files_are_not_data(tmp_path, make_set):
    root = make_set(tmp_path)
    (root / "HR" / ".DS_Store").touch()
    assert len(open_dataset(root, 4)) == 3


def test_lr_of_another_scale_is_found(tmp_path, make_set, problems_of):
    root = make_set(tmp_path, scale=2)
    (root / "LR").mkdir()
    for name in "abc":
        shutil.move(root / "LR_bicubic" / "X2" / f"{name}x2.png", root / "LR" / f"{name}.png")
    assert all("expected 72x96, 4 times its LR image" in line for line in problems_of(root))


def _pipe(path):
    os.mkfifo(path)


def _socket(path):
    with socket.socket(socket.AF_UNIX) as made, contextlib.chdir(path.parent):
        made.bind(path.name)  # its whole path may be too long


def _device(path):
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (_pipe, "found no readable file (a pipe)"),
        (_socket, "found no readable file (a socket)"),
        (_device, "found no readable file (a device)"),
        (lambda path: path.mkdir(), "found a folder"),
        (lambda path: path.symlink_to(path.parent), "found a folder"),
    ],
)
@pytest.mark.parametrize("name", ["HR/b.png", "LR_bicubic/X4/bx4.png"])
def test_what_is_no_regular_file_is_refused_at_once(
    *, tmp_path, name, make, found, make_set, problems_of
):
    path = make_set(tmp_path) / name
    path.unlink()
    make(path)
    problems = problems_of(tmp_path)
    assert any(str(path) in problem and found in problem for problem in problems)


@pytest.mark.parametrize(
    "name", ["b\udcff.png", "b\x1b[2J.png", "b\u202e.png", "b\n::error::x.png", "b\u200b.png"]
)
def test_a_name_that_cannot_be_shown_is_refused(tmp_path, name, make_set, problems_of):
    root = make_set(tmp_path)
    (root / "HR" / "b.png").rename(root / "HR" / name)
    problems = problems_of(root)
    assert f"{root / 'HR'}: {name!a} cannot be shown as text; rename that file" in problems
    assert all(problem.isprintable() for problem in problems)


def test_a_folder_whose_name_cannot_be_shown_is_refused(tmp_path, make_set):
    root = make_set(tmp_path / "a").rename(tmp_path / "a\udcff")
    with pytest.raises(DataError, match="the name of the folder") as caught:
        open_dataset(root, 4)
    assert caught.value.message.isprintable()

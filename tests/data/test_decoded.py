"""Kept pixels are those of the file as it is now, whatever happened to cache or file."""

from __future__ import annotations

import hashlib
import os
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from esrbench.data import decoded, pairs
from esrbench.data.codecs import pixel_digest, read_rgb, write_png
from esrbench.data.decoded import DECODED_VARIABLE, read_decoded, read_proven
from esrbench.errors import DataError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy.typing as npt

    Pixels = npt.NDArray[np.uint8]

OLD_SECONDS = 7200.0
READERS = (read_decoded, lambda path: read_proven(path).pixels)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where entries of this test's own cache lie."""
    monkeypatch.setenv("ESRBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv(DECODED_VARIABLE, raising=False)
    monkeypatch.setattr(decoded, "_hashes", {})
    return tmp_path / "cache" / "decoded"


@pytest.fixture
def photo(tmp_path: Path, image: Callable[..., Pixels]) -> Path:
    """A PNG file that has not changed for a while."""
    path = tmp_path / "photo.png"
    write_png(path, image(1))
    age(path)
    return path


@pytest.fixture
def decodings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that were decoded."""
    names: list[str] = []
    decode = decoded.decode_rgb

    def counted(data: bytes, name: str, **options: bool) -> Pixels:
        names.append(name)
        return decode(data, name, **options)

    monkeypatch.setattr(decoded, "decode_rgb", counted)
    return names


def age(path: Path, seconds: float = OLD_SECONDS) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


def only_entry(folder: Path) -> Path:
    (entry,) = folder.iterdir()
    return entry


def test_a_file_is_decoded_once(folder: Path, photo: Path, decodings: list[str]) -> None:
    expected = read_rgb(photo)
    for read in (*READERS, *READERS):
        pixels = read(photo)
        assert np.array_equal(pixels, expected)
        assert pixels.dtype == np.uint8
        assert pixels.flags.c_contiguous
        assert not pixels.flags.writeable
    assert decodings == [str(photo)]
    assert only_entry(folder).name.startswith(hashlib.sha256(photo.read_bytes()).hexdigest())


def test_an_entry_is_a_plain_npy_file_of_the_pixels(folder: Path, photo: Path) -> None:
    read_decoded(photo)
    assert np.array_equal(np.load(only_entry(folder)), read_rgb(photo))


def test_proven_pixels_come_with_their_digest(folder: Path, photo: Path) -> None:
    digest = pixel_digest(read_rgb(photo))
    assert read_proven(photo).sha256 == digest  # decoded
    assert read_proven(photo).sha256 == digest  # kept
    assert folder.is_dir()


def test_a_copy_of_the_file_needs_no_decoding(
    folder: Path, photo: Path, decodings: list[str]
) -> None:
    copy = photo.with_name("copy.png")
    copy.write_bytes(photo.read_bytes())
    read_decoded(photo)
    assert np.array_equal(read_decoded(copy), read_rgb(photo))
    assert decodings == [str(photo)]
    assert only_entry(folder)


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("in_place", [True, False])
def test_a_replaced_file_is_read_anew(
    folder: Path,
    photo: Path,
    image: Callable[..., Pixels],
    monkeypatch: pytest.MonkeyPatch,
    read: Callable[[Path], Pixels],
    *,
    in_place: bool,
) -> None:
    # The second file has the first one's size and modification time, and hashes are remembered.
    monkeypatch.setattr(decoded, "_SETTLED_NANOSECONDS", 0)
    time.sleep(0.05)  # more than the granularity of time stamps
    other = photo.with_name("other.bmp.png")
    header = b"BM" + (54 + 48 * 108).to_bytes(4, "little") + bytes(4) + (54).to_bytes(4, "little")
    header += (40).to_bytes(4, "little") + (36).to_bytes(4, "little") + (48).to_bytes(4, "little")
    header += (1).to_bytes(2, "little") + (24).to_bytes(2, "little") + bytes(24)
    first, second = image(1), image(2)
    photo.write_bytes(header + first[::-1, :, ::-1].tobytes())
    status = photo.stat()
    time.sleep(0.05)
    assert np.array_equal(read(photo), first)
    assert photo in decoded._hashes
    other.write_bytes(header + second[::-1, :, ::-1].tobytes())
    assert other.stat().st_size == status.st_size
    if in_place:
        photo.write_bytes(other.read_bytes())
    else:
        other.replace(photo)
    os.utime(photo, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert np.array_equal(read(photo), second)
    assert len(list(folder.iterdir())) == 2


def test_a_file_that_changed_a_moment_ago_is_hashed_every_time(
    folder: Path, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = photo.stat().st_ctime_ns
    # Time stamps of FAT and exFAT are of 2 s.
    monkeypatch.setattr(time, "time_ns", lambda: changed + 25 * 10**8)
    read_decoded(photo)
    assert photo not in decoded._hashes
    monkeypatch.setattr(time, "time_ns", lambda: changed + 4 * 10**9)
    read_decoded(photo)
    assert photo in decoded._hashes
    monkeypatch.setattr(decoded, "read_bytes", lambda _: pytest.fail("the file was read again"))
    read_decoded(photo)
    assert folder.is_dir()


def test_a_grey_exception_is_kept_apart(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "bridge.png"
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    Image.fromarray(grey).save(path)
    assert np.array_equal(read_decoded(path, allow_grey=True), np.stack([grey] * 3, axis=2))
    for read in READERS:
        with pytest.raises(DataError, match="8-bit grey"):
            read(path)
    assert only_entry(folder)


@pytest.mark.parametrize("read", READERS)
def test_a_refused_file_is_refused_again(
    folder: Path, tmp_path: Path, read: Callable[[Path], Pixels]
) -> None:
    path = tmp_path / "page.png"
    path.write_bytes(b"<html>")
    for _ in range(2):
        with pytest.raises(DataError, match=r"page\.png: found unknown content"):
            read(path)
    with pytest.raises(DataError, match=r"gone\.png: found no readable file"):
        read(tmp_path / "gone.png")
    assert not folder.exists()


def shortened(content: bytes) -> bytes:
    return content[:-1]


def torn_early(content: bytes) -> bytes:
    return content[:200]


def lengthened(content: bytes) -> bytes:
    return content + b"\0"


def emptied(_: bytes) -> bytes:
    return b""


def with_broken_header(content: bytes) -> bytes:
    return content[:10] + bytes(118) + content[128:]


def with_unclosed_header(content: bytes) -> bytes:
    return content.replace(b"}", b"(")


def of_other_shape(content: bytes) -> bytes:
    return content.replace(b"(48, 36, 3)", b"(36, 48, 3)")


def of_wrong_rank(content: bytes) -> bytes:
    return content.replace(b"(48, 36, 3)", b"(48,108, )")[:128] + content[128:]


def with_a_flipped_bit(content: bytes) -> bytes:
    return content[:300] + bytes([content[300] ^ 1]) + content[301:]


@pytest.mark.parametrize(
    "damage",
    [shortened, torn_early, lengthened, emptied, with_broken_header, with_unclosed_header],
)
@pytest.mark.parametrize("read", READERS)
def test_a_torn_entry_is_made_anew(
    folder: Path,
    photo: Path,
    decodings: list[str],
    damage: Callable[[bytes], bytes],
    read: Callable[[Path], Pixels],
) -> None:
    read_decoded(photo)
    whole = only_entry(folder).read_bytes()
    only_entry(folder).write_bytes(damage(whole))
    assert np.array_equal(read(photo), read_rgb(photo))
    assert only_entry(folder).read_bytes() == whole
    assert len(decodings) == 2


@pytest.mark.parametrize("damage", [with_a_flipped_bit, of_other_shape, of_wrong_rank])
@pytest.mark.parametrize("read", READERS)
def test_altered_pixels_are_never_served(
    folder: Path,
    photo: Path,
    decodings: list[str],
    damage: Callable[[bytes], bytes],
    read: Callable[[Path], Pixels],
) -> None:
    expected = read_proven(photo)
    read_decoded(photo)
    whole = only_entry(folder).read_bytes()
    assert damage(whole) != whole
    only_entry(folder).write_bytes(damage(whole))
    assert np.array_equal(read(photo), expected.pixels)
    assert read_proven(photo).sha256 == expected.sha256
    assert only_entry(folder).read_bytes() == whole
    assert len(decodings) == 2


def of_other_pixels(content: bytes) -> bytes:
    """An entry that agrees with itself, though not with the file."""
    pixels = np.frombuffer(content[128:-32], np.uint8).reshape(48, 36, 3) ^ np.uint8(1)
    return content[:128] + pixels.tobytes() + bytes.fromhex(pixel_digest(pixels))


@pytest.mark.parametrize("damage", [with_a_flipped_bit, of_other_pixels])
@pytest.mark.parametrize("forgotten", [False, True])
def test_a_changed_entry_costs_no_image_that_was_seen(
    folder: Path, photo: Path, damage: Callable[[bytes], bytes], *, forgotten: bool
) -> None:
    image = read_proven(photo)
    whole = only_entry(folder).read_bytes()
    only_entry(folder).write_bytes(damage(whole))
    if forgotten:
        decoded._hashes.clear()
    assert np.array_equal(read_decoded(photo, seen=image.seen), image.pixels)
    assert only_entry(folder).read_bytes() == whole


@pytest.mark.parametrize("value", ["off", "1"])
@pytest.mark.parametrize("settled", [True, False])
def test_a_file_that_is_not_what_was_seen_is_an_error(
    folder: Path,
    photo: Path,
    image: Callable[..., Pixels],
    monkeypatch: pytest.MonkeyPatch,
    value: str,
    *,
    settled: bool,
) -> None:
    monkeypatch.setenv(DECODED_VARIABLE, value)
    monkeypatch.setattr(decoded, "_SETTLED_NANOSECONDS", -(10**9) if settled else 10**15)
    status = photo.stat()
    seen = read_proven(photo).seen
    assert (seen.version is not None) == settled
    assert np.array_equal(read_decoded(photo, seen=seen), image(1))
    # The same pixels in other bytes are the same image.
    Image.fromarray(image(1)).save(photo)
    assert np.array_equal(read_decoded(photo, seen=seen), image(1))
    write_png(photo, image(2))
    os.utime(photo, ns=(status.st_atime_ns, status.st_mtime_ns))
    for _ in range(2):
        with pytest.raises(DataError, match=r"photo\.png: changed since it was checked") as caught:
            read_decoded(photo, seen=seen)
        assert f"found pixels with digest {pixel_digest(image(2))}" in caught.value.message
        assert f"expected {seen.sha256}" in caught.value.message
    assert folder.is_dir() == (value == "1")


def test_bytes_that_were_seen_are_not_verified_again(
    folder: Path, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(DECODED_VARIABLE, "off")
    monkeypatch.setattr(decoded, "_SETTLED_NANOSECONDS", -(10**9))
    proven: list[bool] = []
    decode = decoded.decode_rgb

    def recording(data: bytes, name: str, **options: bool) -> Pixels:
        proven.append(options["proven"])
        return decode(data, name, **options)

    monkeypatch.setattr(decoded, "decode_rgb", recording)
    seen = read_proven(photo).seen
    read_decoded(photo, seen=seen)
    read_decoded(photo)
    read_decoded(photo, seen=seen._replace(version=None))
    photo.touch()
    read_decoded(photo, seen=seen)
    assert proven == [False, True, False, False, False]
    assert not folder.exists()


def test_the_check_of_a_data_set_sees_files_not_the_cache(
    folder: Path, tmp_path: Path, make_set: Callable[..., Path], decodings: list[str]
) -> None:
    root = make_set(tmp_path / "set")
    entries = tuple(
        pairs.ImagePair(name, root / "LR_bicubic" / "X4" / f"{name}x4.png", root / f"HR/{name}.png")
        for name in "abc"
    )
    images = pairs.ImagePairs("set", "set", 4, entries)
    lines = [
        f"{pair.name} {pixel_digest(read_rgb(pair.lr))} {pixel_digest(read_rgb(pair.hr))}\n"
        for pair in entries
    ]
    expected = hashlib.sha256("".join(lines).encode()).hexdigest()
    assert pairs.check(images) == expected
    for entry in folder.iterdir():
        entry.write_bytes(with_a_flipped_bit(entry.read_bytes()))
    assert pairs.check(images) == expected
    assert len(decodings) == 12
    assert pairs.check(images) == expected
    assert len(decodings) == 12


@pytest.mark.parametrize("value", ["off", "OFF", "0"])
def test_it_can_be_switched_off(
    folder: Path, photo: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv(DECODED_VARIABLE, value)
    for read in READERS:
        assert np.array_equal(read(photo), read_rgb(photo))
    assert not folder.exists()


@pytest.mark.parametrize("value", ["yes", "-1", "nan", "inf"])
def test_a_bound_that_is_none_is_refused(
    folder: Path, photo: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv(DECODED_VARIABLE, value)
    with pytest.raises(UsageError, match=f"ESRBENCH_DECODED is '{value}', expected off or"):
        read_decoded(photo)
    assert not folder.exists()


@pytest.mark.parametrize("read", READERS)
def test_a_cache_that_cannot_be_written_fails_no_run(
    folder: Path, photo: Path, read: Callable[[Path], Pixels]
) -> None:
    folder.parent.mkdir()
    folder.touch()  # a file where the folder should be; permissions do not stop root
    for _ in range(2):
        assert np.array_equal(read(photo), read_rgb(photo))


def test_a_full_disk_fails_no_run_and_leaves_nothing(
    folder: Path, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np.lib.format, "write_array", full)
    assert np.array_equal(read_decoded(photo), read_rgb(photo))
    assert list(folder.iterdir()) == []

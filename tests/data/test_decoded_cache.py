"""The folder of kept pixels by itself: its bound, and what it takes on trust."""

from __future__ import annotations

import errno
import os
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

from esrbench.data import decoded
from esrbench.data.codecs import pixel_digest
from esrbench.data.decoded import DecodedCache

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    Pixels = npt.NDArray[np.uint8]


def age(path: Path, seconds: float = 7200.0) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


def entry(cache: DecodedCache, number: int, *, unused_seconds: float = 0.0) -> str:
    pixels = np.full((10, 10, 3), number, np.uint8)
    name = f"{number}.npy"
    cache.put(name, decoded.Decoded(pixels, pixel_digest(pixels)))
    if unused_seconds and (cache.folder / name).is_file():
        age(cache.folder / name, unused_seconds)
    return name


def test_what_was_unused_the_longest_makes_room(tmp_path: Path) -> None:
    size = 128 + 300 + 32
    cache = DecodedCache(tmp_path, 3 * size)
    for number, unused in ((0, 9000.0), (1, 8000.0), (2, 7000.0)):
        entry(cache, number, unused_seconds=unused)
    assert cache.get("0.npy") is not None  # now the last that was used
    # The folder counts, not this object's memory of it.
    entry(DecodedCache(tmp_path, 3 * size), 3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.npy", "2.npy", "3.npy"]


def test_what_is_in_use_makes_no_room(tmp_path: Path) -> None:
    cache = DecodedCache(tmp_path, 1000)
    for number in range(5):
        entry(cache, number)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.npy", "1.npy"]


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    for name in ("old", "new"):
        (tmp_path / f".{name}.npy.0123.tmp").write_bytes(bytes(100))
    age(tmp_path / ".old.npy.0123.tmp")
    entry(DecodedCache(tmp_path, 10**6), 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".new.npy.0123.tmp", "1.npy"]


def test_an_entry_that_stays_as_it_is_is_hashed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[None] = []

    def counted(pixels: Pixels) -> str:
        hashed.append(None)
        return pixel_digest(pixels)

    def read_and_count(*, anew: bool = False) -> int:
        hashed.clear()
        for _ in range(3):
            assert cache.get(name, anew=anew) is not None
        return len(hashed)

    cache = DecodedCache(tmp_path, 10**6)
    name = entry(cache, 1)
    monkeypatch.setattr(decoded, "pixel_digest", counted)
    monkeypatch.setattr(decoded, "_SETTLED_NANOSECONDS", -(10**9))  # whatever its age
    assert read_and_count() == 1
    assert read_and_count() == 0
    assert read_and_count(anew=True) == 3
    age(tmp_path / name, 100)
    assert read_and_count() == 1
    # What may have changed within a time stamp is hashed every time.
    monkeypatch.setattr(decoded, "_SETTLED_NANOSECONDS", 10**15)
    assert read_and_count() == 3


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENOMEM, errno.EIO])
def test_what_cannot_be_read_now_is_not_thrown_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    cache = DecodedCache(tmp_path, 10**6)
    name = entry(cache, 1)
    with monkeypatch.context() as short:
        short.setattr(np, "memmap", refuse)
        short.setattr(np.lib.format, "open_memmap", refuse)
        assert cache.get(name) is None
    found = cache.get(name)
    assert found is not None
    assert np.array_equal(found.pixels, np.ones((10, 10, 3), np.uint8))

"""A cache that the system refuses to make or to fill is named, with its reason."""

from __future__ import annotations

import errno
import hashlib
import os
import resource

import pytest

from esrbench.data.cache import cache_dir
from esrbench.data.datasets import fetch_dataset, open_dataset
from esrbench.data.downloads import fetch_file
from esrbench.errors import DataError, DownloadError

ADVICE = "Set ESRBENCH_CACHE to a folder you can write to."
PLACES = {
    "/proc/nope": errno.ENOENT,
    "a file": errno.ENOTDIR,
    "x" * 300: errno.ENAMETOOLONG,
}


@pytest.fixture(params=PLACES, ids=["no such place", "a file", "too long a name"])
def refused(request, tmp_path, monkeypatch):
    """A cache that cannot be made, and the system's reason."""
    (tmp_path / "a file").touch()
    cache = tmp_path / request.param
    monkeypatch.setenv("ESRBENCH_CACHE", str(cache))
    return cache, os.strerror(PLACES[request.param])


def test_fetching_a_file_names_the_folder(tmp_path, refused):
    cache, reason = refused
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / "file.bin").write_bytes(b"abc")
    with pytest.raises(DownloadError) as caught:
        fetch_file(
            "http://127.0.0.1:9/file.bin",
            filename="file.bin",
            sha256=hashlib.sha256(b"abc").hexdigest(),
            size=3,
            destination=cache / "weights",
            mirror=str(tmp_path / "mirror"),
        )
    assert str(cache / "weights") in caught.value.message
    assert reason in caught.value.message
    assert caught.value.advice == ADVICE


def test_a_data_set_names_the_folder(tmp_path, refused, trio, make_set):
    cache, reason = refused
    given = make_set(tmp_path / "set") / "HR"
    for act in (
        lambda: open_dataset("demo", 4),
        lambda: fetch_dataset("demo", (4,)),
        lambda: open_dataset(f"{trio.name}={given}", 4),
    ):
        with pytest.raises(DataError) as caught:
            act()
        assert str(cache / "datasets") in caught.value.message
        assert reason in caught.value.message
        assert caught.value.advice == ADVICE


@pytest.mark.usefixtures("refused")
def test_an_archive_is_not_asked_for():
    refusal = "this folder of the cache cannot be used"
    with pytest.raises((DataError, DownloadError), match=refusal) as caught:
        fetch_dataset("div2k-valid", (4,))
    assert caught.value.advice == ADVICE


@pytest.mark.usefixtures("own_cache")
def test_a_full_disk_leaves_no_half_folder():
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**14, limits[1]))
    try:
        with pytest.raises(DataError) as caught:
            open_dataset("demo", 4)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert str(cache_dir() / "datasets" / "demo") in caught.value.message
    assert os.strerror(errno.EFBIG) in caught.value.message
    assert [path for path in cache_dir().rglob("*") if path.is_file()] == []
    assert open_dataset("demo", 4).verified

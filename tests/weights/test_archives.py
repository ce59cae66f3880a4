"""Zip archives are taken for what torch.save writes, or refused before anything is unpickled."""

from __future__ import annotations

import struct
import tracemalloc
import zipfile
from typing import TYPE_CHECKING, Any

import pytest
import torch

from esrbench.errors import WeightsError
from esrbench.weights.archives import MAX_DIRECTORY_BYTES, require_archive
from esrbench.weights.pickled import MAX_PICKLE_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Change = dict[str, bytes | None]


@pytest.fixture
def genuine(tmp_path: Path) -> Path:
    path = tmp_path / "genuine.pth"
    torch.save({"a": torch.arange(6.0), "b": torch.ones(3, dtype=torch.int64)}, path)
    return path


@pytest.fixture
def rewrite(genuine: Path, tmp_path: Path) -> Callable[..., Path]:
    """The genuine archive with some members replaced, added or, by None, left out."""

    def make(changes: Change, compression: int = zipfile.ZIP_STORED, folder: str = "") -> Path:
        path = tmp_path / "changed.pth"
        with zipfile.ZipFile(genuine) as source, zipfile.ZipFile(path, "w", compression) as target:
            members: Change = {name: source.read(name) for name in source.namelist()}
            for name, content in (members | changes).items():
                if content is not None:
                    target.writestr(name.replace("genuine/", folder) if folder else name, content)
        return path

    return make


def check(path: Path) -> None:
    with path.open("rb") as file:
        require_archive(file, path, path.stat().st_size)


def refusal(path: Path) -> str:
    """What is said of an archive that must be refused; names the file and says what to do."""
    with pytest.raises(WeightsError) as caught:
        check(path)
    assert caught.value.message.startswith(f"{path}: ")
    assert caught.value.advice
    return caught.value.message.removeprefix(f"{path}: ")


def test_what_torch_writes_passes(genuine: Path, rewrite: Callable[..., Path]) -> None:
    check(genuine)
    check(rewrite({}))  # written by zipfile: no zip64 records, no sizes after the data


def test_archive_of_early_versions_passes(rewrite: Callable[..., Path]) -> None:
    later = ("byteorder", ".format_version", ".storage_alignment", ".data/serialization_id")
    check(rewrite({f"genuine/{name}": None for name in later}, folder="archive/"))


def test_archive_without_checksums_passes(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    torch.serialization.set_crc32_options(compute_crc32=False)
    try:
        torch.save({"a": torch.ones(3)}, path)
    finally:
        torch.serialization.set_crc32_options(compute_crc32=True)
    with zipfile.ZipFile(path) as archive:
        assert {member.CRC for member in archive.infolist()} == {0}
    check(path)


def test_deflate_bomb(rewrite: Callable[..., Path]) -> None:
    torch_reads = torch.load(rewrite({}, zipfile.ZIP_DEFLATED), weights_only=True)
    assert torch_reads["a"].tolist() == [0, 1, 2, 3, 4, 5]  # torch inflates whatever it is given
    path = rewrite({"genuine/data/0": bytes(256 * 2**20)}, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 2**19
    tracemalloc.start()
    try:
        said = refusal(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert "a compressed member 'genuine/data.pkl'" in said
    assert peak < 2**20


def test_one_compressed_member(genuine: Path, tmp_path: Path) -> None:
    path = tmp_path / "one.pth"
    with zipfile.ZipFile(genuine) as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            bomb = name.endswith("data/0")
            content = bytes(2**24) if bomb else source.read(name)
            target.writestr(name, content, zipfile.ZIP_DEFLATED if bomb else None)
    said = refusal(path)
    assert "a compressed member 'genuine/data/0': " in said
    assert "bytes that become 16777216" in said


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("genuine/../../etc/cron.d/x", "a member named 'genuine/../../etc/cron.d/x'"),
        ("../data/7", "a member named '../data/7'"),
        ("/etc/passwd", "a member named '/etc/passwd'"),
        ("genuine\\data\\7", r"a member named 'genuine\\data\\7'"),
        ("genuine/data/\x1b[2J", r"a member named 'genuine/data/\x1b[2J'"),
        ("genuine/data/nested/7", "a member named"),
        ("genuine/readme.txt", "a member named"),
        ("other/data/7", "2 folders"),
        ("genuine/constants.pkl", "holds a TorchScript program"),
        ("genuine/code/__torch__/net.py", "holds a TorchScript program"),
        ("genuine/archive_format", "holds a program of torch.export"),
        ("genuine/.data/extern_modules", "holds a torch.package"),
    ],
)
def test_foreign_members(rewrite: Callable[..., Path], name: str, said: str) -> None:
    assert said in refusal(rewrite({name: b"x"}))


def test_two_members_of_one_name(genuine: Path, rewrite: Callable[..., Path]) -> None:
    path = rewrite({})
    pickle = zipfile.ZipFile(genuine).read("genuine/data.pkl")
    duplicate = pytest.warns(UserWarning, match="Duplicate name")
    with zipfile.ZipFile(path, "a") as target, duplicate:
        target.writestr("genuine/data.pkl", pickle)
    assert "two members named 'genuine/data.pkl'" in refusal(path)


def test_package(tmp_path: Path) -> None:
    path = tmp_path / "package.pt"
    with torch.package.PackageExporter(str(path)) as exporter:
        exporter.save_pickle("weights", "weights.pkl", {"a": [1.0]})
    assert "holds a torch.package" in refusal(path)


def test_overlapping_members(rewrite: Callable[..., Path]) -> None:
    path = rewrite({})
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        first = archive.getinfo("genuine/data/0")
        start = archive.start_dir
        names = archive.namelist()
    # In the directory, let the last member begin where data/0 does, its name and size kept.
    position = start
    for name in names:
        if name == "genuine/data/1":
            struct.pack_into("<I", content, position + 42, first.header_offset)
        position += 46 + len(name)
    path.write_bytes(content)
    assert "overlaps another" in refusal(path)


def test_header_that_contradicts_the_directory(rewrite: Callable[..., Path]) -> None:
    path = rewrite({})
    content = path.read_bytes()
    path.write_bytes(content.replace(b"genuine/data/0", b"genuine/data/9", 1))
    assert "whose header says something else" in refusal(path)


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: whole[:-1],
        lambda whole: whole + b"\0",
        lambda whole: b"PK\x03\x04" + whole[4 : len(whole) // 2],
        lambda whole: whole[:-2] + b"\x05\0",
        lambda whole: b"MZ" * 40 + whole,
    ],
    ids=["cut", "longer", "half", "comment", "preceded"],
)
@pytest.mark.parametrize("zip64", [True, False])
def test_archive_that_does_not_end_where_it_should(
    genuine: Path, rewrite: Callable[..., Path], damage: Callable[[bytes], bytes], zip64: bool
) -> None:
    path = rewrite({})
    path.write_bytes(damage((genuine if zip64 else path).read_bytes()))
    assert "truncated, altered, or no PyTorch checkpoint" in refusal(path)


@pytest.mark.parametrize("field", [0, 16, 20, 40, 48])  # magic, disks, directory's size and place
def test_zip64_record_that_contradicts(genuine: Path, field: int) -> None:
    content = bytearray(genuine.read_bytes())
    record = len(content) - 22 - 20 - 56
    assert content[record : record + 4] == b"PK\x06\x06"
    content[record + field] ^= 1
    genuine.write_bytes(content)
    assert "no end, or something follows it" in refusal(genuine)


def test_oversized_directory_is_not_parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = MAX_DIRECTORY_BYTES + 1
    path = tmp_path / "many.pth"
    path.write_bytes(
        b"PK\x03\x04"
        + bytes(size - 4)
        + struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 1, 1, size, 0, 0)
    )
    monkeypatch.setattr(zipfile, "ZipFile", None)
    assert f"a zip directory of {size} bytes" in refusal(path)


def test_oversized_pickle_is_not_read(rewrite: Callable[..., Path]) -> None:
    path = rewrite({"genuine/data.pkl": bytes(MAX_PICKLE_BYTES + 1)})
    assert f"data.pkl has {MAX_PICKLE_BYTES + 1} bytes" in refusal(path)


def test_no_pickle(rewrite: Callable[..., Path]) -> None:
    assert "a zip archive without data.pkl" in refusal(rewrite({"genuine/data.pkl": None}))


def test_flipped_bit_in_data(genuine: Path) -> None:
    content = bytearray(genuine.read_bytes())
    position = content.index(torch.arange(6.0).numpy().tobytes())
    content[position + 11] ^= 0x40  # exponent of the third element: 2.0 becomes about 1e-38
    genuine.write_bytes(content)
    flipped = torch.load(genuine, weights_only=True)["a"]
    assert flipped[2] < 1e-30  # torch does not notice
    assert "the CRC-32 of 'genuine/data/0' does not fit" in refusal(genuine)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"genuine/data/0": bytes(20)}, "data/'0' has 20 bytes, its pickle says 24"),
        ({"genuine/data/0": bytes(28)}, "data/'0' has 28 bytes, its pickle says 24"),
        ({"genuine/data/0": None}, "data/'0' is not there, its pickle says 24"),
    ],
)
def test_data_of_another_size(rewrite: Callable[..., Path], changes: Change, said: str) -> None:
    assert said in refusal(rewrite(changes))


def test_size_that_the_pickle_makes_up(genuine: Path, rewrite: Callable[..., Path]) -> None:
    with zipfile.ZipFile(genuine) as archive:
        pickle = archive.read("genuine/data.pkl")
    claims = pickle.replace(b"K\x06t", b"J\x00\xca\x9a\x3bt", 1)  # 6 elements, 10^9 elements
    assert claims != pickle
    said = refusal(rewrite({"genuine/data.pkl": claims}))
    assert "data/'0' has 24 bytes, its pickle says 4000000000" in said


def test_encrypted_member(rewrite: Callable[..., Path]) -> None:
    path = rewrite({})
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        content[archive.start_dir + 8] |= 1
    path.write_bytes(content)
    assert "with flags 0x1" in refusal(path)


def test_other_files_that_begin_like_one(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    contents: list[Any] = [b"PK\x03\x04", b"PK\x03\x04" + bytes(500)]
    for content in contents:
        path.write_bytes(content)
        assert "truncated, altered, or no PyTorch checkpoint" in refusal(path)

"""Files that lie about their size or layout are refused, in little memory, with what to do."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING, Any

import pytest
import torch

from esrbench.errors import WeightsError
from esrbench.weights.checkpoints import MAX_HEADER_BYTES, file_sha256, read_state_dict
from esrbench.weights.state_dicts import MAX_WEIGHTS_BYTES

if TYPE_CHECKING:
    from pathlib import Path


def state() -> dict[str, torch.Tensor]:
    return {"head.weight": torch.arange(6.0).reshape(2, 3), "head.bias": torch.tensor([0.5, -1.0])}


def saved(folder: Path, content: Any, name: str = "weights.pth", *, zipped: bool = True) -> Path:
    path = folder / name
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    return path


def safetensors_file(path: Path, header: bytes | dict[str, Any], data: bytes = b"") -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def entry(start: int, stop: int, *shape: int, dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}


def test_safetensors_by_hand(tmp_path: Path) -> None:
    data = struct.pack("<3f", 1, 2, 3)
    path = safetensors_file(tmp_path / "w.safetensors", {"a": entry(0, 12, 3)}, data)
    assert read_state_dict(path)["a"].tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("header", "size"),
    [
        ({"a": entry(0, 16, 4)}, 12),  # beyond the end
        ({"a": entry(8, 4, 1)}, 12),
        ({"a": entry(0, 8, 2), "b": entry(4, 12, 2)}, 12),  # overlap
        ({"a": entry(0, 4, 1), "b": entry(8, 12, 1)}, 12),  # hole
        ({"a": entry(0, 12, 4)}, 12),  # another size than its shape
        ({"a": entry(0, 12, 2**62, 4)}, 12),  # overflow
        ({"a": entry(0, 8, 2)}, 12),  # trailing bytes
        ({"a": entry(-4, 8, 3)}, 12),
        ({"a": entry(0, 12, 3, dtype="F31")}, 12),
        (b"{", 12),
        (b"[" * 100_000, 0),
        (b"\xff\xfe", 0),
        (b"", 0),
    ],
)
def test_safetensors_that_contradict_themselves(
    tmp_path: Path, header: bytes | dict[str, Any], size: int
) -> None:
    path = safetensors_file(tmp_path / "w.safetensors", header, bytes(size))
    with pytest.raises(WeightsError, match="truncated, altered, or no safetensors") as caught:
        read_state_dict(path)
    assert caught.value.message.startswith(str(path))
    assert caught.value.advice


@pytest.mark.parametrize("offsets", ["[4,8]", "[0,4]"])
def test_duplicate_names_in_safetensors(tmp_path: Path, offsets: str) -> None:
    """The second may hide the first, and where both name the same bytes nothing else is wrong."""
    header = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},'
    header += f'"a":{{"dtype":"F32","shape":[1],"data_offsets":{offsets}}}}}'.encode()
    path = safetensors_file(tmp_path / "w.safetensors", header, bytes(4 if "0" in offsets else 8))
    with pytest.raises(WeightsError, match="its header has names twice: a"):
        read_state_dict(path)


def test_duplicate_names_in_safetensors_leave_a_hole(tmp_path: Path) -> None:
    header = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},'
    header += b'"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}'
    path = safetensors_file(tmp_path / "w.safetensors", header, bytes(8))
    with pytest.raises(WeightsError, match="truncated, altered, or no safetensors"):
        read_state_dict(path)


@pytest.mark.parametrize("length", [MAX_HEADER_BYTES + 1, 2**40, 2**64 - 1])
def test_huge_safetensors_header_is_not_parsed(
    tmp_path: Path, length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(struct.pack("<Q", length) + b"{}")
    monkeypatch.setattr("safetensors.torch.load_file", None)
    with pytest.raises(WeightsError, match=f"a header of {length} bytes, at most"):
        read_state_dict(path)


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_oversized_files_are_not_read(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with path.open("wb") as file:
        file.truncate(MAX_WEIGHTS_BYTES + 1)  # takes no space
    with pytest.raises(WeightsError, match=r"536870913 bytes, at most 536870912 are read"):
        read_state_dict(path)


@pytest.mark.parametrize("zipped", [True, False])
def test_flipped_bit_changes_the_hash(tmp_path: Path, zipped: bool) -> None:
    """What a file's own format may not notice, its SHA-256 in the manifest does."""
    path = saved(tmp_path, state(), zipped=zipped)
    before = file_sha256(path)
    content = bytearray(path.read_bytes())
    content[content.index(state()["head.weight"].numpy().tobytes()) + 11] ^= 0x40
    path.write_bytes(content)
    assert file_sha256(path) != before
    if zipped:
        with pytest.raises(WeightsError, match="CRC-32"):
            read_state_dict(path)
    else:
        assert read_state_dict(path)["head.weight"][0, 2] < 1e-30


BOMBS = """
import resource, sys
from pathlib import Path
import torch
from esrbench.weights.checkpoints import read_state_dict
from esrbench.errors import WeightsError

taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (taken + 96 * 2**20,) * 2)
for path in map(Path, sys.argv[1:]):
    try:
        read_state_dict(path)
    except WeightsError as error:
        print(error.message.removeprefix(f"{path}: "))
    else:
        print("read")
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_bombs_are_refused_in_little_memory(tmp_path: Path) -> None:
    """Each would take 256 MiB or far more; none of it, nor 96 MiB, may be asked for."""
    honest = saved(tmp_path, state(), "honest.pth")
    deflated = tmp_path / "deflated.pth"
    with zipfile.ZipFile(deflated, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("deflated/data.pkl", b"")
        archive.writestr("deflated/data/0", bytes(256 * 2**20))
    expanded = saved(tmp_path, {"a": torch.zeros(1).expand(10**12)}, "expanded.pth")
    old = saved(tmp_path, {"a": torch.zeros(6)}, "old.pth", zipped=False)
    claims = old.read_bytes().replace(b"K\x06N", b"J\x00\xca\x9a\x3bN")
    old.write_bytes(claims.replace(struct.pack("<q", 6), struct.pack("<q", 10**9)))
    called = saved(tmp_path, {"a": Allocation()}, "called.pth")
    views = torch.zeros(2**24)
    many = saved(tmp_path, {f"v{index}": views for index in range(9)}, "many.pth")
    header = tmp_path / "header.safetensors"
    header.write_bytes(struct.pack("<Q", 2**27) + b"[" * 2**27)
    done = subprocess.run(
        [sys.executable, "-c", BOMBS, honest, deflated, expanded, old, called, many, header],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    told = done.stdout.splitlines()
    assert told[0] == "read"
    for line, said in zip(
        told[1:],
        (
            "its zip archive has a compressed member 'deflated/data.pkl'",
            "1 tensors claim more than they hold: a has 1000000000000 elements in 4 bytes",
            "truncated, altered, or no PyTorch checkpoint",
            "holds pickled Python objects (__builtin__.bytearray)",
            "its tensors take 603979776 bytes, at most 536870912 may",
            "truncated, altered, or no safetensors file (a header of 134217728 bytes",
        ),
        strict=True,
    ):
        assert line.startswith(said)


class Allocation:
    """Takes 1 TB when unpickled, by a function that torch allows."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (bytearray, (10**12,))

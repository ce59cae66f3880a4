"""Files that lie about their size or layout are refused, in little memory, with what to do."""

import io
import json
import os
import pickle
import re
import struct
import sys
import tarfile
import warnings
import zipfile

import pytest
import torch
from builders import checkpoint, python

from esrbench.errors import WeightsError
from esrbench.torch_versions import reads_data_only
from esrbench.weights.checkpoints import MAX_HEADER_BYTES, file_sha256
from esrbench.weights.layout import read_weights
from esrbench.weights.state_dicts import MAX_WEIGHTS_BYTES


def state():
    return {"head.weight": torch.arange(6.0).reshape(2, 3), "head.bias": torch.tensor([0.5, -1.0])}


def safetensors_file(path, header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def entry(start, stop, *shape, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}


def test_safetensors_by_hand(tmp_path):
    data = struct.pack("<3f", 1, 2, 3)
    path = safetensors_file(tmp_path / "w.safetensors", {"a": entry(0, 12, 3)}, data)
    assert read_weights(path).state["a"].tolist() == [1, 2, 3]


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
def test_safetensors_that_contradict_themselves(tmp_path, header, size):
    path = safetensors_file(tmp_path / "w.safetensors", header, bytes(size))
    with pytest.raises(WeightsError, match="truncated, altered, or not a safetensors") as caught:
        read_weights(path)
    assert caught.value.message.startswith(str(path))
    assert caught.value.advice


def test_a_name_that_hides_bytes_of_safetensors(tmp_path):
    header = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},'
    header += b'"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}'
    path = safetensors_file(tmp_path / "w.safetensors", header, bytes(8))
    with pytest.raises(WeightsError, match="truncated, altered, or not a safetensors"):
        read_weights(path)


@pytest.mark.parametrize("length", [MAX_HEADER_BYTES + 1, 2**40, 2**64 - 1])
def test_huge_safetensors_header_is_not_parsed(tmp_path, length, monkeypatch):
    path = tmp_path / "w.safetensors"
    path.write_bytes(struct.pack("<Q", length) + b"{}")
    monkeypatch.setattr("safetensors.torch.load_file", None)
    with pytest.raises(WeightsError, match=f"a header of {length} bytes, expected"):
        read_weights(path)


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_oversized_files_are_not_read(tmp_path, name):
    path = tmp_path / name
    with path.open("wb") as file:
        file.truncate(MAX_WEIGHTS_BYTES + 1)  # takes no space
    with pytest.raises(WeightsError, match=r"536870913 bytes, at most 536870912 are read"):
        read_weights(path)


@pytest.mark.parametrize("zipped", [True, False])
def test_flipped_bit_changes_the_hash(tmp_path, zipped):
    """What a file's own format may not notice, its SHA-256 in the manifest does."""
    path = checkpoint(tmp_path, state(), zipped=zipped)
    before = file_sha256(path)
    content = bytearray(path.read_bytes())
    content[content.index(state()["head.weight"].numpy().tobytes()) + 11] ^= 0x40
    path.write_bytes(content)
    assert file_sha256(path) != before
    if zipped:
        with pytest.raises(WeightsError, match="CRC-32"):
            read_weights(path)
    else:
        assert read_weights(path).state["head.weight"][0, 2] < 1e-30


BOMBS = """
import resource, sys
from pathlib import Path
import torch
from esrbench.weights.layout import read_weights
from esrbench.errors import WeightsError

taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (taken + 96 * 2**20,) * 2)
for path in map(Path, sys.argv[1:]):
    try:
        read_weights(path)
    except WeightsError as error:
        print(error.message.removeprefix(f"{path}: "))
    except MemoryError:
        print("MemoryError")
    else:
        print("read")
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_bombs_are_refused_in_little_memory(tmp_path):
    """Each would take 256 MiB or far more; a limit of 96 MiB stops what torch itself allows."""
    honest = checkpoint(tmp_path, state(), "honest.pth")
    deflated = tmp_path / "deflated.pth"
    with zipfile.ZipFile(deflated, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("deflated/data.pkl", b"")
        archive.writestr("deflated/data/0", bytes(256 * 2**20))
    expanded = checkpoint(tmp_path, {"a": torch.zeros(1).expand(10**12)}, "expanded.pth")
    old = checkpoint(tmp_path, {"a": torch.zeros(6)}, "old.pth", zipped=False)
    claims = old.read_bytes().replace(b"K\x06N", b"J\x00\xca\x9a\x3bN")
    old.write_bytes(claims.replace(struct.pack("<q", 6), struct.pack("<q", 10**9)))
    called = checkpoint(tmp_path, {"a": Call(bytearray, 10**12)}, "called.pth")
    views = torch.zeros(2**24)
    many = checkpoint(tmp_path, {f"v{index}": views for index in range(9)}, "many.pth")
    header = tmp_path / "header.safetensors"
    header.write_bytes(struct.pack("<Q", 2**27) + b"[" * 2**27)
    paths = map(str, (honest, deflated, expanded, old, called, many, header))
    told = python(BOMBS, *paths, OMP_NUM_THREADS="1").splitlines()
    assert told[0] == "read"
    for line, said in zip(
        told[1:],
        (
            "its zip archive has a compressed member, deflated/data.pkl",
            "1 tensor with a shape larger than the data: a has 1000000000000 elements in 4 bytes",
            "truncated, altered, or not a PyTorch checkpoint",
            ("MemoryError", "holds pickled Python objects (builtins.bytearray)"),
            "its tensors take 603979776 bytes, expected 536870912 at most",
            "truncated, altered, or not a safetensors file (a header of 134217728 bytes",
        ),
        strict=True,
    ):
        assert line.startswith(said)


class Call:
    """Pickled as a call of a function with arguments."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def refusal(path, content):
    path.write_bytes(content)
    with pytest.raises(WeightsError) as caught:
        read_weights(path)
    assert caught.value.message.startswith(f"{path}: ")
    assert caught.value.message.isprintable()
    assert caught.value.advice
    return caught.value.message.removeprefix(f"{path}: ")


@pytest.mark.parametrize(
    ("called", "said"),
    [
        (Call(os.mkdir, "ran"), r"\(posix\.mkdir\)"),
        (Call(eval, "1"), r"\((builtins\.)?eval\)"),
        (Call(getattr, "a", "b"), r"\((builtins\.)?getattr\)"),
        (Call(torch.UntypedStorage, 10**12), "neither a state dict|not a PyTorch checkpoint"),
        # Torch 2.4 makes no bytes.
        (Call(bytearray, 8), r"neither a state dict nor a checkpoint .* it has w|\(builtins.byte"),
        (torch.nn.ReLU(), r"\(torch\.nn\.modules\.activation\.ReLU\)"),
    ],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_what_a_pickle_would_call(tmp_path, called, said, zipped, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content = checkpoint(tmp_path, {"w": called}, zipped=zipped).read_bytes()
    assert re.search(said, refusal(tmp_path / "w.pth", content))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("protocol", [0, 1, 2, 4])
def test_bare_pickles(tmp_path, protocol):
    content = pickle.dumps({"w": Call(os.mkdir, str(tmp_path / "ran"))}, protocol)
    refusal(tmp_path / "w.pth", content)
    in_front = content + checkpoint(tmp_path, state(), zipped=False).read_bytes()
    refusal(tmp_path / "w.pth", in_front)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"hello", b"\x80\x02K\x01.", bytes(1000), b"\x7fELF", bytes(range(256))),
        *(b"PK\x03\x04", b"PK\x03\x04" + bytes(500)),
    ],
)
def test_files_that_are_no_checkpoint(tmp_path, content):
    said = refusal(tmp_path / "w.pth", content)
    assert said.startswith("truncated, altered, or not a PyTorch checkpoint")


def rewritten(path, changes, folder="w"):
    """A zip archive as it is, but for members that are replaced, added or, by None, left out."""
    stream = io.BytesIO()
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(stream, "w") as target:
        members = {name.partition("/")[2]: source.read(name) for name in source.namelist()}
        for name, content in {**members, **changes}.items():
            if content is not None:
                target.writestr(f"{folder}/{name}", content)
    return stream.getvalue()


def test_archives_of_other_versions_are_read(tmp_path):
    path = checkpoint(tmp_path, state())
    later = ("byteorder", ".format_version", ".storage_alignment", ".data/serialization_id")
    path.write_bytes(rewritten(path, dict.fromkeys(later), folder="archive"))
    assert torch.equal(read_weights(path).state["head.weight"], state()["head.weight"])
    if not hasattr(torch.serialization, "set_crc32_options"):
        pytest.skip("this torch writes all checksums")
    torch.serialization.set_crc32_options(compute_crc32=False)
    try:
        checkpoint(tmp_path, state())
    finally:
        torch.serialization.set_crc32_options(compute_crc32=True)
    with zipfile.ZipFile(path) as archive:
        assert {member.CRC for member in archive.infolist()} == {0}
    assert torch.equal(read_weights(path).state["head.weight"], state()["head.weight"])


@pytest.mark.parametrize(
    "changes",
    [
        {"data.pkl": None},
        {"data/0": bytes(20)},
        {"data/0": bytes(28)},
        {"data/0": None},
        {"data.pkl": b"\x80\x02h\x07."},
    ],
)
def test_archives_that_contradict_themselves(tmp_path, changes):
    content = rewritten(checkpoint(tmp_path, state()), changes)
    said = refusal(tmp_path / "w.pth", content)
    assert said.startswith("truncated, altered, or not a PyTorch checkpoint")


def test_a_storage_that_ends_before_its_tensor_shows_no_other_memory(tmp_path):
    path = checkpoint(tmp_path, {"a": torch.arange(6.0), "b": torch.ones(4)})
    content = rewritten(path, {"data/1": torch.ones(2).numpy().tobytes()})
    assert "not a PyTorch checkpoint" in refusal(tmp_path / "w.pth", content)


def test_members_that_differ_in_case_alone_are_refused(tmp_path):
    """Torch looks members up whatever their case, so that it may take either."""
    if reads_data_only():
        pytest.skip("this torch checks lengths by itself")
    path = checkpoint(tmp_path, state())
    with zipfile.ZipFile(path) as archive:
        pickled = archive.read("w/data.pkl")
    content = rewritten(path, {"DATA.pkl": pickled})
    assert "not a PyTorch checkpoint" in refusal(tmp_path / "w.pth", content)


def test_tar_archives_are_refused_unread(tmp_path):
    """Torch before 2.6 ran programs in them though they were read as data (CVE-2025-32434)."""
    path = tmp_path / "old.tar"
    with tarfile.open(path, "w") as archive:
        program = tmp_path / "pickle"
        program.write_bytes(pickle.dumps(Call(os.mkdir, str(tmp_path / "ran"))))
        for name in ("storages", "tensors", "pickle"):
            archive.add(program, name)
    bare = path.read_bytes()
    for content in (bare, bare + checkpoint(tmp_path, state()).read_bytes()):
        assert "is a tar archive" in refusal(tmp_path / "w.pth", content)
    assert not (tmp_path / "ran").exists()


def test_one_compressed_member(tmp_path):
    stream = io.BytesIO()
    with (
        zipfile.ZipFile(checkpoint(tmp_path, state())) as source,
        zipfile.ZipFile(stream, "w") as made,
    ):
        for name in source.namelist():
            packed = zipfile.ZIP_DEFLATED if name.endswith("data/0") else zipfile.ZIP_STORED
            made.writestr(name, source.read(name), packed)
    assert "a compressed member, w/data/0" in refusal(tmp_path / "w.pth", stream.getvalue())


def test_package(tmp_path):
    path = tmp_path / "package.pt"
    with torch.package.PackageExporter(str(path)) as exporter:
        exporter.save_pickle("weights", "weights.pkl", {"a": [1.0]})
    assert "not a PyTorch checkpoint" in refusal(path, path.read_bytes())


@pytest.mark.parametrize("missing", [1, 4, 24, 27])
def test_old_format_cut_short(tmp_path, missing):
    content = checkpoint(tmp_path, {"a": torch.arange(6.0)}, zipped=False).read_bytes()
    assert "not a PyTorch checkpoint" in refusal(tmp_path / "w.pth", content[:-missing])


def test_quantised_tensors(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # newer versions call them deprecated
        path = checkpoint(
            tmp_path, {"w": torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)}
        )
    assert "found others: w" in refusal(path, path.read_bytes())


@pytest.mark.parametrize("zipped", [True, False])
def test_storages_that_the_pickle_makes_up(tmp_path, zipped):
    path = checkpoint(tmp_path, {"a": torch.arange(6.0)}, zipped=zipped)
    old, claimed = (
        (b"K\x06t", b"J\x00\xca\x9a\x3bt") if zipped else (b"K\x06N", b"J\x00\xca\x9a\x3bN")
    )
    with_claim = path.read_bytes().replace(old, claimed, 1)
    if zipped:
        with zipfile.ZipFile(path) as archive:
            pickled = archive.read("w/data.pkl").replace(old, claimed, 1)
        with_claim = rewritten(path, {"data.pkl": pickled})
    assert claimed in with_claim
    assert "not a PyTorch checkpoint" in refusal(tmp_path / "w.pth", with_claim)

"""Pickles are followed, not run: what they would make is known before torch sees it."""

from __future__ import annotations

import io
import os
import pickle
import struct
import tracemalloc
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import pytest
import torch

from esrbench.errors import WeightsError
from esrbench.weights.pickled import (
    MAX_OPCODES,
    MAX_PICKLE_BYTES,
    Storage,
    read_storages,
    require_legacy,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "w.pth"


class Call:
    """Pickled as a call of a function with arguments."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


def zip_pickle(content: Any, path: Path) -> bytes:
    torch.save(content, path)
    reader = torch._C.PyTorchFileReader(str(path))
    found: bytes = reader.get_record("data.pkl")
    return found


def refusal(content: bytes, path: Path) -> str:
    with pytest.raises(WeightsError) as caught:
        read_storages(content, path)
    assert caught.value.message.startswith(f"{path}: ")
    assert caught.value.advice
    return caught.value.message.removeprefix(f"{path}: ")


def test_storages_of_a_checkpoint(path: Path) -> None:
    shared = torch.zeros(10)
    content = {
        "params": OrderedDict(a=shared[:4], b=shared[4:], c=torch.nn.Parameter(torch.ones(2, 3))),
        "step": torch.tensor(7),
        "half": torch.zeros(5, dtype=torch.bfloat16).t(),
        "optimizer": {"state": {0: {"lr": 1e-3, "betas": (0.9, 0.99), "big": 2**70}}},
        "device": torch.device("cpu"),
        "size": torch.Size([1, 2]),
        "type": torch.float32,
        "names": ["x", None, True, {1}],
    }
    assert read_storages(zip_pickle(content, path), path) == {
        "0": Storage("FloatStorage", 10),
        "1": Storage("FloatStorage", 6),
        "2": Storage("LongStorage", 1),
        "3": Storage("BFloat16Storage", 5),
    }


def test_bytes_of_a_storage() -> None:
    assert Storage("ComplexFloatStorage", 3).bytes == 24
    assert Storage("BoolStorage", 3).bytes == 3


@pytest.mark.parametrize("protocol", [0, 1, 2, 4])
def test_programs_are_named(path: Path, protocol: int) -> None:
    content = pickle.dumps({"w": Call(os.system, "true")}, protocol)
    said = refusal(content, path)
    assert "holds pickled Python objects" in said
    if protocol == 2:
        assert "(posix.system)" in said


def test_program_of_a_later_protocol_is_named(path: Path) -> None:
    content = b"\x80\x02\x8c\x05posix\x8c\x06system\x93X\x01\0\0\0x\x85R."
    assert "opcode SHORT_BINUNICODE" in refusal(content, path)
    content = b"\x80\x02X\x05\0\0\0posixX\x06\0\0\0system\x93X\x01\0\0\0x\x85R."
    assert "(posix.system)" in refusal(content, path)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (Call(bytearray, 10**12), "bytearray"),
        (Call(torch.Tensor, 10**6, 10**6), r"torch.*Tensor"),
        (Call(torch.UntypedStorage, 10**12), r"UntypedStorage"),
        (Call(torch.FloatStorage, 10**12), r"a call of torch\.FloatStorage"),
        (Call(eval, "1"), r"__builtin__\.eval"),
        (Call(getattr, "a", "b"), r"__builtin__\.getattr"),
        (torch.nn.ReLU(), r"torch\.nn\.modules\.activation\.ReLU"),
    ],
)
def test_what_torch_would_call_or_make(path: Path, call: Any, said: str) -> None:
    with pytest.raises(WeightsError, match=said):
        read_storages(pickle.dumps({"w": call}, 2), path)


def test_quantised_tensors(path: Path) -> None:
    one = torch.ones(2)
    with pytest.warns(UserWarning, match="deprecated"):
        content = zip_pickle({"w": torch.quantize_per_tensor(one, 0.1, 0, torch.qint8)}, path)
    assert "quantised tensors (torch._utils._rebuild_qtensor)" in refusal(content, path)


def test_eight_bit_floats(path: Path) -> None:
    content = zip_pickle({"w": torch.zeros(2).to(torch.float8_e4m3fn)}, path)
    assert "tensors of a type that is not for weights" in refusal(content, path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80\x02",
        b"\x80\x02}.extra"[:3],
        b"\x80\x02.",  # nothing to stop with
        b"\x80\x020.",  # POP: torch knows none
        b"\x80\x02h\x07.",  # a memo that is not there
        b"\x80\x02\x85.",  # a tuple of nothing
        b"\x80\x02t.",  # no mark
        b"\x80\x02X\xff\xff\xff\x7fabc",  # a text of 2 GiB
        b"\x80\x02\x8a\xff\x01",  # a long number cut short
        b"\x80\x02R.",
        b"\x80\x02}q\x00s.",
        b"\x80\x02ctorch\nFloat\\_Storage\n.",
        b"\x80\x02ctorch\nFloat\\x\n.",
        bytes(range(256)),
    ],
)
def test_damaged_pickles(path: Path, content: bytes) -> None:
    refusal(content, path)


def test_storage_of_two_sizes(path: Path) -> None:
    one = zip_pickle({"a": torch.zeros(5), "b": torch.zeros(6)}, path)
    both = one.replace(b"X\x01\0\0\x001", b"X\x01\0\0\x000")
    assert both != one
    assert "storage '0' has two sizes or types" in refusal(both, path)


def test_persistent_ids_that_are_no_storages(path: Path) -> None:
    assert "persistent id that is no storage" in refusal(b"\x80\x02X\x03\0\0\0abcQ.", path)
    one = zip_pickle({"a": torch.zeros(5)}, path)
    negative = one.replace(b"K\x05t", b"J\xff\xff\xff\xfft")
    assert negative != one
    assert "persistent id that is no storage" in refusal(negative, path)


@pytest.mark.parametrize("opcode", [b"]", b"(", b"K\x00", b")\x85"])
def test_endless_pickles_take_little_memory(path: Path, opcode: bytes) -> None:
    content = b"\x80\x02" + opcode * (MAX_OPCODES + 1)
    tracemalloc.start()
    try:
        said = refusal(content[:MAX_PICKLE_BYTES], path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert f"more than {MAX_OPCODES} opcodes" in said
    assert peak < 80e6


def test_nested_tuples_are_never_compared(path: Path) -> None:
    doubled = b"".join(b"q\x00h\x00\x86" for _ in range(200))  # 2^200 elements, 200 objects
    assert read_storages(b"\x80\x02)" + doubled + b".", path) == {}


def legacy(path: Path, content: Any) -> bytes:
    torch.save(content, path, _use_new_zipfile_serialization=False)
    return path.read_bytes()


def legacy_refusal(content: bytes, path: Path) -> str:
    path.write_bytes(content)
    with pytest.raises(WeightsError) as caught, path.open("rb") as file:
        require_legacy(file, path, len(content))
    assert caught.value.message.startswith(f"{path}: ")
    assert caught.value.advice
    return caught.value.message.removeprefix(f"{path}: ")


def test_old_format_passes(path: Path) -> None:
    shared = torch.zeros(10)
    content = legacy(path, {"a": shared[:4], "b": shared[4:], "c": torch.ones(3).half()})
    with path.open("rb") as file:
        require_legacy(file, path, len(content))


@pytest.mark.parametrize("missing", [1, 4, 24, 27])
def test_old_format_cut_short(path: Path, missing: int) -> None:
    content = legacy(path, {"a": torch.arange(6.0)})
    assert "no PyTorch checkpoint" in legacy_refusal(content[:-missing], path)


def test_old_format_with_more_behind(path: Path) -> None:
    content = legacy(path, {"a": torch.arange(6.0)})
    said = legacy_refusal(content + b"\0", path)
    assert f"{len(content) + 1} bytes long, its storages end at {len(content)}" in said


def test_old_format_that_claims_more_than_it_brings(path: Path) -> None:
    content = legacy(path, {"a": torch.arange(6.0)})
    claims = content.replace(b"K\x06N", b"J\x00\xca\x9a\x3bN")
    assert claims != content
    assert "a storage of 1000000000 elements is not there" in legacy_refusal(claims, path)
    both = claims.replace(struct.pack("<q", 6), struct.pack("<q", 10**9))
    assert "its storages end at 40000" in legacy_refusal(both, path)


def test_old_format_that_brings_nothing(path: Path) -> None:
    """Torch takes what such a file does not bring from memory as it finds it."""
    content = legacy(path, {"a": torch.arange(6.0)})
    stream = io.BytesIO(content)
    for _ in range(3):
        pickle.load(stream)  # noqa: S301 - numbers that torch.save has just written
    keys = content.index(b"\x80\x02]q\x00X", stream.tell())
    empty = content[:keys] + pickle.dumps([], 2)
    path.write_bytes(empty)
    taken = torch.load(path, weights_only=True)["a"]
    assert taken.shape == (6,)
    assert "the storages that it uses are not those that it brings" in legacy_refusal(empty, path)


@pytest.mark.parametrize("zipped", [True, False])
def test_evil_pickle_in_the_old_format(path: Path, tmp_path: Path, zipped: bool) -> None:
    trace = tmp_path / "ran"
    first = pickle.dumps(Call(os.mkdir, str(trace)), 2)
    content = legacy(path, {"a": torch.ones(1)}) if zipped else b""
    assert "(posix.mkdir)" in legacy_refusal(first + content, path)
    middle = legacy(path, {"a": Call(os.mkdir, str(trace))})
    assert "(posix.mkdir)" in legacy_refusal(middle, path)
    assert not trace.exists()


@pytest.mark.parametrize("content", [b"", b"hello", b"\x80\x02K\x01.", bytes(1000), b"\x7fELF"])
def test_files_that_are_no_checkpoint(path: Path, content: bytes) -> None:
    assert "no magic number of the old format" in legacy_refusal(content, path)


def test_another_version_of_the_old_format(path: Path) -> None:
    content = legacy(path, {"a": torch.ones(1)})
    other = content.replace(pickle.dumps(1001, 2), pickle.dumps(1002, 2))
    assert other != content
    assert "unknown version of the old format" in legacy_refusal(other, path)


def test_pickles_longer_than_what_is_read(path: Path) -> None:
    content = legacy(path, {"a" * (MAX_PICKLE_BYTES + 1): torch.ones(1)})
    assert f"more than {MAX_PICKLE_BYTES} bytes of pickles" in legacy_refusal(content, path)

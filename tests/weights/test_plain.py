from __future__ import annotations

import pytest
import torch
from safetensors.torch import load, save

from esrbench.weights.plain import read_plain

DTYPES = (
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.complex64),
    *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool),
)


def test_it_reads_what_safetensors_reads():
    torch.manual_seed(0)
    state = {str(dtype): (100 * torch.rand(3, 2, 5)).to(dtype) for dtype in DTYPES}
    state |= {"scalar": torch.tensor(7.5), "none": torch.zeros(0, 3), "odd": torch.rand(1, 1)}
    content = save(state, metadata={"format": "pt"})
    found, expected = read_plain(content), load(content)
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor), name


def test_its_tensors_can_be_written():
    content = save({"weight": torch.zeros(4)})
    read_plain(content)["weight"] += 1
    assert torch.equal(read_plain(content)["weight"], torch.zeros(4))


@pytest.mark.parametrize("content", [b"", b"1234"])
def test_what_is_no_file_is_an_error(content):
    with pytest.raises(Exception, match="unpack"):
        read_plain(content)

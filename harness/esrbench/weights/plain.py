"""Reads tensors of a safetensors file with torch only, for workers in another interpreter.

A file is 8 bytes with the length of its header, the header as JSON, and the tensors' bytes.
"""

from __future__ import annotations

import json
import math
import struct
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

_TYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "C64": torch.complex64,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
_LENGTH = struct.Struct("<Q")


def read_plain(content: bytes) -> dict[str, Tensor]:
    """Dense CPU tensors by name.

    Args:
        content: a whole file, which ``weights.conversion`` made and checked.
    """
    (length,) = _LENGTH.unpack_from(content)
    header = json.loads(content[_LENGTH.size : _LENGTH.size + length])
    header.pop("__metadata__", None)
    data = bytearray(memoryview(content)[_LENGTH.size + length :])
    state = {}
    for name, each in header.items():
        dtype, shape = _TYPES[each["dtype"]], each["shape"]
        count = math.prod(shape)
        tensor = torch.empty(0, dtype=dtype)
        if count:
            tensor = torch.frombuffer(
                data, dtype=dtype, count=count, offset=each["data_offsets"][0]
            )
        state[name] = tensor.reshape(shape)
    return state

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import save_file, save_model
from torch import nn

from esrbench.weights.stored import stored_elements

if TYPE_CHECKING:
    from pathlib import Path


def test_every_number_of_a_file_counts_once(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file(
        {"weight": torch.zeros(4, 3, 3, 3), "scale": torch.zeros(()), "half": torch.zeros(2)}, path
    )
    assert stored_elements(path) == 4 * 27 + 1 + 2


def test_tied_tensors_are_stored_once(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
    network[1].weight = network[0].weight
    path = tmp_path / "weights.safetensors"
    save_model(network, str(path))
    assert stored_elements(path) == 9


def test_only_unpickling_would_tell(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"weight": torch.zeros(3)}, path)
    assert stored_elements(path) is None


@pytest.mark.parametrize(
    "header", [b"[]", b'{"a": 1}', b'{"a": {"dtype": "F32", "shape": 3}}', b"\xff", b""]
)
def test_a_header_that_is_no_table_is_left_to_loading(tmp_path: Path, header: bytes) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    assert stored_elements(path) in {None, 0}


def test_a_huge_header_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes((2**40).to_bytes(8, "little"))
    assert stored_elements(path) is None
    assert stored_elements(tmp_path / "missing.safetensors") is None

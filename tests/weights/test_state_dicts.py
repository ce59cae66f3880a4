"""Tensors of a state dict are what they seem, or refused with their names."""

from pathlib import Path

import pytest
import torch

from esrbench.errors import WeightsError
from esrbench.weights.state_dicts import (
    MAX_NAME_CHARACTERS,
    MAX_WEIGHTS_BYTES,
    is_finite,
    is_state_dict,
    require_tensors,
    select_level,
    shown,
    some,
)

PATH = Path("w.pth")


def refusal(state):
    with pytest.raises(WeightsError) as caught:
        require_tensors(PATH, state, None)
    assert caught.value.message.startswith("w.pth: ")
    assert caught.value.advice
    return caught.value.message


def test_tensors_come_back_as_they_are():
    whole = torch.arange(12.0)
    state = {
        "view": whole[3:9].reshape(2, 3).t(),
        "again": whole,
        "scalar": torch.tensor(3),
        "empty": torch.empty(0, 5),
        "flags": torch.tensor([True]),
        "complex": torch.tensor([1 + 2j]).conj(),
        "half": torch.tensor([65504.0]).half(),
    }
    found = require_tensors(PATH, state, None)
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in state.items())
    assert all(found[name].stride() == tensor.stride() for name, tensor in state.items())


def test_attributes_of_a_parameter_are_left_behind():
    parameter = torch.nn.Parameter(torch.ones(2))
    parameter.numel = 5  # as a file may have it
    found = require_tensors(PATH, {"a": parameter}, None)["a"]
    assert type(found) is torch.Tensor
    assert found.numel() == 2
    assert not found.requires_grad


@pytest.mark.parametrize(
    ("tensor", "said"),
    [
        (torch.zeros(1).expand(10**12), "a has 1000000000000 elements in 4 bytes"),
        (torch.zeros(4).as_strided((2, 3), (1, 1)), "a has 6 elements in 16 bytes"),
        (torch.zeros(4).unfold(0, 3, 1), "a has 6 elements in 16 bytes"),
    ],
)
def test_tensors_that_claim_more_than_they_hold(tensor, said):
    assert f"1 tensor with a shape larger than the data: {said}" in refusal({"a": tensor})


def test_views_of_one_storage_are_capped_together():
    whole = torch.empty(2**26, dtype=torch.uint8)  # never written, so never in memory
    assert MAX_WEIGHTS_BYTES == 8 * 2**26
    said = refusal({f"view{index}": whole for index in range(9)})
    assert f"its tensors take {9 * 2**26} bytes, expected {MAX_WEIGHTS_BYTES} at most" in said


@pytest.mark.parametrize(
    "tensor",
    [
        torch.eye(2).to_sparse(),
        torch.empty(2, device="meta"),
        torch.zeros(2).to(torch.float8_e4m3fn),
        torch.zeros(2, dtype=torch.complex128),
        torch.zeros(2, dtype=torch.uint16),
    ],
)
def test_tensors_that_are_not_for_weights(tensor):
    said = refusal({"good": torch.ones(1), "bad": tensor})
    assert "expected dense tensors with data" in said
    assert said.endswith("found others: bad")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize(
    "dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.complex64]
)
def test_values_that_are_not_finite(value, dtype):
    tensor = torch.zeros(3, 5, dtype=dtype)
    tensor[1, 2] = value
    assert not is_finite(tensor)
    assert not is_finite(tensor.t()[1:])
    assert is_finite(tensor[:1])


def test_imaginary_part_is_looked_at():
    assert not is_finite(torch.tensor([complex(0, float("nan"))]))
    assert is_finite(torch.tensor([complex(0, 1)]))
    assert is_finite(torch.empty(0))


def test_levels_below_levels():
    inner = {"a": torch.ones(1)}
    assert select_level(PATH, {"model": {"state_dict": inner}}, "model.state_dict") is inner
    assert select_level(PATH, {"a.b": inner, "a": {"b": {}}}, "a.b") is inner
    for key in ("model.net", "net.model", "model.state_dict.a.b", "model."):
        with pytest.raises(WeightsError, match=f"there is no key '{key}'; it has model"):
            select_level(PATH, {"model": {"state_dict": inner}}, key)


@pytest.mark.parametrize(
    "name", ["", "a\x1b[2Jb", "a\nb", "\u202eb", "x" * (MAX_NAME_CHARACTERS + 1)]
)
def test_names_that_cannot_be_shown(name):
    said = refusal({name: torch.ones(1)})
    assert "names of tensors" in said
    assert said.isprintable()


def test_messages_are_cut_and_printable():
    said = refusal({f"\x1b{index}" + "x" * 5000: index for index in range(100)})
    assert said.isprintable()
    assert len(said) < 600
    assert shown("a.b") == "a.b"
    assert shown("a\tb") == r"'a\tb'"
    assert shown("\U0001f600" * 90) == "\U0001f600" * 80 + "..."
    assert shown(("a", 1)) == "('a', 1)"
    assert some(["a", 1, "c", "d", "e"]) == "a, 1, c, d, ..."


def test_levels():
    inner = {"a": torch.ones(1)}
    assert select_level(PATH, {"params": inner}, "params") is inner
    assert select_level(PATH, inner, None) is inner
    assert is_state_dict(inner)
    for other in ({}, {"a": 1}, {0: torch.ones(1)}, [torch.ones(1)], {"params": inner}):
        assert not is_state_dict(other)

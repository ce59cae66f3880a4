"""Weights are read as data, as declared, or refused with what to do."""

import argparse
import hashlib
import os
import pickle
import warnings
from datetime import UTC, datetime
from pathlib import PurePosixPath

import numpy as np
import pytest
import torch
from builders import checkpoint
from safetensors.torch import save_file, save_model
from torch import nn

from esrbench.errors import WeightsError
from esrbench.weights.checkpoints import file_sha256, holds_safetensors, stored_elements
from esrbench.weights.layout import read_weights


def state():
    return {"head.weight": torch.arange(6.0).reshape(2, 3), "head.bias": torch.tensor([0.5, -1.0])}


class Program:
    """Creates a file when unpickled."""

    def __init__(self, trace):
        self.trace = str(trace)

    def __reduce__(self):
        return (os.mkdir, (self.trace,))


@pytest.mark.parametrize("name", ["w.pth", "w.pt", "w.ckpt", "W.PTH", "w.safetensors"])
def test_tensors_come_back_as_saved(tmp_path, name):
    path = tmp_path / name
    if name.endswith(".safetensors"):
        save_file(state(), path)
    else:
        checkpoint(tmp_path, state(), name)
    found = read_weights(path).state
    assert found.keys() == state().keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in state().items())


def test_files_of_the_old_format_and_parameters_are_read(tmp_path):
    layer = nn.Linear(3, 2)
    content = {"w": layer.weight}
    path = checkpoint(tmp_path, content, zipped=False)
    assert torch.equal(read_weights(path).state["w"], layer.weight)


def test_declared_nesting_prefix_and_renames_are_undone(tmp_path):
    tensors = (
        "module.B1.esa.conv3.weight",
        "module.B1.esa.conv3_.weight",
        "module.B1.c1.0.weight",
        "module.conv3.B1.weight",
        "module.c1.weight",
    )
    content = {name: torch.full((1,), float(index)) for index, name in enumerate(tensors)}
    path = checkpoint(tmp_path, {"params": content, "epoch": 3})
    renames = (
        ("conv3", "third"),
        ("esa.conv3", "attention.refine"),
        ("B1", "blocks.0"),
        ("c1", "distill"),
        ("c1.0", "conv3"),
    )
    found = read_weights(path, key="params", prefix="module.", renames=renames).state
    assert {name: tensor.item() for name, tensor in found.items()} == {
        "blocks.0.attention.refine.weight": 0.0,
        "blocks.0.esa.conv3_.weight": 1.0,  # conv3_ is another part than conv3
        "blocks.0.conv3.weight": 2.0,  # one pass: the new conv3 is not renamed again
        "third.blocks.0.weight": 3.0,
        "distill.weight": 4.0,
    }


def test_clashing_renames_are_refused(tmp_path):
    path = checkpoint(tmp_path, {"a.w": torch.ones(1), "b.w": torch.ones(1)})
    with pytest.raises(WeightsError, match=r"several tensors one name: c\.w"):
        read_weights(path, renames=(("a", "c"), ("b", "c")))


def test_missing_file(tmp_path):
    with pytest.raises(WeightsError, match=r"nowhere\.pth: there is no such file") as caught:
        read_weights(tmp_path / "nowhere.pth")
    assert caught.value.advice is not None
    assert "esrbench fetch weights" in caught.value.advice


@pytest.mark.parametrize("name", ["w.bin", "w.pkl", "w.pth.tar", "w", "w.safetensors"])
@pytest.mark.parametrize("kind", ["safetensors", "zipped", "old"])
def test_a_file_is_read_by_what_it_holds(tmp_path, name, kind):
    path = tmp_path / name
    if kind == "safetensors":
        save_file(state(), path)
    else:
        checkpoint(tmp_path, state(), name, zipped=kind == "zipped")
    found = read_weights(path).state
    assert all(torch.equal(found[name], tensor) for name, tensor in state().items())
    assert holds_safetensors(path) is (kind == "safetensors")
    assert stored_elements(path) == (8 if kind == "safetensors" else None)


@pytest.mark.parametrize("content", [b"", b"hello", b"{}", bytes(9), b"<html></html>"])
def test_a_file_that_holds_no_weights_is_named(tmp_path, content):
    path = tmp_path / "weights.bin"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"weights\.bin: truncated, altered, or not a PyTorch"):
        read_weights(path)


SETTINGS = {
    "namespace": argparse.Namespace(width=8, nested=argparse.Namespace(a=[1])),
    "path": PurePosixPath("experiments/x4"),
    "score": np.float64(29.01),
    "losses": np.arange(3.0),
    "date": datetime(2026, 1, 1, tzinfo=UTC),
}


@pytest.mark.parametrize("kind", SETTINGS)
@pytest.mark.parametrize("zipped", [True, False])
def test_settings_of_a_trainer_are_left_out(tmp_path, kind, zipped):
    content = {"state_dict": state(), "hyper_parameters": SETTINGS[kind], "epoch": 3}
    read = read_weights(checkpoint(tmp_path, content, zipped=zipped))
    assert all(torch.equal(read.state[name], tensor) for name, tensor in state().items())
    assert read.left_out == ["hyper_parameters: settings", "epoch: int"]
    # Torch goes on refusing them everywhere else.
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / "w.pth", weights_only=True)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_truncated_checkpoint(tmp_path, zipped, share):
    path = checkpoint(tmp_path, state(), zipped=zipped)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(WeightsError, match="truncated, altered, or not a PyTorch checkpoint"):
        read_weights(path)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_truncated_safetensors(tmp_path, share):
    path = tmp_path / "w.safetensors"
    save_file(state(), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(WeightsError, match="truncated, altered, or not a safetensors file"):
        read_weights(path)


def test_no_damaged_byte_escapes_as_another_error(tmp_path):
    generator = torch.Generator().manual_seed(0)
    refused = 0
    for zipped in (True, False):
        whole = checkpoint(tmp_path, state(), zipped=zipped).read_bytes()
        for _ in range(150):
            damaged = bytearray(whole)
            position = int(torch.randint(len(whole), (), generator=generator))
            damaged[position] = int(torch.randint(256, (), generator=generator))
            path = tmp_path / "damaged.pth"
            path.write_bytes(damaged)
            try:
                read_weights(path)
            except WeightsError:
                refused += 1
    assert refused > 50


@pytest.mark.parametrize("zipped", [True, False])
def test_programs_are_refused_and_never_run(tmp_path, zipped):
    trace = tmp_path / "ran"
    path = checkpoint(tmp_path, {"w": Program(trace)}, zipped=zipped)
    with pytest.raises(WeightsError, match=r"pickled Python objects \(posix\.mkdir\)") as caught:
        read_weights(path)
    assert not trace.exists()
    assert caught.value.advice is not None
    assert ".safetensors" in caught.value.advice
    torch.load(path, weights_only=False)  # the same file does run where it is trusted
    assert trace.exists()


def test_pickled_module(tmp_path):
    path = checkpoint(tmp_path, nn.Conv2d(3, 3, 1))
    with pytest.raises(WeightsError, match=r"pickled Python objects \(torch\.nn\..*Conv2d\)"):
        read_weights(path)


def test_torchscript(tmp_path):
    path = tmp_path / "script.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(nn.Conv2d(3, 3, 1), torch.zeros(1, 3, 2, 2))
        torch.jit.save(traced, str(path))
    with pytest.raises(WeightsError, match="holds a TorchScript program"):
        read_weights(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([1, 2], "holds a list, expected a state dict"),
        (torch.zeros(2), "holds a Tensor, expected a state dict"),
        ({}, "the state dict is empty"),
        ({"step": 3}, "neither a state dict nor a checkpoint with one under .*; it has step"),
        ({0: torch.zeros(1)}, "neither a state dict nor a checkpoint with one under .*; it has 0"),
        ({"a": torch.eye(2).to_sparse()}, "expected dense tensors .*; found others: a"),
        ({"a": torch.empty(2, device="meta")}, "expected dense tensors .*; found others: a"),
        (
            {"a": torch.zeros(2).to(torch.float8_e4m3fn)},
            "of type float.*; found others: a",
        ),
    ],
)
def test_contents_that_are_no_state_dict(tmp_path, content, said):
    path = checkpoint(tmp_path, content)
    with pytest.raises(WeightsError, match=said) as caught:
        read_weights(path)
    assert caught.value.message.startswith(str(path))
    assert caught.value.advice


@pytest.mark.parametrize("key", ["params_ema", "params", "state_dict", "model"])
def test_nesting_is_found_and_told(tmp_path, key):
    path = checkpoint(tmp_path, {key: state(), "epoch": 3})
    read = read_weights(path)
    assert read.state.keys() == state().keys()
    assert (read.key, read.notes) == (key, [f"took the state dict under {key!r}"])
    with pytest.raises(WeightsError, match="is a dict") as caught:
        read_weights(path, key="")
    assert caught.value.advice == f"The state dict seems nested: declare key={key!r}."


def test_declared_key_that_is_absent(tmp_path):
    path = checkpoint(tmp_path, {"params": state(), "epoch": 3})
    with pytest.raises(WeightsError, match=r"no key 'params_ema'; it has params, epoch") as caught:
        read_weights(path, key="params_ema")
    assert caught.value.advice == "Declare key='params'."


def test_declared_key_that_holds_something_else(tmp_path):
    path = checkpoint(tmp_path, {"params": 3})
    with pytest.raises(WeightsError, match="'params' holds a int, expected a state dict"):
        read_weights(path, key="params")


def test_prefix_that_does_not_match(tmp_path):
    path = checkpoint(tmp_path, {f"net.{name}": tensor for name, tensor in state().items()})
    said = r"no name starts with 'module\.'; it has net\.head"
    with pytest.raises(WeightsError, match=said) as caught:
        read_weights(path, prefix="module.")
    assert caught.value.advice == "All keys start with 'net.': declare that."


def test_sha256_of_a_file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    assert file_sha256(path) == hashlib.sha256(b"abc").hexdigest()
    with pytest.raises(WeightsError, match="cannot be read"):
        file_sha256(tmp_path / "nowhere")


def test_every_number_of_a_file_counts_once(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file(
        {"weight": torch.zeros(4, 3, 3, 3), "scale": torch.zeros(()), "half": torch.zeros(2)}, path
    )
    assert stored_elements(path) == 4 * 27 + 1 + 2


def test_tied_tensors_are_stored_once(tmp_path):
    network = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
    network[1].weight = network[0].weight
    path = tmp_path / "weights.safetensors"
    save_model(network, str(path))
    assert stored_elements(path) == 9


def test_only_unpickling_would_tell(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save({"weight": torch.zeros(3)}, path)
    assert stored_elements(path) is None


@pytest.mark.parametrize(
    "header", [b"[]", b'{"a": 1}', b'{"a": {"dtype": "F32", "shape": 3}}', b"\xff", b""]
)
def test_a_header_that_is_no_table_is_left_to_loading(tmp_path, header):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    assert stored_elements(path) in {None, 0}


def test_a_huge_header_is_not_read(tmp_path):
    path = tmp_path / "weights.safetensors"
    path.write_bytes((2**40).to_bytes(8, "little"))
    assert stored_elements(path) is None
    assert stored_elements(tmp_path / "missing.safetensors") is None

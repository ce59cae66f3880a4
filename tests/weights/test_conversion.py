"""Conversion keeps every bit, says what it took and left out, and never guesses silently."""

import hashlib
import json
import struct
from collections import OrderedDict

import pytest
import safetensors.torch
import torch
from builders import checkpoint, python

from esrbench.errors import WeightsError
from esrbench.weights.conversion import ConversionReport, convert, require_converted
from esrbench.weights.layout import read_weights


def state():
    return {"tail.bias": torch.tensor([0.1, -0.0]), "head.weight": torch.arange(6.0).reshape(2, 3)}


def bits(tensor):
    flat = tensor.resolve_conj().resolve_neg().contiguous().reshape(-1)
    return tensor.dtype, tensor.shape, flat.view(torch.uint8).numpy().tobytes()


def require_equal(content, expected):
    """An independent reader finds the same names, types, shapes and bits."""
    found = safetensors.torch.load(content)
    assert {name: bits(tensor) for name, tensor in found.items()} == {
        name: bits(tensor) for name, tensor in expected.items()
    }


@pytest.mark.parametrize("zipped", [True, False])
def test_every_type_keeps_its_bits(tmp_path, zipped):
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(7, 5, generator=generator)
    smallest = torch.tensor([5e-324, -0.0, 1.7e308], dtype=torch.float64)
    tensors = {
        "float64": smallest,
        "float32": noise,
        "float16": noise.half(),
        "bfloat16": noise.bfloat16(),
        "complex64": torch.complex(noise, noise.flip(0)),
        **{
            str(dtype).removeprefix("torch."): (noise * 50).to(dtype)
            for dtype in (torch.int64, torch.int32, torch.int16, torch.int8)
        },
        "uint8": noise.abs().to(torch.uint8),
        "bool": noise > 0,
        "scalar": torch.tensor(3),
        "empty": torch.empty(0, 4),
    }
    report, content = convert(checkpoint(tmp_path, tensors, zipped=zipped))
    require_equal(content, tensors)
    assert report.tensors == 13
    assert report.elements == 3 + 10 * 35 + 1
    assert report.dtypes["float32"] == 2
    assert report.dtypes["int64"] == 2
    assert report.copied == 0


def test_the_same_tensors_give_the_same_bytes(tmp_path):
    backwards = dict(reversed(state().items()))
    path = checkpoint(tmp_path, state())
    contents = {
        convert(path).content,
        convert(path).content,
        convert(checkpoint(tmp_path, OrderedDict(backwards), "b.ckpt")).content,
        convert(
            checkpoint(tmp_path, {"params": backwards, "epoch": 3}, "c.pt", zipped=False)
        ).content,
    }
    assert len(contents) == 1
    path = tmp_path / "d.safetensors"
    safetensors.torch.save_file(state(), path, metadata={"made": "today"})
    contents.add(convert(path).content)
    assert len(contents) == 1
    header = contents.pop()
    (length,) = struct.unpack("<Q", header[:8])
    assert json.loads(header[8 : 8 + length])["__metadata__"] == {"format": "pt"}


def test_views_get_storage_of_their_own(tmp_path):
    whole = torch.arange(12.0)
    tensors = {
        "whole": whole,
        "tied": whole,
        "part": whole[2:5],
        "turned": torch.arange(6.0).reshape(2, 3).t(),
        "half": torch.arange(8.0)[:4],
        "channels_last": torch.arange(16.0)
        .reshape(1, 2, 2, 4)
        .contiguous(memory_format=torch.channels_last),
        "alone": torch.ones(3),
    }
    report, content = convert(checkpoint(tmp_path, tensors))
    require_equal(content, tensors)
    assert report.copied == 6


def test_report_names_files_by_size_and_hash(tmp_path):
    path = checkpoint(tmp_path, state())
    report, content = convert(path)
    assert report.source_bytes == path.stat().st_size
    assert report.source_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert report.bytes == len(content)
    assert report.sha256 == hashlib.sha256(content).hexdigest()
    assert (report.key, report.prefix, report.notes, report.dropped) == (None, "", (), 0)


@pytest.mark.parametrize(
    "key",
    ["params_ema", "params", "state_dict", "model_state_dict", "net", "model", "generator", "g"],
)
def test_known_keys_are_found_and_the_rest_is_left_out(tmp_path, key):
    rest = {"epoch": 3, "optimizer": {"state": {}, "groups": []}, "rng": torch.zeros(4).byte()}
    report, content = convert(checkpoint(tmp_path, {key: state(), **rest}))
    require_equal(content, state())
    assert report.key == key
    assert report.notes == (f"took the state dict under {key!r}",)
    assert report.dropped == 3
    assert report.dropped_listed == ("epoch: int", "optimizer: dict of 2", "rng: tensor")


def test_averaged_weights_are_taken_and_the_others_named(tmp_path):
    plain = {name: tensor + 1 for name, tensor in state().items()}
    path = checkpoint(tmp_path, {"params": plain, "params_ema": state()})
    report, content = convert(path)
    require_equal(content, state())
    assert report.notes == ("took the state dict under 'params_ema'; key='params' takes params",)
    assert report.dropped_listed == ("params: dict of 2",)
    report, content = convert(path, key="params")
    require_equal(content, plain)
    assert report.notes == ()


@pytest.mark.parametrize(
    "keys", [("generator", "net"), ("params", "params_ema", "model"), ("state_dict", "params_ema")]
)
def test_several_state_dicts_must_be_told_apart(tmp_path, keys):
    path = checkpoint(tmp_path, dict.fromkeys(keys, state()))
    with pytest.raises(WeightsError, match="holds several state dicts: ") as caught:
        convert(path)
    assert all(key in caught.value.message for key in keys)
    assert (caught.value.advice or "").startswith("Name the right one: key in [weights]")


def test_other_keys_must_be_declared(tmp_path):
    path = checkpoint(tmp_path, {"weights_of_mine": state(), "epoch": 3})
    with pytest.raises(WeightsError, match="it has weights_of_mine, epoch") as caught:
        convert(path)
    assert "--key" in caught.value.advice
    require_equal(convert(path, key="weights_of_mine").content, state())


def test_no_key_means_the_whole_file(tmp_path):
    path = checkpoint(tmp_path, {"params": state()})
    with pytest.raises(WeightsError, match="expected tensors by name, but params is a dict"):
        convert(path, key="")


@pytest.mark.parametrize("content", [[1], {}, {"a": 1}, 3, {"params": {}}, torch.ones(1)])
def test_files_without_a_state_dict(tmp_path, content):
    with pytest.raises(WeightsError):
        convert(checkpoint(tmp_path, content))


def prefixed(prefix):
    return {prefix + name: tensor for name, tensor in state().items()}


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "module.module."])
def test_what_torch_puts_before_names_is_removed(tmp_path, prefix):
    path = checkpoint(tmp_path, prefixed(prefix))
    report, content = convert(path)
    require_equal(content, state())
    assert report.prefix == prefix
    assert report.notes == (f"removed {prefix!r} from all names; prefix='' keeps it",)
    require_equal(convert(path, prefix="").content, prefixed(prefix))


def test_what_a_trainer_puts_before_names_is_removed_where_trainers_do_it(tmp_path):
    path = checkpoint(tmp_path, {"state_dict": prefixed("generator."), "epoch": 3})
    assert convert(path).report.prefix == "generator."
    require_equal(convert(path).content, state())
    for content in (prefixed("model."), {"params": prefixed("model.")}):
        report, result = convert(checkpoint(tmp_path, content))
        require_equal(result, prefixed("model."))  # ESRGAN's network calls its own part so
        assert report.prefix == ""
        assert "prefix='model.' removes it" in report.notes[-1]


def test_names_of_which_some_have_a_prefix(tmp_path):
    both = prefixed("generator.") | {"loss.weight": torch.ones(1)}
    path = checkpoint(tmp_path, {"state_dict": both})
    report, content = convert(path)
    require_equal(content, both)
    assert report.notes[-1] == (
        "2 of 3 names start with 'generator.': prefix='generator.' takes them alone"
    )
    report, content = convert(path, prefix="generator.")
    require_equal(content, state())
    assert report.dropped_listed == ("loss.weight: tensor",)
    with pytest.raises(WeightsError, match=r"no name starts with 'net\.'"):
        convert(path, prefix="net.")


def test_module_alone_is_a_name(tmp_path):
    content = {"module.": torch.ones(1)}
    report, result = convert(checkpoint(tmp_path, content))
    require_equal(result, content)
    assert report.prefix == ""


def test_renames_come_last(tmp_path):
    path = checkpoint(tmp_path, {"params": prefixed("module.")})
    content = convert(path, renames=[("head", "first"), ("tail.bias", "last")]).content
    require_equal(content, {"first.weight": state()["head.weight"], "last": state()["tail.bias"]})


def test_long_lists_are_cut_and_fit_into_a_message(tmp_path):
    rest = {"\U0001f600\x1b" * 300 + str(index): index for index in range(1000)}
    report, _ = convert(checkpoint(tmp_path, {"params": state(), **rest}))
    assert report.dropped == 1000
    assert len(report.dropped_listed) == 20
    assert all(line.isprintable() for line in report.dropped_listed)
    assert len(report.model_dump_json()) < 2**15
    assert ConversionReport.model_validate_json(report.model_dump_json()) == report


def test_report_refuses_what_a_terminal_obeys(tmp_path):
    report = convert(checkpoint(tmp_path, state())).report
    with pytest.raises(ValueError, match="printable"):
        ConversionReport.model_validate({**report.model_dump(), "notes": ("\x1b[2J",)})


def test_what_comes_back_is_not_trusted(tmp_path):
    report, content = convert(checkpoint(tmp_path, state()))
    require_converted(report, content)

    def claimed(other, **fields):
        told = {"bytes": len(other), "sha256": hashlib.sha256(other).hexdigest(), **fields}
        return report.model_copy(update=told)

    pickle = (tmp_path / "w.pth").read_bytes()
    huge = struct.pack("<Q", 2**40) + b"{}"
    extra = safetensors.torch.save(state(), metadata={"format": "pt", "note": "x"})
    fewer = safetensors.torch.save({"a": torch.ones(1)}, metadata={"format": "pt"})
    for told, sent, said in (
        (report, content[:-1], "bytes arrived, but they are not those reported"),
        (report, content[:-1] + b"x", "bytes arrived, but they are not those reported"),
        (claimed(pickle), pickle, "safetensors file"),
        (claimed(huge), huge, "a header of 1099511627776 bytes"),
        (claimed(b"abc"), b"abc", "no header"),
        (claimed(content[:-4]), content[:-4], "not a safetensors file"),
        (claimed(extra), extra, "and no other data"),
        (claimed(fewer), fewer, "1 tensor, expected 2"),
    ):
        with pytest.raises(WeightsError, match=said) as caught:
            require_converted(told, sent)
        assert caught.value.advice


def test_what_is_no_tensor_is_left_out_and_named(tmp_path):
    rest = {"step": 5, "bias_unused": None, "part._extra_state": {"v": 1}}
    for content, key in (
        ({**state(), **rest}, None),
        ({"params": {**state(), **rest}}, "params"),
        ({"model": {"state_dict": {**state(), **rest}}}, "model.state_dict"),
    ):
        report, result = convert(checkpoint(tmp_path, content))
        require_equal(result, state())
        assert report.key == key
        assert report.dropped_listed == (
            "step: int",
            "bias_unused: NoneType",
            "part._extra_state: dict of 1",
        )
        require_equal(convert(tmp_path / "w.pth", key=key).content, state())


def test_tensors_beside_a_state_dict_are_not_taken_for_one(tmp_path):
    path = checkpoint(tmp_path, {"mean": torch.zeros(3), "weights_of_mine": state()})
    with pytest.raises(WeightsError, match="it has mean, weights_of_mine") as caught:
        convert(path)
    assert "joined by dots" in (caught.value.advice or "")


def test_infinity_is_noted_and_nan_refused(tmp_path):
    masked = {**state(), "mask": torch.full((3, 3), float("-inf")).triu(1)}
    report, content = convert(checkpoint(tmp_path, masked))
    require_equal(content, masked)
    assert report.notes[0].startswith("infinity in 1 tensor, which only a mask may hold: mask")
    path = checkpoint(tmp_path, {**masked, "head.weight": torch.tensor([float("nan")])})
    with pytest.raises(WeightsError, match=r"NaN in 1 tensor: head\.weight"):
        convert(path)


def test_unsafe_files_are_refused_here_too(tmp_path):
    path = checkpoint(tmp_path, {"w": torch.zeros(1).expand(10**12)})
    with pytest.raises(WeightsError, match="with a shape larger than the data"):
        convert(path)
    path = checkpoint(tmp_path, torch.nn.Conv2d(3, 3, 1))
    with pytest.raises(WeightsError, match="holds pickled Python objects"):
        convert(path)


def test_real_weights_load_and_convert_bit_by_bit(shared):
    paths = [path for path in (shared / "weights").iterdir() if path.suffix == ".pth"]
    assert len(paths) >= 8
    for path in paths:
        content = torch.load(path, map_location="cpu", weights_only=True)
        expected = content.get("params", content)
        report, result = convert(path)
        found = safetensors.torch.load(result)
        names = [name.removeprefix(report.prefix) for name in expected]
        assert sorted(found) == sorted(names)
        for name, tensor in expected.items():
            other = found[name.removeprefix(report.prefix)]
            assert (other.dtype, other.shape) == (tensor.dtype, tensor.shape)
            assert torch.equal(other.view(torch.int32), tensor.contiguous().view(torch.int32))
        read = read_weights(path, key=report.key, prefix=report.prefix).state
        assert all(torch.equal(found[name], tensor) for name, tensor in read.items())
        require_converted(report, result)


def test_the_other_side_needs_no_torch():
    code = "import sys, esrbench.weights.conversion; print('torch' in sys.modules)"
    assert python(code) == "False"

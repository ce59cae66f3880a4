"""TensorRT by its documented interface: a made-up module stands for it. It was not run on a GPU."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest
import torch

from esrbench import backends
from esrbench.backends import Setting, UntranslatedError, get_backend
from esrbench.errors import MeasurementError
from esrbench.protocol import ForwardPolicy

BACKEND = get_backend("tensorrt")


def test_it_is_not_available_without_a_gpu_or_its_library(monkeypatch):
    assert BACKEND.refuses(ForwardPolicy(), "cpu") == "tensorrt does not run on cpu"
    assert "not fp16" in BACKEND.refuses(ForwardPolicy(precision="fp16"), "cuda")
    assert BACKEND.refuses(ForwardPolicy(precision="tf32"), "cuda") is None
    monkeypatch.setattr(backends, "find_spec", lambda name: None if name == "tensorrt" else name)
    assert BACKEND.missing("2.13.0") == (
        "tensorrt needs tensorrt",
        "Install them: pip install 'esrbench[tensorrt]'.",
    )


class Config:
    """A builder's configuration, which allows TF32 if nobody forbids it."""

    def __init__(self, *, deaf=False):
        self.tf32, self.deaf = True, deaf

    def set_flag(self, _flag):
        self.tf32 = True

    def clear_flag(self, _flag):
        self.tf32 = self.deaf

    def get_flag(self, _flag):
        return self.tf32

    def add_optimization_profile(self, profile):
        self.profile = profile


@pytest.fixture
def fake(monkeypatch, tmp_path):
    """The module, its configuration and its context, which takes up to 1024 pixels a side."""
    module, config, context = MagicMock(__version__="10.0"), Config(), MagicMock()
    (tmp_path / "network.onnx").write_bytes(b"graph")
    builder = module.Builder.return_value
    builder.create_builder_config.return_value = config
    builder.create_network.return_value.get_input.return_value.shape = (1, 3, -1, -1)
    engine = module.Runtime.return_value.deserialize_cuda_engine.return_value
    engine.create_execution_context.return_value = context
    context.set_input_shape.side_effect = lambda _name, shape: max(shape) <= 1024
    monkeypatch.setitem(sys.modules, "tensorrt", module)
    for name in ("Stream", "current_stream"):
        monkeypatch.setattr(torch.cuda, name, MagicMock())
    setting = Setting(torch.device("cpu"), 1, scale=4, graph=tmp_path)
    return SimpleNamespace(module=module, config=config, context=context, setting=setting)


@pytest.mark.parametrize(("precision", "tf32"), [("fp32", "False"), ("tf32", "True")])
def test_an_engine_for_all_sizes_runs_on_bound_tensors(fake, precision, tf32):
    setting = Setting(torch.device("cpu"), 1, 4, precision, fake.setting.graph)
    opened = BACKEND.open(None, setting)
    assert opened.versions == {"tensorrt": "10.0"}
    assert opened.options["TF32"] == tf32
    fake.module.OnnxParser.return_value.parse.assert_called_once_with(b"graph")
    fake.config.profile.set_shape.assert_called_once_with(
        "lr", (1, 3, 8, 8), (1, 3, 256, 256), (1, 3, 1024, 1024)
    )
    lr = torch.rand(1, 3, 12, 16)
    sr = opened.run(lr)
    assert sr.shape == (1, 3, 48, 64)
    assert dict(call.args for call in fake.context.set_tensor_address.call_args_list) == {
        "lr": lr.data_ptr(),
        "sr": sr.data_ptr(),
    }


def test_what_tensorrt_refuses_is_said(fake):
    opened = BACKEND.open(None, fake.setting)
    with pytest.raises(MeasurementError, match="an input of 1025x8 pixels; its engine takes 8 to"):
        opened.run(torch.rand(1, 3, 8, 1025))

    fake.config.deaf = True
    with pytest.raises(MeasurementError, match="TF32 is True, not False"):
        BACKEND.open(None, fake.setting)
    fake.config.deaf = False

    builder = fake.module.Builder.return_value
    builder.build_serialized_network.return_value = None
    with pytest.raises(MeasurementError, match="built no engine"):
        BACKEND.open(None, fake.setting)

    parser = fake.module.OnnxParser.return_value
    parser.parse.return_value, parser.num_errors = False, 1
    parser.get_error.return_value.desc.return_value = "no importer for DFT"
    with pytest.raises(UntranslatedError, match="its ONNX graph: no importer for DFT"):
        BACKEND.open(None, fake.setting)

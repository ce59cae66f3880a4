"""What is said where no network can be compiled ahead of time."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from esrbench.backends import INSTALL_COMPILER, aot_inductor, get_backend
from esrbench.errors import MeasurementError


def test_a_missing_compiler_is_named(monkeypatch, tmp_path):
    def compile_and_package(*_, **__):
        raise RuntimeError("InvalidCxxCompiler: No working C++ compiler found in (None, 'g++')")

    fake = SimpleNamespace(
        config=SimpleNamespace(patch=lambda _options: torch.no_grad()),
        aoti_compile_and_package=compile_and_package,
    )
    monkeypatch.setattr(torch, "_inductor", fake, raising=False)
    monkeypatch.setattr(aot_inductor, "traced", lambda *_: None)
    with pytest.raises(MeasurementError, match="found no working C") as caught:
        get_backend("aot-inductor").build(None, None, tmp_path)
    assert caught.value.advice == INSTALL_COMPILER

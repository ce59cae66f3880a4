"""Networks compiled ahead of time: the same output at any size, or the reason why not."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from builders import python

from esrbench.backends import INSTALL_COMPILER, aot_inductor, get_backend
from esrbench.errors import MeasurementError

BUILDS = """
from pathlib import Path
import torch
from esrbench.backends import Setting, get_backend
backend, folder = get_backend("aot-inductor"), Path(FOLDER)
network = torch.nn.Sequential(torch.nn.Conv2d(3, 12, 3, padding=1), torch.nn.PixelShuffle(2)).eval()
held = backend.build(network, torch.rand(1, 3, 48, 64), folder)
assert held.parameters == 3 * 12 * 9 + 12, held
assert held.operators == {"aten.conv2d.default": 1, "aten.pixel_shuffle.default": 1}, held
opened = backend.open(network, Setting(torch.device("cpu"), 1, 2, folder))
assert opened.options["AOTI_MACHINE"], opened
with torch.inference_mode():
    for size in ((48, 64), (7, 90)):
        pixels = torch.rand(1, 3, *size)
        torch.testing.assert_close(opened.run(pixels), network(pixels))
print("same")
"""


@pytest.mark.slow
def test_one_build_gives_torch_s_output_at_any_size(tmp_path):
    script = BUILDS.replace("FOLDER", repr(str(tmp_path)))
    cache = str(tmp_path / "cache")
    assert python(script, OMP_NUM_THREADS="1", TORCHINDUCTOR_CACHE_DIR=cache) == "same"


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

"""Every torch from 2.4 on: what it lacks is known, and the figures are the same."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from esrbench.torch_versions import (
    VERSION,
    forced_eager,
    has_flag,
    keep_denormals_when_compiling,
    reads_data_only,
    refuse_recompiling,
)

FAST_MATH = (
    *("fno-math-errno", "fno-trapping-math", "funsafe-math-optimizations", "fno-signed-zeros"),
)
"""Of GCC's manual, what -ffast-math sets beside -ffinite-math-only."""


def test_the_version_is_that_of_the_installed_torch():
    assert ".".join(map(str, VERSION)) == torch.__version__.rpartition(".")[0]


def test_a_reader_without_known_holes_came_with_2_10(monkeypatch):
    for version, safe in (((2, 4), False), ((2, 9), False), ((2, 10), True), ((3, 0), True)):
        monkeypatch.setattr("esrbench.torch_versions.VERSION", version)
        assert reads_data_only() is safe


def test_flags_that_are_not_there_are_found_out():
    assert has_flag("torch.backends.cudnn.allow_tf32")
    assert not has_flag("torch.backends.cudnn.allow_tf33")
    assert not has_flag("torch.backends.no.such")
    # Both came with 2.9.
    assert has_flag("torch.backends.cudnn.conv.fp32_precision") is (VERSION >= (2, 9))
    assert has_flag("torch.backends.mkldnn.conv.fp32_precision") is (VERSION >= (2, 9))


def test_a_flag_that_contradicts_another_is_there(monkeypatch):
    class Contradicting:
        @property
        def allow_tf32(self):
            raise RuntimeError("mix of the legacy and new APIs")

    monkeypatch.setattr("torch.backends.cudnn", Contradicting())
    assert has_flag("torch.backends.cudnn.allow_tf32")


@pytest.mark.slow
def test_a_compiler_can_be_kept_out_and_kept_from_falling_back():
    refuse_recompiling()
    config = sys.modules["torch._dynamo"].config
    assert getattr(config, "fail_on_recompile_limit_hit", None) or config.fail_on_cache_limit_hit
    compiled = torch.compile(nn.Conv2d(3, 3, 1), backend=_refuse)
    if VERSION < (2, 6):
        pytest.skip("torch before 2.6 cannot be told to run compiled parts as Python")
    with forced_eager():
        assert compiled(torch.zeros(1, 3, 2, 2)).shape == (1, 3, 2, 2)
    with pytest.raises(Exception, match="nothing may be compiled"):
        compiled(torch.zeros(1, 3, 2, 2))


@pytest.mark.parametrize(
    ("version", "module", "name", "given", "expected"),
    [
        (
            (2, 4),
            "cpp_builder",
            "_get_optimization_cflags",
            ["O3", "ffast-math", "fno-unsafe-math-optimizations"],
            ["O3", *FAST_MATH, "fno-unsafe-math-optimizations"],
        ),
        (
            (2, 1),
            "codecache",
            "optimization_flags",
            "-O3 -ffast-math -fopenmp",
            f"-O3 {' '.join(f'-{flag}' for flag in FAST_MATH)} -fopenmp",
        ),
        ((2, 7), "cpp_builder", "_get_optimization_cflags", ["ffast-math"], ["ffast-math"]),
    ],
)
def test_earlier_compilers_are_not_told_to_flush_denormals(
    monkeypatch, version, module, name, given, expected
):
    holder = SimpleNamespace(**{name: lambda: given})
    for each in ("cpp_builder", "codecache"):
        found = holder if each == module else SimpleNamespace()
        monkeypatch.setitem(sys.modules, f"torch._inductor.{each}", found)
    monkeypatch.setattr("esrbench.torch_versions.VERSION", version)
    keep_denormals_when_compiling()
    keep_denormals_when_compiling()  # once for each network of a process
    assert getattr(holder, name)() == expected


def _refuse(_graph, _inputs):
    message = "nothing may be compiled"
    raise AssertionError(message)

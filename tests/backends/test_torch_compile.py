"""Networks within torch's compiler: the same output, or an error; never eager in its place."""

from __future__ import annotations

import pytest
from builders import python
from torch import nn

from esrbench.backends import Setting, get_backend
from esrbench.errors import MeasurementError
from esrbench.torch_versions import VERSION

COMPILES = """
import torch
from esrbench.backends import Setting, get_backend
from esrbench.errors import MeasurementError
from esrbench.probes.precision import PolicyGuard, adapt_input, adapt_network, apply_policy
from esrbench.protocol import ForwardPolicy
policy = ForwardPolicy(backend="torch-compile")
apply_policy(policy, torch.device("cpu"))
plain = torch.nn.Conv2d(3, 4, 3).eval()
pixels = torch.rand(1, 3, 9, 8)
with torch.inference_mode():
    expected = plain(pixels)
    network = adapt_network(plain, policy)
    opened = get_backend(policy.backend).open(network, Setting(torch.device("cpu"), 1))
    guard = PolicyGuard(network, policy)
    try:
        output = opened.run(adapt_input(pixels, policy))
    except MeasurementError as error:
        print(f"{error.message}|{error.advice}")
    else:
        guard.verify()
        torch.testing.assert_close(output, expected)
        print("same")
"""


def run_compiled(**environment):
    # Vector instructions that the CPU has work: nothing is compiled to try them.
    return python(COMPILES, OMP_NUM_THREADS="1", TORCHINDUCTOR_VEC_ISA_OK="1", **environment)


@pytest.mark.slow
def test_a_compiled_network_gives_the_same_output(tmp_path):
    assert run_compiled(TORCHINDUCTOR_CACHE_DIR=str(tmp_path)) == "same"


TAKES_OVER = """
import sys
from pathlib import Path
import torch
from torch._dynamo.utils import counters
from esrbench.backends import COMPILED, Setting, get_backend
first, second = map(Path, sys.argv[1:])
backend = get_backend("torch-compile")
network, pixels = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Sigmoid()), torch.rand(1, 3, 9, 8)
def run(cache, graph):
    import os
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(cache)
    torch._dynamo.reset()
    setting = Setting(torch.device("cpu"), 1, graph=graph)
    with torch.inference_mode():
        return backend.open(network, setting).run(pixels)
expected = run(first, None)
(second / COMPILED).write_bytes(backend.compiled())
counters.clear()
torch.testing.assert_close(run(second / "cache", second), expected, rtol=0, atol=0)
print(counters["inductor"]["fxgraph_cache_hit"], counters["inductor"]["fxgraph_cache_miss"])
"""


@pytest.mark.slow
@pytest.mark.skipif(VERSION < (2, 6), reason="graphs are kept from torch 2.6 on")
def test_another_process_compiles_nothing_again(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    second.mkdir()
    found = python(
        TAKES_OVER, str(first), str(second), OMP_NUM_THREADS="1", TORCHINDUCTOR_VEC_ISA_OK="1"
    )
    assert found == "1 0"


@pytest.mark.slow
def test_a_missing_compiler_is_named_at_the_first_forward(tmp_path):
    message, advice = run_compiled(
        TORCHINDUCTOR_CACHE_DIR=str(tmp_path), CXX="/nowhere/g++", PATH=str(tmp_path)
    ).split("|")
    assert "No working C++ compiler found" in message
    assert advice == "Install g++ where workers find it, as in /usr/bin."


def test_a_compiler_that_is_switched_off_does_not_pass_for_compiled(tmp_path):
    message, _ = run_compiled(
        TORCHINDUCTOR_CACHE_DIR=str(tmp_path), TORCH_COMPILE_DISABLE="1"
    ).split("|")
    assert message == "torch.compile compiled nothing of this network"


def test_a_variable_that_overrides_the_compiler_is_named(monkeypatch):
    monkeypatch.setenv("TORCHDYNAMO_SUPPRESS_ERRORS", "1")
    with pytest.raises(MeasurementError, match="TORCHDYNAMO_SUPPRESS_ERRORS=1 overrides"):
        get_backend("torch-compile").open(nn.Conv2d(3, 3, 1), Setting(None, 1))

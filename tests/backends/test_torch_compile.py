"""Networks within torch's compiler: the same output, or an error; never eager in its place."""

from __future__ import annotations

import pytest
from builders import python
from torch import nn

from esrbench.backends import Setting, get_backend
from esrbench.errors import MeasurementError

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

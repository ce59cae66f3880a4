"""How devices are named, and which GPU a process sees."""

from __future__ import annotations

import pytest
import torch

from esrbench.devices import parse_device, selection
from esrbench.errors import UsageError
from esrbench.protocol import Protocol
from esrbench.runs.plan import require_possible


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cpu", ("cpu", 0)),
        ("cuda", ("cuda", 0)),
        ("cuda:0", ("cuda", 0)),
        ("cuda:11", ("cuda", 11)),
    ],
)
def test_a_device_is_a_kind_and_a_number(text, expected):
    assert parse_device(text) == expected


@pytest.mark.parametrize("text", ["", "gpu", "cpu:0", "cuda:", "cuda:-1", "cuda:x", "cuda:²", "1"])
def test_any_other_name_says_what_was_expected(text):
    with pytest.raises(UsageError, match="expected cpu, cuda or cuda:N"):
        parse_device(text)


@pytest.mark.parametrize(
    ("device", "number", "inherited", "seen"),
    [
        ("cuda", 0, None, "0"),
        ("cuda", 1, None, "1"),
        # PyTorch numbers those that the variable lists.
        ("cuda", 1, "3, 5", "5"),
        ("cuda", 0, "GPU-1f2e,GPU-77aa", "GPU-1f2e"),
        # A run on the CPU reaches no GPU by mistake.
        ("cpu", 0, None, ""),
        ("cpu", 0, "3,5", ""),
    ],
)
def test_a_worker_sees_the_gpu_of_its_run_and_no_other(device, number, inherited, seen):
    variables = {} if inherited is None else {"CUDA_VISIBLE_DEVICES": inherited}
    assert selection(device, number, variables) == {"CUDA_VISIBLE_DEVICES": seen}


@pytest.mark.parametrize(
    ("count", "number", "says"),
    [(0, 0, "sees no GPU here"), (1, 1, "cuda:1: .* sees 1 GPU here"), (2, 7, "sees 2 GPUs")],
)
def test_a_gpu_that_is_not_here_is_refused(monkeypatch, count, number, says):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    with pytest.raises(UsageError, match=says):
        require_possible(Protocol(device="cuda"), number)


def test_a_gpu_that_is_here_is_none_of_a_cpu_runs_business(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    require_possible(Protocol(device="cuda"), 1)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: pytest.fail("nobody asked"))
    require_possible(Protocol())

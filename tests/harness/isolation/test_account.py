"""Workers that lie about themselves."""

from __future__ import annotations

from typing import Any

import pytest

from harness.environment import available_cpus, cpus_available
from harness.isolation.account import impossible
from harness.isolation.messages import Ready
from harness.protocol import Protocol

HONEST: dict[str, Any] = {
    "parameters": 2,
    "threads": 1,
    "cpus": available_cpus()[:1],
    "accelerator": None,
    "code_sha256": None,
}


@pytest.mark.parametrize(
    ("lie", "found"),
    [
        ({}, None),
        ({"cpus": ()}, None),  # a system without the notion
        ({"threads": 64}, "threads"),
        ({"threads": 0}, "threads"),
        ({"cpus": (10**30,)}, "CPUs"),
        ({"cpus": (0, 1, 2, 3)}, "CPUs"),
        ({"accelerator": "NVIDIA H100"}, "GPU"),
        ({"gpu_uuid": "1-2-3"}, "GPU"),
        ({"libraries": {"cuda": "13"}}, "GPU"),
    ],
)
def test_an_account_that_cannot_be_true_is_told(lie: dict[str, Any], found: str | None) -> None:
    ready = Ready.model_construct(**{**HONEST, "gpu_uuid": None, "libraries": {}, **lie})
    assert impossible(ready, Protocol(threads=1)) == found


def test_without_a_number_all_cpus_are_meant() -> None:
    everything = {**HONEST, "threads": cpus_available(), "cpus": available_cpus()}
    assert impossible(Ready(**everything), Protocol()) is None
    if cpus_available() > 1:
        assert impossible(Ready(**HONEST), Protocol()) == "threads"

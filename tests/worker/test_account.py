"""Workers that lie about themselves."""

from __future__ import annotations

import pytest

from esrbench.environment import available_cpus, cpus_available
from esrbench.protocol import Protocol
from esrbench.records import Absent, Complexity, ImageMemory, Memory
from esrbench.worker.messages import Ready
from esrbench.worker.session import (
    blames_machine,
    impossible,
    impossible_counts,
    impossible_memory,
)

HONEST = {
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
def test_an_account_that_cannot_be_true_is_told(lie, found):
    ready = Ready.model_construct(**{**HONEST, "gpu_uuid": None, "libraries": {}, **lie})
    assert impossible(ready, Protocol(threads=1)) == found


def test_without_a_number_all_cpus_are_meant():
    everything = {**HONEST, "threads": cpus_available(), "cpus": available_cpus()}
    assert impossible(Ready(**everything), Protocol()) is None
    if cpus_available() > 1:
        assert impossible(Ready(**HONEST), Protocol()) == "threads"


FINE = Absent(kind="unavailable", reason="there is no GPU")
OWN = Absent(kind="failed", reason="it raises", failure="forward-error")
NOBODY_S = Absent(kind="failed", reason="the machine broke down")


def counts(**fields):
    given = {
        "params": 1,
        "trainable_params": 1,
        "weight_params": 1,
        "buffer_elements": 0,
        "state_bytes": 4,
        "counters": {"aten": OWN},
        "audit": FINE,
        "predicted_memory": FINE,
    }
    return Complexity(**(given | fields))


def test_a_failure_without_a_kind_is_not_a_worker_s_to_tell():
    assert not blames_machine(FINE)
    assert not blames_machine(OWN)
    assert blames_machine(NOBODY_S)
    assert not blames_machine(counts())
    assert blames_machine(counts(counters={"aten": OWN, "fvcore": NOBODY_S}))
    assert blames_machine(counts(predicted_memory=NOBODY_S))
    assert blames_machine((counts(), [NOBODY_S]))


def test_counters_are_those_that_were_asked_for():
    assert impossible_counts(counts(), Protocol(counters=("aten",))) is None
    told = impossible_counts(counts(), Protocol(counters=("aten", "fvcore")))
    assert told is not None
    assert "aten" in told
    assert impossible_counts(counts(counters={}), Protocol(counters=("aten",))) is not None


def test_there_is_no_gpu_memory_without_a_gpu():
    image = ImageMemory(
        image="a",
        lr_size=(4, 4),
        input_bytes=1,
        output_bytes=1,
        peak_bytes=1,
        peak_reserved_bytes=1,
    )
    memory = Memory(weights_bytes=1, images=(image,), pass_peak_bytes=1)
    assert impossible_memory(memory, Protocol()) is not None
    assert impossible_memory(memory, Protocol(device="cuda")) is None
    assert impossible_memory(FINE, Protocol()) is None

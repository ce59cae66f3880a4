"""A worker reaches the GPU from within every sandbox, and nothing of its pixels changes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from esrbench.entries.networks import resolve_weights
from esrbench.entries.registry import default_registry
from esrbench.protocol import Protocol
from esrbench.records import Memory
from esrbench.sandbox.tiers import obstacle
from esrbench.worker.launcher import open_launcher

SCALE = 4
CHOICES = {
    "bubblewrap": "require-bwrap",
    "landlock": "landlock",
    "subprocess": "subprocess",
}


def upscale(lr, device, choice):
    """SR by RFDN with its demonstration weights in a worker, and the worker's memory."""
    descriptor = default_registry().get("rfdn")
    weights = resolve_weights(descriptor, SCALE)
    protocol = Protocol(device=device, threads=1)
    with open_launcher(choice).worker((descriptor, weights), protocol=protocol) as session:
        session.load(descriptor, SCALE, weights=weights, protocol=protocol)
        return session.upscale(lr, "image"), session.read_memory()


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize("tier", CHOICES)
def test_a_gpu_gives_the_pixels_of_a_cpu_in_every_sandbox(tier):
    found = obstacle(tier)
    if found is not None:
        pytest.skip(f"{tier} does not work on this machine: {found.reason}")
    lr = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    expected, _ = upscale(lr, "cpu", CHOICES[tier])
    sr, memory = upscale(lr, "cuda", CHOICES[tier])
    differences = np.abs(sr.astype(int) - expected.astype(int))
    assert differences.max() <= 1
    assert np.count_nonzero(differences) <= differences.size * 1e-3
    assert isinstance(memory, Memory)
    assert memory.peak_bytes > memory.weights_bytes > 0

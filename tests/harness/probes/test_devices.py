from __future__ import annotations

import time

import pytest
import torch

from harness.errors import MeasurementError
from harness.probes.devices import CudaDevice, open_device
from harness.records import Absent, Memory

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")


def test_cpu_times_a_forward_and_has_no_gpu_memory() -> None:
    threads = torch.get_num_threads()
    try:
        device = open_device("cpu", threads=1)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(threads)
    result, seconds = device.time(lambda: time.sleep(0.02) or "done")
    assert result == "done"
    assert seconds >= 0.02
    memory = device.read_memory()
    assert isinstance(memory, Absent)
    assert memory.kind == "unavailable"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_without_a_device_says_what_to_do() -> None:
    with pytest.raises(MeasurementError, match="no CUDA device") as caught:
        open_device("cuda", threads=None)
    assert caught.value.advice is not None


@pytest.mark.cuda
@needs_cuda
def test_cuda_peak_counts_what_is_allocated_after_the_reset() -> None:
    device = CudaDevice(threads=None)
    weights = torch.zeros(1 << 20, device=device.device)
    device.reset_memory()
    before = torch.cuda.memory_allocated(device.device)
    outside = torch.zeros(16 << 20, device=device.device)
    del outside
    device.time(lambda: torch.zeros(8 << 20, device=device.device).sum())
    memory = device.read_memory()
    assert isinstance(memory, Memory)
    assert memory.weights_bytes == before >= weights.numel() * 4
    # The forward's 32 MiB and its sum, but not the 64 MiB allocated and freed before it.
    assert (32 << 20) <= memory.peak_bytes - before < (33 << 20)
    assert memory.peak_reserved_bytes >= memory.peak_bytes


@pytest.mark.cuda
@needs_cuda
def test_cuda_events_cover_the_whole_forward() -> None:
    device = CudaDevice(threads=None)
    cycles = 200_000_000
    _, short = device.time(lambda: torch.cuda._sleep(cycles // 10))
    _, long = device.time(lambda: torch.cuda._sleep(cycles))
    assert long > 5 * short


@pytest.mark.cuda
@needs_cuda
def test_cuda_runs_strict_fp32() -> None:
    CudaDevice(threads=None)
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32
    assert not torch.backends.cudnn.benchmark

import gc
import json
import os
import time
from types import SimpleNamespace

import pytest
import torch
from builders import python
from torch import nn

from esrbench.errors import MeasurementError
from esrbench.probes.devices import (
    CpuDevice,
    CudaDevice,
    HostClock,
    MemoryUse,
    choose_cpus,
    core_of,
    open_device,
)
from esrbench.protocol import ForwardPolicy
from esrbench.records import ImageMemory
from esrbench.worker.messages import MEMORY

FP32 = ForwardPolicy()
MIB = 1 << 20
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
pytestmark = pytest.mark.usefixtures("as_before")


@pytest.mark.parametrize(
    ("available", "threads", "cores", "expected"),
    [
        # Two cores of two CPUs each, siblings far apart as on most servers.
        ({0, 1, 2, 3}, 2, {0: 0, 1: 1, 2: 0, 3: 1}, (0, 1)),
        # Siblings next to each other: the second CPU of the first core comes last.
        ({0, 1, 2, 3}, 2, {0: 0, 1: 0, 2: 1, 3: 1}, (0, 2)),
        ({0, 1, 2, 3}, 3, {0: 0, 1: 0, 2: 1, 3: 1}, (0, 1, 2)),
        ({0, 1, 2, 3}, 4, {0: 0, 1: 0, 2: 1, 3: 1}, (0, 1, 2, 3)),
        # Only what the process may use counts.
        ({5, 7, 9}, 2, {5: 2, 7: 2, 9: 4}, (5, 9)),
    ],
)
def test_threads_get_cores_of_their_own_first(available, threads, cores, expected):
    assert choose_cpus(available, threads, cores.__getitem__) == expected


def test_a_core_is_named_by_package_and_number(tmp_path):
    for cpu, (package, core) in enumerate([("0", "3"), ("1", "3"), ("0", "3")]):
        topology = tmp_path / f"cpu{cpu}" / "topology"
        topology.mkdir(parents=True)
        (topology / "physical_package_id").write_text(f"{package}\n")
        (topology / "core_id").write_text(f"{core}\n")
    assert core_of(0, tmp_path) == core_of(2, tmp_path) != core_of(1, tmp_path)
    # Where the kernel does not tell, each CPU counts as a core.
    assert core_of(7, tmp_path) == 7


PINS = """
import json, os, threading
early, told = threading.Event(), threading.Event()
seen = []
def wait():
    early.wait()
    seen.append(sorted(os.sched_getaffinity(0)))
    told.set()
threading.Thread(target=wait).start()
import torch
from esrbench.probes.devices import open_device
from esrbench.protocol import ForwardPolicy
device = open_device("cpu", threads=1, policy=ForwardPolicy())
early.set(); told.wait()
network = torch.nn.Conv2d(3, 3, 3)
os.sched_setaffinity(0, ALL)
torch.set_num_threads(5)
device.guard(network)
print(json.dumps({
    "cpus": device.cpus, "affinity": sorted(os.sched_getaffinity(0)), "early": seen[0],
    "threads": torch.get_num_threads(), "clock": device.clock,
}))
"""


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system cannot pin")
def test_every_thread_of_the_process_is_pinned_and_loading_cannot_undo_it():
    available = sorted(os.sched_getaffinity(0))
    said = json.loads(python(PINS.replace("ALL", repr(available))))
    assert said == {
        "cpus": available[:1],
        "affinity": available[:1],
        "early": available[:1],  # of a thread that was there before
        "threads": 1,
        "clock": "monotonic",
    }


def test_all_cpus_are_taken_by_default():
    device = open_device("cpu", threads=None, policy=FP32)
    assert set(device.cpus) == os.sched_getaffinity(0)
    assert torch.get_num_threads() == len(device.cpus)


def test_more_threads_than_cpus_are_refused():
    count = len(os.sched_getaffinity(0))
    with pytest.raises(MeasurementError, match=f"may use only {count} CPU") as caught:
        open_device("cpu", threads=count + 1, policy=FP32)
    assert f"--threads {count}" in caught.value.advice


def test_a_policy_that_the_device_cannot_do_is_refused():
    with pytest.raises(MeasurementError, match="TF32 exists only on CUDA"):
        open_device("cpu", threads=None, policy=ForwardPolicy(precision="tf32"))


def test_cpu_times_a_forward_and_has_no_gpu_memory():
    device = CpuDevice(None, FP32)
    result, seconds = device.time(lambda: time.sleep(0.02) or "done")
    assert result == "done"
    assert seconds >= 0.02
    device.begin_memory_pass()
    assert device.measure_memory(lambda: "done") == ("done", None)
    memory = MEMORY.validate_python(device.end_memory_pass([]))
    assert memory.kind == "unavailable"
    assert memory.reason == "GPU memory is not measured on CPU"


@pytest.mark.parametrize("enabled", [True, False])
def test_garbage_is_not_collected_within_what_is_timed(enabled):
    try:
        (gc.enable if enabled else gc.disable)()
        assert HostClock().time(gc.isenabled)[0] is False
        assert gc.isenabled() is enabled
        with pytest.raises(ZeroDivisionError):
            HostClock().time(lambda: 1 / 0)
        assert gc.isenabled() is enabled
    finally:
        gc.enable()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_without_a_device_says_what_to_do():
    with pytest.raises(MeasurementError, match="no CUDA device") as caught:
        open_device("cuda", threads=None, policy=FP32)
    assert caught.value.advice is not None


class FakeAllocator:
    """Allocated and reserved bytes and their peaks, as PyTorch's caching allocator counts."""

    def __init__(self, monkeypatch):
        self.now = self.peak = self.reserved = 0
        # That of a build for CUDA asks for the GPU.
        monkeypatch.setattr(torch.backends.cudnn, "version", lambda: 91000)
        for name, function in {
            "is_available": lambda: True,
            "current_device": lambda: 0,
            "get_device_name": lambda _: "fake",
            "get_device_properties": lambda _: SimpleNamespace(uuid="1f2e"),
            "synchronize": lambda _: None,
            "empty_cache": self.empty_cache,
            "memory_allocated": lambda _: self.now,
            "max_memory_allocated": lambda _: self.peak,
            "max_memory_reserved": lambda _: self.reserved,
            "reset_peak_memory_stats": self.reset,
        }.items():
            monkeypatch.setattr(torch.cuda, name, function)

    def change(self, *amounts):
        for amount in amounts:
            self.now += amount
            self.peak = max(self.peak, self.now)
            self.reserved = max(self.reserved, self.now)

    def empty_cache(self):
        self.reserved = self.now

    def reset(self, _):
        self.peak = self.now


def image(use):
    return ImageMemory(
        image="0801",
        lr_size=(2, 2),
        input_bytes=10,
        output_bytes=40,
        peak_bytes=use.peak_bytes,
        peak_reserved_bytes=use.reserved_bytes,
    ).model_dump()


def test_each_forward_has_its_peak_and_the_pass_keeps_the_highest_of_all(monkeypatch):
    allocator = FakeAllocator(monkeypatch)
    device = CudaDevice(None, FP32)
    allocator.change(100, 900, -900)  # weights, after a peak of 1000 while loading
    device.begin_memory_pass()

    allocator.change(300, -290)  # converting the first image: peak 400, its input stays
    output, first = device.measure_memory(lambda: allocator.change(200, 40, -200))
    assert output is None
    assert first == MemoryUse(peak_bytes=350, reserved_bytes=400)
    allocator.change(400, -440, -10)  # converting its output: peak 550; all but weights go

    allocator.change(10)
    _, second = device.measure_memory(lambda: allocator.change(150, 40, -150))
    assert second.peak_bytes == 300
    allocator.change(-50)

    memory = MEMORY.validate_python(device.end_memory_pass([image(first), image(second)]))
    assert memory.weights_bytes == 100
    assert memory.peak_bytes == 350
    assert memory.pass_peak_bytes == 550


def test_a_conversion_after_the_last_forward_is_in_the_pass(monkeypatch):
    allocator = FakeAllocator(monkeypatch)
    device = CudaDevice(None, FP32)
    device.begin_memory_pass()
    _, use = device.measure_memory(lambda: allocator.change(70))
    allocator.change(50)
    memory = MEMORY.validate_python(device.end_memory_pass([image(use)]))
    assert (memory.peak_bytes, memory.pass_peak_bytes) == (70, 120)


def test_a_pass_without_images_has_no_memory(monkeypatch):
    FakeAllocator(monkeypatch)
    device = CudaDevice(None, FP32)
    device.begin_memory_pass()
    assert device.end_memory_pass([]) == {"kind": "skipped", "reason": "no image was upscaled"}


@pytest.mark.cuda
@needs_cuda
def test_cuda_peak_counts_the_forward_and_the_pass_what_surrounds_it():
    device = CudaDevice(None, FP32)
    weights = torch.zeros(1 << 20, device=device.device)
    device.begin_memory_pass()
    before = torch.cuda.memory_allocated(device.device)
    outside = torch.zeros(16 << 20, device=device.device)
    del outside
    _, use = device.measure_memory(lambda: torch.zeros(8 << 20, device=device.device).sum())
    memory = MEMORY.validate_python(device.end_memory_pass([image(use)]))
    assert memory.weights_bytes == before >= weights.numel() * 4
    # The forward's 32 MiB and its sum, but not the 64 MiB allocated and freed before it.
    assert 32 * MIB <= memory.peak_bytes - before < 33 * MIB
    assert 64 * MIB <= memory.pass_peak_bytes - before < 65 * MIB
    assert memory.peak_reserved_bytes >= memory.peak_bytes


@pytest.mark.cuda
@needs_cuda
def test_cuda_peak_of_a_convolution_holds_weights_input_and_output():
    device = CudaDevice(None, FP32)
    network = nn.Conv2d(32, 64, 3, padding=1, bias=False).to(device.device)
    device.begin_memory_pass()
    with torch.inference_mode():
        pixels = torch.zeros(1, 32, 256, 256, device=device.device)
        output, use = device.measure_memory(lambda: network(pixels))
    # 72 KiB of weights, 8 MiB of input, 16 MiB of output; what cuDNN works in comes on top.
    assert pixels.nbytes == 8 * MIB
    assert output.nbytes == 16 * MIB
    assert use.peak_bytes >= 64 * 32 * 9 * 4 + 24 * MIB


@pytest.mark.cuda
@needs_cuda
def test_cuda_timing_leaves_the_peaks_alone():
    device = CudaDevice(None, FP32)
    torch.cuda.reset_peak_memory_stats(device.device)
    held = torch.zeros(8 << 20, device=device.device)
    del held
    peak = torch.cuda.max_memory_allocated(device.device)
    device.time(lambda: None)
    assert torch.cuda.max_memory_allocated(device.device) == peak >= 32 * MIB


@pytest.mark.cuda
@needs_cuda
def test_cuda_events_cover_the_whole_forward_and_lie_within_host_time():
    device = CudaDevice(None, FP32)
    cycles = 200_000_000
    # A GPU that was idle raises its clock first.
    device.time(lambda: torch.cuda._sleep(cycles))
    _, short = device.time(lambda: torch.cuda._sleep(cycles // 10))
    start = time.perf_counter()
    _, long = device.time(lambda: torch.cuda._sleep(cycles))
    host = time.perf_counter() - start
    assert long > 5 * short
    # Launch and synchronisation take well under a millisecond.
    assert host - 2e-3 <= long <= host


@pytest.mark.cuda
@needs_cuda
def test_cuda_runs_strict_fp32_unless_asked_otherwise():
    CudaDevice(None, FP32)
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32
    assert not torch.backends.cudnn.benchmark
    CudaDevice(None, ForwardPolicy(cudnn_benchmark=True))
    assert torch.backends.cudnn.benchmark

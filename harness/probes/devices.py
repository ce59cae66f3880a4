"""The device a network runs on: clock, allocator and precision, CPU and CUDA twins.

``CudaDevice`` is written from the PyTorch documentation; its tests are marked ``cuda``.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar

import torch

from harness.environment import cpus_available
from harness.errors import MeasurementError
from harness.records import Absent, Memory

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

ClockName = Literal["monotonic", "cuda-event"]


class ComputeDevice(Protocol):
    """What the probes need of a device."""

    @property
    def clock(self) -> ClockName:
        """What times a forward."""

    @property
    def device(self) -> torch.device:
        """Where tensors go."""

    @property
    def accelerator(self) -> str | None:
        """Name of the GPU, or None."""

    def time(self, forward: Callable[[], T]) -> tuple[T, float]:
        """Run a forward to its end; its result and seconds. Its peak memory is kept."""

    def reset_memory(self) -> None:
        """Forget all peaks; what is allocated now counts as the weights."""

    def read_memory(self) -> Memory | Absent:
        """Highest peak of the forwards since the last reset."""


class Clock(Protocol):
    """What times a call."""

    def time(self, forward: Callable[[], T]) -> tuple[T, float]:
        """Run a call to its end; its result and seconds."""


class HostClock:
    """The monotonic clock of the host."""

    def time(self, forward: Callable[[], T]) -> tuple[T, float]:
        """Run a call to its end; its result and seconds."""
        start = time.perf_counter_ns()
        result = forward()
        return result, (time.perf_counter_ns() - start) / 1e9


class CpuDevice(HostClock):
    """Forwards on CPU, timed by the monotonic clock."""

    clock: ClockName = "monotonic"
    accelerator: str | None = None

    def __init__(self, threads: int | None) -> None:
        self.device = torch.device("cpu")
        torch.set_num_threads(threads or cpus_available())

    def reset_memory(self) -> None:
        """Nothing to reset."""

    def read_memory(self) -> Absent:
        """Absent: the challenge's metric is GPU memory."""
        return Absent(
            kind="unavailable",
            reason="GPU memory is not measured on CPU",
            advice="Run with --device cuda on a machine with an NVIDIA GPU.",
        )


class CudaDevice:
    """Forwards on the current CUDA device, timed by events on its stream.

    Precision is fp32 with TF32 off for convolutions (PyTorch leaves it on) and matmul, and
    cuDNN picks its algorithm by heuristics, as the challenge's scripts do. The allocator's peak
    is read right after each forward and reset before it, so that neither the harness's
    conversions nor another forward's output are in it.

    Raises:
        MeasurementError: this PyTorch build or machine has no CUDA device.
    """

    clock: ClockName = "cuda-event"

    def __init__(self, threads: int | None) -> None:
        if not torch.cuda.is_available():
            raise MeasurementError(
                "no CUDA device is available to PyTorch",
                advice="Install a CUDA build of the pinned torch version, or use --device cpu.",
            )
        torch.set_num_threads(threads or cpus_available())
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.benchmark = False
        self.device = torch.device("cuda", torch.cuda.current_device())
        self.accelerator: str | None = torch.cuda.get_device_name(self.device)
        self._weights_bytes = 0
        self._peak_bytes = 0
        self._peak_reserved_bytes = 0

    def time(self, forward: Callable[[], T]) -> tuple[T, float]:
        """Run a forward to its end; its result and the seconds between two events."""
        start = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        end = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        torch.cuda.synchronize(self.device)
        torch.cuda.reset_peak_memory_stats(self.device)
        start.record()
        result = forward()
        end.record()
        end.synchronize()
        peak = torch.cuda.max_memory_allocated(self.device)
        reserved = torch.cuda.max_memory_reserved(self.device)
        self._peak_bytes = max(self._peak_bytes, peak)
        self._peak_reserved_bytes = max(self._peak_reserved_bytes, reserved)
        return result, start.elapsed_time(end) / 1e3

    def reset_memory(self) -> None:
        """Empty the cache and forget all peaks."""
        torch.cuda.synchronize(self.device)
        torch.cuda.empty_cache()
        self._weights_bytes = torch.cuda.memory_allocated(self.device)
        self._peak_bytes = self._peak_reserved_bytes = 0

    def read_memory(self) -> Memory | Absent:
        """Highest allocator peaks of the forwards since the last reset."""
        if not self._peak_bytes:
            return Absent(kind="skipped", reason="no image was upscaled")
        return Memory(
            peak_bytes=self._peak_bytes,
            peak_reserved_bytes=self._peak_reserved_bytes,
            weights_bytes=self._weights_bytes,
        )


DEVICES: dict[str, Callable[[int | None], ComputeDevice]] = {"cpu": CpuDevice, "cuda": CudaDevice}


def open_device(name: str, *, threads: int | None) -> ComputeDevice:
    """Prepare a device for measuring in this process.

    Raises:
        MeasurementError: the device is not there.
    """
    return DEVICES[name](threads)

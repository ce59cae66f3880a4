"""The device a network runs on: clock, allocator, CPUs and arithmetic, for CPU and CUDA.

Tests of ``CudaDevice`` are marked ``cuda``.
"""

from __future__ import annotations

import gc
import os
import time
from abc import ABC, abstractmethod
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeVar

import torch

from esrbench.devices import DEVICES
from esrbench.errors import MeasurementError
from esrbench.plaintext import plural
from esrbench.probes.precision import PolicyGuard, apply_policy, start_pool

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence

    from torch import nn

    from esrbench.protocol import Device, ForwardPolicy
    from esrbench.records.timing import ClockName

T = TypeVar("T")

CPU_FOLDER = Path("/sys/devices/system/cpu")
TASKS_FOLDER = Path("/proc/self/task")
AMPERE = (8, 0)
"""Compute capability of the first GPUs with TF32 and bf16."""


@dataclass(frozen=True)
class MemoryUse:
    """Device memory of one forward, in bytes as the caching allocator counts them.

    Attributes:
        peak_bytes: highest allocated total during the forward.
        reserved_bytes: highest total that the allocator had reserved meanwhile.
    """

    peak_bytes: int
    reserved_bytes: int


class Clock(ABC):
    """A clock that times a call."""

    @abstractmethod
    def time(self, forward: Callable[[], T]) -> tuple[T, float]:
        """Run a call to its end; return its result and the seconds."""


class HostClock(Clock):
    """The monotonic clock of the host."""

    def time(self, forward: Callable[[], T]) -> tuple[T, float]:
        """Run a call to its end, without garbage collection; return its result and the seconds."""
        with no_garbage_collection():
            start = time.perf_counter_ns()
            result = forward()
            elapsed = time.perf_counter_ns() - start
        return result, elapsed / 1e9


class ComputeDevice(Clock):
    """The interface of a device for probes. Timing and memory are separate passes.

    Args:
        device: where tensors go.
        threads: CPU threads of forwards, each with its own CPU; None for every CPU that the
            process may use.
        policy: arithmetic of every forward.

    Attributes:
        clock: times a forward.
        accelerator: name of the GPU, or None.
        gpu_uuid: the GPU's UUID from PyTorch, or None.
        libraries: versions of the libraries that compute on it, except PyTorch's own.
        cpus: logical CPUs that this process may use, as many as threads; empty if the system cannot
            restrict them.

    Raises:
        MeasurementError: the device cannot follow the policy, or there are more threads than CPUs.
    """

    clock: ClockName
    accelerator: str | None = None
    gpu_uuid: str | None = None
    libraries: Mapping[str, str] = MappingProxyType({})

    def __init__(self, device: torch.device, threads: int | None, policy: ForwardPolicy) -> None:
        self.device = device
        self.policy = policy
        self.require(policy)
        apply_policy(policy, device)
        self.threads, self.cpus = pin_threads(threads)
        start_pool()

    def guard(self, network: nn.Module) -> PolicyGuard:
        """Set threads and flags again after a network was loaded, and watch them from now on."""
        hold_threads(self.threads, self.cpus)
        return PolicyGuard(network, self.policy)

    @abstractmethod
    def require(self, policy: ForwardPolicy) -> None:
        """Raise an error if this device cannot follow a policy.

        Raises:
            MeasurementError: the message says what the device lacks.
        """

    @staticmethod
    @abstractmethod
    def synchronize(device: torch.device) -> None:
        """Wait for all work on a device of this kind."""

    @abstractmethod
    def begin_memory_pass(self) -> None:
        """Begin a pass: memory allocated now is the weights, and the peak starts from it."""

    @abstractmethod
    def measure_memory(self, forward: Callable[[], T]) -> tuple[T, MemoryUse | None]:
        """Run a forward to its end; return its result and memory, or None without such memory.

        The peak includes what is alive before, such as the input. So no other output may be alive.
        """

    @abstractmethod
    def end_memory_pass(self, images: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Memory of a pass over these images; nothing else may have run since it began.

        Args:
            images: fields of ``ImageMemory``, one per image.

        Returns:
            Fields of ``Memory``, or of ``Absent``.
        """


class CpuDevice(HostClock, ComputeDevice):
    """Forwards on CPU, timed by the monotonic clock; see ``ComputeDevice``."""

    clock = DEVICES["cpu"].clock

    def __init__(self, threads: int | None, policy: ForwardPolicy) -> None:
        super().__init__(torch.device("cpu"), threads, policy)

    def require(self, policy: ForwardPolicy) -> None:
        """Raise an error for options that only GPUs have."""
        for name, asked in (
            ("TF32", policy.precision == "tf32"),
            ("cudnn.benchmark", policy.cudnn_benchmark),
        ):
            if asked:
                raise MeasurementError(
                    f"{name} exists only on CUDA",
                    advice="Use --device cuda, or a policy without it.",
                )

    @staticmethod
    def synchronize(device: torch.device) -> None:
        """Return at once: a CPU has nothing to wait for."""

    def begin_memory_pass(self) -> None:
        """Return at once: a CPU has nothing to begin."""

    def measure_memory(self, forward: Callable[[], T]) -> tuple[T, None]:
        """Run a forward; return its result."""
        return forward(), None

    def end_memory_pass(self, images: Sequence[dict[str, Any]]) -> dict[str, Any]:  # noqa: ARG002 - none has any
        """Absent: the challenge's metric is GPU memory."""
        return {
            "kind": "unavailable",
            "reason": "GPU memory is not measured on CPU",
            "advice": "Run with --device cuda on a machine with an NVIDIA GPU.",
        }


class CudaDevice(ComputeDevice):
    """Forwards on the current CUDA device, timed by events on its current stream.

    Work that a network leaves on other streams may continue after the second event. The time of
    delivery includes it, because delivery waits for the whole device.

    Raises:
        MeasurementError: this PyTorch build or machine has no CUDA device, the device cannot follow
            the policy, or there are more threads than CPUs.
    """

    clock = DEVICES["cuda"].clock

    def __init__(self, threads: int | None, policy: ForwardPolicy) -> None:
        if not torch.cuda.is_available():
            raise MeasurementError(
                "no CUDA device is available to PyTorch",
                advice="Install a CUDA build of the pinned torch version, or use --device cpu.",
            )
        super().__init__(torch.device("cuda", torch.cuda.current_device()), threads, policy)
        self.accelerator = torch.cuda.get_device_name(self.device)
        uuid = getattr(torch.cuda.get_device_properties(self.device), "uuid", None)
        self.gpu_uuid = None if uuid is None else str(uuid)  # since torch 2.5
        self.libraries = {
            "cuda": str(torch.version.cuda),
            "cudnn": str(torch.backends.cudnn.version()),  # type: ignore[no-untyped-call]
        }
        self._weights_bytes = 0
        self._pass_peak_bytes = 0

    def require(self, policy: ForwardPolicy) -> None:
        """Raise an error for types that the GPU does not support."""
        if policy.precision not in {"tf32", "bf16"}:
            return
        capability = torch.cuda.get_device_capability(self.device)
        if capability < AMPERE:
            raise MeasurementError(
                f"this GPU has compute capability {capability[0]}.{capability[1]}, "
                f"{policy.precision.upper()} needs 8.0",
                advice="Measure in fp16 or fp32.",
            )

    @staticmethod
    def synchronize(device: torch.device) -> None:
        """Wait for all of its streams."""
        torch.cuda.synchronize(device)

    def time(self, forward: Callable[[], T]) -> tuple[T, float]:
        """Run a forward to its end on an idle device; return its result and event seconds."""
        start = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        end = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        torch.cuda.synchronize(self.device)
        with no_garbage_collection():
            start.record()
            result = forward()
            end.record()
            torch.cuda.synchronize(self.device)
        return result, start.elapsed_time(end) / 1e3

    def begin_memory_pass(self) -> None:
        """Empty the allocator's cache, note the weights and forget earlier peaks."""
        gc.collect()
        torch.cuda.synchronize(self.device)
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(self.device)
        self._weights_bytes = torch.cuda.memory_allocated(self.device)
        self._pass_peak_bytes = self._weights_bytes

    def measure_memory(self, forward: Callable[[], T]) -> tuple[T, MemoryUse]:
        """Run a forward between a reset and a reading of the allocator's peaks.

        The peak before the reset is kept for the pass. Work between two forwards, such as
        conversions of pixels, is part of the challenge's figure.
        """
        self._keep_pass_peak()
        torch.cuda.synchronize(self.device)
        torch.cuda.reset_peak_memory_stats(self.device)
        result = forward()
        torch.cuda.synchronize(self.device)
        use = MemoryUse(
            peak_bytes=torch.cuda.max_memory_allocated(self.device),
            reserved_bytes=torch.cuda.max_memory_reserved(self.device),
        )
        self._keep_pass_peak()
        return result, use

    def end_memory_pass(self, images: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Weights, images and the highest peak since the pass began."""
        self._keep_pass_peak()
        if not images:
            return {"kind": "skipped", "reason": "no image was upscaled"}
        return {
            "weights_bytes": self._weights_bytes,
            "images": list(images),
            "pass_peak_bytes": self._pass_peak_bytes,
        }

    def _keep_pass_peak(self) -> None:
        peak = torch.cuda.max_memory_allocated(self.device)
        self._pass_peak_bytes = max(self._pass_peak_bytes, peak)


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Keep Python's cyclic garbage collector out of timed code."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def core_of(cpu: int, folder: Path = CPU_FOLDER) -> Hashable:
    """A key that is equal for the logical CPUs of one physical core, as Linux reports it.

    Args:
        cpu: number of the logical CPU.
        folder: where the kernel describes CPUs.

    Returns:
        Package and core numbers; the CPU's own number if the kernel does not report them.
    """
    topology = folder / f"cpu{cpu}" / "topology"
    try:
        return tuple(
            (topology / name).read_text().strip() for name in ("physical_package_id", "core_id")
        )
    except OSError:
        return cpu


def choose_cpus(
    available: Collection[int], threads: int, core: Callable[[int], Hashable] = core_of
) -> tuple[int, ...]:
    """Choose logical CPUs for threads, on separate cores as far as possible.

    Args:
        available: numbers of the CPUs that may be used, at least ``threads``.
        threads: number of threads.
        core: key that is equal for CPUs of one physical core.

    Returns:
        Numbers in ascending order; among equal choices the one with the lowest numbers.
    """
    seen: dict[Hashable, int] = {}
    ranked: list[tuple[int, int]] = []
    for cpu in sorted(available):
        sibling = seen.get(core(cpu), 0)
        seen[core(cpu)] = sibling + 1
        ranked.append((sibling, cpu))
    return tuple(sorted(cpu for _, cpu in sorted(ranked)[:threads]))


def pin_threads(threads: int | None) -> tuple[int, tuple[int, ...]]:
    """Restrict this process to as many CPUs as threads, and set PyTorch's number of threads.

    Call it before the first parallel operator, because threads inherit the CPUs of the thread that
    starts them. Threads that exist already are moved.

    Args:
        threads: number of threads of forwards; None for every CPU available.

    Returns:
        Number of threads, and the CPUs' numbers in ascending order; no CPUs if the system cannot
        pin threads.

    Raises:
        MeasurementError: there are more threads than CPUs; two threads on one CPU would wait for
            each other.
    """
    count = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    wanted = threads or count
    if wanted > count:
        raise MeasurementError(
            f"--threads {wanted}: this process may use only {plural(count, 'CPU')}",
            advice=f"Use --threads {count} or fewer, or give the process more CPUs.",
        )
    cpus: tuple[int, ...] = ()
    if hasattr(os, "sched_setaffinity"):
        cpus = choose_cpus(os.sched_getaffinity(0), wanted)
    hold_threads(wanted, cpus)
    return wanted, cpus


def hold_threads(threads: int, cpus: tuple[int, ...]) -> None:
    """Pin every thread of this process to the CPUs and set PyTorch's number of threads."""
    if cpus:
        listed = TASKS_FOLDER.iterdir() if TASKS_FOLDER.is_dir() else ()
        tasks = [int(task.name) for task in listed] or [0]
        for task in tasks:
            try:
                os.sched_setaffinity(task, cpus)
            except ProcessLookupError:  # noqa: PERF203 - it ended meanwhile
                continue
            except PermissionError:
                # A sandbox that cannot tell other threads from other processes. Threads that exist
                # already belong to libraries; PyTorch's threads inherit the CPUs of this one.
                os.sched_setaffinity(0, cpus)
    torch.set_num_threads(threads)


KINDS: Final[dict[Device, type[CpuDevice | CudaDevice]]] = {"cpu": CpuDevice, "cuda": CudaDevice}


def open_device(name: Device, *, threads: int | None, policy: ForwardPolicy) -> ComputeDevice:
    """Prepare this process for measuring on a device, for the rest of its life.

    Args:
        name: name of the device.
        threads: CPU threads of forwards, each with its own CPU; None for every CPU that the
            process may use.
        policy: arithmetic of every forward.

    Raises:
        MeasurementError: there is no such device, or it cannot follow the policy.
    """
    return KINDS[name](threads, policy)


def synchronize(device: torch.device) -> None:
    """Wait for all work on a device. Do this before the host's clock is read."""
    next(kind for name, kind in KINDS.items() if name == device.type).synchronize(device)

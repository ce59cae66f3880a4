"""What the harness must know of each kind of device, PyTorch aside.

What a device computes, how it is timed and how its memory is read stands in
``esrbench.probes.devices``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    import torch

    from esrbench.protocol import Device
    from esrbench.records.timing import ClockName

DeviceCall = Literal["listening", "uncounted"]
"""Kinds of system calls (``esrbench.sandbox.syscalls``) that a driver cannot do without."""


@dataclass(frozen=True, slots=True)
class DeviceTraits:
    """One kind of device.

    Attributes:
        clock: what times a forward.
        null_seconds: how long the null network works. What surrounds a forward takes longer after
            longer ones: meanwhile the evaluator's core has gone to sleep and its caches have
            become cold. On a CPU this levels off at about 10 ms. On a GPU forwards take some
            milliseconds, and 3 ms agree with 1 to 5 ms; around 10 ms there is half a millisecond
            more (``docs/gpu.md``).
        gpu: it has memory and libraries of its own, which records tell of; its driver reserves
            address space without limit, and it may be set to serve one process at a time.
        system: files and folders that its driver reads, which a worker sees beside the others.
        kernel: files of ``/proc`` that its driver reads.
        written: files of ``/proc`` that its driver writes.
        device_files: patterns of names in ``/dev``.
        calls: kinds of system calls that its driver makes.
        overrides: variables that make its libraries ignore what a program sets of arithmetic, and
            the values that leave it in force.
    """

    clock: ClockName
    null_seconds: float
    gpu: bool = False
    system: tuple[Path, ...] = ()
    kernel: tuple[str, ...] = ()
    written: tuple[str, ...] = ()
    device_files: tuple[str, ...] = ()
    calls: tuple[DeviceCall, ...] = ()
    overrides: dict[str, tuple[str, ...]] = field(default_factory=dict)


DEVICES: Final[dict[Device, DeviceTraits]] = {
    "cpu": DeviceTraits(
        clock="monotonic",
        null_seconds=0.02,
        overrides={
            "ONEDNN_DEFAULT_FPMATH_MODE": ("", "STRICT"),
            "DNNL_DEFAULT_FPMATH_MODE": ("", "STRICT"),
        },
    ),
    "cuda": DeviceTraits(
        clock="cuda-event",
        null_seconds=0.003,
        gpu=True,
        system=(Path("/sys"), Path("/etc/OpenCL"), Path("/etc/nvidia")),
        kernel=("/proc/driver/nvidia", "/proc/devices", "/proc/modules", "/proc/filesystems"),
        # CUDA gives its threads names, and fails to start where it cannot.
        written=("/proc/self/task",),
        # All of them: which one CUDA takes is said by a variable.
        device_files=(
            "nvidia[0-9]*",
            "nvidiactl",
            "nvidia-uvm",
            "nvidia-uvm-tools",
            "nvidia-modeset",
            "nvidia-caps",
        ),
        calls=("listening", "uncounted"),
        overrides={"NVIDIA_TF32_OVERRIDE": ()},
    ),
}


def traits_of(device: torch.device) -> DeviceTraits:
    """The traits of a device as PyTorch names it."""
    return next(traits for name, traits in DEVICES.items() if name == device.type)

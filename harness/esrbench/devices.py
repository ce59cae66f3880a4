"""The facts about each kind of device that the harness needs, without PyTorch.

``esrbench.probes.devices`` has what a device computes, how it is timed and how its memory is read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from esrbench.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

    from esrbench.protocol import Device
    from esrbench.records.timing import ClockName

DeviceCall = Literal["listening", "uncounted"]
"""Kinds of system calls (``esrbench.sandbox.syscalls``) that a driver cannot do without."""


@dataclass(frozen=True)
class DeviceTraits:
    """One kind of device.

    Attributes:
        clock: what times a forward.
        null_seconds: how long the null network works. The overhead of a forward is larger after
            longer forwards: meanwhile the evaluator's core went to sleep and its caches became
            cold. On a CPU this levels off at about 10 ms. On a GPU forwards take some
            milliseconds, and 3 ms agree with 1 to 5 ms; around 10 ms there is half a millisecond
            more (``docs/gpu.md``).
        gpu: it has memory and libraries of its own, which records tell of; its driver reserves
            address space without limit, and it may be set to serve one process at a time.
        system: files and folders that its driver reads, which a worker sees beside the others.
        kernel: files of ``/proc`` that its driver reads.
        written: files of ``/proc`` that its driver writes.
        device_files: patterns of names in ``/dev``.
        calls: kinds of system calls that its driver makes.
        selector: variable that says which of these devices a process sees, by numbers or ids.
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
    selector: str = ""
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
        # All of them: which one CUDA takes is said by the selector.
        device_files=(
            "nvidia[0-9]*",
            "nvidiactl",
            "nvidia-uvm",
            "nvidia-uvm-tools",
            "nvidia-modeset",
            "nvidia-caps",
        ),
        calls=("listening", "uncounted"),
        selector="CUDA_VISIBLE_DEVICES",
        overrides={"NVIDIA_TF32_OVERRIDE": ()},
    ),
}


def traits_of(device: torch.device) -> DeviceTraits:
    """The traits of a device as PyTorch names it."""
    return next(traits for name, traits in DEVICES.items() if name == device.type)


def parse_device(text: str) -> tuple[Device, int]:
    """A device as users name it.

    Args:
        text: ``cpu``, ``cuda`` or ``cuda:N``.

    Returns:
        Its kind, and its number among those of its kind that PyTorch sees here.

    Raises:
        UsageError: it is none of them.
    """
    kind, separator, number = text.partition(":")
    for name, traits in DEVICES.items():
        if name == kind and not separator:
            return name, 0
        if name == kind and traits.gpu and number.isascii() and number.isdecimal():
            return name, int(number)
    message = f"--device {text!r}: expected cpu, cuda or cuda:N"
    raise UsageError(message, advice="Write cuda:1 for the second GPU.")


def parse_devices(text: str) -> tuple[Device, tuple[int, ...] | None]:
    """Devices as users name them: as of ``parse_device``, ``cuda:0,1,3`` or ``cuda:all``.

    Returns:
        Their kind, and their numbers; None for all of them.

    Raises:
        UsageError: it is none of them.
    """
    kind, _, numbers = text.partition(":")
    if numbers == "all":
        return parse_device(kind)[0], None
    parsed = [parse_device(f"{kind}:{each}") for each in numbers.split(",")] if numbers else []
    parsed = parsed or [parse_device(text)]
    return parsed[0][0], tuple(dict.fromkeys(number for _, number in parsed))


def gpu_numbers(device: Device) -> tuple[int, ...]:
    """Numbers of all GPUs that this process sees.

    Raises:
        UsageError: there is none, or the device is no GPU.
    """
    if DEVICES[device].gpu:
        import torch

        if numbers := tuple(range(torch.cuda.device_count())):
            return numbers
    message = f"--device {device}:all: there is no GPU that PyTorch sees"
    raise UsageError(message, advice=f"`esrbench doctor --device {device}` says why.")


def selection(device: Device, number: int, variables: Mapping[str, str]) -> dict[str, str]:
    """Variables that let a process see one device of a kind, as its first, and no other GPU.

    Args:
        device: kind of the device.
        number: of the device among those that a process with these variables sees.
        variables: of the environment that the process inherits.
    """
    return {
        traits.selector: _selected(number, variables.get(traits.selector)) if name == device else ""
        for name, traits in DEVICES.items()
        if traits.selector
    }


def device_name(device: Device, number: int, variables: Mapping[str, str]) -> str:
    """A device as people name it: ``cpu``, ``cuda:3``, or by its id where a selector has ids.

    Args:
        device: kind of the device.
        number: as of ``selection``.
        variables: likewise.
    """
    return ":".join([device, *filter(None, selection(device, number, variables).values())])


def _selected(number: int, visible: str | None) -> str:
    """The name of a device in a selector, where another selector is in force already."""
    names = [name.strip() for name in visible.split(",")] if visible else []
    return names[number] if number < len(names) else str(number)

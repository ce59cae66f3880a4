"""Checks of memory, software, settings and folders."""

from __future__ import annotations

import platform
import re
import shutil
import tempfile
from importlib import metadata
from typing import TYPE_CHECKING

from esrbench.devices import DEVICES
from esrbench.doctor.check import judged, mebibytes, unknown
from esrbench.environment import (
    DISTURBING_VARIABLES,
    MALLOC_SETTINGS,
    OVERRIDDEN_VARIABLES,
    allocator,
)
from esrbench.records import Diagnosis

if TYPE_CHECKING:
    from pathlib import Path

    from esrbench.doctor.check import Machine

ENOUGH_MEMORY = 4 * 2**30
"""Twice 64 channels of 2040x2040 in float32, the widest features at LR 510x510, are 2 GiB."""
ENOUGH_SPACE = {"results folder": 100 * 2**20, "cache folder": 2 * 2**30}
"""Hundreds of records; DIV2K validation, 0.5 GB packed and as much unpacked."""
SWAPPED = 64 * 2**20


def check_memory(machine: Machine) -> Diagnosis:
    """Memory that can be had without swapping."""
    name = "memory"
    available = _meminfo(machine).get("MemAvailable")
    if available is None:
        return unknown(name, "the system does not tell what is free")
    finding = f"{mebibytes(available)} available"
    advice = "End what holds memory, or stay with small LR images."
    return judged(name, finding, advice, fine=available >= ENOUGH_MEMORY)


def check_swap(machine: Machine) -> Diagnosis:
    """Whether pages may be on disk when a forward wants them."""
    name = "swap"
    info = _meminfo(machine)
    if "SwapTotal" not in info:
        return unknown(name)
    if not info["SwapTotal"]:
        return judged(name, "none")
    used = info["SwapTotal"] - info.get("SwapFree", 0)
    swappiness = machine.read("proc/sys/vm/swappiness") or "not told"
    finding = f"{mebibytes(used)} of {mebibytes(info['SwapTotal'])} used, swappiness {swappiness}"
    advice = "Free memory, then sudo swapoff --all while you measure."
    return judged(name, finding, advice, fine=used < SWAPPED)


def _meminfo(machine: Machine) -> dict[str, int]:
    """Bytes by name."""
    lines = re.findall(r"^(\w+):\s+(\d+) kB$", machine.read("proc/meminfo") or "", re.MULTILINE)
    return {name: int(kibibytes) * 1024 for name, kibibytes in lines}


def check_huge_pages(machine: Machine) -> Diagnosis:
    """Whether large tensors get large pages; no setting was found better than another."""
    name = "transparent huge pages"
    setting = re.search(
        r"\[(\w+)\]", machine.read("sys/kernel/mm/transparent_hugepage/enabled") or ""
    )
    if setting is None:
        return unknown(name)
    finding = f"{setting[1]}; it counts when machines are compared"
    return judged(name, finding)


def check_allocator(machine: Machine) -> Diagnosis:
    """Whether the settings of workers reach their allocator."""
    name = "memory allocator"
    found = allocator(root=machine.root)
    if found is None:
        return unknown(name, "not told; the settings for glibc may have no effect")
    if found.startswith("glibc"):
        settings = ", ".join(f"{key}={value}" for key, value in MALLOC_SETTINGS.items())
        return judged(name, f"{found}; workers get {settings}")
    return judged(
        name,
        f"{found}, which ignores the settings that workers get for glibc",
        "Run without it, on a system with glibc: on CPU the allocator alone can double a "
        "forward. Compare only with runs under the same one.",
    )


def check_variables(machine: Machine) -> Diagnosis:
    """Variables that workers inherit and that alter what is measured, or forbid it."""
    name = "variables"
    refused = [
        f"{key}={machine.variables[key]}"
        for key, harmless in DEVICES[machine.device].overrides.items()
        if key in machine.variables and machine.variables[key].upper() not in harmless
    ]
    if refused:
        finding = f"{', '.join(refused)} overrides what the protocol sets; no run will start"
        advice = f"unset {' '.join(setting.partition('=')[0] for setting in refused)}"
        return Diagnosis(name=name, state="problem", finding=finding, advice=advice)
    overridden = [key for key in OVERRIDDEN_VARIABLES if key in machine.variables]
    found = {
        key: effect
        for key in sorted(machine.variables)
        for pattern, effect in DISTURBING_VARIABLES.items()
        if re.fullmatch(pattern, key) and key not in OVERRIDDEN_VARIABLES and machine.variables[key]
    }
    if found:
        finding = "; ".join(f"{key}={machine.variables[key]} {found[key]}" for key in found)
        advice = f"unset {' '.join(found)}"
        return judged(name, finding, advice)
    finding = f"{', '.join(overridden)} set, without effect" if overridden else "none that matter"
    return judged(name, finding)


def check_torch(_machine: Machine) -> Diagnosis:
    """Version, build and instructions of PyTorch."""
    name = "PyTorch"
    import torch

    version = str(torch.__version__)
    asked = _asked_version("torch")
    capability = torch.backends.cpu.get_cpu_capability()
    libraries = {
        "oneDNN": torch.backends.mkldnn.is_available(),  # type: ignore[no-untyped-call]
        "MKL": torch.backends.mkl.is_available(),  # type: ignore[no-untyped-call]
    }
    with_ = ", ".join(library for library, there in libraries.items() if there) or "no libraries"
    finding = f"{version}, {capability}, {with_}"
    if asked and _release(version) < _release(asked):
        advice = f"Install {asked} or newer: figures were tested with it."
        return judged(name, finding, advice)
    x86 = platform.machine().lower() in {"x86_64", "amd64"}
    if not libraries["oneDNN"] or (x86 and capability == "DEFAULT"):
        advice = "Install the official build: this one leaves the CPU's vector units unused."
        return judged(name, finding, advice)
    return judged(name, finding)


def _asked_version(package: str) -> str | None:
    """Lowest version that this distribution asks for."""
    try:
        required = metadata.requires("esrbench") or []
    except metadata.PackageNotFoundError:
        return None
    found = (re.match(rf"{package}>=([\d.]+)", line) for line in required)
    return next((match[1] for match in found if match), None)


def _release(version: str) -> tuple[int, ...]:
    """2.13.0+cpu is (2, 13, 0)."""
    match = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(part) for part in match[0].split(".")) if match else ()


def check_results(machine: Machine) -> Diagnosis:
    """Whether records can be written."""
    advice = "Give --results a folder you can write to, or set ESRBENCH_RESULTS."
    return _check_folder("results folder", machine.results, advice)


def check_cache(machine: Machine) -> Diagnosis:
    """Whether downloads can be kept."""
    advice = "Set ESRBENCH_CACHE to a folder you can write to."
    return _check_folder("cache folder", machine.cache, advice)


def _check_folder(name: str, folder: Path, advice: str) -> Diagnosis:
    """Whether a folder takes files, or could be made where it would; it is not made."""
    there = folder.absolute()
    while not there.exists() and there != there.parent:
        there = there.parent
    try:
        with tempfile.TemporaryFile(dir=there):
            free = shutil.disk_usage(there).free
    except OSError as error:
        finding = f"{folder} cannot be written: {error.strerror or error}"
        return Diagnosis(name=name, state="problem", finding=finding, advice=advice)
    finding = f"{folder}: {mebibytes(free)} free"
    advice = f"Free {mebibytes(ENOUGH_SPACE[name] - free)}, or: {advice}"
    return judged(name, finding, advice, fine=free >= ENOUGH_SPACE[name])

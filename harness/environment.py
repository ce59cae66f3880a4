"""The machine and the software that a run depended on."""

from __future__ import annotations

import os
import platform
import re
import sys
from functools import cache
from importlib import metadata
from pathlib import Path

from harness.records import Environment

RECORDED_PACKAGES = (
    "torch",
    "numpy",
    "opencv-python-headless",
    "fvcore",
    "ptflops",
    "safetensors",
    "scikit-image",
)

# Without these, glibc gives every large tensor back to the kernel and pays page faults for
# it on the next forward, which can double the time of a large one on CPU.
MALLOC_SETTINGS = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**36)}


WORKER_VARIABLE = "ESRBENCH_WORKER"
"""Set in workers, so that a script that they import does not start a run of its own."""


def cpu_name() -> str:
    """Model name of the processor, or its architecture where the system does not tell."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        text = ""
    match = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return match.group(1).strip() if match else platform.processor() or platform.machine()


def cpus_available() -> int:
    """Logical CPUs this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory_bytes() -> int | None:
    """Physical memory, or None where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def package_version(name: str) -> str:
    """Installed version of a distribution, or ``absent``."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "absent"


@cache
def esrbench_version() -> str:
    """Version of this distribution."""
    return package_version("esrbench")


def describe_environment(*, threads: int, accelerator: str | None) -> Environment:
    """The environment of a run.

    Args:
        threads: CPU threads that forwards use.
        accelerator: name of the GPU, or None on CPU.
    """
    return Environment(
        python=platform.python_version(),
        esrbench=esrbench_version(),
        packages={name: package_version(name) for name in RECORDED_PACKAGES},
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        cpu=cpu_name(),
        cpus_available=cpus_available(),
        threads=threads,
        memory_bytes=memory_bytes(),
        accelerator=accelerator,
        malloc=MALLOC_SETTINGS if sys.platform == "linux" else {},
        isolation="subprocess",
    )

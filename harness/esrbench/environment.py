"""The machine and the software that a run depended on."""

from __future__ import annotations

import os
import platform
import re
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from esrbench.errors import UsageError
from esrbench.records import Environment
from esrbench.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

    from esrbench.records import Tier

RECORDED_PACKAGES = (
    "torch",
    "numpy",
    "opencv-python-headless",
    "fvcore",
    "ptflops",
    "safetensors",
    "scikit-image",
)

MALLOC_SETTINGS = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**36)}
"""Set for every worker; only glibc's own allocator obeys.

Without them, it returns every large tensor to the kernel, and the next forward has page faults for
it. This can double the time of a large forward on a CPU.
"""

ALLOCATORS = ("jemalloc", "tcmalloc", "mimalloc", "hoard", "ld-musl")
"""Libraries that take glibc's place, by part of their file name."""

DISTURBING_VARIABLES = {
    r"(ONEDNN|DNNL)_MAX_CPU_ISA|ATEN_CPU_CAPABILITY|MKL_ENABLE_INSTRUCTIONS": (
        "holds instructions of the CPU back"
    ),
    r"OMP_THREAD_LIMIT|OMP_DYNAMIC|MKL_DYNAMIC": "may lower the number of threads",
    r"OMP_PROC_BIND|OMP_PLACES|GOMP_CPU_AFFINITY|KMP_AFFINITY": "moves threads to other CPUs",
    r"OMP_WAIT_POLICY|KMP_BLOCKTIME|GOMP_SPINCOUNT": "changes how threads wait for each other",
    r"CUDA_LAUNCH_BLOCKING": "makes the host wait for every kernel",
    r"PYTORCH_(CUDA_)?ALLOC_CONF|PYTORCH_HIP_ALLOC_CONF": "changes blocks and so memory peaks",
    r"PYTORCH_NO_(CUDA|HIP)_MEMORY_CACHING": "takes the allocator away whose peaks are reported",
    r"GLIBC_TUNABLES|MALLOC_\w+": "may counter the allocator's settings",
}
"""Variables that workers inherit and that alter what is measured."""
OVERRIDDEN_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", *MALLOC_SETTINGS)
"""Variables whose place the protocol takes."""

WORKER_VARIABLE = "ESRBENCH_WORKER"
"""Set in workers, so that a script that they import does not start a run of its own."""


def read_system(path: str, *, root: Path = Path("/")) -> str | None:
    """Text of a file in which the kernel tells something, or None where it does not.

    Args:
        path: without a leading slash, such as ``proc/cpuinfo``.
        root: folder that holds ``proc`` and ``sys``.
    """
    try:
        return (root / path).read_text(errors="replace").strip()
    except (OSError, ValueError):
        return None


def cpu_name(*, root: Path = Path("/")) -> str:
    """Model name of the processor, or its architecture where the system does not tell."""
    text = read_system("proc/cpuinfo", root=root) or ""
    match = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return match.group(1).strip() if match else platform.processor() or platform.machine()


def cpu_model(*, root: Path = Path("/")) -> str | None:
    """Family, model and stepping of the processor, or None where the system does not tell.

    Virtual machines give several generations the same name, such as ``AMD EPYC``.
    """
    text = read_system("proc/cpuinfo", root=root) or ""
    found = []
    for field in ("cpu family", "model", "stepping"):
        match = re.search(rf"^{field}\s*:\s*(\d+)\s*$", text, re.MULTILINE)
        if match:
            found.append(f"{field.removeprefix('cpu ')} {match.group(1)}")
    return ", ".join(found) or None


def available_cpus() -> tuple[int, ...]:
    """Numbers of the logical CPUs this process may run on; empty where there is no such notion."""
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return ()


def cpus_available() -> int:
    """How many logical CPUs this process may run on."""
    return len(available_cpus()) or os.cpu_count() or 1


def allocator(*, root: Path = Path("/")) -> str | None:
    """What serves ``malloc``: ``glibc 2.36``, a library of ``ALLOCATORS``, or None if unknown.

    A library that is preloaded shows in this process, but workers do not inherit it.
    """
    mapped = read_system("proc/self/maps", root=root) or ""
    preloaded = os.environ.get("LD_PRELOAD", "")
    for name in ALLOCATORS:
        if name not in preloaded and re.search(rf"/[^/\n]*{name}[^/\n]*$", mapped, re.MULTILINE):
            return name.removeprefix("ld-")
    found = re.search(r"/(?:libc\.so\.6|libc-\d)", mapped)
    return f"glibc {platform.libc_ver()[1]}".strip() if found else None


def malloc_settings(*, root: Path = Path("/")) -> dict[str, str]:
    """The ``MALLOC_SETTINGS`` in force in workers, or the allocator that ignores them."""
    name = allocator(root=root)
    if name is None:
        return {}
    return dict(MALLOC_SETTINGS) if name.startswith("glibc") else {"allocator": name}


def memory_bytes() -> int | None:
    """Physical memory, or None where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


@cache
def own_packages() -> dict[str, Path]:
    """Folders of esrbench's own packages, by name.

    The folder they stand in may be a checkout, or an environment with much more in it.

    Raises:
        UsageError: the installation lacks one.
    """
    folders: dict[str, Path] = {}
    for name in ("esrbench", "esrbench_models"):
        spec = find_spec(name)
        if spec is None or not spec.submodule_search_locations:
            message = f"the package {name}, which comes with esrbench, is not installed"
            raise UsageError(message, advice="Install esrbench again.")
        folders[name] = Path(spec.submodule_search_locations[0]).resolve()
    return folders


@cache
def package_version(name: str) -> str:
    """Installed version of a distribution, or ``absent``."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "absent"


def disturbing_variables(variables: Mapping[str, str]) -> dict[str, str]:
    """The set variables that workers inherit and that change what is measured."""
    return {
        key: value
        for key, value in sorted(variables.items())
        if value
        and key not in OVERRIDDEN_VARIABLES
        and any(re.fullmatch(pattern, key) for pattern in DISTURBING_VARIABLES)
    }


def describe_environment(
    *,
    threads: int,
    accelerator: str | None,
    libraries: Mapping[str, str] | None = None,
    tier: Tier = "subprocess",
) -> Environment:
    """The environment of a run.

    Args:
        threads: CPU threads that forwards use.
        accelerator: name of the GPU, or None on CPU.
        libraries: versions of the GPU's libraries, by name.
        tier: of the workers' sandbox.
    """
    return Environment(
        python=platform.python_version(),
        esrbench=__version__,
        packages={name: package_version(name) for name in RECORDED_PACKAGES},
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        cpu=cpu_name(),
        cpu_model=cpu_model(),
        cpus_available=cpus_available(),
        threads=threads,
        memory_bytes=memory_bytes(),
        accelerator=accelerator,
        malloc=malloc_settings(),
        libraries=dict(libraries or {}),
        variables=disturbing_variables(os.environ),
        isolation=tier,
    )

"""What the machine is, and which sandboxes and sensors work on it."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from typing import TYPE_CHECKING

import torch

from esrbench.environment import cpu_name, cpus_available, package_version
from esrbench.probes.telemetry import watch
from esrbench.sandbox.tiers import SANDBOXES, obstacle
from gpu_steps.day import reason

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpu_steps.day import Day, Found

ESRBENCH = "from esrbench.cli.app import main; main()"
PACKAGES = ("numpy", "opencv-python-headless", "onnxruntime", "onnxruntime-gpu", "nvidia-ml-py")


def measure(day: Day) -> Iterator[Found]:
    """One row a fact."""
    for name, value in _facts(day):
        yield "machine", {"fact": name, "value": value}
    finished = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", ESRBENCH, "doctor", "--device", day.device, "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        checks = json.loads(finished.stdout)["checks"]
    except (json.JSONDecodeError, KeyError):
        last = finished.stderr.strip().splitlines()[-1:] or ["no output"]
        checks = [{"name": "doctor", "state": "failed", "finding": last[0]}]
    for check in checks:
        yield "doctor", {key: check[key] for key in ("name", "state", "finding")}


def _facts(day: Day) -> Iterator[tuple[str, object]]:
    yield "Python", platform.python_version()
    yield "system", f"{platform.system()} {platform.release()}"
    yield "CPU", f"{cpu_name()}, {cpus_available()} usable"
    yield "torch", torch.__version__
    for name in PACKAGES:
        yield name, package_version(name)
    for tier in SANDBOXES:
        found = obstacle(tier)
        yield f"sandbox {tier}", "works" if found is None else found.reason
    if day.device == "cuda":
        yield from _gpu()


def _gpu() -> Iterator[tuple[str, object]]:
    properties = torch.cuda.get_device_properties(torch.cuda.current_device())
    yield "GPU", f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB"
    yield "capability", f"{properties.major}.{properties.minor}"
    yield "CUDA", torch.version.cuda
    yield "cuDNN", torch.backends.cudnn.version()
    monitor = watch((), str(properties.uuid))
    yield "NVML and PyTorch agree on the GPU", monitor.read().gpu is not None
    try:
        yield "sensors", monitor.read().gpu
    except Exception as error:  # noqa: BLE001 - a driver may fail in any way
        yield "sensors", reason(error)

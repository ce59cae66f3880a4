"""Checks of the GPU, by PyTorch and NVML; written from NVML's documentation."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from esrbench.doctor.check import judged, unknown
from esrbench.plaintext import plural
from esrbench.probes.telemetry import PROCESS_KINDS, THROTTLING, load_nvml, open_sensors
from esrbench.records import Diagnosis

if TYPE_CHECKING:
    from collections.abc import Iterator

    from esrbench.doctor.check import Machine
    from esrbench.probes.telemetry import GpuSensors

NAME = "GPU"


def check_gpu(machine: Machine) -> Iterator[Diagnosis]:
    """All checks of the GPU that PyTorch would run on.

    A single line where there is none, or where nothing is to run on it.
    """
    import torch

    if not torch.cuda.is_available():
        build = torch.version.cuda
        which = f"a build for CUDA {build}" if build else "a build without CUDA"
        finding = f"no CUDA device is available to PyTorch {torch.__version__}, {which}"
        if machine.device == "cpu":
            yield unknown(NAME, f"{finding}; not asked for")
            return
        advice = (
            "Check the driver with nvidia-smi and CUDA_VISIBLE_DEVICES."
            if build
            else "Install a CUDA build of the pinned torch version, or use --device cpu."
        )
        yield Diagnosis(name=NAME, state="problem", finding=finding, advice=advice)
        return
    count = torch.cuda.device_count()
    if machine.gpu >= count:
        finding = f"there is no GPU {machine.gpu}: PyTorch sees {count}, numbered from 0"
        advice = "Name another, or check CUDA_VISIBLE_DEVICES."
        yield Diagnosis(name=NAME, state="problem", finding=finding, advice=advice)
        return
    properties = torch.cuda.get_device_properties(machine.gpu)
    finding = (
        f"{properties.name}, number {machine.gpu} of {count}, "
        f"{properties.total_memory / 2**30:.0f} GiB, CUDA {torch.version.cuda}, "
        f"cuDNN {torch.backends.cudnn.version()}"  # type: ignore[no-untyped-call]
    )
    if machine.device != "cuda":
        yield judged(NAME, f"{finding}; not asked for")
        return
    yield judged(NAME, finding)
    yield from check_nvml(machine, load_nvml(), str(properties.uuid))


def check_nvml(machine: Machine, nvml: Any | None, uuid: str) -> Iterator[Diagnosis]:
    """What NVML tells of a GPU.

    Args:
        machine: whose process is not counted among the GPU's.
        nvml: the module ``pynvml``, or None where it is not installed.
        uuid: of the GPU, as PyTorch gives it.
    """
    name = "NVML"
    unwatched = "clocks, power, heat and throttling of the GPU will not be recorded"
    if nvml is None:
        finding = f"pynvml is not installed: {unwatched}"
        yield judged(name, finding, "pip install 'esrbench[cuda]'")
        return
    gpu = open_sensors(nvml, uuid)
    if gpu is None:
        finding = f"the driver does not answer for this GPU: {unwatched}"
        yield judged(name, finding, "Check that nvidia-smi works here and lists the GPU.")
        return
    driver = "not told"
    with suppress(nvml.NVMLError):
        driver = nvml.nvmlSystemGetDriverVersion()
    yield judged(name, f"driver {driver}")
    yield _others(gpu, machine.pid)
    for check in (_throttling, _clocks, _power, _persistence, _partitions, _ecc):
        yield check(gpu)


def _others(gpu: GpuSensors, pid: int) -> Diagnosis:
    """Other processes on the GPU."""
    name = "GPU processes"
    found = [gpu.ask(f"{kind}RunningProcesses") for kind in PROCESS_KINDS]
    if all(processes is None for processes in found):
        return unknown(name, "the driver does not tell them")
    pids = {process.pid for processes in found for process in processes or ()} - {pid}
    use = gpu.ask("UtilizationRates")
    busy = f", busy {use.gpu} % of the time" if use is not None else ""
    finding = f"{plural(len(pids), 'other')}{busy}"
    advice = "End them, or take another GPU by CUDA_VISIBLE_DEVICES."
    return judged(name, finding, advice, fine=not pids)


def _throttling(gpu: GpuSensors) -> Diagnosis:
    """Why clocks are lowered now."""
    name = "GPU throttling"
    found = gpu.reasons()
    if found is None:
        return unknown(name, "the driver does not tell it")
    reasons = sorted(found & THROTTLING)
    advice = "Cool the GPU or raise its power limit; lock its clocks below what it can hold."
    return judged(name, ", ".join(reasons) or "none now", advice, fine=not reasons)


def _clocks(gpu: GpuSensors) -> Diagnosis:
    """SM clock now and at most; NVML has no question for locked clocks."""
    name = "GPU clocks"
    now, most = (gpu.ask(each, of=gpu.nvml.NVML_CLOCK_SM) for each in ("ClockInfo", "MaxClockInfo"))
    if now is None or most is None:
        return unknown(name, "the driver does not tell them")
    return Diagnosis(
        name=name,
        state="unknown",
        finding=f"SM {now} MHz now, {most} MHz at most; whether they are locked is not told",
        advice=f"Lock them below what heat and power allow, such as: sudo nvidia-smi "
        f"--lock-gpu-clocks={most * 3 // 4}",
    )


def _power(gpu: GpuSensors) -> Diagnosis:
    """Whether the power limit was lowered."""
    name = "GPU power limit"
    limit, usual = gpu.ask("EnforcedPowerLimit"), gpu.ask("PowerManagementDefaultLimit")
    if limit is None:
        return unknown(name, "the driver does not tell it")
    finding = f"{limit / 1e3:.0f} W"
    if usual is None or limit >= usual:
        return judged(name, finding)
    finding += f", by default {usual / 1e3:.0f} W"
    return judged(name, finding, f"sudo nvidia-smi --power-limit={usual / 1e3:.0f}")


def _persistence(gpu: GpuSensors) -> Diagnosis:
    """Whether the driver stays loaded between processes."""
    on = gpu.ask("PersistenceMode")
    if on is None:
        return unknown("GPU persistence", "the driver does not tell it")
    off = "off: the driver starts again with every process, and settings are lost"
    advice = "sudo nvidia-smi --persistence-mode=1"
    return judged("GPU persistence", "on" if on else off, advice, fine=bool(on))


def _partitions(gpu: GpuSensors) -> Diagnosis:
    """Whether the GPU is divided."""
    modes = gpu.ask("MigMode")
    if modes is None:
        return unknown("GPU partitions (MIG)", "the driver tells of none")
    on = "on: figures are those of a part, whose neighbours share power and clocks"
    advice = "Compare only with runs on an equal part, or switch it off."
    return judged("GPU partitions (MIG)", on if modes[0] else "off", advice, fine=not modes[0])


def _ecc(gpu: GpuSensors) -> Diagnosis:
    """Whether memory is checked for errors, which may cost bandwidth."""
    modes = gpu.ask("EccMode")
    if modes is None:
        return unknown("GPU ECC", "the driver tells of none")
    finding = "on" if modes[0] else "off"
    return judged("GPU ECC", f"{finding}; it counts when GPUs are compared")

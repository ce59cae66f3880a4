"""Checks of the GPU, by PyTorch and NVML; written from NVML's documentation."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from esrbench.doctor.check import Diagnosis, judged, unknown
from esrbench.probes.telemetry import THROTTLING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from esrbench.doctor.check import Machine

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
    try:
        nvml = import_module("pynvml")
    except ImportError:
        nvml = None
    yield from check_nvml(machine, nvml, str(properties.uuid))


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
        advice = "pip install 'esrbench[cuda]'"
        yield judged(name, finding, advice)
        return
    gpu = _open(nvml, uuid)
    if gpu is None:
        finding = f"the driver does not answer for this GPU: {unwatched}"
        advice = "Check that nvidia-smi works here and lists the GPU."
        yield judged(name, finding, advice)
        return
    driver = gpu.ask(nvml.nvmlSystemGetDriverVersion)
    yield judged(name, f"driver {driver or 'not told'}")
    yield gpu.others(machine.pid)
    yield gpu.throttling()
    yield gpu.clocks()
    yield gpu.power()
    yield gpu.persistence()
    yield gpu.mig()
    yield gpu.ecc()


def _open(nvml: Any, uuid: str) -> _Gpu | None:
    bare = uuid.removeprefix("GPU-").removeprefix("MIG-")
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:
        return None
    for kind in ("GPU", "MIG"):
        try:
            return _Gpu(nvml, nvml.nvmlDeviceGetHandleByUUID(f"{kind}-{bare}"))
        except nvml.NVMLError:
            continue
    return None


class _Gpu:
    """One GPU as NVML sees it."""

    def __init__(self, nvml: Any, handle: Any) -> None:
        self.nvml = nvml
        self.handle = handle

    def ask(self, question: Callable[..., Any], *arguments: Any) -> Any:
        """An answer of NVML's, or None where the driver or GPU has none."""
        try:
            return question(*arguments)
        except self.nvml.NVMLError:
            return None

    def others(self, pid: int) -> Diagnosis:
        """Other processes on the GPU."""
        name = "GPU processes"
        kinds = (
            self.nvml.nvmlDeviceGetComputeRunningProcesses,
            self.nvml.nvmlDeviceGetGraphicsRunningProcesses,
        )
        found = [self.ask(kind, self.handle) for kind in kinds]
        if all(processes is None for processes in found):
            return unknown(name, "the driver does not tell them")
        pids = {process.pid for processes in found for process in processes or ()} - {pid}
        use = self.ask(self.nvml.nvmlDeviceGetUtilizationRates, self.handle)
        busy = f", busy {use.gpu} % of the time" if use is not None else ""
        finding = f"{len(pids)} others{busy}"
        advice = "End them, or take another GPU by CUDA_VISIBLE_DEVICES."
        return judged(name, finding, advice, fine=not pids)

    def throttling(self) -> Diagnosis:
        """Why clocks are lowered now."""
        name = "GPU throttling"
        bits = self.ask(self.nvml.nvmlDeviceGetCurrentClocksEventReasons, self.handle)
        if bits is None:
            return unknown(name, "the driver does not tell it")
        prefix = "nvmlClocksEventReason"
        reasons = [
            each for each in sorted(THROTTLING) if bits & getattr(self.nvml, f"{prefix}{each}", 0)
        ]
        advice = "Cool the GPU or raise its power limit; lock its clocks below what it can hold."
        return judged(name, ", ".join(reasons) or "none now", advice, fine=not reasons)

    def clocks(self) -> Diagnosis:
        """SM clock now and at most; NVML has no question for locked clocks."""
        name = "GPU clocks"
        now = self.ask(self.nvml.nvmlDeviceGetClockInfo, self.handle, self.nvml.NVML_CLOCK_SM)
        most = self.ask(self.nvml.nvmlDeviceGetMaxClockInfo, self.handle, self.nvml.NVML_CLOCK_SM)
        if now is None or most is None:
            return unknown(name, "the driver does not tell them")
        return Diagnosis(
            name=name,
            state="unknown",
            finding=f"SM {now} MHz now, {most} MHz at most; whether they are locked is not told",
            advice=f"Lock them below what heat and power allow, such as: sudo nvidia-smi "
            f"--lock-gpu-clocks={most * 3 // 4}",
        )

    def power(self) -> Diagnosis:
        """Whether the power limit was lowered."""
        limit = self.ask(self.nvml.nvmlDeviceGetEnforcedPowerLimit, self.handle)
        usual = self.ask(self.nvml.nvmlDeviceGetPowerManagementDefaultLimit, self.handle)
        if limit is None:
            return unknown("GPU power limit", "the driver does not tell it")
        finding, advice = f"{limit / 1e3:.0f} W", None
        if usual is not None and limit < usual:
            finding += f", by default {usual / 1e3:.0f} W"
            advice = f"sudo nvidia-smi --power-limit={usual / 1e3:.0f}"
        return judged("GPU power limit", finding, advice)

    def persistence(self) -> Diagnosis:
        """Whether the driver stays loaded between processes."""
        on = self.ask(self.nvml.nvmlDeviceGetPersistenceMode, self.handle)
        if on is None:
            return unknown("GPU persistence", "the driver does not tell it")
        off = "off: the driver starts anew with every process, and settings are lost"
        advice = "sudo nvidia-smi --persistence-mode=1"
        return judged("GPU persistence", "on" if on else off, advice, fine=bool(on))

    def mig(self) -> Diagnosis:
        """Whether the GPU is divided."""
        modes = self.ask(self.nvml.nvmlDeviceGetMigMode, self.handle)
        if modes is None:
            return unknown("GPU partitions (MIG)", "the driver tells of none")
        on = "on: figures are those of a part, whose neighbours share power and clocks"
        advice = "Compare only with runs on an equal part, or switch it off."
        finding = on if modes[0] else "off"
        return judged("GPU partitions (MIG)", finding, advice, fine=not modes[0])

    def ecc(self) -> Diagnosis:
        """Whether memory is checked for errors, which may cost bandwidth."""
        modes = self.ask(self.nvml.nvmlDeviceGetEccMode, self.handle)
        if modes is None:
            return unknown("GPU ECC", "the driver tells of none")
        finding = "on" if modes[0] else "off"
        return judged("GPU ECC", f"{finding}; it counts when GPUs are compared")

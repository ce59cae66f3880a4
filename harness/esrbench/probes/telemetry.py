"""State and load of the machine while a network is timed.

Counters are read before and after the timed region, never within it. The GPU's part needs
``nvidia-ml-py`` (the ``cuda`` extra) and follows NVML's documentation.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from esrbench.records import Conditions

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

T = TypeVar("T")

STAT_FILE = Path("/proc/stat")

SHORTEST_SECONDS = 0.4
"""The kernel counts CPU time in steps of 10 ms, so a share over less time could be off by over 5
%."""

PROCESS_KINDS = ("Compute", "Graphics")
"""NVML's functions for compute processes and for graphics processes on a GPU."""

REASON_PREFIX = "nvmlClocksEventReason"

NOT_REASONS = frozenset({"None", "All", "GpuIdle", "UserDefinedClocks"})
"""NVML's bits that are not reasons for lowered clocks: sums, the older name of
ApplicationsClocksSetting, and an idle GPU, which readings outside the timed region always show."""

THROTTLING = frozenset(
    {
        "SwPowerCap",
        "HwSlowdown",
        "SyncBoost",
        "SwThermalSlowdown",
        "HwThermalSlowdown",
        "HwPowerBrakeSlowdown",
    }
)
"""Temporary reasons: power, heat, the power supply, and other GPUs of a group. Rounds under them
cannot be compared. ApplicationsClocksSetting and DisplayClockSetting are not among them: an
administrator or a display fixed these clocks, and they are the same for every round.
"""

REASON_COUNTERS = {
    "SwPowerCap": "NVML_FI_DEV_CLOCKS_EVENT_REASON_SW_POWER_CAP",
    "SyncBoost": "NVML_FI_DEV_CLOCKS_EVENT_REASON_SYNC_BOOST",
    "SwThermalSlowdown": "NVML_FI_DEV_CLOCKS_EVENT_REASON_SW_THERM_SLOWDOWN",
    "HwThermalSlowdown": "NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_THERM_SLOWDOWN",
    "HwPowerBrakeSlowdown": "NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_POWER_BRAKE_SLOWDOWN",
}
"""Fields in which NVML adds up the time spent under a reason."""


@dataclass(frozen=True, slots=True)
class CpuTicks:
    """Time of a set of CPUs since boot, in the kernel's ticks.

    Attributes:
        busy: time in processes, the kernel and interrupts.
        stolen: time taken by the hypervisor.
    """

    busy: int
    stolen: int


@dataclass(frozen=True, slots=True)
class GpuReading:
    """State of a GPU; a value is None if the GPU does not report it.

    Attributes:
        clock_hz: clock of the SMs.
        temperature_celsius: temperature of the GPU.
        power_watts: power of the board.
        reasons: why clocks are lowered now, by NVML's names.
        throttled_time: time spent so far under each reason, in NVML's unit.
        processes: ids of compute processes on the GPU.
    """

    clock_hz: float | None
    temperature_celsius: float | None
    power_watts: float | None
    reasons: frozenset[str]
    throttled_time: dict[str, int]
    processes: frozenset[int] | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """Counters at one moment.

    Attributes:
        seconds: time of the monotonic clock.
        own_seconds: CPU time of the processes that take part in the measurement.
        ticks: ticks of the CPUs that forwards run on, or None.
        gpu: state of the GPU, or None.
        foreign_processes: as in ``Conditions``.
    """

    seconds: float
    own_seconds: float
    ticks: CpuTicks | None
    gpu: GpuReading | None
    foreign_processes: int | None = None


def parse_ticks(text: str, cpus: Collection[int]) -> CpuTicks | None:
    """Ticks of some CPUs from the text of ``/proc/stat`` (proc(5)).

    User, nice, system, irq and softirq time count as busy; user time includes the time of guests.

    Args:
        text: content of the file.
        cpus: numbers of the CPUs.

    Returns:
        None if a CPU is missing or the text has another form.
    """
    rows = {parts[0]: parts[1:] for parts in map(str.split, text.splitlines()) if parts}
    busy = stolen = 0
    try:
        for cpu in cpus:
            user, nice, system, _, _, irq, softirq, steal = map(int, rows[f"cpu{cpu}"][:8])
            busy += user + nice + system + irq + softirq
            stolen += steal
    except (KeyError, ValueError):
        return None
    return CpuTicks(busy, stolen)


class GpuSensors:
    """NVML's view of one GPU.

    Args:
        nvml: the module ``pynvml``, initialised.
        handle: NVML's handle of the GPU.
    """

    def __init__(self, nvml: Any, handle: Any) -> None:
        self.nvml = nvml
        self.handle = handle
        self._names = {
            getattr(nvml, name): name.removeprefix(REASON_PREFIX)
            for name in dir(nvml)
            if name.startswith(REASON_PREFIX)
            and name.removeprefix(REASON_PREFIX) not in NOT_REASONS
        }
        self._fields = {
            reason: getattr(nvml, field)
            for reason, field in REASON_COUNTERS.items()
            if hasattr(nvml, field)
        }

    def read(self) -> GpuReading:
        """State of the GPU now; values that the driver does not report are None or missing."""
        nvml = self.nvml
        megahertz = self.ask("ClockInfo", of=nvml.NVML_CLOCK_SM)
        celsius = self.ask("TemperatureV", "Temperature", of=nvml.NVML_TEMPERATURE_GPU)
        milliwatts = self.ask("PowerUsage")
        return GpuReading(
            clock_hz=None if megahertz is None else megahertz * 1e6,
            temperature_celsius=None if celsius is None else float(celsius),
            power_watts=None if milliwatts is None else milliwatts / 1e3,
            reasons=self.reasons() or frozenset(),
            throttled_time=self._throttled_time(),
            processes=self._computing(),
        )

    def _computing(self) -> frozenset[int] | None:
        """Processes that compute and do not draw; programs of a desktop always do both."""
        computing, drawing = (self.ask(f"{kind}RunningProcesses") for kind in PROCESS_KINDS)
        if computing is None:
            return None
        return frozenset({each.pid for each in computing} - {each.pid for each in drawing or ()})

    def reasons(self) -> frozenset[str] | None:
        """Why clocks are lowered now, by NVML's names; None if the driver does not say."""
        bits = self.ask("CurrentClocksEventReasons", "CurrentClocksThrottleReasons")
        if bits is None:
            return None
        return frozenset(name for bit, name in self._names.items() if bits & bit)

    def _throttled_time(self) -> dict[str, int]:
        values = self.ask("FieldValues", of=list(self._fields.values()))
        return {
            reason: int(value.value.ullVal)
            for reason, value in zip(self._fields, values or (), strict=False)
            if value.nvmlReturn == self.nvml.NVML_SUCCESS
        }

    def ask(self, *names: str, of: Any = None) -> Any:
        """Ask NVML about this GPU; None if neither driver nor GPU has an answer.

        Args:
            names: functions, without ``nvmlDeviceGet``. The first that answers counts. Newer ones
                come first, because older drivers do not have them.
            of: second argument of these functions, if they have one.
        """
        arguments = [self.handle] if of is None else [self.handle, of]
        for name in names:
            try:
                return getattr(self.nvml, f"nvmlDeviceGet{name}")(*arguments)
            except (self.nvml.NVMLError, AttributeError):
                continue
        return None


def open_sensors(nvml: Any, uuid: str) -> GpuSensors | None:
    """Sensors of the GPU that PyTorch runs on.

    PyTorch numbers only the GPUs of ``CUDA_VISIBLE_DEVICES``, NVML numbers all of them, so the
    GPU is found by its UUID.

    Args:
        nvml: the module ``pynvml``.
        uuid: UUID from PyTorch: hexadecimal groups without NVML's ``GPU-`` or ``MIG-``.

    Returns:
        None if there is no driver, or it does not know this GPU.
    """
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:
        return None
    bare = uuid.removeprefix("GPU-").removeprefix("MIG-")
    for kind in ("GPU", "MIG"):
        try:
            return GpuSensors(nvml, nvml.nvmlDeviceGetHandleByUUID(f"{kind}-{bare}"))
        except nvml.NVMLError:
            continue
    return None


def this_process() -> tuple[int]:
    """The id of this process."""
    return (os.getpid(),)


class Monitor:
    """Reads the machine's counters and reports what happened between two readings.

    Args:
        cpus: numbers of the CPUs that forwards run on.
        sensors: sensors of the GPU, or None.
        own_seconds: returns the CPU time so far of the processes that take part; by default, of
            this process.
        own_processes: returns their ids; by default, the id of this process.
        stat_file: file with the kernel's CPU times.
    """

    def __init__(
        self,
        cpus: Collection[int],
        sensors: GpuSensors | None = None,
        *,
        own_seconds: Callable[[], float] = time.process_time,
        own_processes: Callable[[], Collection[int]] = this_process,
        stat_file: Path = STAT_FILE,
    ) -> None:
        self._cpus = tuple(cpus)
        self._sensors = sensors
        self._own_seconds = own_seconds
        self._own_processes = own_processes
        self._stat_file = stat_file

    def read(self) -> Reading:
        """Counters now."""
        try:
            ticks = parse_ticks(self._stat_file.read_text(), self._cpus) if self._cpus else None
        except OSError:
            ticks = None
        gpu = self._sensors.read() if self._sensors is not None else None
        return Reading(
            seconds=time.monotonic(),
            own_seconds=self._own_seconds(),
            ticks=ticks,
            gpu=gpu,
            foreign_processes=self._foreign(gpu.processes) if gpu and gpu.processes else None,
        )

    def _foreign(self, listed: frozenset[int]) -> int | None:
        own = frozenset(self._own_processes())
        return len(listed - own) if listed & own else None

    def conditions(self, first: Reading, last: Reading, *, repeats: int = 0) -> Conditions:
        """Conditions between two readings.

        CPU shares are of the time of all CPUs that forwards run on. They are None if the readings
        are less than ``SHORTEST_SECONDS`` apart.

        Args:
            first: reading before the timed region.
            last: reading after it.
            repeats: times the region was timed again because the GPU throttled.
        """
        elapsed = max(last.seconds - first.seconds, 0.0)
        other_load = steal = None
        if first.ticks is not None and last.ticks is not None and elapsed >= SHORTEST_SECONDS:
            ticks = os.sysconf("SC_CLK_TCK") * elapsed * len(self._cpus)
            own = (last.own_seconds - first.own_seconds) / (elapsed * len(self._cpus))
            other_load = max((last.ticks.busy - first.ticks.busy) / ticks - own, 0.0)
            steal = max((last.ticks.stolen - first.ticks.stolen) / ticks, 0.0)
        readings = [reading.gpu for reading in (first, last) if reading.gpu is not None]
        clocks = [gpu.clock_hz for gpu in readings if gpu.clock_hz is not None]
        celsius = [g.temperature_celsius for g in readings if g.temperature_celsius is not None]
        foreign = [n for n in (first.foreign_processes, last.foreign_processes) if n is not None]
        watts = [gpu.power_watts for gpu in readings if gpu.power_watts is not None]
        return Conditions(
            seconds=elapsed,
            other_load=other_load,
            steal=steal,
            clock_hz=(min(clocks), max(clocks)) if clocks else None,
            temperature_celsius=max(celsius, default=None),
            power_watts=max(watts, default=None),
            throttle_reasons=tuple(sorted(_reasons(first.gpu, last.gpu))),
            repeats=repeats,
            foreign_processes=max(foreign, default=None),
        )


def _reasons(first: GpuReading | None, last: GpuReading | None) -> set[str]:
    """Reasons seen at one of the readings, and those whose time grew between them."""
    if first is None or last is None:
        return set()
    grown = {
        reason
        for reason, spent in last.throttled_time.items()
        if spent > first.throttled_time.get(reason, spent)
    }
    return grown | first.reasons | last.reasons


def throttled(conditions: Conditions) -> bool:
    """Whether the GPU's clocks were lowered for a temporary reason (``THROTTLING``)."""
    return not THROTTLING.isdisjoint(conditions.throttle_reasons)


def watch(
    cpus: Collection[int],
    gpu_uuid: str | None,
    *,
    own_seconds: Callable[[], float] = time.process_time,
    own_processes: Callable[[], Collection[int]] = this_process,
) -> Monitor:
    """A monitor for a measurement in this process or another.

    Args:
        cpus: CPUs of the measurement; other load is the load on these CPUs.
        gpu_uuid: UUID of its GPU from PyTorch, or None.
        own_seconds: as in ``Monitor``.
        own_processes: as in ``Monitor``.
    """
    nvml = load_nvml() if gpu_uuid else None
    sensors = open_sensors(nvml, gpu_uuid) if nvml and gpu_uuid else None
    return Monitor(cpus, sensors, own_seconds=own_seconds, own_processes=own_processes)


def load_nvml() -> Any | None:
    """The module ``pynvml``, or None if it is not installed."""
    try:
        return import_module("pynvml")
    except ImportError:
        return None


def measure_under_watch(
    measure: Callable[[], T], monitor: Monitor, *, throttle_repeats: int
) -> tuple[T, Conditions]:
    """Time one input, and time it again if the GPU throttled meanwhile.

    Args:
        measure: times the input.
        monitor: watches it.
        throttle_repeats: most repetitions.

    Returns:
        The first timing without throttling, or the last of all, and its conditions.
        Their ``throttle_reasons`` shows whether it was throttled, and ``repeats`` is the number of
        dropped timings.
    """
    repeats = 0
    while True:
        first = monitor.read()
        timed = measure()
        conditions = monitor.conditions(first, monitor.read(), repeats=repeats)
        if repeats >= throttle_repeats or not throttled(conditions):
            return timed, conditions
        repeats += 1

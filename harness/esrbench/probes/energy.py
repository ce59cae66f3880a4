"""Measure joules per image with NVML's energy counter of a GPU or RAPL's of a processor.

Energy is never estimated from a power limit. The evaluator reads the counters, out of reach of a
network. They change in steps, every 20 to 100 ms on a GPU. So a window counts from their first
change to their last.
"""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from esrbench.errors import MeasurementError
from esrbench.plaintext import plural
from esrbench.probes.telemetry import load_nvml, open_sensors
from esrbench.records import Absent, Energy, EnergyWindow

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    Pixels = npt.NDArray[np.uint8]

POWERCAP: Final = Path("/sys/class/powercap")
FEWEST_UPDATES: Final = 20
"""Number of counter changes in a window of rest, in which the counter is read all the time. A
window of work is at least as long, so its ends are off by 5 % at most."""
FEWEST_IMAGES: Final = 3
"""Least number of images in a window of work, even if they take long; at least two of them count.
"""
COOLING_SECONDS: Final = 1.0
"""Pause between work and rest, in which power falls."""
WARM_UP: Final = 3
REST_SECONDS: Final = 0.01
"""Pause between two readings of a counter while nothing runs."""


@dataclass(frozen=True, slots=True)
class CounterSample:
    """A counter at one time.

    Attributes:
        seconds: time of a monotonic clock.
        counts: count of each domain, in the counter's unit.
        images: number of images delivered so far.
    """

    seconds: float
    counts: tuple[int, ...]
    images: int = 0


def energy_window(
    samples: Sequence[CounterSample],
    unit: float,
    ranges: Sequence[int | None],
    *,
    fewest: int = 1,
) -> EnergyWindow:
    """Energy, time and images between a counter's first change and its last.

    Args:
        samples: samples in order; between two of them each domain wraps at most once.
        unit: joules per count.
        ranges: number of counts of each domain before it starts from 0 again; None for no limit.
        fewest: least number of changes after the first one.

    Raises:
        MeasurementError: the counter changed too rarely, or went backwards.
    """
    pairs = list(itertools.pairwise(samples))
    changes = [index for index, (a, b) in enumerate(pairs, start=1) if a.counts != b.counts]
    if len(changes) <= fewest:
        message = f"the energy counter changed only {plural(len(changes), 'time')} in a window"
        raise MeasurementError(
            message, advice=f"Make windows longer: {fewest + 1} changes are needed."
        )
    first, last = changes[0], changes[-1]
    counted = 0
    for before, after in pairs[first:last]:
        for a, b, size in zip(before.counts, after.counts, ranges, strict=True):
            if b < a and size is None:
                message = "the energy counter went backwards"
                raise MeasurementError(message, advice="Measure again; was the driver reloaded?")
            counted += b - a if b >= a else b - a + (size or 0)
    start, end = samples[first], samples[last]
    return EnergyWindow(
        seconds=end.seconds - start.seconds,
        joules=counted * unit,
        images=end.images - start.images,
        updates=len(changes) - 1,
    )


class NvmlCounter:
    """NVML's energy counter of one GPU, in millijoules since the driver was loaded.

    Args:
        nvml: the module ``pynvml``.
        handle: handle of the GPU.

    Raises:
        NVMLError: from ``nvml``, if the GPU has no such counter; it is read once here.
    """

    kind: Final = "nvml"
    unit = 1e-3
    ranges: tuple[int | None, ...] = (None,)

    def __init__(self, nvml: Any, handle: Any) -> None:
        self._nvml, self._handle = nvml, handle
        name = nvml.nvmlDeviceGetName(handle)
        self.domains: tuple[str, ...] = (name.decode() if isinstance(name, bytes) else name,)
        self.read()

    def read(self) -> tuple[int, ...]:
        """The count now."""
        return (int(self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle)),)


class RaplCounter:
    """RAPL's counters of all processors and their memory, in microjoules.

    Args:
        folder: folder of the kernel's power zones.

    Raises:
        OSError: there are no counters, or they cannot be read.
    """

    kind: Final = "rapl"
    unit = 1e-6

    def __init__(self, folder: Path) -> None:
        zones = {
            zone: (zone / "name").read_text().strip()
            for zone in sorted(folder.glob("intel-rapl:*"))
        }
        covered = {z: n for z, n in zones.items() if n.startswith("package") or n == "dram"}
        if not covered:
            message = f"{folder} has no power zone of a processor"
            raise FileNotFoundError(message)
        self.domains = tuple(covered.values())
        self._files = [zone / "energy_uj" for zone in covered]
        # A counter includes its largest value, so the number of values is one more.
        self.ranges: tuple[int | None, ...] = tuple(
            int((zone / "max_energy_range_uj").read_text()) + 1 for zone in covered
        )
        self.read()

    def read(self) -> tuple[int, ...]:
        """The counts now."""
        return tuple(int(file.read_text()) for file in self._files)


Counter = NvmlCounter | RaplCounter


def open_counter(*, gpu: bool, gpu_uuid: str | None = None) -> Counter | Absent:
    """The energy counter of the device that runs forwards, or why there is none.

    Args:
        gpu: whether the device is a GPU.
        gpu_uuid: UUID that the worker reports. Reporting another GPU has no advantage, because
            energy at idle power gives no figure.
    """
    if not gpu:
        try:
            return RaplCounter(POWERCAP)
        except PermissionError as error:
            reason = f"RAPL's counters cannot be read: {error.filename}: {error.strerror}"
            advice = "As root: `chmod o+r /sys/class/powercap/intel-rapl:*/energy_uj`."
            return Absent(kind="unavailable", reason=reason, advice=advice)
        except (OSError, ValueError) as error:
            reason = f"there are no counters of RAPL: {error}"
            advice = "Virtual machines and containers hide them: measure on the machine itself."
            return Absent(kind="unavailable", reason=reason, advice=advice)
    return _gpu_counter(gpu_uuid)


def _gpu_counter(gpu_uuid: str | None) -> NvmlCounter | Absent:
    nvml = load_nvml()
    if nvml is None:
        advice = "`pip install 'esrbench[cuda]'` installs it."
        return Absent(kind="unavailable", reason="nvidia-ml-py is not installed", advice=advice)
    sensors = None if gpu_uuid is None else open_sensors(nvml, gpu_uuid)
    if sensors is None:
        return Absent(kind="unavailable", reason="NVML does not know this GPU")
    try:
        return NvmlCounter(nvml, sensors.handle)
    except nvml.NVMLError as error:
        reason = f"this GPU has no energy counter: {error}"
        return Absent(kind="unavailable", reason=reason)


def measure_energy(
    upscale: Callable[[Pixels], object],
    lr: Pixels,
    counter: Counter,
    *,
    windows: int,
    window_seconds: float,
    idle_seconds: float,
    clock: Callable[[], float] = time.perf_counter,
    sleep: Callable[[float], None] = time.sleep,
) -> Energy:
    """Upscale one input repeatedly, in windows, with a window of rest before each.

    Args:
        upscale: makes one SR image and waits for it.
        lr: uint8 (H, W, 3) RGB. It is shifted by other rows and columns each time, so that a cache
            does not help.
        counter: counter of the device.
        windows: number of windows of work.
        window_seconds: length of each window of work.
        idle_seconds: length of the windows of rest.
        clock: returns seconds.
        sleep: waits for some seconds.

    Raises:
        MeasurementError: as in ``energy_window``; also what ``upscale`` raises.
    """
    images = 0

    def work() -> None:
        nonlocal images
        upscale(np.roll(lr, (images, images // len(lr)), axis=(0, 1)))
        images += 1

    def counts() -> tuple[int, ...]:
        try:
            return counter.read()
        except Exception as error:  # a driver may fail in any way
            message = f"the energy counter cannot be read: {error}"
            raise MeasurementError(message, advice="Measure again.") from error

    def watched(seconds: float, do: Callable[[], None], *, fewest: int) -> list[CounterSample]:
        start = clock()
        samples = [CounterSample(start, counts(), images)]
        while clock() - start < seconds or len(samples) <= fewest:
            do()
            samples.append(CounterSample(clock(), counts(), images))
        return samples

    cut = partial(energy_window, unit=counter.unit, ranges=counter.ranges)
    for _ in range(WARM_UP):
        work()
    idle, worked = [], []
    for _ in range(windows):
        sleep(COOLING_SECONDS)
        rest = watched(idle_seconds, lambda: sleep(REST_SECONDS), fewest=FEWEST_UPDATES)
        idle.append(cut(rest, fewest=FEWEST_UPDATES))
        worked.append(cut(watched(window_seconds, work, fewest=FEWEST_IMAGES)))
    return Energy(
        counter=counter.kind,
        domains=counter.domains,
        input_size=(lr.shape[0], lr.shape[1]),
        idle=tuple(idle),
        windows=tuple(worked),
    )

"""Energy of made-up counters by hand computation; those of NVML and RAPL as drivers offer them."""

from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from esrbench.errors import MeasurementError
from esrbench.metrics import METRICS, Findings
from esrbench.probes import energy
from esrbench.probes.energy import (
    CounterSample,
    NvmlCounter,
    RaplCounter,
    energy_window,
    measure_energy,
    open_counter,
)
from esrbench.records import Absent, Energy, EnergyWindow


def trace(seconds, *, watts, step, counter_step, range_=None, start=0.0, images=0.0):
    """Millijoules of a counter that changes every ``counter_step``, seen every ``step``."""
    samples = []
    for index in range(round(seconds / step) + 1):
        now = index * step
        told = start + watts * 1e3 * (now // counter_step * counter_step)
        count = int(told) if range_ is None else int(told) % range_
        samples.append(CounterSample(now, (count,), int(images * now)))
    return samples


def test_a_window_counts_from_the_first_change_to_the_last():
    seen = [
        CounterSample(seconds, (millijoules,), images)
        for seconds, millijoules, images in (
            *((0.0, 500, 0), (0.04, 500, 1), (0.08, 900, 2), (0.12, 900, 3)),
            *((0.16, 2100, 4), (0.20, 2100, 5), (0.28, 4900, 7), (0.32, 4900, 8)),
        )
    ]
    window = energy_window(seen, 1e-3, (None,))
    assert window.seconds == pytest.approx(0.20)
    assert window.joules == pytest.approx(4.0)
    assert (window.images, window.updates) == (5, 2)


@pytest.mark.parametrize("counter_step", [0.02, 0.1])
def test_constant_power_is_told_whatever_the_counter_s_step(counter_step):
    seen = trace(10, watts=384.5, step=1 / 235, counter_step=counter_step, images=235)
    assert energy_window(seen, 1e-3, (None,)).watts == pytest.approx(384.5, rel=2e-3)


def test_counters_that_wrap_are_counted_on():
    """65,536 counts at 100 W: a wrap every 0.66 s, fifteen of them."""
    seen = trace(10, watts=100, step=0.01, counter_step=0.01, range_=65_536, start=60_000)
    assert sum(b.counts < a.counts for a, b in pairwise(seen)) == 16
    assert energy_window(seen, 1e-3, (65_536,)).watts == pytest.approx(100, rel=1e-3)


def test_domains_are_added_and_wrap_each_by_itself():
    seen = [
        CounterSample(float(second), ((10 + 7 * second) % 20, 3 * second % 5))
        for second in range(1, 6)
    ]
    window = energy_window(seen, 1.0, (20, 5))
    assert (window.seconds, window.joules) == (3.0, 3 * (7 + 3))


@pytest.mark.parametrize(
    ("counts", "fewest", "said"),
    [
        ([1, 1, 1, 1], 1, "changed only 0 times"),
        ([1, 2, 2, 2], 1, "changed only 1 time in"),
        ([1, 2, 3, 4], 3, "changed only 3 times"),
        ([1, 2, 1, 3], 1, "went backwards"),
    ],
)
def test_a_counter_that_cannot_be_cut_is_refused(counts, fewest, said):
    seen = [CounterSample(float(second), (count,)) for second, count in enumerate(counts)]
    with pytest.raises(MeasurementError, match=said):
        energy_window(seen, 1.0, (None,), fewest=fewest)


class Machine:
    """A clock and a counter of a device that takes ``idle`` watts, and more while it works."""

    kind = "nvml"
    domains = ("made up",)
    unit = 1e-3

    def __init__(self, *, idle, joules_per_image, image_seconds, step=0.1, range_=None):
        self.now, self.joules = 0.0, 123.0
        self.idle, self.more, self.image_seconds = idle, joules_per_image, image_seconds
        self.step, self.ranges = step, (range_,)
        self.inputs = []
        self.told = 0.0

    def clock(self):
        return self.now

    def sleep(self, seconds, more=0.0):
        before = self.now // self.step
        self.now += seconds
        self.joules += self.idle * seconds + more
        if self.now // self.step != before:
            self.told = self.joules - self.idle * (self.now % self.step)

    def upscale(self, lr):
        self.inputs.append(lr.tobytes())
        self.sleep(self.image_seconds, self.more)

    def read(self):
        count = round(self.told * 1e3)
        return (count if self.ranges[0] is None else count % self.ranges[0],)

    def measure(self, windows=6):
        lr = np.random.default_rng(0).integers(0, 256, (8, 9, 3), np.uint8)
        return measure_energy(
            self.upscale,
            lr,
            self,
            windows=windows,
            window_seconds=10,
            idle_seconds=5,
            clock=self.clock,
            sleep=self.sleep,
        )


@pytest.mark.parametrize(
    ("machine", "joules"),
    [
        # As an H100 was measured with rfdn at 256x256: 79 W at rest, 1.30 J, 235 images a second.
        (Machine(idle=79, joules_per_image=1.30, image_seconds=1 / 235), 1.30),
        (Machine(idle=79, joules_per_image=1.30, image_seconds=1 / 235, range_=500_000), 1.30),
        # A processor that takes 4 s an image, by a counter that changes every millisecond.
        (Machine(idle=40, joules_per_image=300.0, image_seconds=4.0, step=1e-3), 300.0),
    ],
)
def test_joules_above_rest_are_found_again(machine, joules):
    found = machine.measure()
    assert len(found.windows) == len(found.idle) == 6
    assert all(each.images >= 2 for each in found.windows)
    value = METRICS["energy"].extract(Findings(energy=found))
    assert value.value == pytest.approx(joules, rel=0.01)
    assert value.interval.low <= value.value <= value.interval.high
    assert value.interval.confidence == pytest.approx(1 - 2 / 2**6)


def test_no_two_inputs_of_a_loop_are_alike():
    machine = Machine(idle=79, joules_per_image=1.3, image_seconds=0.2)
    machine.measure(windows=1)
    assert 50 < len(machine.inputs) == len(set(machine.inputs))


def test_what_is_no_more_than_rest_is_no_figure():
    found = Machine(idle=79, joules_per_image=0.0, image_seconds=0.01).measure()
    value = METRICS["energy"].extract(Findings(energy=found))
    assert value.reason == "the counter tells no more than idle power, 79 W, in a window of work"


def test_energy_by_hand():
    """10 s at 300 W, of which 100 W are idle: 2,000 J for 500 images."""
    rest = EnergyWindow(seconds=5, joules=500, images=0, updates=50)
    work = EnergyWindow(seconds=10, joules=3000, images=500, updates=100)
    given = {"counter": "rapl", "domains": ("package-0",), "input_size": (256, 256)}
    found = Energy(**given, idle=(rest, rest), windows=(work, work))
    assert found.joules_per_image == (4.0, 4.0)
    with pytest.raises(ValueError, match="each window of work has images"):
        Energy(**given, idle=(rest,), windows=(rest,))


def test_a_counter_that_fails_meanwhile_costs_the_energy_alone(monkeypatch):
    machine = Machine(idle=79, joules_per_image=1.3, image_seconds=0.1)

    def gone():
        raise RuntimeError("GPU is lost")

    monkeypatch.setattr(machine, "read", gone)
    with pytest.raises(MeasurementError, match="cannot be read: GPU is lost"):
        machine.measure()


ZONES = {
    "intel-rapl:0": ("package-0", 1000, 262_143_328_850),
    "intel-rapl:0:0": ("core", 1, 262_143_328_850),
    "intel-rapl:0:1": ("dram", 200, 65_712_999_613),
    "intel-rapl:1": ("package-1", 30, 262_143_328_850),
    "intel-rapl:2": ("psys", 7, 262_143_328_850),
}


@pytest.fixture
def powercap(tmp_path, monkeypatch):
    """A folder of power zones of two processors, as the kernel shows them."""
    for zone, (name, count, largest) in ZONES.items():
        (tmp_path / zone).mkdir()
        (tmp_path / zone / "name").write_text(f"{name}\n")
        (tmp_path / zone / "energy_uj").write_text(f"{count}\n")
        (tmp_path / zone / "max_energy_range_uj").write_text(f"{largest}\n")
    (tmp_path / "dtpm").mkdir()
    monkeypatch.setattr(energy, "POWERCAP", tmp_path)
    return tmp_path


def test_rapl_covers_packages_and_their_memory(powercap):
    counter = open_counter(gpu=False)
    assert isinstance(counter, RaplCounter)
    assert counter.domains == ("package-0", "dram", "package-1")
    assert counter.read() == (1000, 200, 30)
    assert counter.ranges == (262_143_328_851, 65_712_999_614, 262_143_328_851)
    (powercap / "intel-rapl:1" / "energy_uj").write_text("31\n")
    assert counter.read() == (1000, 200, 31)


def test_rapl_that_only_root_may_read_says_so(powercap, monkeypatch):
    real = Path.read_text

    def read(path, *arguments):
        if path.name == "energy_uj":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *arguments)

    monkeypatch.setattr(Path, "read_text", read)
    absent = open_counter(gpu=False)
    assert absent.reason.endswith(f"{powercap}/intel-rapl:0/energy_uj: Permission denied")
    assert "chmod o+r" in absent.advice


@pytest.mark.parametrize("zones", [{}, {"intel-rapl:0": "psys"}])
def test_a_machine_without_rapl_says_so(tmp_path, monkeypatch, zones):
    for zone, name in zones.items():
        (tmp_path / zone).mkdir()
        (tmp_path / zone / "name").write_text(name)
    monkeypatch.setattr(energy, "POWERCAP", tmp_path)
    absent = open_counter(gpu=False)
    assert isinstance(absent, Absent)
    assert absent.reason.endswith("has no power zone of a processor")


class NvmlError(Exception):
    """As ``pynvml.NVMLError``."""


def nvml(joules):
    def consumed(_handle):
        if isinstance(joules, Exception):
            raise joules
        return joules

    return SimpleNamespace(
        NVMLError=NvmlError,
        nvmlDeviceGetName=lambda _handle: b"NVIDIA H100",
        nvmlDeviceGetTotalEnergyConsumption=consumed,
    )


def test_nvml_counts_millijoules_of_the_whole_gpu(monkeypatch):
    monkeypatch.setattr(energy, "load_nvml", lambda: nvml(4_294_967_296_123))
    monkeypatch.setattr(energy, "open_sensors", lambda _nvml, _uuid: SimpleNamespace(handle=1))
    counter = open_counter(gpu=True, gpu_uuid="a-b")
    assert isinstance(counter, NvmlCounter)
    assert (counter.domains, counter.read()) == (("NVIDIA H100",), (4_294_967_296_123,))


@pytest.mark.parametrize(
    ("module", "sensors", "said"),
    [
        (None, None, "nvidia-ml-py is not installed"),
        (nvml(0), None, "NVML does not know this GPU"),
        (
            nvml(NvmlError("Not Supported")),
            SimpleNamespace(handle=1),
            "counter: Not Supported",
        ),
    ],
)
def test_a_gpu_without_a_counter_says_why(monkeypatch, module, sensors, said):
    monkeypatch.setattr(energy, "load_nvml", lambda: module)
    monkeypatch.setattr(energy, "open_sensors", lambda _nvml, _uuid: sensors)
    assert open_counter(gpu=True, gpu_uuid="a-b").reason.endswith(said)

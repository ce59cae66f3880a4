import os
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
import torch

from esrbench.probes import telemetry
from esrbench.probes.devices import open_device
from esrbench.probes.telemetry import (
    NOT_REASONS,
    PROCESS_KINDS,
    REASON_COUNTERS,
    REASON_PREFIX,
    THROTTLING,
    CpuTicks,
    GpuReading,
    Monitor,
    Reading,
    measure_under_watch,
    open_sensors,
    parse_ticks,
    throttled,
)
from esrbench.processes import cpu_seconds
from esrbench.protocol import ForwardPolicy
from esrbench.records import Conditions

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
HZ = os.sysconf("SC_CLK_TCK")

# user nice system idle iowait irq softirq steal guest guest_nice
STAT = """\
cpu  9999 9999 9999 9999 9999 9999 9999 9999 9999 9999
cpu0 100 20 30 4000 50 6 7 8 90 10
cpu1 1 2 3 4 5 6 7 8 0 0
cpu11 1000 0 0 0 0 0 0 1000 0 0
intr 12345 0 1
btime 1700000000
"""


def test_ticks_are_added_over_the_cpus_asked_for():
    # 100 + 20 + 30 + 6 + 7; guests' time is in user's, idle and iowait are not busy.
    assert parse_ticks(STAT, [0]) == CpuTicks(busy=163, stolen=8)
    assert parse_ticks(STAT, [0, 1]) == CpuTicks(busy=163 + 19, stolen=16)


@pytest.mark.parametrize("text", ["", "cpu0 1 2 3\n", "cpu0 a b c d e f g h\n"])
def test_a_cpu_that_is_not_told_of_leaves_no_ticks(text):
    assert parse_ticks(text, [0]) is None
    assert parse_ticks(STAT, [0, 2]) is None


def reading(seconds, own, busy, stolen, **gpu):
    state = GpuReading(**gpu) if gpu else None
    return Reading(seconds, own, CpuTicks(busy, stolen), state)


def test_other_load_is_what_this_process_did_not_do():
    monitor = Monitor(cpus=(0, 1))
    first = reading(10.0, 5.0, busy=1000, stolen=10)
    # In 2 s, two CPUs have 4 s: 3 s were busy, 2.4 s of them ours, and 0.2 s were stolen.
    last = reading(12.0, 7.4, busy=1000 + 3 * HZ, stolen=10 + HZ // 5)
    conditions = monitor.conditions(first, last, repeats=1)
    assert conditions.seconds == pytest.approx(2.0)
    assert conditions.other_load == pytest.approx(0.15)
    assert conditions.steal == pytest.approx(0.05)
    assert conditions.repeats == 1
    assert conditions.clock_hz is None
    assert conditions.throttle_reasons == ()


def test_load_is_never_negative():
    # The kernel's steps of 10 ms may credit us with more than the CPUs did.
    conditions = Monitor(cpus=(0,)).conditions(
        reading(0.0, 0.0, busy=0, stolen=5), reading(1.0, 1.01, busy=HZ, stolen=4)
    )
    assert (conditions.other_load, conditions.steal) == (0.0, 0.0)


def test_a_time_too_short_for_the_kernels_steps_tells_no_load():
    conditions = Monitor(cpus=(0,)).conditions(
        reading(0.0, 0.0, busy=0, stolen=0), reading(0.39, 0.0, busy=HZ, stolen=HZ)
    )
    assert conditions.seconds == pytest.approx(0.39)
    assert (conditions.other_load, conditions.steal) == (None, None)


def test_without_proc_the_load_is_not_told(tmp_path):
    monitor = Monitor((0,), stat_file=tmp_path / "stat")
    first = monitor.read()
    assert first.ticks is None
    conditions = monitor.conditions(first, Reading(first.seconds + 1, 0.0, None, None))
    assert (conditions.other_load, conditions.steal) == (None, None)


PATIENCE_SECONDS = 120.0


@pytest.mark.skipif(not os.path.exists("/proc/stat"), reason="this system has no /proc")  # noqa: PTH110
def test_a_busy_neighbour_is_seen():
    cpu = min(os.sched_getaffinity(0))
    hog = f"import os\nos.sched_setaffinity(0, [{cpu}])\nprint(flush=True)\nwhile True: pass"
    monitor = Monitor((cpu,))
    with subprocess.Popen([sys.executable, "-c", hog], stdout=subprocess.PIPE) as process:
        try:
            process.stdout.readline()
            first = monitor.read()
            begun = cpu_seconds(process.pid)
            deadline = time.monotonic() + PATIENCE_SECONDS
            # However little of that CPU others and the hypervisor leave it.
            while (now := cpu_seconds(process.pid)) is None or now < begun + 0.5:
                assert time.monotonic() < deadline
                time.sleep(0.1)
            conditions = monitor.conditions(first, monitor.read())
        finally:
            process.kill()
    # Other programs took at least what the neighbour took, but for what the kernel's ticks miss.
    assert conditions.other_load * conditions.seconds > 0.4


class NvmlFailure(Exception):  # noqa: N818 - stands for NVMLError
    """What the fake NVML raises."""


REASON_BITS = {
    "None": 0x0,
    "GpuIdle": 0x1,
    "ApplicationsClocksSetting": 0x2,
    "UserDefinedClocks": 0x2,
    "SwPowerCap": 0x4,
    "HwSlowdown": 0x8,
    "All": 0xF,
}


class FakeNvml(SimpleNamespace):
    """Two GPUs; the names and values of constants are NVML's."""

    NVMLError = NvmlFailure
    NVML_SUCCESS = 0
    NVML_CLOCK_SM = 1
    NVML_TEMPERATURE_GPU = 0
    NVML_FI_DEV_CLOCKS_EVENT_REASON_SW_POWER_CAP = 74
    NVML_FI_DEV_CLOCKS_EVENT_REASON_SW_THERM_SLOWDOWN = 269

    def __init__(self):
        super().__init__(bits=0, capped=(0, 0), heated=(0, 0), clocks={"cuda": 1980}, broken=False)
        vars(self).update({REASON_PREFIX + name: bit for name, bit in REASON_BITS.items()})

    def nvmlInit(self):  # noqa: N802
        if self.broken:
            raise NvmlFailure

    def nvmlDeviceGetHandleByUUID(self, uuid):  # noqa: N802
        handles = {"GPU-aaaa": "display", "GPU-bbbb": "cuda", "MIG-cccc": "slice"}
        if uuid not in handles:
            raise NvmlFailure
        return handles[uuid]

    def nvmlDeviceGetClockInfo(self, handle, kind):  # noqa: N802
        assert kind == self.NVML_CLOCK_SM
        if handle not in self.clocks:
            raise NvmlFailure
        return int(self.clocks[handle])

    def nvmlDeviceGetTemperatureV(self, *_):  # noqa: N802
        raise NvmlFailure  # as drivers do that are older than the call

    def nvmlDeviceGetTemperature(self, handle, sensor):  # noqa: N802
        assert sensor == self.NVML_TEMPERATURE_GPU
        return {"display": 30, "cuda": 61, "slice": 50}[handle]

    def nvmlDeviceGetPowerUsage(self, handle):  # noqa: N802
        return {"display": 20_000, "cuda": 310_500, "slice": 100_000}[handle]

    def nvmlDeviceGetCurrentClocksEventReasons(self, handle):  # noqa: N802
        assert handle
        return int(self.bits)

    def nvmlDeviceGetFieldValues(self, handle, fields):  # noqa: N802
        assert handle
        told = {74: self.capped, 269: self.heated}
        return [
            SimpleNamespace(nvmlReturn=told[field][0], value=SimpleNamespace(ullVal=told[field][1]))
            for field in fields
        ]


def test_the_gpu_is_found_by_its_uuid_whatever_its_number():
    sensors = open_sensors(FakeNvml(), "bbbb")
    assert sensors.read() == GpuReading(
        clock_hz=1.98e9,
        temperature_celsius=61.0,
        power_watts=310.5,
        reasons=frozenset(),
        throttled_time={"SwPowerCap": 0, "SwThermalSlowdown": 0},
    )


def test_a_slice_of_a_gpu_is_found_and_tells_what_it_can():
    sensors = open_sensors(FakeNvml(), "cccc")
    state = sensors.read()
    assert state.clock_hz is None
    assert state.temperature_celsius == 50.0


def test_no_driver_or_another_gpu_gives_no_sensors():
    nvml = FakeNvml()
    assert open_sensors(nvml, "dddd") is None
    nvml.broken = True
    assert open_sensors(nvml, "bbbb") is None


def watch(nvml, during):
    """Conditions of a region within which NVML's state changes."""
    sensors = open_sensors(nvml, "bbbb")
    monitor = Monitor((), sensors)
    first = monitor.read()
    vars(nvml).update(during)
    return monitor.conditions(first, monitor.read())


@pytest.mark.parametrize(
    ("during", "reasons", "is_throttled"),
    [
        ({}, (), False),
        ({"bits": 0x1}, (), False),  # idle, as it is whenever it is asked between rounds
        ({"bits": 0x3}, ("ApplicationsClocksSetting",), False),  # an administrator's choice
        ({"bits": 0xC}, ("HwSlowdown", "SwPowerCap"), True),
        # Idle again when asked, but the time under the cap has grown meanwhile.
        ({"bits": 0x1, "capped": (0, 1700)}, ("SwPowerCap",), True),
        # A field that this GPU does not have is no zero to grow from.
        ({"heated": (3, 99)}, (), False),
    ],
)
def test_throttling_is_told_from_idling_and_from_fixed_clocks(during, reasons, is_throttled):
    conditions = watch(FakeNvml(), during)
    assert conditions.throttle_reasons == reasons
    assert throttled(conditions) is is_throttled


def test_time_throttled_before_the_region_does_not_count():
    nvml = FakeNvml()
    nvml.capped = (0, 5000)
    assert watch(nvml, {}).throttle_reasons == ()


def test_extremes_of_both_readings_are_kept():
    conditions = watch(FakeNvml(), {"clocks": {"cuda": 1410}})
    assert conditions.clock_hz == (1.41e9, 1.98e9)
    assert conditions.temperature_celsius == 61.0
    assert conditions.power_watts == 310.5


OWN, OTHER, DESKTOP, HOST = 7, 8, 9, 70


@pytest.mark.parametrize(
    ("before", "after", "drawing", "foreign"),
    [
        ([OWN], [OWN], [], 0),
        ([OWN], [OWN, OTHER], [], 1),
        ([OWN, OTHER], [OWN], [], 1),
        ([OWN, DESKTOP], [OWN, DESKTOP], [DESKTOP], 0),
        # A container sees other numbers than NVML, so nobody can be told from the worker.
        ([HOST, OTHER], [HOST, OTHER], [], None),
        ([], [], [], None),
        (None, None, None, None),
    ],
)
def test_processes_of_others_count_where_nvml_lists_the_worker(before, after, drawing, foreign):
    def listed(pids):
        return lambda _handle: [SimpleNamespace(pid=pid) for pid in pids]

    nvml = FakeNvml()
    monitor = Monitor((), open_sensors(nvml, "bbbb"), own_processes=lambda: (OWN, OWN + 100))
    readings = []
    for computing in (before, after):
        if computing is not None:
            nvml.nvmlDeviceGetComputeRunningProcesses = listed(computing)
            nvml.nvmlDeviceGetGraphicsRunningProcesses = listed(drawing)
        readings.append(monitor.read())
    assert monitor.conditions(*readings).foreign_processes == foreign


def test_the_names_are_those_of_the_installed_library():
    nvml = pytest.importorskip("pynvml", reason="nvidia-ml-py is not installed (extra: cuda)")
    names = {
        name.removeprefix(REASON_PREFIX) for name in dir(nvml) if name.startswith(REASON_PREFIX)
    }
    fixed = {"ApplicationsClocksSetting", "DisplayClockSetting"}
    assert names == THROTTLING | NOT_REASONS | fixed
    assert all(hasattr(nvml, field) for field in REASON_COUNTERS.values())
    assert REASON_COUNTERS.keys() <= THROTTLING
    assert all(hasattr(nvml, f"nvmlDeviceGet{kind}RunningProcesses") for kind in PROCESS_KINDS)


class ScriptedMonitor:
    """A GPU that throttles in the first attempts."""

    def __init__(self, throttled_attempts):
        self.throttled_attempts = throttled_attempts

    def read(self):
        return None

    def conditions(self, first, last, *, repeats):
        assert first is last
        capped = repeats < self.throttled_attempts
        reasons = ("SwPowerCap",) if capped else ("ApplicationsClocksSetting",)
        return Conditions(seconds=1.0, throttle_reasons=reasons, repeats=repeats)


@pytest.mark.parametrize(
    ("throttled_attempts", "expected_attempts", "reason"),
    [
        (0, 1, "ApplicationsClocksSetting"),
        (1, 2, "ApplicationsClocksSetting"),
        (2, 3, "ApplicationsClocksSetting"),
        (3, 3, "SwPowerCap"),  # the bound: the last is kept and says so
        (99, 3, "SwPowerCap"),
    ],
)
def test_a_throttled_input_is_timed_anew_within_the_bound(
    throttled_attempts, expected_attempts, reason
):
    attempts = []

    def measure():
        attempts.append(len(attempts))
        return attempts[-1]

    monitor = ScriptedMonitor(throttled_attempts)
    timing, conditions = measure_under_watch(measure, monitor, throttle_repeats=2)
    assert len(attempts) == expected_attempts
    assert timing == attempts[-1]
    assert conditions.repeats == expected_attempts - 1
    assert conditions.throttle_reasons == (reason,)


def test_the_monitor_of_a_cpu_knows_no_gpu():
    assert telemetry.watch((), None).read().gpu is None


@pytest.mark.cuda
@needs_cuda
def test_cuda_readings_are_plausible_and_of_the_gpu_in_use():
    nvml = pytest.importorskip("pynvml", reason="nvidia-ml-py is not installed (extra: cuda)")
    device = open_device("cuda", threads=None, policy=ForwardPolicy())
    monitor = telemetry.watch(device.cpus, device.gpu_uuid)
    first = monitor.read()
    device.time(lambda: torch.cuda._sleep(1_000_000_000))
    conditions = monitor.conditions(first, monitor.read())
    assert 10 < conditions.temperature_celsius < 110
    if conditions.clock_hz is not None:  # a slice of a GPU does not tell
        assert 1e8 < conditions.clock_hz[0] <= conditions.clock_hz[1] < 5e9
    if conditions.power_watts is not None:
        assert 1 < conditions.power_watts < 2000
    uuid = str(torch.cuda.get_device_properties(device.device).uuid)
    sensors = open_sensors(nvml, uuid)
    assert nvml.nvmlDeviceGetUUID(sensors.handle).endswith(uuid)

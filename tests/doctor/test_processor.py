from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from esrbench.doctor import processor
from esrbench.doctor.check import parse_cpus

if TYPE_CHECKING:
    from collections.abc import Callable

    from esrbench.doctor import Machine

    Build = Callable[..., Machine]

CPU = "sys/devices/system/cpu"


def test_load_average_is_told_from_half_a_process_a_cpu_on(machine: Build) -> None:
    calm = processor.check_load_average(machine())
    assert (calm.state, calm.finding) == (
        "ok",
        "0.10 0.20 0.30 over 1, 5 and 15 minutes, for 2 CPUs",
    )
    assert processor.check_load_average(machine({"proc/loadavg": "0.99 9 9 1/9 1"})).state == "ok"
    busy = processor.check_load_average(machine({"proc/loadavg": "1.00 0 0 1/9 1"}))
    assert busy.state == "warning"


V1 = "sys/fs/cgroup/cpu,cpuacct"


@pytest.mark.parametrize(
    ("files", "granted"),
    [
        ({"proc/self/cgroup": "0::/box", "sys/fs/cgroup/box/cpu.max": "150000 100000"}, "1.5"),
        # A parent binds its children.
        (
            {
                "proc/self/cgroup": "0::/outer/inner",
                "sys/fs/cgroup/outer/inner/cpu.max": "max 100000",
                "sys/fs/cgroup/outer/cpu.max": "50000 100000",
            },
            "0.5",
        ),
        # A container often sees its own group as the root, whatever its path says.
        (
            {"proc/self/cgroup": "0::/docker/0123", "sys/fs/cgroup/cpu.max": "100000 100000"},
            "1",
        ),
        (
            {
                "proc/self/cgroup": "5:memory:/box\n4:cpu,cpuacct:/box\n0::/",
                f"{V1}/box/cpu.cfs_quota_us": "100000",
                f"{V1}/box/cpu.cfs_period_us": "100000",
            },
            "1",
        ),
    ],
)
def test_a_quota_below_the_cpus_is_found(
    machine: Build, files: dict[str, str], granted: str
) -> None:
    check = processor.check_quota(machine(files))
    assert check.state == "warning"
    assert check.finding == f"{granted} CPUs granted, 2 can be used"
    assert check.advice is not None
    assert "--threads 1" in check.advice


def test_no_quota_or_one_for_all_cpus_is_fine(machine: Build) -> None:
    assert processor.check_quota(machine()).finding == "none: all CPUs all the time"
    v1 = {
        "proc/self/cgroup": "4:cpu,cpuacct:/",
        f"{V1}/cpu.cfs_quota_us": "-1",
        f"{V1}/cpu.cfs_period_us": "100000",
    }
    assert processor.check_quota(machine(v1)).finding == "none: all CPUs all the time"
    wide = {"sys/fs/cgroup/cpu.max": "200000 100000"}
    assert processor.check_quota(machine(wide)).state == "ok"


def test_two_cpus_of_one_core_are_told(machine: Build) -> None:
    apart = processor.check_cpus(machine())
    assert (apart.state, apart.finding) == ("ok", "Test CPU; 2 can be used, on 2 cores")
    shared = {f"{CPU}/cpu{cpu}/topology/thread_siblings_list": "0-1" for cpu in (0, 1)}
    check = processor.check_cpus(machine(shared | {f"{CPU}/online": "0-3,8"}))
    assert check.state == "warning"
    assert check.finding == "Test CPU; 2 can be used of 5 online, on 1 cores"


def test_governors_other_than_performance_are_told(machine: Build) -> None:
    assert processor.check_governor(machine()).finding == "performance on 2 CPUs"
    mixed = {f"{CPU}/cpu1/cpufreq/scaling_governor": "powersave"}
    check = processor.check_governor(machine(mixed))
    assert (check.state, check.finding) == ("warning", "performance, powersave on 2 CPUs")
    hidden = {f"{CPU}/cpu{cpu}/cpufreq/scaling_governor": None for cpu in (0, 1)}
    assert processor.check_governor(machine(hidden)).state == "unknown"


@pytest.mark.parametrize(
    ("path", "text", "state"),
    [
        ("cpufreq/boost", "0", "ok"),
        ("cpufreq/boost", "1", "warning"),
        ("intel_pstate/no_turbo", "1", "ok"),
        ("intel_pstate/no_turbo", "0", "warning"),
    ],
)
def test_turbo_by_either_switch(machine: Build, path: str, text: str, state: str) -> None:
    check = processor.check_boost(machine({f"{CPU}/cpufreq/boost": None, f"{CPU}/{path}": text}))
    assert check.state == state
    off = {"0": "1", "1": "0"}[text]
    assert check.advice == (f"echo {off} | sudo tee /{CPU}/{path}" if state == "warning" else None)


def test_a_hypervisor_is_told(machine: Build) -> None:
    assert processor.check_virtual(machine()).state == "ok"
    guest = {"proc/cpuinfo": "flags : fpu hypervisor avx2\n"}
    assert processor.check_virtual(machine(guest)).state == "warning"
    arm = {"proc/cpuinfo": "Features : fp asimd\n"}
    assert processor.check_virtual(machine(arm)).state == "unknown"


def test_a_discharging_battery_is_told(machine: Build) -> None:
    assert processor.check_power(machine()).state == "ok"
    check = processor.check_power(machine({"sys/class/power_supply/BAT0/status": "Discharging"}))
    assert (check.state, check.finding) == ("warning", "BAT0 is discharging")


def test_a_slow_clock_source_is_told(machine: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "_clock_step", lambda: 4e-8)
    fine = processor.check_clock(machine())
    assert fine.state == "ok"
    assert fine.finding.endswith("tsc, steps of 40 ns")
    source = "sys/devices/system/clocksource/clocksource0/current_clocksource"
    assert processor.check_clock(machine({source: "hpet"})).state == "warning"
    monkeypatch.setattr(processor, "_clock_step", lambda: 1e-5)
    coarse = processor.check_clock(machine())
    assert coarse.advice is not None
    assert "1.0 ms" in coarse.advice


def test_the_step_of_the_clock_is_measured() -> None:
    assert 0 < processor._clock_step() < 1e-3


@pytest.mark.parametrize(
    "check",
    [
        processor.check_load_average,
        processor.check_quota,
        processor.check_cpus,
        processor.check_governor,
        processor.check_boost,
        processor.check_virtual,
        processor.check_power,
    ],
)
def test_what_the_system_does_not_tell_is_unknown(
    check: Callable[[Machine], processor.Diagnosis], silent: Machine
) -> None:
    assert check(silent).state == "unknown"


def test_cpu_lists_are_those_of_the_kernel() -> None:
    assert parse_cpus("0-2,8") == (0, 1, 2, 8)
    assert parse_cpus("") == ()

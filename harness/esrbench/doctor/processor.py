"""Checks of the CPUs: which, how fast, and what else may take them."""

from __future__ import annotations

import itertools
import re
import time
from typing import TYPE_CHECKING

from esrbench.doctor.check import judged, parse_cpus, unknown
from esrbench.environment import cpu_name
from esrbench.plaintext import plural

if TYPE_CHECKING:
    from collections.abc import Iterator

    from esrbench.doctor.check import Machine
    from esrbench.records import Diagnosis

CPU = "sys/devices/system/cpu"
LOADED = 0.5
"""Runnable processes a CPU, over the last minute, from which on the load average is a warning."""
SLOW_CLOCKS = {"hpet", "acpi_pm", "jiffies", "pit"}
COARSE_STEP_SECONDS = 1e-6


def check_load_average(machine: Machine) -> Diagnosis:
    """Processes that wanted to run lately."""
    name = "load average"
    fields = (machine.read("proc/loadavg") or "").split()[:3]
    if len(fields) < 3:  # noqa: PLR2004 - of 1, 5 and 15 minutes
        return unknown(name)
    finding = f"{' '.join(fields)} over 1, 5 and 15 minutes, for {plural(machine.threads, 'CPU')}"
    advice = "Wait until it has fallen, or find out what comes and goes."
    return judged(name, finding, advice, fine=float(fields[0]) < LOADED * machine.threads)


def check_quota(machine: Machine) -> Diagnosis:
    """The share of the CPUs that the control group grants."""
    name = "CPU quota"
    quotas = list(_quotas(machine))
    if not quotas:
        if machine.read("proc/self/cgroup") is None:
            return unknown(name, "the system has no control groups")
        return judged(name, "none: all CPUs all the time")
    granted = min(quotas)
    finding = f"{granted:g} of {plural(machine.threads, 'CPU')} granted"
    advice = (
        "The kernel halts all threads for the rest of each period once the quota is used up. "
        f"Give --threads {max(int(granted), 1)}, or reserve whole CPUs for the container "
        "(docker run --cpuset-cpus) in place of a quota."
    )
    return judged(name, finding, advice, fine=granted >= machine.threads)


def _quotas(machine: Machine) -> Iterator[float]:
    """CPUs granted by each group that this process is in, from its own up to the root."""
    for line in (machine.read("proc/self/cgroup") or "").splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        parts = [part for part in path.split("/") if part not in {"", ".."}]
        above = ["/".join(parts[:length]) for length in range(len(parts), -1, -1)]
        for group in above:
            if not controllers:  # version 2, alone or beside version 1
                for mount in ("sys/fs/cgroup", "sys/fs/cgroup/unified"):
                    quota = (machine.read(f"{mount}/{group}/cpu.max") or "").split()
                    if len(quota) == 2 and quota[0] != "max":  # noqa: PLR2004 - quota, period
                        yield int(quota[0]) / int(quota[1])
            elif "cpu" in controllers.split(","):
                folder = f"sys/fs/cgroup/{controllers}/{group}"
                granted = machine.number(f"{folder}/cpu.cfs_quota_us")
                period = machine.number(f"{folder}/cpu.cfs_period_us")
                if granted and period and granted > 0:
                    yield granted / period


def check_cpus(machine: Machine) -> Diagnosis:
    """Which CPUs may be used, and whether two of them share a core."""
    name = "CPUs"
    siblings = machine.of_cpus(f"{CPU}/cpu{{}}/topology/thread_siblings_list")
    online = parse_cpus(machine.read(f"{CPU}/online") or "")
    finding = f"{cpu_name(root=machine.root)}; {machine.threads} can be used"
    if len(online) > machine.threads:
        finding += f" of {len(online)} online"
    if not siblings:
        finding += "; the system does not tell which share a core"
        return unknown(name, finding)
    cores = len(set(siblings.values()))
    finding += f", on {cores} cores"
    advice = (
        f"Two threads on one core share its arithmetic: give --threads {cores}, and each gets a "
        "core of its own."
    )
    return judged(name, finding, advice, fine=cores == len(machine.cpus))


def check_governor(machine: Machine) -> Diagnosis:
    """Who chooses the clock frequency."""
    name = "frequency governor"
    governors = machine.of_cpus(f"{CPU}/cpu{{}}/cpufreq/scaling_governor")
    if not governors:
        return unknown(name, "the system does not tell it, as is usual in virtual machines")
    kinds = sorted(set(governors.values()))
    finding = f"{', '.join(kinds)} on {len(governors)} CPUs"
    advice = "sudo cpupower frequency-set --governor performance"
    return judged(name, finding, advice, fine=kinds == ["performance"])


def check_boost(machine: Machine) -> Diagnosis:
    """Whether clocks rise above the nominal one while heat permits."""
    name = "turbo"
    switches = (("intel_pstate/no_turbo", "0", "1"), ("cpufreq/boost", "1", "0"))
    for path, on, off in switches:
        setting = machine.read(f"{CPU}/{path}")
        if setting == off:
            return judged(name, "off: clocks do not depend on heat")
        if setting == on:
            return judged(
                name,
                "on: clocks depend on heat and on how many cores work",
                f"echo {off} | sudo tee /{CPU}/{path}",
            )
    return unknown(name, "the system does not tell it, as is usual in virtual machines")


def check_virtual(machine: Machine) -> Diagnosis:
    """Whether the machine is virtual."""
    name = "virtual machine"
    flags = re.search(r"^flags\s*:(.*)$", machine.read("proc/cpuinfo") or "", re.MULTILINE)
    if flags is None:
        return unknown(name, "the processor does not tell")
    if "hypervisor" not in flags[1].split():
        return judged(name, "no hypervisor")
    return judged(
        name,
        "a hypervisor: neighbours share caches and memory bandwidth, and none of it shows",
        "Compare only within one run, with `esrbench race` or --processes; publish times "
        "from hardware of your own.",
    )


def check_power(machine: Machine) -> Diagnosis:
    """Whether the machine runs on its battery."""
    name = "power supply"
    folder = machine.root / "sys/class/power_supply"
    if not folder.is_dir():
        return unknown(name)
    supplies = sorted(path.name for path in folder.iterdir())
    empty = [
        supply
        for supply in supplies
        if machine.read(f"sys/class/power_supply/{supply}/status") == "Discharging"
    ]
    if not empty:
        return judged(name, "no battery is discharging")
    finding = f"{', '.join(empty)} is discharging"
    return judged(name, finding, "Plug it in.")


def check_clock(machine: Machine) -> Diagnosis:
    """The clock that times forwards on the host."""
    info = time.get_clock_info("perf_counter")
    source = machine.read("sys/devices/system/clocksource/clocksource0/current_clocksource")
    step = _clock_step()
    finding = f"{info.implementation}, {source or 'source not told'}, steps of {step * 1e9:.0f} ns"
    if source in SLOW_CLOCKS or step > COARSE_STEP_SECONDS or not info.monotonic:
        advice = (
            "Boot with clocksource=tsc where the processor is fit for it; until then time "
            f"nothing shorter than {max(100 * step, 1e-4) * 1e3:.1f} ms."
        )
        return judged("clock", finding, advice)
    return judged("clock", finding)


def _clock_step() -> float:
    """Smallest step between readings that differ, in seconds: resolution or cost of a call."""
    readings = [time.perf_counter_ns() for _ in range(1000)]
    steps = [second - first for first, second in itertools.pairwise(readings)]
    return min((step for step in steps if step > 0), default=10**6) / 1e9

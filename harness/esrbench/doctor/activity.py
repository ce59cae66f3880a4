"""Who uses the CPUs meanwhile: two readings of the kernel's counters a moment apart."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from esrbench.doctor.check import judged, percent, unknown
from esrbench.probes.telemetry import Monitor
from esrbench.runs.noise import TAKEN_SHARE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from esrbench.doctor.check import Machine
    from esrbench.probes.telemetry import Reading
    from esrbench.records import Conditions, Diagnosis

STEAL_SHARE = 0.01
"""Share of our CPUs' time that the hypervisor gives to others, from which on a warning is given."""
NAMED_PROCESSES = 3
NAMED_SHARE = 0.03
"""Share of one CPU from which on a process is named."""


@dataclass(frozen=True, slots=True)
class Activity:
    """The kernel's counters at one moment.

    Attributes:
        reading: of our CPUs.
        processes: ticks of CPU time and name of every process that can be seen, by its number.
        throttles: times our CPUs lowered their clocks for heat; None where it is not told.
    """

    reading: Reading
    processes: dict[int, tuple[int, str]]
    throttles: int | None


def read_activity(machine: Machine) -> Activity:
    """The counters now."""
    return Activity(monitor(machine).read(), dict(_processes(machine)), read_throttles(machine))


def monitor(machine: Machine) -> Monitor:
    """Reads the times of our CPUs."""
    return Monitor(machine.cpus, stat_file=machine.root / "proc/stat")


def _processes(machine: Machine) -> Iterator[tuple[int, tuple[int, str]]]:
    try:
        entries = os.listdir(machine.root / "proc")  # noqa: PTH208 - names are wanted
    except OSError:
        return
    for entry in filter(str.isdecimal, entries):
        # The name stands in brackets and may hold brackets and blanks itself.
        head, _, tail = (machine.read(f"proc/{entry}/stat") or "").rpartition(")")
        fields = tail.split()
        if len(fields) > 12:  # noqa: PLR2004 - utime and stime are the 14th and 15th field of all
            name = head.partition("(")[2]
            yield int(entry), (int(fields[11]) + int(fields[12]), name)


def read_throttles(machine: Machine) -> int | None:
    """Times our CPUs lowered their clocks for heat since boot, or None."""
    folder = "sys/devices/system/cpu/cpu{}/thermal_throttle"
    counts = [
        int(text)
        for counter in ("core_throttle_count", "package_throttle_count")
        for text in machine.of_cpus(f"{folder}/{counter}").values()
        if text.isdecimal()
    ]
    return sum(counts) if counts else None


def check_other_load(machine: Machine, before: Activity, after: Activity) -> Diagnosis:
    """CPU time of other processes between two readings."""
    name = "other processes"
    seen = _conditions(machine, before, after)
    if seen.other_load is None:
        return unknown(name, "the system does not tell CPU times")
    one_cpu = seen.seconds * os.sysconf("SC_CLK_TCK")
    used = sorted(
        (
            ((ticks - before.processes[pid][0]) / one_cpu, process)
            for pid, (ticks, process) in after.processes.items()
            if pid in before.processes and pid != machine.pid
        ),
        reverse=True,
    )
    hogs = [
        f"{process} {percent(share)}"
        for share, process in used[:NAMED_PROCESSES]
        if share >= NAMED_SHARE
    ]
    finding = f"they take {percent(seen.other_load)} of {machine.threads} CPUs now"
    if hogs:
        finding += f"; of one CPU: {', '.join(hogs)}"
    advice = "End what need not run now; times taken meanwhile get the notice other-load."
    return judged(name, finding, advice, fine=seen.other_load < TAKEN_SHARE)


def check_steal(machine: Machine, before: Activity, after: Activity) -> Diagnosis:
    """CPU time that the hypervisor gave to other machines."""
    name = "CPU steal"
    share = _conditions(machine, before, after).steal
    if share is None:
        return unknown(name, "the system does not tell CPU times")
    finding = f"other machines take {percent(share)} of our CPUs now"
    advice = "Measure on a machine with CPUs of its own, or at a quieter hour."
    return judged(name, finding, advice, fine=share < STEAL_SHARE)


def check_heat(machine: Machine, before: Activity) -> Diagnosis:
    """Clocks lowered for heat while the doctor worked."""
    name = "CPU heat"
    now = read_throttles(machine)
    if now is None or before.throttles is None:
        return unknown(name, "the system does not count how often clocks were lowered for heat")
    new = now - before.throttles
    finding = f"clocks were lowered for heat {new} times just now, {now} times since boot"
    advice = "Improve the cooling, or bound the clocks so that heat does not."
    return judged(name, finding, advice, fine=not new)


def _conditions(machine: Machine, before: Activity, after: Activity) -> Conditions:
    return monitor(machine).conditions(before.reading, after.reading)

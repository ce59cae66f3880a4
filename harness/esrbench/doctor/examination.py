"""The checks of a machine, in order of weight."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from esrbench.doctor import processor, software
from esrbench.doctor.activity import (
    check_heat,
    check_other_load,
    check_steal,
    read_activity,
)
from esrbench.doctor.graphics import check_gpu
from esrbench.doctor.isolation import check_isolation
from esrbench.doctor.resolution import check_resolution

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from esrbench.doctor.check import Machine
    from esrbench.records import Diagnosis

SAMPLE_SECONDS = 1.0
QUICK_SAMPLE_SECONDS = 0.5

CHECKS: tuple[Callable[[Machine], Diagnosis], ...] = (
    processor.check_load_average,
    processor.check_quota,
    processor.check_governor,
    processor.check_boost,
    processor.check_cpus,
    software.check_allocator,
    software.check_variables,
    software.check_memory,
    software.check_swap,
    software.check_huge_pages,
    processor.check_virtual,
    processor.check_power,
    processor.check_clock,
)


def examine(machine: Machine, *, quick: bool = False) -> Iterator[Diagnosis]:
    """Check a machine for what disturbs or forbids measuring; changes nothing.

    Args:
        machine: to be checked, with the device and folders of the run in mind.
        quick: leave the self-check out, which takes seconds.

    Yields:
        Checks as they are done, what weighs most first.
    """
    # First, before the checks themselves load the CPUs.
    before = read_activity(machine)
    time.sleep(QUICK_SAMPLE_SECONDS if quick else SAMPLE_SECONDS)
    after = read_activity(machine)
    if not quick:
        yield check_resolution(machine)
    yield software.check_results(machine)
    yield software.check_cache(machine)
    yield software.check_torch(machine)
    yield from check_gpu(machine)
    yield check_isolation(machine)
    yield check_other_load(machine, before, after)
    yield check_steal(machine, before, after)
    yield check_heat(machine, before)
    for check in CHECKS:
        yield check(machine)

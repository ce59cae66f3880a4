"""How well cells fill devices: a simulation with durations, without any engine."""

import heapq
import random
from types import SimpleNamespace

import pytest

from esrbench.runs.cells import cut, phases


def planned(entries, rounds):
    names = [SimpleNamespace(descriptor=SimpleNamespace(name=f"e{n}")) for n in range(entries)]
    return [
        SimpleNamespace(entry=entry, index=index) for index in (None, *rounds) for entry in names
    ]


def makespan(costs, devices):
    """Seconds until all cells are made, each by the device that is free first."""
    free = [0.0] * devices
    for cost in costs:
        heapq.heappush(free, heapq.heappop(free) + cost)
    return max(free)


@pytest.mark.parametrize("devices", [1, 8, 64])
@pytest.mark.parametrize("entries", [50, 500, 5000])
def test_devices_end_at_about_the_same_time_where_cells_outnumber_them_tenfold(entries, devices):
    chance = random.Random(entries + devices)  # noqa: S311 - durations, not secrets
    seconds = {f"e{n}": chance.lognormvariate(3, 0.6) for n in range(entries)}
    untimed, timed = phases(cut(planned(entries, range(5)), devices))
    assert sorted(name for cell in untimed for name in cell.entries) == sorted(seconds)
    costs = [sum(seconds[name] for name in cell.entries) for cell in untimed]
    least = max(sum(costs) / devices, *costs)
    if len(costs) >= 10 * devices:
        assert makespan(costs, devices) <= 1.1 * least
    # A block is all entries on one device: more devices than rounds do not help timing.
    assert [cell.replicate for cell in timed] == list(range(5))
    assert all(cell.entries == timed[0].entries for cell in timed)

"""How well cells fill devices, simulated with durations of passes that were recorded."""

import pytest


@pytest.fixture(scope="module")
def growth(load_benchmark):
    """``benchmarks/growing_suite.py`` as a module."""
    return load_benchmark("growing_suite")


@pytest.mark.parametrize(
    ("entries", "devices"),
    [(50, 1), (500, 8), pytest.param(5000, 64, marks=pytest.mark.slow)],
)
def test_devices_end_at_about_the_same_time_where_cells_outnumber_them_tenfold(
    growth, entries, devices
):
    found = growth.simulate(growth.drawn(entries), devices, rounds=1)
    seconds, least = found.untimed
    assert least <= seconds <= 1.1 * least
    # A block is all entries on one device: more devices than rounds do not help timing.
    assert found.timed[0] == pytest.approx(found.timed[1])
    # The folder is read once a poll, and once for all records of the round.
    assert found.listings == found.polls + 1
    assert found.reads == 2 * entries


def test_drawn_entries_take_as_long_as_recorded_ones(growth):
    recorded = growth.json.loads(growth.RECORDED.read_text())["seconds"]
    assert set(growth.drawn(50).values()) <= {tuple(each) for each in recorded.values()}
    assert growth.drawn(50) == growth.drawn(50)

import pytest

from esrbench.doctor import examination, examine
from esrbench.records import STATES

NAMES = [
    "results folder",
    "cache folder",
    "PyTorch",
    "GPU",
    "isolation",
    "other processes",
    "CPU steal",
    "CPU heat",
    "load average",
    "CPU quota",
    "frequency governor",
    "turbo",
    "CPUs",
    "memory allocator",
    "variables",
    "memory",
    "swap",
    "transparent huge pages",
    "virtual machine",
    "power supply",
    "clock",
]


@pytest.fixture(autouse=True)
def _no_gpu(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr(examination, "QUICK_SAMPLE_SECONDS", 0.0)


def by_name(checks):
    return {check.name: check.state for check in checks}


def test_a_fit_machine_is_fine(machine):
    found = list(examine(machine(), quick=True))
    assert [check.name for check in found] == NAMES
    states = by_name(found)
    # The counters of this tree stand still, and half a second did not pass.
    told = {name for name, state in states.items() if state == "unknown"}
    assert told == {"GPU", "other processes", "CPU steal"}
    assert "problem" not in states.values()


def test_a_system_that_tells_nothing_is_no_failure(silent):
    found = list(examine(silent, quick=True))
    assert [check.name for check in found] == NAMES
    states = by_name(found)
    assert "problem" not in states.values()
    assert states["frequency governor"] == states["CPU quota"] == states["swap"] == "unknown"


def test_whatever_disturbs_has_advice(silent, machine):
    for patient in (silent, machine(), machine({"proc/loadavg": "9 9 9 1/1 1"})):
        for check in examine(patient, quick=True):
            assert check.state in STATES
            assert check.state in {"ok", "unknown"} or check.advice
            assert not (check.state == "ok" and check.advice)

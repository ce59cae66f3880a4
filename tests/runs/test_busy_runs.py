"""Whole runs beside foreign load, with workers that answer at once."""

import pytest

from esrbench.entries.descriptor import ModelDescriptor
from esrbench.metrics import METRICS
from esrbench.probes.telemetry import Monitor
from esrbench.protocol import TrustDesign
from esrbench.records import Conditions
from esrbench.runs.events import SuiteEvents
from esrbench.runs.forecast import forecast
from esrbench.runs.store import Store
from esrbench.runs.suite import run_suite


@pytest.fixture
def taken(monkeypatch):
    """Has others take a share of the CPUs from now on."""

    def take(share):
        conditions = Conditions(seconds=2.0, other_load=share)
        monkeypatch.setattr(Monitor, "conditions", lambda *_, **__: conditions)

    return take


@pytest.fixture
def suite(make_suite, quick, tmp_path):
    trust = quick.trust.model_copy(
        update={"busy_share": TrustDesign().busy_share, "claim_tolerance": 0.03}
    )
    file = tmp_path / "one.py"
    file.write_text("class Net: ...\n")
    descriptor = ModelDescriptor(
        name="one", summary="test network", scales=(4,), factory=f"{file}:Net"
    )
    return make_suite(descriptor, protocol=quick.model_copy(update={"trust": trust}))


def test_a_run_beside_load_has_no_runtime_and_is_repeated(suite, workers, taken, tmp_path):
    store = Store(tmp_path / "results")
    taken(0.7)
    (record,) = run_suite(suite, store)
    assert workers.networks() == ["one", "one"]
    assert record.status == "busy-machine"
    assert record.cause == "others took 70% of the CPUs while it was timed"
    assert "--resume" in record.advice
    for metric in (key for key, metric in METRICS.items() if metric.noisy):
        value = record.values[metric]
        assert value.reason == f"busy-machine: {record.cause}"
    assert record.measured("psnr_rgb") is not None
    (planned,) = forecast(suite, store, resume=True)
    assert planned.passes > 0
    assert planned.basis == "its own run on these images"

    taken(0.0)
    known = []
    (again,) = run_suite(suite, store, resume=True, events=SuiteEvents(on_known=known.append))
    assert (again.status, known) == ("ok", [])
    assert again.measured("runtime_images") is not None
    # A run that is finished is not repeated.
    assert (
        list(run_suite(suite, store, resume=True, events=SuiteEvents(on_known=known.append))) == []
    )
    assert known == [again]

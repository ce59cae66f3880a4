"""What is counted is what is measured: networks that are another one where they are counted."""

from __future__ import annotations

import pytest

from esrbench.protocol import COUNTERS
from esrbench.records import Absent, CounterResult
from esrbench.runs.plan import plan_suite
from esrbench.runs.store import Store
from esrbench.runs.suite import run_suite

SCALE = 4
ROUNDS = 30
PARAMS = 9 * (3 * 48 + 48 * 48 + 48 * 48) + 3 * 48
"""Of the honest network: three convolutions of 3x3 with bias."""
MACS = 9 * (3 * 48 + ROUNDS * 48 * 48 + 48 * 48) * 32 * 48
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def records(submissions, attack_table, photographs, small, tmp_path_factory):
    """Records of all of them, by name: scored and counted, not timed."""
    for row in attack_table["counted"]:
        submissions.add(row["name"])
    registry = submissions.register()
    suite = plan_suite(
        registry,
        [entry.name for entry in registry],
        [str(photographs)],
        SCALE,
        weights={},
        protocol=small.model_copy(update={"latency": None, "counters": COUNTERS}),
    )
    store = Store(tmp_path_factory.mktemp("results"))
    return {
        record.entry.name.removeprefix("cheat-"): record
        for record in run_suite(suite, store, timeout_seconds=120)
    }


def test_what_is_counted_is_what_is_measured(counted_attack, records):
    record = records[counted_attack["name"]]
    assert record.status == counted_attack["status"], record.cause
    assert record.ranked is (record.status == "ok")
    complexity = record.complexity
    assert not isinstance(complexity, Absent)
    if record.status == "ok":
        assert complexity.params == PARAMS
        for counter in ("fvcore", "aten"):
            found = complexity.counters[counter]
            assert isinstance(found, CounterResult)
            # fvcore adds what the bicubic enlargement and the activations cost by its rules.
            assert found.macs == pytest.approx(MACS, rel=0 if counter == "aten" else 0.01)
        assert "counted-otherwise" not in {notice.code for notice in record.notices}
    else:
        assert record.cause
        assert record.advice

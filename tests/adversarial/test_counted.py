"""What is counted is what is measured: networks that are another one where they are counted."""

import pytest

from esrbench.protocol import COUNTERS
from esrbench.records import Absent

ROUNDS = 30
PARAMS = 9 * (3 * 48 + 48 * 48 + 48 * 48) + 3 * 48
"""Of the honest network: three convolutions of 3x3 with bias."""
MACS = 9 * (3 * 48 + ROUNDS * 48 * 48 + 48 * 48) * 32 * 48
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def records(submissions, attack_table, photographs, small, tmp_path_factory):
    """Records of all of them, by name: scored and counted, not timed."""
    names = [submissions.add(row["name"]) for row in attack_table["counted"]]
    protocol = small.model_copy(update={"latency": None, "counters": COUNTERS})
    return submissions.run(names, photographs, protocol, tmp_path_factory.mktemp("results"))


def test_what_is_counted_is_what_is_measured(counted_attack, records):
    record = records[counted_attack["name"]]
    assert record.status == counted_attack["status"], record.cause
    assert record.ranked is (record.status == "ok")
    complexity = record.complexity
    assert not isinstance(complexity, Absent)
    if record.status == "ok":
        assert complexity.params == PARAMS
        # fvcore adds what the bicubic enlargement and the activations cost by its rules.
        for counter, apart in (("fvcore", 0.01), ("aten", 0)):
            assert complexity.counters[counter].macs == pytest.approx(MACS, rel=apart)
        assert "counted-otherwise" not in {notice.code for notice in record.notices}
    else:
        assert record.cause
        assert record.advice

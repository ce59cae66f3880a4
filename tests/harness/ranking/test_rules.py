from __future__ import annotations

import pytest

from harness.errors import UsageError
from harness.metrics import METRICS
from harness.ranking.rules import NTIRE2022, RULES, get_rule


@pytest.mark.parametrize(
    ("psnr", "passes"),
    [(29.0, True), (28.995, True), (28.9949999, False), (28.99, False), (29.13, True)],
)
def test_the_gate_rounds_half_up_to_two_decimals(psnr: float, *, passes: bool) -> None:
    assert NTIRE2022.gate.passes(psnr) is passes


def test_tracks_are_those_of_the_edition() -> None:
    metrics = [set(track.metrics) for track in NTIRE2022.tracks]
    assert metrics[0] == {"runtime_images"}
    assert metrics[1] == {"params", "macs_ntire2022"}
    assert len(metrics[2]) == 5
    assert metrics[0] | metrics[1] < metrics[2]


def test_every_rule_speaks_of_known_metrics() -> None:
    for rule in RULES.values():
        assert set(rule.ranked_metrics) <= set(rule.columns) <= set(METRICS)
        assert all(METRICS[metric].better == "lower" for metric in rule.ranked_metrics)


def test_an_unknown_rule_answers_with_suggestions() -> None:
    with pytest.raises(UsageError, match="ntire2202") as caught:
        get_rule("ntire2202")
    assert caught.value.advice == "Did you mean ntire2022? Known: ntire2022."

from __future__ import annotations

import math

import numpy as np
import pytest

from esrbench.errors import UsageError
from esrbench.metrics import METRICS
from esrbench.ranking.formulas import Exponential, RankSum
from esrbench.ranking.rules import RULES, get_rule


@pytest.mark.parametrize(
    ("psnr", "rounded", "strict"),
    [
        (29.0, True, True),
        (28.995, True, False),
        (28.9949999, False, False),
        (28.99, False, False),
        (29.13, True, True),
        (np.float64(28.995), True, False),
    ],
)
def test_the_gate_rounds_half_up_to_two_decimals(
    psnr: float, *, rounded: bool, strict: bool
) -> None:
    check = RULES["ntire2022"].gates[0].check(psnr)
    assert (check.rounded, check.strict) == (rounded, strict)
    assert check.margin == pytest.approx(psnr - 29)


def test_binary_fractions_round_as_their_shortest_decimals() -> None:
    # 26.895 is stored as 26.89499999999999957...; printed with three decimals it is a half.
    gate = RULES["ntire2026"].gates[0]
    assert gate.check(26.895).rounded
    assert not gate.check(26.894999).rounded
    assert not gate.check(26.895).strict


def test_a_gate_that_beats_interpolation_asks_for_more_than_its_printed_figure() -> None:
    gate = RULES["rtsr2023"].gates[0]
    assert not gate.check(33.924, 33.92).rounded
    assert gate.check(33.924, 33.92).strict
    assert gate.check(33.93, 33.92).rounded
    with pytest.raises(ValueError, match="needs the value of bicubic"):
        gate.check(33.93)


def test_tracks_are_those_of_the_edition() -> None:
    metrics = [set(track.metrics) for track in RULES["ntire2022"].tracks]
    assert metrics[0] == {"runtime_images"}
    assert metrics[1] == {"params", "macs_ntire2022"}
    assert len(metrics[2]) == 5
    assert metrics[0] | metrics[1] < metrics[2]
    assert [track.ties_by for track in RULES["ntire2022"].tracks] == [None, None, None]
    assert [track.ties_by for track in RULES["ntire2023"].tracks] == [None, "main", "complexity"]


def test_every_edition_of_the_challenges_is_here() -> None:
    assert list(RULES) == [
        "ntire2022",
        "ntire2023",
        "ntire2024",
        "ntire2025",
        "ntire2026",
        "aim2020",
        "rtsr2023",
    ]


def test_every_rule_speaks_of_known_metrics() -> None:
    for rule in RULES.values():
        assert rule.ranked_metrics
        assert set(rule.ranked_metrics) <= set(rule.columns) <= set(METRICS)
        assert rule.source
        assert rule.unverified
        for track in rule.tracks:
            if isinstance(track.formula, RankSum):
                assert all(METRICS[metric].better == "lower" for metric in track.metrics)


@pytest.mark.parametrize("name", ["ntire2024", "ntire2025", "ntire2026"])
def test_the_baseline_s_reference_numbers_score_e_squared(name: str) -> None:
    rule = RULES[name]
    (track,) = rule.tracks
    total = track.formula.total(rule.published, {}, rule.published)
    assert total.value == pytest.approx(math.e**2, rel=1e-12)
    assert total.log == pytest.approx(2.0, rel=1e-12)


def test_weights_are_those_of_the_editions() -> None:
    weights = {
        name: tuple(track.formula.weights.values())
        for name, rule in RULES.items()
        for track in rule.tracks
        if isinstance(track.formula, Exponential)
    }
    assert weights == {
        "ntire2024": (0.7, 0.15, 0.15),
        "ntire2025": (0.7, 0.15, 0.15),
        "ntire2026": (0.8, 0.1, 0.1),
    }
    assert RULES["ntire2026"].published["runtime_images"] == 7.74e-3


def test_an_unknown_rule_answers_with_suggestions() -> None:
    with pytest.raises(UsageError, match="ntire2202") as caught:
        get_rule("ntire2202")
    assert caught.value.advice is not None
    assert caught.value.advice.startswith("Did you mean ntire202")
    assert "Known: ntire2022, ntire2023" in caught.value.advice
